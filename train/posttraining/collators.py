"""Batches of pairs and labelled answers, where ours differ from trl's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from trl.trainer.dpo_trainer import DataCollatorForPreference
from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference
from trl.trainer.reward_trainer import DataCollatorForPreference as RewardCollator


@dataclass
class PairCollator(DataCollatorForPreference):  # type: ignore[misc]
    """trl's, and on request without a loss on stop tokens and what follows them.

    Llama 3 (2024, section 4.1.4) masks header and termination tokens in DPO on both sides: tokens that both answers share
    otherwise pull in two directions at once. The header is part of the prompt here. The NLL term then leaves them out too.
    """

    stop_ids: frozenset[int] = frozenset()

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """See DataCollatorForPreference."""
        out: dict[str, Any] = super().torch_call(examples)
        if self.stop_ids:
            mask, ids = out["completion_mask"], out["input_ids"]
            stops = torch.isin(ids, torch.tensor(sorted(self.stop_ids))) & mask.bool()
            last = torch.where(stops.any(1), ids.shape[1] - 1 - stops.flip(1).int().argmax(1), ids.shape[1])
            after = torch.arange(ids.shape[1])[None] > last[:, None]
            out["completion_mask"] = mask.masked_fill(stops | after, 0)
        return out


@dataclass
class LabelledCollator(DataCollatorForUnpairedPreference):  # type: ignore[misc]
    """trl's, with the answers for the KL term taken from the batch itself: row i is paired with the answer of the nearest row before it that has another prompt.

    trl pairs rows once, in the order of the file and in blocks of its batch size; here the pairing follows the order of training.
    """

    pair_up: bool = True

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """See DataCollatorForUnpairedPreference."""
        if self.pair_up:
            examples = [{**row, "KL_completion_ids": partner(examples, at)} for at, row in enumerate(examples)]
        out: dict[str, Any] = super().torch_call(examples)
        return out


@dataclass
class WholeCollator(RewardCollator):  # type: ignore[misc]
    """Prompt and answer joined, for reward models. margins: whether rows have them."""

    margins: bool = False

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """See trl.trainer.reward_trainer.DataCollatorForPreference."""
        rows: list[dict[str, Any]] = [
            {name: [*row["prompt_ids"], *row[name]] for name in ("chosen_ids", "rejected_ids")} for row in examples
        ]
        if self.margins:
            rows = [{**made, "margin": row["margin"] or 0.0} for made, row in zip(rows, examples, strict=True)]
        out: dict[str, Any] = super().torch_call(rows)
        return out


def partner(rows: Sequence[dict[str, Any]], at: int) -> list[int]:
    """An answer to another prompt; the neighbour's where the batch has one prompt only."""
    for back in range(1, len(rows)):
        other = rows[at - back]
        if list(other["prompt_ids"]) != list(rows[at]["prompt_ids"]):
            return list(other["completion_ids"])
    return list(rows[at - 1]["completion_ids"])
