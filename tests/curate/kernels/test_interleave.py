"""interleave: equal to its naive twin, exact counts, never far from plan."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels.interleave import interleave
from tests.reference import mixing as naive

COUNTS = st.lists(st.integers(0, 60), min_size=1, max_size=8)


@given(COUNTS)
@settings(max_examples=60, deadline=None)
def test_equal_to_the_naive_twin(counts: list[int]) -> None:
    sources, ordinals = interleave(np.array(counts, np.int64))
    assert list(zip(sources.tolist(), ordinals.tolist(), strict=True)) == naive.interleave(counts)
    assert np.bincount(sources, minlength=len(counts)).tolist() == counts


@given(st.lists(st.integers(1, 1500), min_size=1, max_size=10))
@settings(max_examples=80, deadline=None)
def test_any_64_places_are_within_one_of_plan(counts: list[int]) -> None:
    sources, _ = interleave(np.array(counts, np.int64))
    since_start, anywhere, before_the_end = naive.worst_errors(sources, counts)
    assert before_the_end <= 1 + 1e-9
    assert anywhere < 2
    assert since_start <= (1 if len(counts) <= 2 else 2) + 1e-9


def test_two_to_one() -> None:
    sources, ordinals = interleave(np.array([4, 2], np.int64))
    assert sorted(zip(sources.tolist(), ordinals.tolist(), strict=True)) == [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1)]
    assert [sources[i : i + 3].sum() for i in (0, 3)] == [1, 1]


def test_nothing_to_place_and_too_much() -> None:
    assert [len(a) for a in interleave(np.zeros(3, np.int64))] == [0, 0]
    with pytest.raises(ValueError, match="at most"):
        interleave(np.array([1 << 31], np.int64))
