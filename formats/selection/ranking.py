"""Which candidates count, and in which order. One row of `items` a candidate; see `Ranking.item_schema`.

Every candidate gets one outcome, the first that fits:

    UNSCORED    a score that is asked for is null or NaN: it is never replaced by a number
    TRUNCATED   the answer was cut off at the bound on its length
    EMPTY       nothing but white space
    FAILED      below a bound of `require`
    BELOW       below `min_score`, or outside of the `top_share`
    DUPLICATE   the same answer as (or nearly the same as) a better one of the row
    OUTRANKED   `top` others of the row are better
    BUDGET      the budget was full
    CHOSEN
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from curate.schema import ROW
from curate.step import BatchFn, Context, CorpusStep, DocumentsFn, Outcome, Phase, RecordsFn
from formats.selection.pool import F64, I64, Bools, Pool, clusters, first_of, places, pool_of

OUTCOMES = ("unscored", "truncated", "empty", "failed", "below", "duplicate", "outranked", "budget", "chosen")
UNSCORED, TRUNCATED, EMPTY, FAILED, BELOW, DUPLICATE, OUTRANKED, BUDGET, CHOSEN = range(len(OUTCOMES))
Name = Annotated[str, Field(min_length=1, max_length=200)]
LARGEST = 1e150  # of scores: sums of its squares are numbers still
_ITEM = (
    pa.field(ROW, pa.int64()), pa.field("position", pa.int32()), pa.field("same", pa.int64()), pa.field("length", pa.float64()),
    pa.field("flag", pa.int8()), pa.field("random", pa.float64()),
)  # fmt: skip


class Ranking(CorpusStep):
    """Settings and array code that both selections share."""

    delivery: ClassVar[pa.Schema]  # columns that `deliver` gives and `apply` takes

    by: Name | list[Name] | None = Field(None, description="score that ranks, or several; null: all that pass are equal, `ties` decides")
    combine: Literal["mean", "min", "ranks", "zscores"] = Field(
        "mean", description="several scores: mean, least, mean rank within the prompt, mean after scaling each over the pool"
    )
    require: dict[Name, float] = Field(default={}, max_length=100, description="scores that a candidate must reach: {math: 1}")
    min_score: float | None = Field(None, ge=-1e12, le=1e12, description="least value of `by`")
    length_penalty: float = Field(
        0.0, ge=-1e6, le=1e6, description="taken off the value for each token (code point, where tokens are not known)"
    )
    debias_length: bool = Field(False, description="take off what length explains: one line fitted within the prompts of the whole pool")
    ties: Literal["first", "frequent", "shortest", "random"] = Field(
        "first", description="of equal values: the first sample, the answer that was given most often, the shortest, by the seed"
    )
    max_similarity: float | None = Field(
        None, ge=0, lt=1, description="answers of a prompt with more shared word 3-grams are one; null: equal ones only"
    )
    keep_truncated: bool = Field(False, description="let answers that were cut off count")

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        names = self.score_names()
        if len(set(names)) != len(names):
            raise ValueError("by names a score twice")
        if not names and (self.min_score is not None or self.debias_length or self.length_penalty):
            raise ValueError("min_score, length_penalty and debias_length need 'by', the score that they change or bound")
        return self

    def score_names(self) -> list[str]:
        """Scores that rank."""
        return [self.by] if isinstance(self.by, str) else list(self.by or [])

    def reads(self) -> frozenset[str]:
        """Columns that must exist before this step."""
        return frozenset({"id", "text", "source", "messages", "candidates"})

    def compares_rows(self) -> bool:
        """Whether a row's result depends on other rows."""
        return self.debias_length or (self.combine == "zscores" and len(self.score_names()) > 0)

    def phases(self) -> tuple[Phase, ...]:
        """None, unless rows are compared."""
        if not self.compares_rows():
            return ()
        return (
            Phase("candidates", over="documents", to="everything", schema=self.item_schema(), columns=self.reads()),
            Phase("choose", over="everything", to="documents", schema=self.delivery),
        )

    def bind_phase(self, phase: str, ctx: Context) -> DocumentsFn | RecordsFn:
        """Return the function of that phase."""
        if phase == "choose":
            return self.deliver
        return lambda batch, side: self.items(batch, batch.column(ROW).to_numpy(), ctx)

    def bind(self, ctx: Context) -> BatchFn:
        """Where no row depends on another: items, choice and rows in one go."""

        def run(batch: pa.RecordBatch) -> Outcome:
            made = self.deliver(self.items(batch, np.arange(len(batch)), ctx))
            place = np.full(len(batch), -1)
            place[made.column(ROW).to_numpy()] = np.arange(len(made))
            if not len(made):
                return self.apply(batch, pa.table([pa.nulls(len(batch), f.type) for f in self.delivery], schema=self.delivery))
            return self.apply(batch, made.take(pa.array(np.where(place < 0, 0, place), mask=place < 0)))

        return run

    def deliver(self, records: pa.Table) -> pa.Table:
        """From items, in order of rows, to what `apply` needs: one line of `delivery` for each row that has candidates."""
        raise NotImplementedError

    def item_schema(self) -> pa.Schema:
        """Columns of an item: a candidate. `flag` is the outcome where its own row of numbers decides it, else CHOSEN."""
        return pa.schema([*_ITEM, *(pa.field(f"score_{n}", pa.float64()) for n in range(len(self.score_names())))])

    def items(self, batch: pa.RecordBatch, rows: I64, ctx: Context) -> pa.Table:
        """The candidates of a batch. rows: what names each row."""
        pool = pool_of(batch)
        scores = [pool.scores(name) for name in self.score_names()]
        same = pool.identity() if self.max_similarity is None else clusters(pool.texts, pool.offsets, self.max_similarity)
        columns: dict[str, Any] = {
            ROW: rows[pool.group], "position": pool.position.astype(np.int32), "same": same, "length": pool.lengths(),
            "flag": self._flags(pool, scores), "random": pool.random(batch.column("id"), ctx.seed),
            **{f"score_{n}": s for n, s in enumerate(scores)},
        }  # fmt: skip
        return pa.table([pa.array(columns[f.name], f.type) for f in self.item_schema()], schema=self.item_schema())

    def _flags(self, pool: Pool, scores: list[F64]) -> Any:
        gates = {name: pool.scores(name) for name in self.require}
        unscored = np.zeros(len(pool.structs), bool)
        for values in (*scores, *gates.values()):
            unscored |= np.isnan(values)
        failed = np.zeros(len(unscored), bool)
        for name, values in gates.items():
            failed |= values < self.require[name]
        cut = pool.cut_off() & (not self.keep_truncated)
        return np.select([unscored, cut, pool.empty(), failed], [UNSCORED, TRUNCATED, EMPTY, FAILED], CHOSEN).astype(np.int8)

    def value(self, items: Mapping[str, Any], usable: Bools) -> F64:
        """N: what ranks; NaN for candidates that are not usable. Infinities, and numbers beyond it, count as LARGEST."""
        group, n = items[ROW], len(items[ROW])
        scores = [np.clip(items[f"score_{at}"], -LARGEST, LARGEST) for at in range(len(self.score_names()))]
        if len(scores) > 1 and self.combine == "ranks":
            scores = [_fractional_ranks(s, group, usable) for s in scores]
        if scores and self.combine == "zscores":
            scores = [_scaled(s, usable) for s in scores]
        joined = np.zeros(n) if not scores else np.minimum.reduce(scores) if self.combine == "min" else sum(scores) / len(scores)
        value = np.where(usable, joined, np.nan)
        if self.length_penalty:
            value = value - self.length_penalty * items["length"]
        if self.debias_length:
            value = value - _slope(value, items["length"], group, usable) * items["length"]
        return value

    def order(self, items: Mapping[str, Any], value: F64, usable: Bools) -> I64:
        """N: all candidates by row, the usable ones first, best first; equal values by `ties`, then by sample."""
        group, position = items[ROW], items["position"]
        tie: Any = np.zeros(len(group))
        if self.ties == "frequent":
            tie = -frequency(group, items["same"], usable)
        elif self.ties == "shortest":
            tie = items["length"]
        elif self.ties == "random":
            tie = items["random"]
        found: I64 = np.lexsort((position, tie, np.where(usable, -value, 0), ~usable, group))
        return found

    def outcomes(self, items: Mapping[str, Any]) -> tuple[Any, F64, I64]:
        """(outcome of each candidate as far as it is known without a rule for choosing, value, order)."""
        outcome = items["flag"].astype(np.int8)
        value = self.value(items, outcome == CHOSEN)
        if self.min_score is not None:
            outcome[(outcome == CHOSEN) & ~(value >= self.min_score)] = BELOW
        order = self.order(items, value, outcome == CHOSEN)
        return outcome, value, order


