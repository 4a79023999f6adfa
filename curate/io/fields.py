"""From the fields of a row to the document's columns: ids, sources and promoted columns, and the batch they make."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from curate.io.reader import BATCH_BYTES, BATCH_ROWS, COLUMN_TYPES, Rows, Unreadable
from curate.kernels.strings import joined
from curate.schema import DOCUMENT

INT64 = range(-(1 << 63), 1 << 63)
NO_META = "{}"


class RowError(ValueError):
    """A row that can't be read: what was got, what was expected."""


def kind_of(raw: bytes) -> str:
    """What a JSON value is, in words, from its first byte."""
    return {34: "text", 123: "an object", 91: "a list", 116: "true", 102: "false", 110: "null"}.get(raw[0], "a number")


def wrong_type(field: str, raw: bytes, expected: str) -> RowError:
    """The message for a value of the wrong type."""
    shown = raw[:40].decode("utf-8", "replace")
    return RowError(f"field {field!r} is {kind_of(raw)} ({shown}{'...' if len(raw) > 40 else ''}), expected {expected}")


def missing(field: str, there: Sequence[str]) -> RowError:
    """The message for a row without a field that is due."""
    names = ", ".join(there[:12]) + (f" and {len(there) - 12} more" if len(there) > 12 else "")
    return RowError(f"no field {field!r}; fields are: {names or '(none)'}")


def string_of(raw: bytes) -> str:
    """Value of a JSON string. Raises RowError for a lone surrogate."""
    if b"\\" not in raw:
        return raw[1:-1].decode()
    text: str = json.loads(raw)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RowError(f"a lone surrogate (\\u{ord(text[error.start]):04x}) at character {error.start}, which UTF-8 can't hold") from None
    return text


def name_of(field: str, raw: bytes) -> str | None:
    """An id or a source from JSON: text as it is, numbers as they are written, null as None."""
    first = raw[0]
    if first == 34:
        return string_of(raw)
    if first == 110:
        return None
    if first in b"-0123456789":
        return raw.decode()
    raise wrong_type(field, raw, "text or a number")


def value_of(field: str, kind: str, raw: bytes) -> Any:
    """Value of a promoted column from JSON; null stays null. Raises RowError for another type than `kind`."""
    first = raw[0]
    if first == 110 or raw == b"NaN":
        return None
    if kind == "string" and first == 34:
        return string_of(raw)
    if kind == "bool" and first in b"tf":
        return first == 116
    if kind == "timestamp" and first == 34:
        return timestamp_of(field, string_of(raw))
    if first in b"-0123456789":
        if kind == "float":
            return float(raw)
        if kind == "int" and not set(raw) & set(b".eE") and len(raw) < 21 and (value := int(raw)) in INT64:
            return value
    expected = {
        "string": "text",
        "bool": "true or false",
        "timestamp": "a time as ISO 8601 text",
        "int": "a whole number of 64 bits",
        "float": "a number",
    }
    raise wrong_type(field, raw, expected[kind])


def value_of_text(field: str, kind: str, text: str) -> Any:
    """Value of a promoted column from the text of a cell; empty is null, except for string."""
    if kind == "string":
        return text
    text = text.strip()
    if not text:
        return None
    try:
        if kind == "timestamp":
            return timestamp_of(field, text)
        if kind == "bool":
            return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
        if kind == "int":
            value = int(text)
            if value not in INT64:
                raise ValueError
            return value
        return float(text)
    except (ValueError, KeyError):
        raise RowError(f"field {field!r} is {text[:40]!r}, expected {kind}") from None


def timestamp_of(field: str, text: str) -> datetime:
    """A time from ISO 8601 text; UTC where it names no zone."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise RowError(f"field {field!r} is {text[:40]!r}, expected a time as ISO 8601 text") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def id_maker(dataset: str, path: str) -> Callable[[int], str]:
    """`document_id` for one file, with its fixed part encoded once."""
    prefix = f"{dataset}\0{path}\0".encode()
    digest = xxhash.xxh3_128_hexdigest
    return lambda offset: digest(b"%b%d" % (prefix, offset))


def schema_of(columns: Mapping[str, str]) -> pa.Schema:
    """Schema of a reader's batches."""
    return pa.schema([*DOCUMENT, *(pa.field(name, COLUMN_TYPES[kind]) for name, kind in columns.items())])


