"""Who stays equals the naive twin's choice, for any order and any pieces of the edges."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels.assignment import Assignment, Piece, assign
from tests.reference import minhash as reference

Edge = tuple[int, int, float, bool, int]


def piece(edges: list[Edge]) -> Piece:
    weak, strong, similarity, same, order = ([e[i] for e in edges] for i in range(5))
    shift = 1 << 40
    return Piece(np.array(weak, np.int64) * shift, np.array(strong, np.int64) * shift, np.array(similarity, float),
                 np.array(same, bool), np.array(order, np.uint64))  # fmt: skip


def decided(edges: list[Edge], cuts: int = 1) -> tuple[Assignment, dict[int, tuple[int, float] | None]]:
    parts = [edges[i::cuts] for i in range(cuts)]
    flat = [e for part in parts for e in part]
    found = assign(lambda: [piece(part) for part in parts])
    rows = (found.rows >> 40).tolist()
    named = [None if e < 0 else flat[e][1:3] for e in found.edge.tolist()]
    return found, dict(zip(rows, named, strict=True))


@st.composite
def some_edges(draw: st.DrawFn) -> list[Edge]:
    pairs = draw(st.sets(st.tuples(st.integers(0, 14), st.integers(0, 14)).filter(lambda p: p[0] > p[1])))
    return [(a, b, draw(st.sampled_from([0.8, 0.85, 0.9])), False, b) for a, b in sorted(pairs)]


@settings(deadline=None)
@given(some_edges(), st.integers(1, 4), st.randoms(use_true_random=False))
def test_choice_is_that_of_the_naive_twin(edges: list[Edge], cuts: int, random: np.random.Generator) -> None:
    expected = reference.assign(edges)
    random.shuffle(edges)  # type: ignore[arg-type]
    found, named = decided(edges, cuts)
    assert named == expected
    assert found.stays.tolist() == [expected[r] is None for r in named]
    sizes = {r: 1 + sum(v is not None and v[0] == r for v in expected.values()) if expected[r] is None else 0 for r in expected}
    assert dict(zip((found.rows >> 40).tolist(), found.size.tolist(), strict=True)) == sizes


def test_no_chains() -> None:
    _, named = decided([(1, 0, 0.82, False, 0), (2, 1, 0.82, False, 1)])
    assert named == {0: None, 1: (0, 0.82), 2: None}


def test_an_equal_document_has_the_partner_of_its_equal() -> None:
    edges = [(1, 0, 0.9, False, 0), (2, 1, 1.0, True, 1), (3, 2, 1.0, True, 2), (4, 3, 0.8, False, 3)]
    found, named = decided(edges)
    assert named == reference.assign(edges) == {0: None, 1: (0, 0.9), 2: (0, 0.9), 3: (0, 0.9), 4: None}
    assert found.size.tolist() == [4, 0, 0, 0, 1]


def test_partner_is_the_most_similar_then_the_smaller_order() -> None:
    _, named = decided([(2, 0, 0.8, False, 5), (2, 1, 0.8, False, 4)])
    assert named[2] == (1, 0.8)
    _, named = decided([(2, 0, 0.9, False, 5), (2, 1, 0.8, False, 4)])
    assert named[2] == (0, 0.9)


def test_an_edge_that_comes_twice_counts_once() -> None:
    _, named = decided([(1, 0, 0.8, False, 0)] * 3 + [(2, 1, 0.8, False, 1)] * 2)
    assert named == {0: None, 1: (0, 0.8), 2: None}


def test_long_chains_and_wide_stars() -> None:
    n = 20_000
    _, named = decided([(i, i - 1, 0.9, False, i - 1) for i in range(n - 1, 0, -1)])
    assert all((v is None) == (d % 2 == 0) for d, v in named.items())
    found, _ = decided([(i, 0, 0.9, False, 0) for i in range(1, n)])
    assert found.size[0] == n


def test_no_edges() -> None:
    found, named = decided([])
    assert len(found.rows) == 0 and named == {}
