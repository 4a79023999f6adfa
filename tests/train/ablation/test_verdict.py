"""Differences between variants: exact on made-up bits, and never decided by means alone."""

from __future__ import annotations

import numpy as np
import pytest

from train.ablation.verdict import Difference, differences, overall, seeds_needed
from train.evaluation.bootstrap import Interval

DOMAINS = ["a"] * 40 + ["b"] * 20
SIZES = np.array([100.0] * 40 + [50.0] * 20)


def bits(gain: float, spread: float, seeds: int = 3) -> dict[str, np.ndarray]:
    """Two variants: `new` needs `gain` bits per byte less than `old`, give or take `spread` by seed."""
    chance = np.random.Generator(np.random.PCG64(0))
    old = SIZES * (2 + chance.normal(0, 0.2, (1, 60)) + chance.normal(0, 0.01, (seeds, 60)))
    by_seed = np.linspace(-spread, spread, seeds)[:, None] if seeds > 1 else np.zeros((1, 1))
    return {"old": old, "new": old - SIZES * (gain + by_seed)}


def test_a_large_gain_is_decided_with_its_exact_value() -> None:
    found = differences(bits(0.3, 0.01), SIZES, DOMAINS, [("new", "old")])
    assert [d.domain for d in found] == ["a", "b"]
    for d in found:
        assert d.gain.value == pytest.approx(0.3) and d.by_seed == pytest.approx((0.29, 0.30, 0.31))
        assert d.verdict == "better" and d.gain.low < 0.3 < d.gain.high
    assert overall(found, "new", "old") == "new is better than old on every domain (a, b)."
    other = differences(bits(0.3, 0.01), SIZES, DOMAINS, [("old", "new")])
    assert {d.verdict for d in other} == {"worse"}


def test_seeds_that_disagree_leave_it_undecided_whatever_the_mean() -> None:
    found = differences(bits(0.05, 0.2), SIZES, DOMAINS, [("new", "old")])
    for d in found:
        assert d.gain.value == pytest.approx(0.05) and d.verdict == "undecided"
        assert d.gain.low < 0 < d.gain.high
        assert f"about {d.seeds_needed} seeds would be needed" in d.sentence()
    assert "Do not choose" in overall(found, "new", "old")


def test_an_interval_without_zero_is_not_enough_where_one_seed_disagrees() -> None:
    one = Difference("new", "old", "a", Interval(0.1, 0.01, 0.2), (0.2, 0.11, -0.01), 5)
    assert one.verdict == "undecided"


def test_seeds_for_a_power_of_80_percent() -> None:
    assert seeds_needed([0.1, 0.1, 0.1]) == 2  # no spread: two are the least that show one
    assert seeds_needed([0.0, 0.0, 0.0]) is None
    # sd 0.1, mean 0.1: ((1.96 + 0.84) * 1)^2 = 7.85
    assert seeds_needed([0.0, 0.1, 0.2]) == 8
    assert seeds_needed([-1.0, 0.0, 1.003]) is None  # over 10,000


def test_mixed_domains_are_said_one_by_one() -> None:
    better = Difference("x", "y", "a", Interval(0.1, 0.05, 0.2), (0.1, 0.1, 0.1), 2)
    worse = Difference("x", "y", "b", Interval(-0.1, -0.2, -0.05), (-0.1, -0.1, -0.1), 2)
    assert overall([better, worse], "x", "y") == "x against y: better on a; worse on b."
    assert better.sentence() == ("x is better than y on a (+0.1000 bits per byte, 95 % from +0.0500 to +0.2000, better with 3 of 3 seeds).")