def batch_of(schema: pa.Schema, ids: Any, text: Any, source: Any, meta: Any, columns: Mapping[str, Any]) -> pa.RecordBatch:
    """Put columns (Arrow arrays or lists) together in the order of the schema."""
    given = {"id": ids, "text": text, "source": source, "meta": meta, **columns}
    arrays = []
    for field in schema:
        column = given[field.name]
        arrays.append(column if isinstance(column, pa.Array) else pa.array(column, field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def repeated(value: str, count: int, kind: pa.DataType) -> pa.Array:
    """An array of one value."""
    return pa.repeat(pa.scalar(value, kind), count)


def replaced(column: pa.Array, values: Mapping[int, Any]) -> pa.Array:
    """The column with other values in some rows."""
    if not values:
        return column
    mask = np.zeros(len(column), bool)
    mask[list(values)] = True
    return pc.replace_with_mask(column, pa.array(mask), pa.array([values[row] for row in sorted(values)], column.type))


def in_batches(batch: pa.RecordBatch, unreadable: tuple[Unreadable, ...]) -> Iterator[Rows]:
    """Give a block on as batches of at most BATCH_ROWS rows; what was unreadable goes with the first."""
    if not len(batch) and not unreadable:
        return
    yield Rows(batch.slice(0, BATCH_ROWS), unreadable)
    for start in range(BATCH_ROWS, len(batch), BATCH_ROWS):
        yield Rows(batch.slice(start, BATCH_ROWS))


class Gathering:
    """Documents gathered one by one into batches, for readers that see one row at a time."""

    def __init__(self, columns: Mapping[str, str]) -> None:
        self.schema = schema_of(columns)
        self._clear()

    def _clear(self) -> None:
        self.bytes = 0
        self.rows: list[tuple[Any, ...]] = []
        self.unreadable: list[Unreadable] = []
        self.skipped: Counter[str] = Counter()

    def add(self, size: int, *row: Any) -> None:
        """Add a row in schema order. size: bytes of its text and meta, more or less. Texts are strings, or all of them bytes known to be UTF-8."""
        self.rows.append(row)
        self.bytes += size

    @property
    def full(self) -> bool:
        """Whether it is time to take the batch."""
        return self.bytes >= BATCH_BYTES or len(self.rows) >= BATCH_ROWS or len(self.unreadable) >= BATCH_ROWS

    def take(self) -> Iterator[Rows]:
        """Yield what was gathered, and start anew."""
        rows, unreadable, skipped = self.rows, tuple(self.unreadable), self.skipped
        self._clear()
        if not rows and not unreadable and not skipped:
            return
        columns = list(zip(*rows, strict=True)) if rows else [()] * len(self.schema)
        arrays = [_array(c, f.type) for c, f in zip(columns, self.schema, strict=True)]
        yield Rows(pa.RecordBatch.from_arrays(arrays, schema=self.schema), unreadable, skipped)


def _array(values: tuple[Any, ...], kind: pa.DataType) -> pa.Array:
    """`pa.array`, but texts that are bytes are only joined."""
    return joined(values) if kind == pa.large_string() and values and isinstance(values[0], bytes) else pa.array(values, kind)


def valid_utf8(data: bytes) -> bool:
    """Whether all of it is UTF-8, at the speed of Arrow."""
    array = pa.LargeStringArray.from_buffers(1, pa.py_buffer(np.array([0, len(data)], np.int64)), pa.py_buffer(data))
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def not_utf8(data: bytes) -> str | None:
    """The message for the first byte that is not UTF-8, or None."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return f"not UTF-8: byte 0x{data[error.start]:02x} at {error.start} ({error.reason})"
    return None
