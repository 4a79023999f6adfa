"""Columns of any type to one JSON object a row: what becomes of the columns that are not asked for."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from json.encoder import encode_basestring as _text
from typing import Any, cast

import pyarrow as pa

FEW_ROWS = 1024  # polars is faster from some rows on, but its import takes a quarter of a second, which a run's dropped rows are not worth


def json_objects(rows: pa.RecordBatch) -> pa.LargeStringArray:
    """One compact JSON object a row, keys in column order, nulls kept. NaN is null, times are ISO 8601, bytes base64."""
    if any(_has_bytes(field.type) for field in rows.schema):
        made = [json.dumps(_clean(row), ensure_ascii=False, separators=(",", ":"), default=_other) for row in rows.to_pylist()]
        return pa.array(made, pa.large_string())
    if rows.num_rows <= FEW_ROWS and all(_is_plain(field.type) for field in rows.schema):
        return pa.array(_written(rows), pa.large_string())
    import polars as pl

    frame = cast(pl.DataFrame, pl.from_arrow(rows))
    return frame.select(pl.struct(pl.all()).struct.json_encode().alias("meta")).to_arrow()["meta"].combine_chunks().cast(pa.large_string())


def _is_plain(kind: pa.DataType) -> bool:
    """Whether its values are written here; the other types are left to polars, 32-bit floats too (their digits are their own)."""
    tests = (pa.types.is_null, pa.types.is_boolean, pa.types.is_integer, pa.types.is_float64, pa.types.is_string, pa.types.is_large_string)
    return any(test(kind) for test in tests)


def _written(rows: pa.RecordBatch) -> list[str]:
    """What polars makes of columns of plain types, byte for byte."""
    cells = [_cells(_text(name) + ":", column) for name, column in zip(rows.schema.names, rows.columns, strict=True)]
    return ["{" + ",".join(row) + "}" for row in zip(*cells, strict=True)]


def _cells(key: str, column: pa.Array) -> list[str]:
    write: Callable[[Any], str] = str
    if pa.types.is_boolean(column.type):
        write = {False: "false", True: "true"}.__getitem__
    elif pa.types.is_float64(column.type):
        write = _number
    elif not pa.types.is_integer(column.type):
        write = _text
    return [key + ("null" if value is None else write(value)) for value in column.to_pylist()]


def _number(value: float) -> str:
    """The shortest digits that give the same float64, without an exponent from 1e-5 on below 1e16."""
    if value - value != 0:
        return "null"
    shortest = repr(value)
    digits, e, power = shortest.partition("e")
    if not e:
        return shortest
    if int(power) != -5:
        return f"{digits}e{int(power):+d}"
    return f"{'-' if value < 0 else ''}0.0000{digits.lstrip('-').replace('.', '')}"


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
