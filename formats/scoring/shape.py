"""Verifiers of shape: how long an answer is, and whether it has the form that was asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from formats.scoring.verifier import Verifier

_THINK = re.compile(r"<think>(.*?)</think>\s*(\S.*)", re.DOTALL)
_ANSWER_TAGS = re.compile(r"\s*<think>(.*?)</think>\s*<answer>(.*?)</answer>\s*", re.DOTALL)


class Length(Verifier):
    """1 between the bounds; outside of them it falls in a line to 0 at half the lower and at twice the upper bound (`hard: true`: 0 at once)."""

    name: ClassVar[str] = "length"
    summary: ClassVar[str] = "the answer is neither too short nor too long"

    unit: Literal["words", "characters"] = Field(default="words", description="words by white space, or code points")
    min: int | None = Field(default=None, ge=0, le=10**9, description="fewest")
    max: int | None = Field(default=None, ge=1, le=10**9, description="most")
    hard: bool = Field(default=True, description="false: a score between 0 and 1 near the bounds")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("give 'min', 'max' or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min ({self.min}) must not be above max ({self.max})")
        return self

    def check(self, prompt: str, answer: str, row: Mapping[str, Any]) -> float | None:
        n = len(answer.split()) if self.unit == "words" else len(answer)
        if self.min is not None and n < self.min:
            return 0.0 if self.hard else max(0.0, 2 * n / self.min - 1)
        if self.max is not None and n > self.max:
            return 0.0 if self.hard else max(0.0, 2 - n / self.max)
        return 1.0


class Format(Verifier):
    """1 where the answer has the form, 0 where not.

    think: one <think>...</think> at the start, then an answer. think_answer: <think>...</think><answer>...</answer> and nothing else (DeepSeek-R1,
    2025, section 2.2.2). complete: not empty, ends with a sentence mark, a closing bracket or a code fence, and every fence is closed.
    """

    name: ClassVar[str] = "format"
    summary: ClassVar[str] = "the answer has the form that was asked for"

    form: Literal["think", "think_answer", "complete"] = Field(default="think_answer", description="which form")

    def check(self, prompt: str, answer: str, row: Mapping[str, Any]) -> float | None:
        if self.form == "complete":
            text = answer.rstrip()
            closed = text.count("```") % 2 == 0
            return float(bool(text) and closed and (text.endswith("```") or text[-1] in ".!?。！？…)]}\"'»”’;|*`"))
        tags = 1 if self.form == "think" else 2
        if answer.count("<think>") != 1 or answer.count("</think>") != 1 or answer.count("<answer>") != tags - 1:
            return 0.0
        found = _THINK.fullmatch(answer.strip()) if self.form == "think" else _ANSWER_TAGS.fullmatch(answer)
        return float(found is not None and bool(found[1].strip()) and bool(found[2].strip()))
