"""Order of rows: every row once a pass, the same for any split into steps and ranks; sizes of batches that divide."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from train.posttraining.order import GroupedOrder, Order, batching, places_to_rows


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(1, 5), st.integers(0, 2**40))
def test_every_row_once_a_pass_and_any_place_by_itself(rows: int, passes: int, seed: int) -> None:
    order = list(Order(rows, passes * rows, seed))
    assert all(sorted(order[p * rows : (p + 1) * rows]) == list(range(rows)) for p in range(passes))
    back = places_to_rows(np.arange(passes * rows)[::-1].copy(), rows, seed)[::-1]
    assert order == back.tolist()


def test_passes_and_seeds_differ() -> None:
    order = list(Order(100, 200, 1))
    assert order[:100] != order[100:] and order != list(Order(100, 200, 2))
    assert list(Order(3, 7, None)) == [0, 1, 2, 0, 1, 2, 0]  # without a seed as they lie


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(1, 4), st.integers(1, 5), st.integers(2, 4), st.integers(1, 3))
def test_groups_stand_together_and_blocks_repeat(rows: int, blocks: int, prompts: int, answers: int, repeats: int) -> None:
    order = GroupedOrder(rows, blocks, prompts, answers, repeats, 7)
    found = np.array(list(order)).reshape(blocks, repeats, prompts, answers)
    assert len(order) == found.size
    assert (found == found[:, :1, :, :1]).all()
    assert found[:, 0, :, 0].ravel().tolist() == list(Order(rows, blocks * prompts, 7))


@pytest.mark.parametrize(
    ("batch", "micro", "rows", "processes", "expected"),
    [
        (32, None, 1000, 1, (32, 8, 4)),
        (32, None, 1000, 8, (32, 4, 1)),
        (14, None, 1000, 1, (14, 7, 2)),
        (32, 16, 1000, 2, (32, 16, 1)),
        (32, 64, 1000, 2, (32, 16, 1)),
        (32, None, 7, 2, (6, 3, 1)),
        (32, None, 1, 1, (1, 1, 1)),
    ],
)
def test_sizes(batch: int, micro: int | None, rows: int, processes: int, expected: tuple[int, int, int]) -> None:
    assert batching(batch, micro, rows, processes) == expected


def test_sizes_that_do_not_divide() -> None:
    with pytest.raises(ValueError, match="multiple of the 3 processes"):
        batching(32, None, 100, 3)
    with pytest.raises(ValueError, match="must divide the 32 rows"):
        batching(32, 5, 100, 1)
