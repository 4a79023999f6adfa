"""How sure a difference is: paired bootstrap over items, and over documents and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
DRAWS = 10_000
LEVEL = 0.95


class Interval(NamedTuple):
    """A difference with the bounds between which 95 % of the resampled ones lie (percentiles)."""

    value: float
    low: float
    high: float

    @property
    def decided(self) -> bool:
        """Zero lies outside."""
        return self.low > 0 or self.high < 0


def mean_interval(values: Sequence[float] | Floats, seed: int = 0, draws: int = DRAWS) -> Interval:
    """Interval of a mean over items."""
    return ratio_interval(values, np.ones(len(values)), seed, draws)


def paired_difference(a: Sequence[float] | Floats, b: Sequence[float] | Floats, seed: int = 0, draws: int = DRAWS) -> Interval:
    """Interval of mean(b - a) over items that both answered, in the same order."""
    if len(a) != len(b):
        raise ValueError(f"{len(a)} against {len(b)} items")
    return mean_interval(np.asarray(b, np.float64) - np.asarray(a, np.float64), seed, draws)


def ratio_interval(values: Sequence[float] | Floats, weights: Sequence[float] | Floats, seed: int = 0, draws: int = DRAWS) -> Interval:
    """Interval of sum(values) / sum(weights): bits per byte over documents, which differ in length.

    Items are drawn with replacement, value and weight together. Deterministic by seed.
    """
    v, w = np.asarray(values, np.float64), np.asarray(weights, np.float64)
    if len(v) == 0:
        return Interval(float("nan"), float("nan"), float("nan"))
    chance = np.random.Generator(np.random.PCG64(seed))
    counts = _counts(chance, len(v), draws)
    drawn = (counts @ v) / np.maximum(counts @ w, 1e-300)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(v.sum() / w.sum()), float(low), float(high))


def _counts(chance: np.random.Generator, items: int, draws: int) -> Floats:
    """f64[draws, items]: how often each item is in each resample; in pieces, so that memory stays at 64 MB beside the result."""
    if items * draws > 1 << 27:
        draws = max(1000, (1 << 27) // items)
    found = np.empty((draws, items))
    for at in range(draws):
        found[at] = np.bincount(chance.integers(0, items, items), minlength=items)
    return found
