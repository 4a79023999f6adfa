"""Rows that are kept whole to be looked at."""

from __future__ import annotations

import json

import pyarrow as pa

from curate.worker.ledger import _as_json


def test_dropped_rows_keep_columns_that_json_lacks() -> None:
    rows = pa.record_batch({"id": ["a"], "raw": [b"\xff\x00"], "score": [float("nan")]})
    assert json.loads(_as_json(rows)[0].as_py()) == {"raw": "/wA=", "score": None}
