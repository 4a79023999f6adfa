"""Components equal those found by walking; the order of records does not matter."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels.unionfind import components
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


def test_a_chain_is_one_component() -> None:
    at = np.arange(10**5)
    rows, component = components(at[:-1], at[1:])
    assert len(rows) == 10**5 and not component.any()
    rows, component = components(at[:0:-1], at[-2::-1])
    assert not component.any()
