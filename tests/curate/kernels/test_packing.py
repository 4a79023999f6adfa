"""Best-fit packing: as few windows as the naive twin, none too full, every piece in one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels.packing import best_fit
from tests.reference import mixing as naive


@given(st.integers(1, 70).flatmap(lambda room: st.tuples(st.just(room), st.lists(st.integers(1, room), max_size=60))))
@settings(max_examples=150, deadline=None)
def test_equal_to_the_naive_twin(case: tuple[int, list[int]]) -> None:
    room, sizes = case
    window, windows = best_fit(np.array(sizes, np.int64), room)
    assert windows == naive.best_fit(sizes, room)
    filled = np.bincount(window, sizes, windows) if sizes else np.zeros(0)
    assert (filled <= room).all() and (filled > 0).all() and len(filled) == windows


def test_sizes_that_can_not_be() -> None:
    for sizes in ([0], [9]):
        with pytest.raises(ValueError, match=r"must lie in 1\.\.8"):
            best_fit(np.array(sizes), 8)


def test_many_documents_fill_their_windows() -> None:
    sizes = np.clip(np.random.default_rng(1).lognormal(5.5, 1.2, 20_000).astype(np.int64), 1, 2048)
    _, windows = best_fit(sizes, 2048)
    assert sizes.sum() / (windows * 2048) > 0.999
