"""Rows of any format to Parquet, with column types learnt from all rows: a first pass keeps them, the second one writes.

Scalars and lists of turns become Arrow types; turns have the keys that were seen, arguments of tool calls as JSON text.
Anything else (a field with values of several kinds, an object, content in parts) is a column of JSON text, named in the
file's metadata under `json_columns`, so that it is read back as it was and no struct type gives a row the keys of
another. A null field and a missing one are the same in Parquet.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from formats.adapters.adapter import Row
from formats.json_text import dumps, loads
from formats.sources import JSON_COLUMNS

_GROUP_ROWS = 8192
_INT64 = range(-(1 << 63), 1 << 63)
_SCALARS = {"text": pa.large_string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}
_SIMPLE = frozenset({str, bool, float, type(None)})  # types of which every value means the same
_FUNCTION = pa.struct([pa.field("name", pa.string()), pa.field("arguments", pa.large_string())])
_CALLS = pa.list_(pa.struct([pa.field("id", pa.string()), pa.field("type", pa.string()), pa.field("function", _FUNCTION)]))


class ParquetRows:
    """Rows kept in a temporary file until their types are known."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._spool = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115  closed by close or abandon
        self._encoder = msgspec.json.Encoder()
        self._kinds: dict[str, set[str]] = {}
        self._turns: dict[str, dict[str, set[str]]] = {}
        self._shapes: set[tuple[str, Any]] = set()  # that say what is known already

    def write(self, rows: list[Row]) -> None:
        """Keep rows and learn their kinds."""
        for row in rows:
            for key, value in row.items():
                shape = (key, value.__class__ if value.__class__ in _SIMPLE else _shape(value))
                if shape not in self._shapes:
                    self._kinds.setdefault(key, set()).add(self._kind(key, value))
                    if shape[1] is not None:
                        self._shapes.add(shape)
        self._spool.write(self._encoder.encode_lines(rows))

    def close(self) -> list[str]:
        """Write the file. Returns notes: columns that became JSON text."""
        types = {key: self._type(key, kinds) for key, kinds in self._kinds.items()}
        as_json = sorted(key for key, kind in types.items() if kind is None)
        metadata = {JSON_COLUMNS: dumps(as_json)} if as_json else None
        schema = pa.schema([pa.field(k, kind if kind is not None else pa.large_string()) for k, kind in types.items()], metadata)
        with pq.ParquetWriter(self.path, schema, compression="zstd", compression_level=3) as file:
            for rows in self._groups():
                arrays = [_array([row.get(f.name) for row in rows], f.type, types[f.name] is None) for f in schema]
                file.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
        return [f"column {key!r} is JSON text in Parquet: its values are of several kinds" for key in as_json]

    def abandon(self) -> None:
        """Give the temporary file back."""
        self._spool.close()

    def _groups(self) -> Iterator[list[Row]]:
        self._spool.seek(0)
        rows: list[Row] = []
        for line in self._spool:
            rows.append(loads(line))
            if len(rows) == _GROUP_ROWS:
                yield rows
                rows = []
        if rows:
            yield rows

    def _kind(self, key: str, value: Any) -> str:
        scalar = _scalar(value)
        if scalar is not None:
            return scalar
        if isinstance(value, list):
            kinds = {_scalar(item) for item in value}
            if kinds <= {"text"}:
                return "texts" if value else "empty"
            if kinds == {"bool"}:
                return "flags"
            if kinds == {None} and all(isinstance(t, dict) and ("role" in t or "from" in t) for t in value):
                seen = self._turns.setdefault(key, {})
                for turn in value:
                    for name, part in turn.items():
                        seen.setdefault(name, set()).add("calls" if name == "tool_calls" and _are_calls(part) else _scalar(part) or "other")
                return "turns"
        return "other"

    def _type(self, key: str, kinds: set[str]) -> pa.DataType | None:
        """The Arrow type of a column; None for JSON text."""
        kinds = kinds - {"null"}
        if kinds <= {"turns", "empty"} and "turns" in kinds:
            fields = {name: _one({"calls": _CALLS, **_SCALARS}, seen) for name, seen in self._turns[key].items()}
            return None if None in fields.values() else pa.list_(pa.struct([pa.field(n, t) for n, t in fields.items()]))
        if kinds == {"flags"}:
            return pa.list_(pa.bool_())
        if kinds and kinds <= {"texts", "empty"}:
            return pa.list_(pa.large_string())
        return _one(_SCALARS, kinds)


def _shape(value: Any) -> frozenset[Any] | None:
    """Keys and types of turns, equal for lists of which the same is learnt; None where the values themselves have a say."""
    if value.__class__ is not list or not value:
        return None
    shape = frozenset([(*turn, *map(type, turn.values())) if turn.__class__ is dict else None for turn in value])
    return shape if all(s is not None and _SIMPLE.issuperset(s[len(s) // 2 :]) for s in shape) else None


def _one(types: dict[str, pa.DataType], kinds: set[str]) -> pa.DataType | None:
    kinds = kinds - {"null"} or {"text"}
    if kinds == {"int", "float"}:
        return pa.float64()
    return types.get(next(iter(kinds))) if len(kinds) == 1 else None


def _scalar(value: Any) -> str | None:
    if isinstance(value, str):
        return "text"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int" if value in _INT64 else "other"
    return "float" if isinstance(value, float) else None


def _are_calls(value: Any) -> bool:
    """Whether these are tool calls in OpenAI's form with nothing beside it."""
    return isinstance(value, list) and all(
        isinstance(c, dict)
        and set(c) <= {"id", "type", "function"}
        and set(c.get("function", ())) == {"name", "arguments"}
        and isinstance(c["function"]["arguments"], str)
        for c in value
    )


def _array(values: list[Any], kind: pa.DataType, as_json: bool) -> pa.Array:
    if as_json:
        return pa.array([None if v is None else dumps(v) for v in values], kind)
    if not pa.types.is_list(kind) or not pa.types.is_struct(kind.value_type) or None in values:
        return pa.array(values, kind)
    # Turns column by column: Arrow alone takes three times as long over dicts.
    turns = [turn for value in values for turn in value]
    offsets = pa.array(np.cumsum([0, *map(len, values)], dtype=np.int32))
    fields = list(kind.value_type)
    inner = pa.StructArray.from_arrays([pa.array([turn.get(f.name) for turn in turns], f.type) for f in fields], fields=fields)
    return pa.ListArray.from_arrays(offsets, inner, type=kind)
