"""Scores by sequence classifiers of transformers: reward models."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from curate.errors import MissingDependency, RecipeError
from curate.step import Context
from formats.records import Candidate, Record
from formats.templates.turns import as_dicts


class RewardModel:
    """One classifier with one output, in this process. Sequences are sorted by length, so a batch holds little padding."""

    def __init__(self, name: str, ctx: Context, batch_tokens: int, max_length: int) -> None:
        """name: a model node, a folder, or a name on the hub. Only safetensors are loaded, and no code from the model's folder."""
        try:
            import torch
            from transformers import AutoModelForSequenceClassification, AutoTokenizer
        except ImportError as error:
            raise MissingDependency.extra("transformers", "train", "score by a reward model") from error
        folder = ctx.model(name) or name
        options: dict[str, Any] = {"trust_remote_code": False, "local_files_only": os.path.isdir(folder)}
        self._tokenizer = AutoTokenizer.from_pretrained(folder, **options)
        self._model = AutoModelForSequenceClassification.from_pretrained(folder, use_safetensors=True, **options)
        if self._model.config.num_labels != 1:
            raise RecipeError(f"score: {name} has {self._model.config.num_labels} outputs; a reward model has one.")
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        if self._tokenizer.pad_token_id is None:
            raise RecipeError(f"score: the tokenizer of {name} has neither a padding nor an end token; rows can't be put into one batch.")
        self._model.config.pad_token_id = self._tokenizer.pad_token_id
        self._tokenizer.padding_side = "right"
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model.to(self._device).eval()
        self._batch_tokens, self._max_length = batch_tokens, max_length
        self.too_long = 0

    def scores(self, pairs: Sequence[tuple[Record, Candidate]]) -> list[float | None]:
        """One number for each answer to its prompt; None for one that is longer than `max_length` tokens: it is never cut."""
        rows = [self._ids(record, candidate) for record, candidate in pairs]
        found: list[float | None] = [None] * len(rows)
        fitting = sorted((n for n, ids in enumerate(rows) if 0 < len(ids) <= self._max_length), key=lambda n: (len(rows[n]), n))
        self.too_long += len(rows) - len(fitting)
        while fitting:
            width = len(rows[fitting[-1]])
            some = fitting[-max(1, self._batch_tokens // width) :]
            del fitting[-len(some) :]
            for n, score in zip(some, self._forward([rows[n] for n in some]), strict=True):
                found[n] = score if score == score else None
        return found

    def _ids(self, record: Record, candidate: Candidate) -> list[int]:
        if record.plain or self._tokenizer.chat_template is None:
            text = "".join(m.content or "" for m in [*record.messages, *candidate.messages])
            ids: list[int] = self._tokenizer(text)["input_ids"]
            end = self._tokenizer.eos_token_id
            return [*ids, end] if end is not None and ids[-1:] != [end] else ids
        turns = as_dicts([*record.messages, *candidate.messages], record)
        text = self._tokenizer.apply_chat_template(turns, tokenize=False)
        made: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return made

    def _forward(self, rows: list[list[int]]) -> list[float]:
        import torch

        width = max(map(len, rows))
        ids = torch.full((len(rows), width), self._tokenizer.pad_token_id)
        mask = torch.zeros((len(rows), width), dtype=torch.long)
        for n, row in enumerate(rows):
            ids[n, : len(row)] = torch.tensor(row)
            mask[n, : len(row)] = 1
        with torch.inference_mode():
            logits = self._model(input_ids=ids.to(self._device), attention_mask=mask.to(self._device)).logits
        scores: list[float] = logits[:, 0].float().cpu().tolist()
        return scores
