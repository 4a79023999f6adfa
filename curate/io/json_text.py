"""Columns of any type to one JSON object a row: what becomes of the columns that are not asked for."""

from __future__ import annotations

import base64
import json
from typing import Any, cast

import pyarrow as pa


def json_objects(rows: pa.RecordBatch) -> pa.LargeStringArray:
    """One compact JSON object a row, keys in column order, nulls kept. NaN is null, times are ISO 8601, bytes base64."""
    if any(_has_bytes(field.type) for field in rows.schema):
        made = [json.dumps(_clean(row), ensure_ascii=False, separators=(",", ":"), default=_other) for row in rows.to_pylist()]
        return pa.array(made, pa.large_string())
    import polars as pl

    frame = cast(pl.DataFrame, pl.from_arrow(rows))
    return frame.select(pl.struct(pl.all()).struct.json_encode().alias("meta")).to_arrow()["meta"].combine_chunks().cast(pa.large_string())


def _has_bytes(kind: pa.DataType) -> bool:
    """Whether polars can't write it as JSON (it stops the process's query with a panic)."""
    if pa.types.is_nested(kind):
        return any(_has_bytes(kind.field(i).type) for i in range(kind.num_fields))
    if pa.types.is_dictionary(kind):
        return _has_bytes(kind.value_type)
    tests = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)
    return any(test(kind) for test in tests)


def _clean(value: Any) -> Any:
    """NaN and infinities are not JSON."""
    if isinstance(value, float) and value - value != 0:
        return None
    if isinstance(value, dict):
        return {k: _clean(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_clean(v) for v in value]
    return value


def _other(value: Any) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
