"""The step `pass_rate`: prompts by the share of their answers that pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from curate.schema import with_columns
from curate.step import BatchFn, Context, Outcome, Signal, Step, Verdict, counted
from formats.selection.pool import pool_of

_GROUPS = ("none_scored", "none_pass", "some_pass", "all_pass")


class PassRate(Step):
    """Keep prompts whose answers pass often enough, and not too often: too hard and too easy ones teach little.

    The rate is the share of scored candidates whose score is at least `passes`; null scores are left out. Adds pass_rate (null where nothing is
    scored), pass_count and pass_scored. The bounds themselves stay out by default, as in open-r1 (0.1 < rate < 0.9); `inclusive` lets them in.
    The manifest counts prompts with none, some and all passing, and with nothing scored, which are dropped as pass_rate.unscored.
    """

    name: ClassVar[str] = "pass_rate"
    summary: ClassVar[str] = "keep prompts by the share of their answers that pass"
    origin: ClassVar[str] = "open-r1, scripts/pass_rate_filtering: 0.1 < rate < 0.9"
    shorthand: ClassVar[str | None] = "by"

    by: str = Field(min_length=1, max_length=200, description="score of the candidates")
    passes: float = Field(1.0, ge=-1e12, le=1e12, description="least score that passes")
    min_rate: float | None = Field(0.1, ge=0, le=1, description="lower bound of the rate")
    max_rate: float | None = Field(0.9, ge=0, le=1, description="upper bound of the rate")
    inclusive: bool = Field(False, description="whether the bounds themselves stay")
    mode: Literal["drop", "annotate"] = Field("drop", description="drop, or only add columns")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_rate is not None and self.max_rate is not None and self.min_rate > self.max_rate:
            raise ValueError(f"min_rate ({self.min_rate:g}) must not be above max_rate ({self.max_rate:g})")
        return self

    def reads(self) -> frozenset[str]:
        """Columns that must exist before this step."""
        return frozenset({"id", "text", "source", "messages", "candidates"})

    def adds(self) -> Mapping[str, pa.DataType]:
        """The rate and its parts; in annotate mode the decision."""
        own = {"pass_rate": pa.float64(), "pass_count": pa.int32(), "pass_scored": pa.int32()}
        return own if self.mode == "drop" else {**own, "pass_rate_keep": pa.bool_(), "pass_rate_reason": pa.string()}

    def drops(self) -> tuple[str, ...]:
        """Every drop reason it can give."""
        return ("pass_rate.unscored", "pass_rate.too_hard", "pass_rate.too_easy") if self.mode == "drop" else ()

    def signals(self) -> tuple[Signal, ...]:
        """The rate and its bounds."""
        return (Signal("pass_rate", "min_rate", "at_least"), Signal("pass_rate", "max_rate", "at_most"))

    def bind(self, ctx: Context) -> BatchFn:
        """Nothing to load."""
        return self._run

    def _run(self, batch: pa.RecordBatch) -> Outcome:
        pool = pool_of(batch)
        score = pool.scores(self.by)
        n, group = len(batch), pool.group
        scored = np.bincount(group[~np.isnan(score)], minlength=n)
        passed = np.bincount(group[np.nan_to_num(score, nan=-np.inf) >= self.passes], minlength=n)
        none = scored == 0
        rate = passed / np.maximum(scored, 1)
        low = np.zeros(n, bool) if self.min_rate is None else rate < self.min_rate if self.inclusive else rate <= self.min_rate
        high = np.zeros(n, bool) if self.max_rate is None else rate > self.max_rate if self.inclusive else rate >= self.max_rate
        names = np.array(["", "pass_rate.unscored", "pass_rate.too_hard", "pass_rate.too_easy"], dtype=object)
        code = np.select([none, low, high], [1, 2, 3], 0)
        reason = pa.array(names[code], pa.string(), mask=code == 0)
        kind = np.select([none, passed == 0, passed == scored], [0, 1, 3], 2)
        figures = counted(batch.column("source"), _GROUPS, list(enumerate(kind.tolist())))
        columns = {
            "pass_rate": pa.array(rate, pa.float64(), mask=none),
            "pass_count": pa.array(passed, pa.int32()),
            "pass_scored": pa.array(scored, pa.int32()),
        }
        if self.mode == "annotate":
            return Outcome(with_columns(batch, {**columns, "pass_rate_keep": reason.is_null(), "pass_rate_reason": reason}), None, figures)
        value = pa.array(rate, pa.float64(), mask=none)
        return Outcome(with_columns(batch, columns), Verdict(reason.is_null(), reason, value), figures)
