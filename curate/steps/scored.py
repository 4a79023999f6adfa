"""Keep documents by a model's score: a threshold, or the best part of the whole corpus.

The part is exact: the scores of all documents are compared in one place, so neither a sample nor the number of workers
decides. It costs 12 bytes a document beside the ids, which are read only where documents tie at the border.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AfterValidator, Field, model_validator

from curate.schema import DOCUMENT, ROW, with_columns
from curate.step import BatchFn, Context, CorpusStep, DocumentsFn, Outcome, Phase, RecordsFn, Signal, Verdict
from curate.steps.bounds import Bound, judge
from curate.steps.scorers import F64, Scorer

_SCORES = pa.schema([pa.field(ROW, pa.int64()), pa.field("score", pa.float32()), pa.field("id", pa.large_string())])
_CHOSEN = pa.schema([pa.field(ROW, pa.int64()), pa.field("score", pa.float32()), pa.field("keep", pa.bool_())])


def _column_name(name: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in DOCUMENT.names:
        raise ValueError(f"must be a name of lower-case letters, digits and _ that no document column has, got {name!r}")
    return name


ColumnName = Annotated[str, AfterValidator(_column_name)]


class Scored(CorpusStep):
    """Base of the steps that score documents with a model. Subclasses describe `model`, `min_score` and `column`, and give `scorer`."""

    model: str
    min_score: float | None = Field(None, description="lowest score of a kept document; null: no bound")
    column: ColumnName = Field("score", description="name of the score's column")
    top_fraction: float | None = Field(
        None, gt=0, le=1, description="keep this share of all documents, the best ones, exactly; null: no such choice"
    )
    mode: Literal["drop", "annotate"] = Field("drop", description="annotate: add columns, drop nothing")

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        if self.min_score is not None and self.top_fraction is not None:
            raise ValueError("give min_score or top_fraction, not both")
        return self

    def scorer(self) -> Scorer:
        """Load the model."""
        raise NotImplementedError

    def reads(self) -> frozenset[str]:
        """Text, and with a share the id, which decides between equal scores."""
        return frozenset({"text"} if self.top_fraction is None else {"text", "id"})

    def adds(self) -> Mapping[str, pa.DataType]:
        """The score; in annotate mode the decision too."""
        score: dict[str, pa.DataType] = {self.column: pa.float64()}
        return score | ({f"{self.name}_keep": pa.bool_(), f"{self.name}_reason": pa.string()} if self.mode == "annotate" else {})

    def drops(self) -> tuple[str, ...]:
        """low_score under a threshold, not_in_top where a share is kept; none where there is neither."""
        if self.mode == "annotate":
            return ()
        low = (f"{self.name}.low_score",) if self.min_score is not None else ()
        return low + ((f"{self.name}.not_in_top",) if self.top_fraction is not None else ())

    def signals(self) -> tuple[Signal, ...]:
        """The score."""
        return (Signal(self.column, "min_score", "at_least"),)

    def bind(self, ctx: Context) -> BatchFn:
        """Load the model; the returned function scores a batch and judges by the threshold, if there is one."""
        score = self.scorer()

        def run(batch: pa.RecordBatch) -> Outcome:
            scores = score(batch.column("text"))
            verdict = judge([Bound(f"{self.name}.low_score", scores, at_least=self.min_score)], len(batch))
            return self._outcome(batch, scores, verdict)

        return run

    def _outcome(self, batch: pa.RecordBatch, scores: F64, verdict: Verdict) -> Outcome:
        columns: dict[str, pa.Array] = {self.column: pa.array(scores)}
        if self.mode == "annotate":
            columns |= {f"{self.name}_keep": verdict.keep, f"{self.name}_reason": verdict.reason}
        batch = with_columns(batch, columns)
        return Outcome(batch, verdict if self.drops() else None)

    def phases(self) -> tuple[Phase, ...]:
        """Without a share of the corpus none; else score every document, compare all scores."""
        if self.top_fraction is None:
            return ()
        return (
            Phase("scores", over="documents", to="everything", schema=_SCORES, columns=frozenset({"text", "id"})),
            Phase("top", over="everything", to="documents", schema=_CHOSEN),
        )

    def bind_phase(self, phase: str, ctx: Context) -> DocumentsFn | RecordsFn:
        """Return the function of that phase."""
        if phase == "top":
            return self._top
        score = self.scorer()

        def scores(batch: pa.RecordBatch, side: Mapping[str, pa.Table]) -> pa.Table:
            values = pa.array(score(batch.column("text")).astype(np.float32))
            return pa.table([batch.column(ROW), values, pc.cast(batch.column("id"), pa.large_string())], schema=_SCORES)

        return scores

    def _top(self, records: pa.Table) -> pa.Table:
        keep = best(records, self.top_fraction or 1.0)
        return pa.table([records.column(ROW), records.column("score"), pa.array(keep)], schema=_CHOSEN)

    def apply(self, batch: pa.RecordBatch, delivered: pa.Table) -> Outcome:
        """Add the score; drop or name what is not among the best."""
        scores = delivered.column("score").combine_chunks().cast(pa.float64())
        keep = delivered.column("keep").combine_chunks()
        reason = pc.if_else(keep, pa.scalar(None, pa.string()), pa.scalar(f"{self.name}.not_in_top"))
        value = pc.if_else(keep, pa.scalar(None, pa.float64()), scores)
        return self._outcome(batch, scores.to_numpy(zero_copy_only=False), Verdict(keep, reason, value))


def best(records: pa.Table, fraction: float) -> npt.NDArray[np.bool_]:
    """bool[n], True for the documents of the highest scores: exactly ceil(fraction * n) of them.

    records: columns `score` (float32, no NaN) and `id`. Of equal scores at the border the smaller ids (by code point) win; of
    equal ids the first row. The share is taken as it is written: 0.1 of 30 is 3, though 0.1 * 30 is above 3 in float64.
    """
    n = len(records)
    wanted = min(n, math.ceil(Fraction(repr(fraction)) * n))
    score = records.column("score").to_numpy()
    keep = np.zeros(n, bool)
    if wanted == 0:
        return keep
    border = np.partition(score, n - wanted)[n - wanted]
    keep |= score > border
    tied = np.flatnonzero(score == border)
    order = pc.sort_indices(
        records.select(["id", ROW]).take(pa.array(tied)), sort_keys=[("id", "ascending"), (ROW, "ascending")]
    ).to_numpy()
    keep[tied[order[: wanted - int(keep.sum())]]] = True
    return keep
