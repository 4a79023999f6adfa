"""Components equal those found by walking; the order of records does not matter."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels.unionfind import components, forest
from tests.reference import minhash as reference

nodes = st.integers(0, 30)


@settings(deadline=None)
@given(st.lists(st.tuples(nodes, nodes)), st.randoms(use_true_random=False))
def test_components_are_those_of_the_naive_twin(edges: list[tuple[int, int]], random: np.random.Generator) -> None:
    expected = reference.components(edges)
    random.shuffle(edges)  # type: ignore[arg-type]
    a, b = np.array([e[0] << 40 for e in edges], np.int64), np.array([e[1] << 40 for e in edges], np.int64)
    rows, component = components(a, b)
    assert dict(zip((rows >> 40).tolist(), (component >> 40).tolist(), strict=True)) == expected
    assert (np.diff(rows) > 0).all()


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), nodes)))
def test_forest_connects_what_shares_a_key(records: list[tuple[int, int]]) -> None:
    key = np.array([2**64 - 1 - k for k, _ in records], np.uint64)
    row = np.array([r for _, r in records], np.int64)
    a, b = forest(key, row)
    every = [(r, s) for k, r in records for m, s in records if k == m and r != s]
    assert reference.components(zip(a.tolist(), b.tolist(), strict=True)) == reference.components(every)
    assert len(a) <= max(len(set(row.tolist())) - 1, 0)
    assert (a < b).all()


def test_a_huge_bucket_gives_one_edge_a_row() -> None:
    rows = np.random.default_rng(0).permutation(10**5)
    a, b = forest(np.tile(np.array([3, 5], np.uint64), 10**5), np.repeat(rows, 2))
    assert len(a) == 10**5 - 1 and not a.any()
    found, component = components(a, b)
    assert len(found) == 10**5 and not component.any()


def test_a_chain_is_one_component() -> None:
    at = np.arange(10**5)
    rows, component = components(at[:-1], at[1:])
    assert len(rows) == 10**5 and not component.any()
    rows, component = components(at[:0:-1], at[-2::-1])
    assert not component.any()
