"""From the fine bins of `curate.distributions` to the few bars that a plot and its table show. Counts stay exact."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

Bins = Sequence[Sequence[float]]  # [low, high, count of every series ...]

LINEAR_BARS = 32
LOG_BARS = 40
LOG_FROM = 64.0  # ranges that reach this are drawn by octaves
TAIL = 0.005  # share of documents on the far side of which the axis may end


class Bar(NamedTuple):
    """low <= number < high; the last bar takes everything above, the first everything below."""

    low: float
    high: float
    counts: tuple[int, ...]  # one for each series


class Axis(NamedTuple):
    """Bars of equal width on paper."""

    bars: tuple[Bar, ...]
    start: float
    end: float
    octaves: bool  # by powers of two, each octave cut evenly

    def place(self, number: float) -> float:
        """Where a number stands, in [0, 1]."""
        if self.octaves:
            number = max(number, self.start)
            whole = math.frexp(number)[1] - 1
            at = whole + number / 2.0**whole - 1
            low, high = math.log2(self.start), math.log2(self.end)
            return min(1.0, max(0.0, (at - low) / (high - low)))
        return min(1.0, max(0.0, (number - self.start) / (self.end - self.start)))

    def ticks(self) -> list[float]:
        """Numbers to write below the axis."""
        if not self.octaves:
            return [self.start + (self.end - self.start) * k / 4 for k in range(5)]
        octaves = round(math.log2(self.end / self.start))
        return [self.start * 2.0**k for k in range(0, octaves + 1, max(1, -(-octaves // 5)))]


def axis(bins: Bins, *bounds: float | None) -> Axis:
    """Lay out bins [low, high, count, ...]; every bound lies inside."""
    total = sum(sum(b[2:]) for b in bins)
    limits = [b for b in bounds if b is not None]
    lowest = min([bins[0][0] if bins else 0.0, *limits])
    seen, top, low = 0.0, 1.0, 1.0
    for b in bins:
        if seen <= TAIL * total:
            low = b[0]
        seen += sum(b[2:])
        top = b[1] if b[0] else max(top if len(bins) == 1 else 0.0, b[1])
        if seen >= (1 - TAIL) * total:
            break
    top = _power_above(max([top, *(abs(x) for x in limits)]))
    if top >= LOG_FROM and lowest >= 0:
        return _by_octaves(bins, min([low, *(x for x in limits if x > 0)]), top)
    start = -_power_above(-lowest) if lowest < 0 else 0.0
    whole = all(float(b[0]).is_integer() for b in bins)
    bars = min(LINEAR_BARS, max(1, int(top - start))) if whole and top > 1 else LINEAR_BARS
    width = (top - start) / bars
    counts = _fill(bins, bars, lambda number: math.floor((number - start) / width))
    return Axis(tuple(Bar(start + k * width, start + (k + 1) * width, tuple(c)) for k, c in enumerate(counts)), start, top, False)


def _by_octaves(bins: Bins, low: float, top: float) -> Axis:
    start = min(_power_above(max(low, 1.0)) / (1.0 if low <= 1 else 2.0), top / 2)
    octaves = round(math.log2(top / start))
    cuts = next(c for c in (8, 4, 2, 1) if octaves * c <= LOG_BARS or c == 1)

    def place(number: float) -> int:
        if number < start:
            return 0
        whole = math.frexp(number)[1] - 1
        return round(whole - math.log2(start)) * cuts + math.floor((number / 2.0**whole - 1) * cuts)

    counts = _fill(bins, octaves * cuts, place)
    edges = [start * 2.0 ** (k // cuts) * (1 + (k % cuts) / cuts) for k in range(octaves * cuts + 1)]
    return Axis(tuple(Bar(edges[k], edges[k + 1], tuple(c)) for k, c in enumerate(counts)), start, top, True)


def _fill(bins: Bins, bars: int, place: Callable[[float], int]) -> list[list[int]]:
    """Counts of every bar and series."""
    series = len(bins[0]) - 2 if bins else 1
    counts = [[0] * series for _ in range(bars)]
    for b in bins:
        into = counts[min(bars - 1, max(0, place(b[0])))]
        for at, count in enumerate(b[2:]):
            into[at] += int(count)
    return counts


def _power_above(number: float) -> float:
    """The smallest power of two that is at least `number`."""
    if number <= 0:
        return 1.0
    mantissa, exponent = math.frexp(number)
    return 2.0 ** (exponent - 1 if mantissa == 0.5 else exponent)


def merge_series(first: Bins, second: Bins) -> list[list[float]]:
    """Two lists of bins [low, high, count] as one with two counts."""
    found: dict[tuple[float, float], list[float]] = {}
    for at, bins in enumerate((first, second)):
        for low, high, count in bins:
            found.setdefault((low, high), [0, 0])[at] += count
    return [[*edges, *counts] for edges, counts in sorted(found.items())]
