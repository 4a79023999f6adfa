"""Answers of a model folder, by the decoding loop that `generate` uses: every answer from its own seed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from formats.generation.backend import Sampling
from formats.generation.decoding import Decoder
from formats.generation.local import Tokens
from formats.generation.models import LocalModel
from formats.generation.prompts import Prompt, seed_of
from train.evaluation.evaluate import Answerer
from train.evaluation.tasks import Task


class FolderAnswerer(Answerer):
    """A checkpoint folder. Prompts are continued as they are; `chat` sends each one as a user's turn through the chat template."""

    def __init__(self, folder: str, chat: bool = False, tell: Callable[[], None] | None = None, **settings: Any) -> None:
        self._model = LocalModel(folder=folder, engine="transformers", **settings)
        self._tokens = Tokens(folder)
        self._chat, self._tell = chat, tell or (lambda: None)
        config = json.loads((Path(folder) / "config.json").read_text("utf-8"))
        self._context = int(config.get("max_position_embeddings") or config.get("n_positions") or 2048)

    def answers(self, prompts: Sequence[str], task: Task) -> list[list[str]]:
        """See Answerer. Prompts too long for the model lose their beginning, as in lm-eval."""
        s = task.settings
        sampling = Sampling(temperature=s.temperature, max_tokens=s.max_tokens, stop=_stops(task))
        decoder = Decoder(self._model.folder, self._model, sampling)
        longest = max(1, self._context - s.max_tokens)
        asked = [self._ids(p)[-longest:] or [0] for p in prompts]
        found: list[list[str]] = [[] for _ in prompts]
        order = sorted(range(len(prompts)), key=lambda i: (-len(asked[i]), i))
        size = max(1, self._model.batch_tokens // ((len(asked[order[0]]) + s.max_tokens) * s.samples))
        for start in range(0, len(order), size):
            batch = [(i, sample) for i in order[start : start + size] for sample in range(s.samples)]
            seeds = [seed_of(str(s.seed), prompts[i].encode(), sample) for i, sample in batch]
            rows = [i for i, _ in batch]
            answers = decoder.answers([asked[i] for i in rows], rows, seeds, self._tokens, self._tell)
            for i, answer in zip(rows, answers, strict=True):
                found[i].append(answer.text or "")
        return found

    def _ids(self, prompt: str) -> list[int]:
        if self._chat:
            return self._tokens.of(Prompt(messages=[{"role": "user", "content": prompt}]))
        return list(self._tokens.tokenizer(prompt)["input_ids"])


def _stops(task: Task) -> tuple[str, ...]:
    """Texts that end an answer: the task's; of code the words that begin something new at the left margin (Chen et al. 2021, section 3.2)."""
    if task.settings.stop or task.kind != "code":
        return task.settings.stop
    return ("\nclass ", "\ndef ", "\n#", "\nif ", "\nprint(", "\n@", "\nassert ")
