"""The arithmetic of a mix: stages and shares to a plan of whole windows.

A window is `seq_len` tokens of one source, or less where packing pads it. Everything is counted in integers or exact fractions,
so that the plan is the same on every machine.

    share    of a source, of the trained tokens: its weight, times its mean document (`by: documents`), times its size to the power
             1 / temperature
    stage    as many windows as its tokens fill at these shares
    segment  a run of windows with constant shares of the places, in whole `UNIT`s. A stage without ramp is one; a stage with a ramp
             runs in up to 64 steps of equal length, each with the shares that the ramp has at the middle of the step
    order    `curate.kernels.interleave`, over the whole mix
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any

from pydantic import BeforeValidator

from curate.errors import RecipeError

RAMP_STEPS = 64
RAMP_STEP_WINDOWS = 16  # at least
UNIT = 1 << 40  # a whole place, in the plan (curate.kernels.interleave)
UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "G": 10**9, "T": 10**12}


@dataclass(frozen=True)
class Segment:
    """A run of windows with constant shares."""

    windows: int
    shares: tuple[int, ...]  # of each place per source, adding up to UNIT


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


# A setting that takes either. Whole numbers inside.
TokenCount = Annotated[int, BeforeValidator(parse_tokens, json_schema_input_type=int | str)]


def largest_remainder(shares: Sequence[Fraction], total: int) -> tuple[int, ...]:
    """Round shares that add up to `total` to whole numbers that do. Ties go to the first."""
    floors = [math.floor(share) for share in shares]
    order = sorted(range(len(shares)), key=lambda i: (floors[i] - shares[i], i))
    for i in order[: total - sum(floors)]:
        floors[i] += 1
    return tuple(floors)


def normalised(weights: Mapping[str, Fraction], sources: Sequence[str]) -> list[Fraction]:
    """Weights as exact shares that add up to one, in the order of `sources`; absent ones are 0."""
    exact = [weights.get(name, Fraction(0)) for name in sources]
    return [weight / sum(exact) for weight in exact]


def powered(size: int, temperature: float) -> Fraction:
    """size ** (1 / temperature), rounded to 12 digits: libraries differ in the last bit.

    The exponent of Conneau et al. 2020 (XLM-R, section 3.1; alpha = 0.3 there) is 1 / temperature: 1 keeps the sizes, more flattens them.
    """
    return Fraction(format(float(size) ** (1 / temperature), ".12g")) if size else Fraction(0)


def stage_segments(tokens: int, before: Sequence[Fraction] | None, shares: Sequence[Fraction], density: Sequence[Fraction],
                   anneal: str | None) -> list[Segment]:  # fmt: skip
    """Cut a stage into segments.

    shares: of the trained tokens; before: those of the stage before, where the ramp starts, needed with `anneal`
    density: mean trained tokens of a window per source, positive
    """
    if anneal is None or before is None:
        places, mean = _of_places(shares, density)
        return _segments([(math.floor(tokens / mean), places)])
    means = [density[0]]  # of the windows of each step
    if len(set(density)) > 1:
        points = [_ramp(anneal, Fraction(2 * i + 1, 2 * RAMP_STEPS)) for i in range(RAMP_STEPS)]
        means = [_of_places(_between(before, shares, point), density)[1] for point in points]
    windows = math.floor(tokens * len(means) / sum(means))
    steps = min(RAMP_STEPS, max(1, windows // RAMP_STEP_WINDOWS))
    middles = [_between(before, shares, _ramp(anneal, Fraction(2 * step + 1, 2 * steps))) for step in range(steps)]
    sizes = [windows * (step + 1) // steps - windows * step // steps for step in range(steps)]
    return _segments([(size, _of_places(middle, density)[0]) for size, middle in zip(sizes, middles, strict=True)])


def _of_places(shares: Sequence[Fraction], density: Sequence[Fraction]) -> tuple[list[Fraction], Fraction]:
    """(shares of the windows, mean trained tokens of a window) for shares of the trained tokens."""
    windows = [share / mean for share, mean in zip(shares, density, strict=True)]
    total = sum(windows, Fraction(0))
    return [w / total for w in windows], 1 / total


def _segments(parts: Sequence[tuple[int, Sequence[Fraction]]]) -> list[Segment]:
    return [Segment(size, largest_remainder([share * UNIT for share in shares], UNIT)) for size, shares in parts if size]


def planned_counts(segments: Sequence[Segment]) -> tuple[int, ...]:
    """Windows of each source over all segments: the plan, rounded by largest remainder."""
    sums = [sum(s.windows * s.shares[i] for s in segments) for i in range(len(segments[0].shares))]
    return largest_remainder([Fraction(total, UNIT) for total in sums], sum(s.windows for s in segments))


def _between(a: Sequence[Fraction], b: Sequence[Fraction], t: Fraction) -> list[Fraction]:
    return [(1 - t) * x + t * y for x, y in zip(a, b, strict=True)]


def _ramp(kind: str, t: Fraction) -> Fraction:
    """How far a ramp has gone at time t, both in [0, 1]. Cosine is rounded to 12 digits: libraries differ in the last bit."""
    return t if kind == "linear" else Fraction(round((1 - math.cos(math.pi * float(t))) / 2, 12)).limit_denominator(10**12)


@dataclass(frozen=True)
class Supply:
    """What a source has and what the mix wants of it, in windows."""

    name: str
    tokens: int  # in those windows, or in the source where it fills none
    available: int
    needed: int  # those of a mix that this one continues counted in
    max_epochs: float

    @property
    def epochs(self) -> float:
        return self.needed / self.available if self.available else math.inf

    @property
    def limit(self) -> int:
        """Windows that it may give."""
        return math.floor(Fraction(str(self.max_epochs)) * self.available)

    @property
    def enough(self) -> bool:
        return self.needed <= self.limit


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
