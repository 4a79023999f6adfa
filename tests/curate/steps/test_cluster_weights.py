"""Weights by cluster size: FineWeb-2's table, one's own, every border."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from curate.apply import run_step
from curate.steps.cluster_weights import WeightByCluster
from curate.steps.minhash import DedupMinhash


def weights(sizes: list[int | None], dup_of: list[str | None] | None = None, **settings: Any) -> list[float]:
    table = pa.table(
        {
            "text": ["x"] * len(sizes),
            "dup_size": pa.array(sizes, pa.int64()),
            "dup_of": pa.array(dup_of or [None] * len(sizes), pa.string()),
        }
    )
    found: list[float] = run_step(WeightByCluster(**settings), table).column("dup_weight").to_pylist()
    return found


def test_the_table_of_fineweb2() -> None:
    sizes: list[int | None] = [1, 2, 3, 4, 5, 99, 100, 999, 1000, 10**9, None]
    assert weights(sizes) == [1, 2, 3, 3, 5, 5, 8, 8, 1, 1, 1]


def test_a_table_of_ones_own_in_any_order() -> None:
    assert weights([1, 9, 10, 11], table={10: 0.5, 1: 1}) == [1, 1, 0.5, 0.5]


def test_duplicates_weigh_nothing() -> None:
    assert weights([7, 7, 1], ["a", None, None]) == [0, 5, 1]


def test_behind_deduplication() -> None:
    base = " ".join(f"w{i}" for i in range(100))
    given = pa.table({"id": ["a", "b", "c"], "text": [base, base, "something else entirely"]})
    rows = run_step(WeightByCluster(), run_step(DedupMinhash(mode="annotate"), given)).to_pylist()
    assert [r["dup_weight"] for r in rows] == [2, 0, 1]


@pytest.mark.parametrize("table", [{}, {2: 1}, {0: 1, 1: 1}, {1: -0.1}, {1: 1e6 + 1}])
def test_wrong_tables_are_refused(table: dict[int, float]) -> None:
    with pytest.raises(ValidationError):
        WeightByCluster(table=table)


def test_bounds_of_weights() -> None:
    assert weights([1, 2], table={1: 0, 2: 1e6}) == [0, 1e6]
