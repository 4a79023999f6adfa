"""Units end where their sizes say, for any split into batches."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.io.units import Units


def naive(sizes: list[int], full: int, most_rows: int) -> list[list[int]]:
    units: list[list[int]] = [[]]
    for row, size in enumerate(sizes):
        units[-1].append(row)
        if sum(sizes[r] for r in units[-1]) >= full or len(units[-1]) >= most_rows:
            units.append([])
        assert size >= 0
    return [unit for unit in units if unit]


@given(st.lists(st.integers(0, 9), max_size=30), st.lists(st.integers(0, 30), max_size=4), st.integers(1, 25), st.integers(1, 12))
@settings(max_examples=200, deadline=None)
def test_units(sizes: list[int], cuts: list[int], full: int, most_rows: int) -> None:
    units = Units(full, most_rows)
    batch = pa.record_batch({"row": pa.array(range(len(sizes)), pa.int64())})
    made = []
    for a, b in pairwise([0, *sorted(min(c, len(sizes)) for c in cuts), len(sizes)]):
        made += list(units.add(batch.slice(a, b - a), np.array(sizes[a:b], np.int64)))
    if units.rows:
        made.append(units.take())
    rows = [[r for part in parts for r in part.column("row").to_pylist()] for parts, _ in made]
    assert rows == naive(sizes, full, most_rows)
    assert [size for _, size in made] == [sum(sizes[r] for r in unit) for unit in rows]
