"""Keep a random share of documents, the same ones on every machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from curate.kernels.strings import views
from curate.schema import with_columns
from curate.step import BatchFn, Context, Outcome, Step, Verdict


class Sample(Step):
    """Keep about `fraction` of the documents, chosen by a hash of the seed and the document's id.

    Reads `id` alone, so the choice depends neither on order, batches or workers, nor on the other documents. Rows that
    share an id share their fate: duplicates stay together, and a set with few distinct ids is sampled coarsely.
    The number kept is binomial: n * fraction, give or take about sqrt(n * fraction * (1 - fraction)).

    With one seed, a smaller fraction is a part of a larger one, whichever comes first: sampling 0.5 and then 0.5 again
    keeps 0.5 of the documents. Give the second a seed of its own to halve again. About 4 million documents a second per core.
    """

    name: ClassVar[str] = "sample"
    summary: ClassVar[str] = "keep a random share of the documents, chosen by their ids"
    shorthand: ClassVar[str | None] = "fraction"

    fraction: float = Field(ge=0, le=1, description="share of documents to keep")
    seed: int | None = Field(None, ge=0, le=2**63 - 1, description="choice of documents; null: the recipe's seed")
    mode: Literal["drop", "annotate"] = Field("drop", description="annotate: add sample_keep and sample_reason, drop nothing")

    def reads(self) -> frozenset[str]:
        """Only the id."""
        return frozenset({"id"})

    def adds(self) -> Mapping[str, pa.DataType]:
        """In annotate mode the decision."""
        return {"sample_keep": pa.bool_(), "sample_reason": pa.string()} if self.mode == "annotate" else {}

    def drops(self) -> tuple[str, ...]:
        """One reason: chance."""
        return ("sample.left_out",) if self.mode == "drop" else ()

    def bind(self, ctx: Context) -> BatchFn:
        """Fix seed and share."""
        seed, fraction = ctx.seed if self.seed is None else self.seed, self.fraction

        def run(batch: pa.RecordBatch) -> Outcome:
            left_out = draws(batch.column("id"), seed) >= fraction
            keep = pa.array(~left_out)
            reason = pa.array(np.full(len(batch), "sample.left_out"), pa.string(), mask=~left_out)
            if self.mode == "annotate":
                return Outcome(with_columns(batch, {"sample_keep": keep, "sample_reason": reason}))
            return Outcome(batch, Verdict(keep, reason))

        return run


def draws(ids: pa.Array, seed: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """One number of each document that follows from its id and the seed: a multiple of 2^-53 in [0, 1), evenly spread.

    Below 1.0 lie all of them, below 0.0 none.
    """
    from curate.kernels.hashing import hash_strings

    data, offsets = views(ids)
    hashes = np.empty(len(ids), np.uint64)
    hash_strings(data, offsets, hashes)
    return (_mixed(hashes ^ _mixed(np.array([seed], np.uint64))) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mixed(values: np.ndarray[tuple[int], np.dtype[np.uint64]]) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """Spread every bit over all others (splitmix64's finaliser; multiplications wrap around)."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
