"""Reward models as rewards: the score of prompt and answer, read at the answer's last token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from curate.errors import DataError
from train.posttraining.flat import choose_attention, rewards_without_padding
from train.posttraining.rendering import Rendering, RowMaker
from train.posttraining.rewards import RewardSpec, for_trl
from train.posttraining.runner import Setup

_BATCH = 16


def load_reward(spec: RewardSpec, setup: Setup) -> Callable[..., list[float | None]]:
    """The function that trl calls."""
    if spec.model is None:
        return for_trl(spec)
    from transformers import AutoModelForSequenceClassification

    given = setup.job.inputs
    folder = given[spec.model].folder if spec.model in given else spec.model
    try:
        model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1, use_safetensors=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise DataError(f"the reward model {spec.model} can't be loaded: {error}") from error
    rewards_without_padding(model, choose_attention(model, "auto", False))
    return ModelReward(Path(spec.model).name, model.requires_grad_(False).eval(), folder, setup)


class ModelReward:
    """Scores of a reward model. With the policy's tokenizer it reads the very ids that were drawn, the stop token with them; with another
    one the turns are rendered again, by the reward model's own template."""

    def __init__(self, name: str, model: Any, folder: str, setup: Setup) -> None:
        self.__name__, self.model, self.setup = name, model, setup
        self.maker: RowMaker | None = None
        if _digest(folder) != _digest(setup.tokenizer_folder):
            self.maker = RowMaker("sft", folder, Rendering(train_on="last"))

    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], completion_ids: Sequence[list[int]], row: Sequence[str], **_: Any
    ) -> list[float | None]:
        """One score an answer; None where the reward model's template can't say it."""
        ids = self._same(prompts, completion_ids) if self.maker is None else self._rendered(self.maker, completions, row)
        device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
        self.model.to(device)
        scores: list[float | None] = [None] * len(ids)
        known = [n for n, one in enumerate(ids) if one]
        for start in range(0, len(known), _BATCH):
            some = known[start : start + _BATCH]
            longest = max(len(ids[n]) for n in some)
            tokens = torch.tensor([ids[n] + [0] * (longest - len(ids[n])) for n in some], device=device)
            mask = torch.tensor([[1] * len(ids[n]) + [0] * (longest - len(ids[n])) for n in some], device=device)
            with torch.inference_mode():
                found = self.model(input_ids=tokens, attention_mask=mask).logits[:, 0].float().tolist()
            for n, score in zip(some, found, strict=True):
                scores[n] = score
        return scores

    def _same(self, prompts: Sequence[str], completion_ids: Sequence[list[int]]) -> list[list[int]]:
        return [[*self.setup.maker.prompt_ids(prompt), *said] for prompt, said in zip(prompts, completion_ids, strict=True)]

    @staticmethod
    def _rendered(maker: RowMaker, completions: Sequence[str], row: Sequence[str]) -> list[list[int]]:
        import json

        from formats.records import Message, Record

        turns = [[Message(m["role"], m["content"]) for m in json.loads(text)["messages"]] for text in row]
        made = maker.rows([Record([*before, Message("assistant", said)]) for before, said in zip(turns, completions, strict=True)])
        return [getattr(one[0], "columns", {}).get("input_ids", torch.empty(0)).tolist() if one else [] for one in made]


def _digest(folder: str) -> str:
    file = Path(folder) / "tokenizer.json"
    return sha256(file.read_bytes()).hexdigest() if file.is_file() else ""