def drop_duplicates(items: Mapping[str, Any], outcome: Any, order: I64) -> None:
    """Of the usable candidates with the same answer keep the best; the others become DUPLICATE."""
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    usable = np.flatnonzero(outcome == CHOSEN)
    group, same = items[ROW][usable], items["same"][usable]
    first = first_of([group, same], np.lexsort((rank[usable], same, group)))
    outcome[usable[~first]] = DUPLICATE


def frequency(group: I64, same: I64, usable: Bools) -> F64:
    """N: how many usable candidates of the row give the same answer."""
    order = np.lexsort((same, group))
    starts = first_of([group, same], order)[order]
    number = np.cumsum(starts) - 1
    counts = np.bincount(number, weights=usable[order].astype(np.float64), minlength=1)
    found = np.empty(len(group))
    found[order] = counts[number]
    return found


def arrays(items: pa.Table) -> dict[str, Any]:
    """Columns as numpy arrays, sorted by row and position."""
    found = {name: items.column(name).to_numpy() for name in items.column_names}
    order = np.lexsort((found["position"], found[ROW]))
    return {name: column[order] for name, column in found.items()}


def _fractional_ranks(scores: F64, group: I64, usable: Bools) -> F64:
    """N: rank within the row from 0 (worst) to 1 (best), the mean of ranks for equal scores; NaN where not usable."""
    found = np.full(len(scores), np.nan)
    at = np.flatnonzero(usable)
    if not len(at):
        return found
    g, s = group[at], scores[at]
    order = np.lexsort((s, g))
    place = places(g, order).astype(np.float64)
    first = first_of([g, s], order)[order]
    number = np.cumsum(first) - 1
    mean = np.bincount(number, weights=place[order]) / np.bincount(number)
    ranks = np.empty(len(at))
    ranks[order] = mean[number]
    _, inverse, counts = np.unique(g, return_inverse=True, return_counts=True)
    found[at] = np.where(counts[inverse] > 1, ranks / np.maximum(1, counts[inverse] - 1), 0.5)
    return found


def _scaled(scores: F64, usable: Bools) -> F64:
    known = scores[usable]
    spread = float(known.std()) if len(known) else 0.0
    return (scores - (float(known.mean()) if len(known) else 0.0)) / (spread or 1.0)


def _slope(value: F64, length: F64, group: I64, usable: Bools) -> float:
    """Slope of value over length, after taking off each row's means: how much longer answers are preferred within a prompt."""
    at = np.flatnonzero(usable)
    if not len(at):
        return 0.0
    _, inverse = np.unique(group[at], return_inverse=True)
    counts = np.bincount(inverse)
    x, y = (a[at] - (np.bincount(inverse, weights=a[at]) / counts)[inverse] for a in (length, value))
    spread = float(x @ x)
    return float(x @ y) / spread if spread > 0 else 0.0
