"""Rows that are kept whole to be looked at."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from curate.worker.ledger import RUN_ROWS, _as_json, _kept


def test_dropped_rows_keep_columns_that_json_lacks() -> None:
    rows = pa.record_batch({"id": ["a"], "raw": [b"\xff\x00"], "score": [float("nan")]})
    assert json.loads(_as_json(rows)[0].as_py()) == {"raw": "/wA=", "score": None}


@pytest.mark.parametrize("gone", [[], [0], [31], [5, 6], [0, 31], [1, 3, 5], list(range(32))])
@pytest.mark.parametrize("null", [None, 7])
def test_rows_to_keep_are_those_of_a_filter(gone: list[int], null: int | None) -> None:
    """Few dropped rows go another way than many; 2 of 32 are few."""
    texts = [None if n == null else "\u00e9" * n for n in range(33)]
    batch = pa.record_batch({"id": list(map(str, range(33))), "text": pa.array(texts, pa.large_string()), "n": pa.array(range(33))}).slice(
        1
    )
    keep = pa.array(~np.isin(np.arange(32), gone))
    assert len(batch) == RUN_ROWS * 2
    kept = _kept(batch, keep)
    kept.validate(full=True)
    assert kept.equals(batch.filter(keep)) and kept.schema == batch.schema
