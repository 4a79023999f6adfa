"""Edges equal the naive twin's; work in huge groups is bounded and what is left out is counted."""

from __future__ import annotations

from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels.near_duplicates import EDGES, FIRST, LATEST, compare, copy_lists
from curate.kernels.shingles import ShingleSets
from tests.reference import minhash as reference


def csr(sets: list[list[int]]) -> ShingleSets:
    doc = np.cumsum([0, *(len(s) for s in sets)])
    return ShingleSets(doc, np.array([v for s in sets for v in sorted(s)], np.uint64))


def found(groups: list[list[list[int]]], threshold: float, contained: bool = False) -> dict[tuple[int, int], float]:
    starts = np.array([0, *accumulate(len(g) for g in groups)], np.int64)
    edges = compare(starts, csr([s for g in groups for s in g]), threshold, contained)
    assert len(edges.weak) == len(set(zip(edges.weak.tolist(), edges.strong.tolist(), strict=True)))
    return dict(zip(zip(edges.weak.tolist(), edges.strong.tolist(), strict=True), edges.similarity.tolist(), strict=True))


sets = st.frozensets(st.integers(0, 9), min_size=1)


@settings(deadline=None)
@given(st.lists(st.lists(sets, max_size=EDGES), max_size=5), st.sampled_from([0.1, 0.3, 0.5, 0.6, 0.75, 0.8, 1.0]), st.booleans())
def test_edges_are_those_of_the_naive_twin(groups: list[list[frozenset[int]]], threshold: float, contained: bool) -> None:
    plain = [[sorted(s) for s in g] for g in groups]
    assert found(plain, threshold, contained) == reference.edges([[set(s) for s in g] for g in groups], threshold, contained)


@pytest.mark.parametrize(("common", "near"), [(7, False), (8, True), (9, True)])
def test_threshold_itself_is_near(common: int, near: bool) -> None:
    assert found([[list(range(10)), list(range(common))]], 0.8) == ({(1, 0): common / 10} if near else {})


@pytest.mark.parametrize(("common", "total", "threshold"), [(4, 5, 0.8), (7, 10, 0.7), (1, 3, 1 / 3), (9, 10, 0.9), (3, 10, 0.3)])
def test_rational_thresholds_are_reached(common: int, total: int, threshold: float) -> None:
    scale = 1000
    whole = list(range(total * scale))
    assert found([[whole, list(range(common * scale))]], threshold) == {(1, 0): common / total}
    assert found([[whole, list(range(common * scale - 1))]], threshold) == {}


def test_containment_has_a_direction() -> None:
    small, large = [1, 2, 3], list(range(20))
    assert found([[large, small]], 0.8, contained=True) == {(1, 0): 1.0}
    assert found([[small, large]], 0.8, contained=True) == {}


def test_nothing_crosses_groups() -> None:
    assert found([[[1, 2]], [[1, 2]]], 0.5) == {}


def test_equal_sets_have_one_edge_each_and_are_marked() -> None:
    n = 20_000
    edges = compare(np.array([0, n]), csr([[1, 2, 3]] * n), 0.8)
    assert edges.strong.tolist() == [0] * (n - 1) and edges.same.all()
    assert edges.counts.tolist() == [n - 1, n - 1, 0]


def test_a_template_is_bounded_and_counted() -> None:
    n = FIRST + LATEST + 50
    texts = [[*range(7), 100 + 3 * i, 101 + 3 * i, 102 + 3 * i] for i in range(n)]
    edges = compare(np.array([0, n]), csr(texts), 0.8)
    assert len(edges.weak) == 0 and edges.counts[2] == 49
    assert edges.counts[0] == sum(min(i, FIRST + LATEST) for i in range(n))
    for old, near in [(0, True), (FIRST - 1, True), (FIRST, False), (n - LATEST - 1, False), (n - LATEST, True)]:
        twin = [*texts[old][:-1], 99]  # 9 of 11 in common
        assert found([[*texts, twin]], 0.8) == ({(n, old): 9 / 11} if near else {})


def test_the_most_similar_is_among_the_edges() -> None:
    base = list(range(40))
    # Documents that are near to the last one and to each other not: each lacks three others of its shingles, and has three own.
    texts = [[s for s in base if s // 4 != i] + [1000 + 4 * i + k for k in range(4)] for i in range(EDGES + 2)]
    best = [*base[:-1]]
    weak = {k[1]: v for k, v in found([[*texts, best, base]], 0.8).items() if k[0] == len(texts) + 1}
    assert weak[len(texts)] == 39 / 40 and len(weak) == EDGES


def test_no_documents() -> None:
    assert len(compare(np.array([0]), csr([]), 0.8).weak) == 0


def test_copy_lists() -> None:
    source = csr([[1, 2], [], [3]])
    out = np.zeros(5, np.uint64)
    copy_lists(source.doc, source.hash, np.array([2, 0, 0]), np.array([1, 0, 2]), np.array([0, 2, 3, 5]), out)
    assert out.tolist() == [1, 2, 3, 1, 2]
