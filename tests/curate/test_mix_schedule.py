"""Shares to whole windows: largest remainder, ramps, feasibility."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import RecipeError
from curate.mix_schedule import Supply, feasibility, largest_remainder, normalised, parse_tokens, refuse_short, stage_segments

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


@given(WEIGHTS, st.integers(0, 10_000))
@settings(max_examples=100, deadline=None)
def test_a_stage_without_ramp_is_one_segment(weights: list[float], windows: int) -> None:
    names = [str(i) for i in range(len(weights))]
    shares = normalised(dict(zip(names, weights, strict=True)), names)
    segments = stage_segments(windows, None, shares, None)
    assert len(segments) == (windows > 0)
    for segment in segments:
        assert sum(segment.counts) == segment.windows == windows
        assert all(abs(c - s * windows) < 1 for c, s in zip(segment.counts, shares, strict=True))


@given(WEIGHTS, st.integers(1, 5000), st.sampled_from(["linear", "cosine"]), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_a_ramp_stays_with_its_running_plan(weights: list[float], windows: int, kind: str, rng: object) -> None:
    names = [str(i) for i in range(len(weights))]
    after = normalised(dict(zip(names, weights, strict=True)), names)
    before = normalised(dict(zip(names, reversed(weights), strict=True)), names)
    segments = stage_segments(windows, before, after, kind)
    assert sum(s.windows for s in segments) == windows
    assert len(segments) == min(64, max(1, windows // 16))
    for i in range(len(weights)):
        done, due = 0, Fraction(0)
        for step, segment in enumerate(segments):
            t = (2 * step + 1) / (2 * len(segments))
            f = t if kind == "linear" else (1 - math.cos(math.pi * t)) / 2
            due += segment.windows * (before[i] + (after[i] - before[i]) * Fraction(f))
            done += segment.counts[i]
            assert segment.counts[i] >= 0
            assert abs(done - due) < 2
    assert all(sum(s.counts) == s.windows for s in segments)


def test_linear_ramp_in_numbers() -> None:
    segments = stage_segments(64, [Fraction(1), Fraction(0)], [Fraction(0), Fraction(1)], "linear")
    assert [s.counts for s in segments] == [(14, 2), (10, 6), (6, 10), (2, 14)]


def test_long_stages_are_cut() -> None:
    segments = stage_segments(3 << 20, None, [Fraction(1, 3), Fraction(2, 3)], None)
    assert [s.windows for s in segments] == [1 << 20] * 3
    assert sum(s.counts[0] for s in segments) == 1 << 20


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
