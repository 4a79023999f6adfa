"""Bounds on the shape of a conversation: turns, words of the prompt, words of the answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, Self

import pyarrow as pa
from pydantic import Field, model_validator

from curate.schema import with_columns
from curate.step import BatchFn, Context, Outcome, Signal, Step, Verdict
from formats.batches import from_batch
from formats.steps.prompts import READS, answer_of, prompt_of
from formats.templates.turns import conversation_of

_COLUMNS = {"chat_turns": pa.int64(), "chat_prompt_words": pa.int64(), "chat_answer_words": pa.int64()}
_BOUNDS = (
    ("min_turns", "chat_turns", "too_few_turns"), ("max_turns", "chat_turns", "too_many_turns"),
    ("min_prompt_words", "chat_prompt_words", "prompt_too_short"), ("max_prompt_words", "chat_prompt_words", "prompt_too_long"),
    ("min_answer_words", "chat_answer_words", "answer_too_short"), ("max_answer_words", "chat_answer_words", "answer_too_long"),
)  # fmt: skip


class ChatShape(Step):
    """Drop conversations whose turns, prompt or last answer lie outside bounds. Words are separated by white space, CJK by character.

    Turns are those of user and assistant. Lengths in tokens are a matter of `render`. Defaults are those of
    Self-Instruct for prompts (more than 3 and at most 150 words); answers have no bound but not to be empty.
    """

    name: ClassVar[str] = "chat_shape"
    summary: ClassVar[str] = "bounds on turns, words of the prompt and words of the answer"
    origin: ClassVar[str] = "Wang et al. 2023 (Self-Instruct), bootstrap_instructions.py: 3 < words <= 150"

    min_turns: int | None = Field(2, ge=0, le=100_000, description="fewest turns of user and assistant")
    max_turns: int | None = Field(None, ge=0, le=100_000, description="most turns of user and assistant")
    min_prompt_words: int | None = Field(4, ge=0, le=10**9, description="fewest words of the first user turn")
    max_prompt_words: int | None = Field(150, ge=0, le=10**9, description="most words of the first user turn")
    min_answer_words: int | None = Field(1, ge=0, le=10**9, description="fewest words of the last answer")
    max_answer_words: int | None = Field(None, ge=0, le=10**9, description="most words of the last answer")
    mode: Literal["drop", "annotate"] = Field("drop", description="drop, or only add columns")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for name in ("turns", "prompt_words", "answer_words"):
            low, high = getattr(self, f"min_{name}"), getattr(self, f"max_{name}")
            if low is not None and high is not None and low > high:
                raise ValueError(f"min_{name} ({low}) must not be above max_{name} ({high})")
        return self

    def reads(self) -> frozenset[str]:
        """Columns that must exist before this step."""
        return READS

    def adds(self) -> Mapping[str, pa.DataType]:
        """Columns that exist after it, with their types."""
        return {} if self.mode == "drop" else {"chat_shape_keep": pa.bool_(), "chat_shape_reason": pa.string(), **_COLUMNS}

    def drops(self) -> tuple[str, ...]:
        """Every drop reason it can give."""
        return tuple(f"chat_shape.{slug}" for _, _, slug in _BOUNDS) if self.mode == "drop" else ()

    def signals(self) -> tuple[Signal, ...]:
        """Numbers and their bounds."""
        return tuple(Signal(column, setting, "at_least" if setting.startswith("min") else "at_most") for setting, column, _ in _BOUNDS)

    def bind(self, ctx: Context) -> BatchFn:
        """Nothing to load."""
        from formats.rouge import SINGLE

        return lambda batch: self._run(batch, SINGLE)

    def _run(self, batch: pa.RecordBatch, single: str) -> Outcome:
        import re

        word = re.compile(rf"[{single}]|[^\s{single}]+")
        values: dict[str, list[int]] = {name: [] for name in _COLUMNS}
        reasons: list[str | None] = []
        numbers: list[float | None] = []
        for record in from_batch(batch):
            turns = sum(m.role in ("user", "assistant") for m in conversation_of(record))
            found = dict(zip(_COLUMNS, (turns, len(word.findall(prompt_of(record))), len(word.findall(answer_of(record)))), strict=True))
            for name, value in found.items():
                values[name].append(value)
            crossed = next(((slug, column) for setting, column, slug in _BOUNDS if self._crosses(setting, found[column])), None)
            reasons.append(None if crossed is None else f"chat_shape.{crossed[0]}")
            numbers.append(None if crossed is None else float(found[crossed[1]]))
        reason = pa.array(reasons, pa.string())
        if self.mode == "drop":
            return Outcome(batch, Verdict(reason.is_null(), reason, pa.array(numbers, pa.float64())))
        columns = {name: pa.array(v, pa.int64()) for name, v in values.items()}
        return Outcome(with_columns(batch, {"chat_shape_keep": reason.is_null(), "chat_shape_reason": reason, **columns}))

    def _crosses(self, setting: str, value: int) -> bool:
        bound = getattr(self, setting)
        return bound is not None and (value < bound if setting.startswith("min") else value > bound)
