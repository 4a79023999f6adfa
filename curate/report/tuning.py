"""What a bound does to a sample: the distribution of its number, what it cuts, and the documents nearest to it.

Works on plain columns (numbers, texts, ids) and knows neither recipes nor runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

QUANTILES = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
BINS = 40
EXAMPLE_CHARS = 400

F64 = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Example:
    """A document near a bound."""

    id: str
    value: float
    text: str  # its beginning
    source: str


@dataclass(frozen=True)
class Bounded:
    """One number with one bound. Shares are of all n documents of the sample."""

    step: str
    place: int  # of the step in its dataset
    column: str
    setting: str
    survives: Literal["at_least", "at_most"]
    bound: float | None
    may_be_null: bool
    documents: int  # that have the number at all
    quantiles: dict[str, float]
    low: float  # where the histogram begins
    high: float  # where it ends; values outside count in its first and last bin
    histogram: tuple[int, ...]
    dropped: float  # by this bound, whatever the others say
    dropped_only: float  # by this bound and no other one of the recipe
    survivors: tuple[Example, ...]  # nearest to the bound first
    victims: tuple[Example, ...]

    def record(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def crossed(values: F64, survives: str, bound: float | None) -> Bools:
    """bool[n], True where a number lies on the wrong side; NaN crosses nothing."""
    if bound is None:
        return np.zeros(len(values), bool)
    return values < bound if survives == "at_least" else values > bound


def histogram(values: F64, bound: float | None) -> tuple[float, float, tuple[int, ...]]:
    """(begin, end, counts): from the 1st to the 99th percentile, widened to show the bound."""
    if not len(values):
        return 0.0, 1.0, (0,) * BINS
    low, high = (float(q) for q in np.quantile(values, (0.01, 0.99)))
    if bound is not None:
        low, high = min(low, bound), max(high, bound)
    if low == high:
        low, high = low - 0.5, high + 0.5
    counts, _ = np.histogram(np.clip(values, low, high), BINS, (low, high))
    return low, high, tuple(int(c) for c in counts)


def nearest(values: F64, side: Bools, bound: float | None, wanted: int) -> list[int]:
    """Rows on one side, the nearest to the bound first, ties by row; without a bound the extreme ones come first."""
    rows = np.flatnonzero(side & ~np.isnan(values))
    distance = np.abs(values[rows] - (np.median(values[rows]) if bound is None else bound)) if len(rows) else np.zeros(0)
    return [int(r) for r in rows[np.argsort(distance if bound is not None else -distance, kind="stable")][:wanted]]


@dataclass(frozen=True)
class Columns:
    """The documents of a sample that examples are taken from."""

    ids: Sequence[str]
    texts: Sequence[str | None]
    sources: Sequence[str]

    def example(self, row: int, value: float) -> Example:
        """One of them, cut short."""
        return Example(self.ids[row], value, (self.texts[row] or "")[:EXAMPLE_CHARS], self.sources[row])


@dataclass(frozen=True)
class Question:
    """A bound to look at."""

    step: str
    place: int
    column: str
    setting: str
    survives: Literal["at_least", "at_most"]
    bound: float | None
    may_be_null: bool
    values: F64  # f64[n], NaN where there is none


def examine(questions: Sequence[Question], columns: Columns, examples: int) -> list[Bounded]:
    """Answer all questions about one sample of n documents."""
    over = [crossed(q.values, q.survives, q.bound) for q in questions]
    crossings = np.sum(over, axis=0) if over else np.zeros(0)
    return [_examine(q, mine, crossings, columns, examples) for q, mine in zip(questions, over, strict=True)]


def _examine(q: Question, mine: Bools, crossings: npt.NDArray[Any], columns: Columns, examples: int) -> Bounded:
    n = max(1, len(q.values))
    there = q.values[~np.isnan(q.values)]
    quantiles = {f"{p:g}": float(v) for p, v in zip(QUANTILES, np.quantile(there, QUANTILES), strict=True)} if len(there) else {}
    low, high, counts = histogram(there, q.bound)
    sides = [[columns.example(row, float(q.values[row])) for row in nearest(q.values, side, q.bound, examples)] for side in (~mine, mine)]
    return Bounded(
        q.step, q.place, q.column, q.setting, q.survives, q.bound, q.may_be_null, len(there), quantiles, low, high, counts,
        float(mine.sum()) / n, float((mine & (crossings == 1)).sum()) / n, tuple(sides[0]), tuple(sides[1]),
    )  # fmt: skip


def condition(found: Sequence[Bounded]) -> list[str]:
    """Each bound as a condition for the step `filter`. Where the number may be missing, the document survives without it."""
    parts = []
    for b in found:
        if b.bound is not None:
            text = f"{b.column} {'>=' if b.survives == 'at_least' else '<='} {b.bound!r}"
            parts.append(f"({text} or {b.column} is null)" if b.may_be_null else text)
    return parts


def advice(found: Sequence[Bounded], steps: Sequence[str]) -> str:
    """Lines for a recipe: the steps as annotation (given as they stand there), and one `filter` with all bounds."""
    parts = condition(found)
    lines = [f"- {step}" for step in steps]
    if parts:
        lines += ["- filter: >-", *(f"    {part}{' and' if k < len(parts) - 1 else ''}" for k, part in enumerate(parts))]
    return "\n".join(lines)
