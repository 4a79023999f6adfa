"""Shares to whole windows: largest remainder, ramps, feasibility."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import RecipeError
from curate.mix_schedule import (
    UNIT,
    Supply,
    feasibility,
    largest_remainder,
    normalised,
    parse_tokens,
    planned_counts,
    powered,
    refuse_short,
    stage_segments,
)

WEIGHTS = st.lists(st.floats(0.001, 100), min_size=1, max_size=6)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("900M", 900_000_000), ("1.5b", 1_500_000_000), ("2_000", 2000), ("10 K", 10_000), ("1T", 10**12), (7, 7), (1.5, 1.5)],
)
def test_parse_tokens(text: object, tokens: object) -> None:
    assert parse_tokens(text) == tokens


@pytest.mark.parametrize("text", ["", "M", "1.0005K", "-1M", "1 MiB", "1e6"])
def test_parse_tokens_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="must be a"):
        parse_tokens(text)


def test_largest_remainder() -> None:
    assert largest_remainder([Fraction(5, 2), Fraction(5, 2)], 5) == (3, 2)
    assert largest_remainder([Fraction(7, 10), Fraction(26, 10), Fraction(17, 10)], 5) == (1, 2, 2)


def exact(weights: list[float]) -> list[Fraction]:
    names = [str(i) for i in range(len(weights))]
    return normalised({name: Fraction(w) for name, w in zip(names, weights, strict=True)}, names)


@given(WEIGHTS, st.integers(0, 10_000))
@settings(max_examples=100, deadline=None)
def test_a_stage_without_ramp_is_one_segment(weights: list[float], windows: int) -> None:
    shares = exact(weights)
    segments = stage_segments(windows * 10 + 9, None, shares, [Fraction(10)] * len(shares), None)
    assert [s.windows for s in segments] == ([windows] if windows else [])
    for segment in segments:
        assert sum(segment.shares) == UNIT
        assert all(abs(mine - share * UNIT) < 1 for mine, share in zip(segment.shares, shares, strict=True))
        assert sum(planned_counts(segments)) == windows
        assert all(abs(c - s * windows) < 1.001 for c, s in zip(planned_counts(segments), shares, strict=True))


@given(WEIGHTS, st.integers(1, 5000), st.sampled_from(["linear", "cosine"]))
@settings(max_examples=30, deadline=None)
def test_a_ramp_follows_its_curve(weights: list[float], windows: int, kind: str) -> None:
    after, before = exact(weights), exact(weights[::-1])
    segments = stage_segments(windows * 10, before, after, [Fraction(10)] * len(after), kind)
    assert sum(s.windows for s in segments) == windows
    assert len(segments) == min(64, max(1, windows // 16))
    for step, segment in enumerate(segments):
        t = (2 * step + 1) / (2 * len(segments))
        f = t if kind == "linear" else (1 - math.cos(math.pi * t)) / 2
        for i, share in enumerate(segment.shares):
            assert share / UNIT == pytest.approx(float(before[i] + (after[i] - before[i]) * Fraction(f)), abs=1e-9)


def test_linear_ramp_in_numbers() -> None:
    segments = stage_segments(640, [Fraction(1), Fraction(0)], [Fraction(0), Fraction(1)], [Fraction(10)] * 2, "linear")
    assert [s.windows for s in segments] == [16] * 4
    assert [s.shares[1] * 8 / UNIT for s in segments] == [1, 3, 5, 7]


def test_shares_are_of_tokens_and_padding_is_none() -> None:
    """Windows of the second source are half empty: half of the tokens are two thirds of the windows."""
    (segment,) = stage_segments(3000, None, [Fraction(1, 2), Fraction(1, 2)], [Fraction(10), Fraction(5)], None)
    assert segment.windows == 450
    assert planned_counts([segment]) == (150, 300)


def test_temperature() -> None:
    assert powered(1000, 1) == 1000
    assert powered(1000, 3) == 10
    assert powered(0, 2) == 0
    assert powered(10**6, 1e6) == pytest.approx(1, abs=1e-4)


def supply(needed: int, cap: float = 1.0, available: int = 100) -> Supply:
    return Supply("books", available * 10 + 3, available, needed, cap)


def test_enough_at_the_bound() -> None:
    assert [supply(n).enough for n in (99, 100, 101)] == [True, True, False]
    assert [supply(n, 1.5).enough for n in (150, 151)] == [True, False]
    assert not supply(1, 4, 0).enough


def test_refusal_shows_the_table_and_the_ways_out() -> None:
    refuse_short([supply(100)], 10)
    with pytest.raises(RecipeError) as error:
        refuse_short([supply(50), supply(250, 2)], 10)
    text = str(error.value)
    assert "books                               1,000            2,500      2.50           2  short" in text
    assert "set max_epochs: {books: 2.5}, add 250 tokens to it, or lower its weight" in text
    with pytest.raises(RecipeError, match="less than one window of 10"):
        refuse_short([supply(1, 1, 0)], 10)


def test_estimates_are_marked() -> None:
    assert "~1,000" in feasibility([supply(101)], 10, False)[1]
    assert "short (estimate)" in feasibility([supply(101)], 10, False)[1]
