"""The keyed permutation: a bijection for every n, equal to its naive twin, another one for every key."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels.permutation import ROUNDS, half_bits, permuted, round_keys
from tests.reference import mixing as naive


@given(st.integers(1, 5000), st.integers(0, 2**63))
@settings(max_examples=100, deadline=None)
def test_bijective(n: int, seed: int) -> None:
    assert np.array_equal(np.sort(permuted(np.arange(n), n, round_keys(seed, "a", 0))), np.arange(n))


@given(st.integers(1, 1 << 62), st.data())
@settings(max_examples=100, deadline=None)
def test_equal_to_the_naive_twin(n: int, data: st.DataObject) -> None:
    keys = round_keys(7, "x", 1)
    positions = data.draw(st.lists(st.integers(0, n - 1), max_size=5))
    expected = [naive.permuted(p, n, [int(k) for k in keys]) for p in positions]
    assert permuted(np.array(positions, np.int64), n, keys).tolist() == expected


def test_domain_is_the_smallest_that_holds_n() -> None:
    assert [half_bits(n) for n in (0, 1, 2, 4, 5, 16, 17, 64, 65)] == [1, 1, 1, 1, 2, 2, 3, 3, 4]


def test_keys_depend_on_every_part() -> None:
    made = [round_keys(*parts).tolist() for parts in ((1, "a", 0), (2, "a", 0), (1, "b", 0), (1, "a", 1))]
    assert all(len(k) == ROUNDS for k in made)
    assert len({tuple(k) for k in made}) == 4


def test_spread_is_even() -> None:
    n = 10**9
    places = permuted(np.arange(100_000), n, round_keys(3)) / n
    assert np.abs(np.sort(places) - np.linspace(0, 1, len(places))).max() < 0.0061  # Kolmogorov-Smirnov, 0.1 %
    assert abs(np.corrcoef(places[:-1], places[1:])[0, 1]) < 0.012


def test_out_of_range() -> None:
    with pytest.raises(ValueError, match=r"0\.\.9"):
        permuted(np.array([10]), 10, round_keys(0))
