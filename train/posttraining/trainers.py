"""trl's trainers with our rows, our order and nothing dropped: each a subclass of a few lines.

What is overridden, and why:

    _prepare_dataset      rows come with token ids; trl would render, tokenize, cut and drop
    _get_train_sampler    the order of `order.py`, the same for any number of processes and after a resume
    create_model_card     a folder of ours has its own notes
    _send_telemetry       nothing is sent anywhere
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trl

from train.posttraining.order import GroupedOrder, Order


class _Ours:
    """What all of them share. Stands before trl's class."""

    curate_order: Order | GroupedOrder | None = None

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Any:
        return self.curate_order

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write none."""

    def _send_telemetry(self) -> None:
        """Send none."""


class Sft(_Ours, trl.SFTTrainer):  # type: ignore[misc]
    """Supervised fine-tuning on input_ids and labels."""


class Dpo(_Ours, trl.DPOTrainer):  # type: ignore[misc]
    """Direct preference optimization on prompt_ids, chosen_ids, rejected_ids."""


class Kto(_Ours, trl.KTOTrainer):  # type: ignore[misc]
    """Kahneman-Tversky optimization on prompt_ids, completion_ids, label."""


class RewardModel(_Ours, trl.RewardTrainer):  # type: ignore[misc]
    """A Bradley-Terry reward model on prompt_ids, chosen_ids, rejected_ids."""

    def _set_signature_columns_if_needed(self) -> None:
        self._signature_columns = ["prompt_ids", "chosen_ids", "rejected_ids", "margin"]


class _Prompts(_Ours):
    """Prompts come rendered; they are encoded as the policy will read them, without a second BOS."""

    curate_encode: Callable[[str], list[int]]

    def _tokenize_prompts(self, prompts: list[str], *args: Any, **kwargs: Any) -> Any:
        return [self.curate_encode(text) for text in prompts], None, {}


class Grpo(_Prompts, trl.GRPOTrainer):  # type: ignore[misc]
    """Group-relative policy optimization: answers are drawn, scored by rewards, compared within their group."""


class Rloo(_Prompts, trl.RLOOTrainer):  # type: ignore[misc]
    """REINFORCE with the other answers of the group as the baseline."""
