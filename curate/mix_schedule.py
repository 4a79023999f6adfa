"""The arithmetic of a mix: stages and shares to whole windows, whole windows to an order.

A window is `seq_len` tokens of one source. Everything is counted in windows, in integers or exact fractions, so that the
schedule is the same on every machine.

    stage    n = tokens // seq_len windows, shared out by largest remainder
    segment  a run of windows with constant shares; whole counts per source. A stage without ramp is one segment (cut
             where it is longer than 2^20 windows); a stage with a ramp runs in up to 64 steps of equal length, each with
             the weights that the ramp has at the middle of the step
    order    `curate.kernels.interleave` inside each segment
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from curate.errors import RecipeError

RAMP_STEPS = 64
RAMP_STEP_WINDOWS = 16  # at least
SEGMENT_WINDOWS = 1 << 20  # what a loader lays out at once
UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "G": 10**9, "T": 10**12}


@dataclass(frozen=True)
class Segment:
    """A run of windows with constant shares."""

    windows: int
    counts: tuple[int, ...]  # per source, adding up to `windows`


def parse_tokens(value: Any) -> Any:
    """900M -> 900000000. Units K, M, B (or G), T are powers of ten. What is not such a text is returned as it is."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMBGT]?)\s*", value.replace("_", ""), re.IGNORECASE)
    if match is None:
        raise ValueError(f"must be a number of tokens such as 900M, 1.5B or 2000000, got {value!r}")
    amount = Fraction(match[1]) * UNITS[match[2].upper()]
    if amount.denominator != 1:
        raise ValueError(f"must be a whole number of tokens, got {value!r}")
    return int(amount)


def largest_remainder(shares: Sequence[Fraction], total: int) -> tuple[int, ...]:
    """Round shares that add up to `total` to whole numbers that do. Ties go to the first."""
    floors = [math.floor(share) for share in shares]
    order = sorted(range(len(shares)), key=lambda i: (floors[i] - shares[i], i))
    for i in order[: total - sum(floors)]:
        floors[i] += 1
    return tuple(floors)


def normalised(weights: Mapping[str, float], sources: Sequence[str]) -> list[Fraction]:
    """Weights as exact shares that add up to one, in the order of `sources`; absent ones are 0."""
    exact = [Fraction(str(weights.get(name, 0))) for name in sources]
    return [weight / sum(exact) for weight in exact]


def stage_segments(windows: int, before: Sequence[Fraction] | None, shares: Sequence[Fraction], anneal: str | None) -> list[Segment]:
    """Cut a stage into segments whose counts follow its shares, rounded on the running total.

    before: shares of the stage before, where the ramp starts; needed with `anneal`
    """
    steps = 1
    if anneal is not None:
        steps = min(RAMP_STEPS, max(1, windows // RAMP_STEP_WINDOWS))
    segments: list[Segment] = []
    due = [Fraction(0)] * len(shares)
    given = [0] * len(shares)
    for step in range(steps):
        now = (
            list(shares) if anneal is None or before is None else _between(before, shares, _ramp(anneal, Fraction(2 * step + 1, 2 * steps)))
        )
        first, last = windows * step // steps, windows * (step + 1) // steps
        parts = max(1, -(-(last - first) // SEGMENT_WINDOWS))
        for part in range(parts):
            size = (last - first) * (part + 1) // parts - (last - first) * part // parts
            due = [d + size * share for d, share in zip(due, now, strict=True)]
            counts = _whole([d - g for d, g in zip(due, given, strict=True)], size)
            given = [g + c for g, c in zip(given, counts, strict=True)]
            if size:
                segments.append(Segment(size, counts))
    return segments


def _whole(owed: Sequence[Fraction], size: int) -> tuple[int, ...]:
    """Whole counts for what is owed since the stage began; a source that got a window too much is owed none."""
    counts = list(largest_remainder([max(o, Fraction(0)) for o in owed], size))
    while (over := sum(counts) - size) > 0:  # only where somebody is owed less than nothing
        slack = [(o - c, i) for i, (o, c) in enumerate(zip(owed, counts, strict=True)) if c]
        counts[min(slack)[1]] -= min(over, 1)
    return tuple(counts)


def _between(a: Sequence[Fraction], b: Sequence[Fraction], t: Fraction) -> list[Fraction]:
    return [(1 - t) * x + t * y for x, y in zip(a, b, strict=True)]


def _ramp(kind: str, t: Fraction) -> Fraction:
    """How far a ramp has gone at time t, both in [0, 1]. Cosine is rounded to 12 digits: libraries differ in the last bit."""
    return t if kind == "linear" else Fraction(round((1 - math.cos(math.pi * float(t))) / 2, 12)).limit_denominator(10**12)


@dataclass(frozen=True)
class Supply:
    """What a source has and what the mix wants of it, in windows."""

    name: str
    tokens: int
    available: int
    needed: int
    max_epochs: float

    @property
    def epochs(self) -> float:
        return self.needed / self.available if self.available else math.inf

    @property
    def enough(self) -> bool:
        return self.needed <= math.floor(Fraction(str(self.max_epochs)) * self.available)


def feasibility(supplies: Sequence[Supply], seq_len: int, exact: bool) -> list[str]:
    """A table of needed against available tokens, one line per source."""
    mark = "" if exact else "~"
    head = f"{'source':<24} {'available':>16} {'needed':>16} {'epochs':>9} {'max_epochs':>11}"
    lines = [head]
    for s in supplies:
        short = "" if s.enough else "  short" if exact else "  short (estimate)"
        available, needed = f"{mark}{s.available * seq_len:,}", f"{s.needed * seq_len:,}"
        lines.append(f"{s.name:<24} {available:>16} {needed:>16} {mark + format(s.epochs, '.2f'):>9} {s.max_epochs:>11g}{short}")
    return lines


def refuse_short(supplies: Sequence[Supply], seq_len: int) -> None:
    """Raise RecipeError with the table and the ways out where a source can't give what is asked."""
    short = [s for s in supplies if not s.enough]
    if not short:
        return
    ways = []
    for s in short:
        if not s.available:
            ways.append(f"{s.name} has {s.tokens:,} tokens, less than one window of {seq_len}: give it more documents, or take it out.")
            continue
        epochs = math.ceil(s.epochs * 100) / 100
        missing = math.ceil(s.needed / s.max_epochs) - s.available
        ways.append(
            f"{s.name} is needed {s.epochs:.2f} times, at most {s.max_epochs:g} allowed: set max_epochs: {{{s.name}: {epochs:g}}}, "
            f"add {missing * seq_len:,} tokens to it, or lower its weight or the stages' tokens."
        )
    raise RecipeError("mix: not enough tokens.\n" + "\n".join([*feasibility(supplies, seq_len, True), *ways]))
