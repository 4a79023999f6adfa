"""Parquet and Arrow IPC files: columns are read as they lie, only the ones that are needed.

Splits are runs of row groups or record batches; start and end count them. Rows are named by their number in the file. A
file that can't be opened, has no text column or one of another type is one unreadable row; damage inside a file ends it
after the rows before it. An Arrow stream is one task: it holds no table of its batches.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing
from typing import Any, BinaryIO, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.io.fields import NO_META, RowError, batch_of, id_maker, in_batches, missing, repeated, replaced, schema_of
from curate.io.files import File, is_local, list_files, open_file
from curate.io.json_text import json_objects
from curate.io.lines import HEAD, too_long
from curate.io.reader import BATCH_BYTES, BATCH_ROWS, COLUMN_TYPES, SPLIT_BYTES, Reader, Rows, Split, Unreadable

_DAMAGE = (pa.ArrowException, OSError, ValueError, EOFError)
_NUMBERS = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_null)
_TAKES = {
    "int": (pa.types.is_integer, pa.types.is_null),
    "float": _NUMBERS,
    "bool": (pa.types.is_boolean, pa.types.is_null),
    "timestamp": (pa.types.is_timestamp, pa.types.is_date, pa.types.is_null),
}


class _Columnar(Reader):
    """What both formats share: tables to documents."""

    def read(self, split: Split, dataset: str) -> Iterator[Rows]:
        """Yield the documents of a split."""
        row = 0
        with closing(open_file(split.uri, split.fingerprint)) as file:
            try:
                for row, batch in self._batches(file, split):
                    yield from self._documents(batch, row, split.path, dataset)
                    row += len(batch)
            except RowError as error:
                yield Rows(_empty(self), (Unreadable(split.path, row, str(error), b""),))
            except _DAMAGE as error:
                message = f"the file can't be read from row {row} on: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
                yield Rows(_empty(self), (Unreadable(split.path, row, message, b""),))

    def _batches(self, file: BinaryIO, split: Split) -> Iterator[tuple[int, pa.RecordBatch]]:
        """(number of the first row, rows) of each piece of the split."""
        raise NotImplementedError

    def _needed(self, schema: pa.Schema) -> list[str] | None:
        """Columns to read, None for all. Raises RowError where one is missing or of a type that can't be used."""
        if len(set(schema.names)) != len(schema.names):
            raise RowError(f"two columns have one name; columns are: {', '.join(schema.names)}")
        for name in [self.text, *filter(None, [self.id, self.source])]:
            if name not in schema.names:
                raise missing(name, schema.names)
        if not _is_text(schema.field(self.text).type):
            raise _wrong(self.text, schema.field(self.text).type, "string")
        for name in self._names(schema):
            if not (_is_text(schema.field(name).type) or any(t(schema.field(name).type) for t in _NUMBERS)):
                raise _wrong(name, schema.field(name).type, "string or a number")
        for name, kind in self.columns.items():
            if name in schema.names:
                got = _plain_type(schema.field(name).type)
                if not (_is_text(got) if kind == "string" else any(t(got) for t in _TAKES[kind])):
                    raise _wrong(name, got, kind)
        return None if self.meta else [n for n in schema.names if n == self.text or n in self._names(schema) or n in self.columns]

    def _names(self, schema: pa.Schema) -> list[str]:
        return [n for n in (self.id or "id", self.source) if n is not None and n in schema.names]

    def _documents(self, rows: pa.RecordBatch, first: int, path: str, dataset: str) -> Iterator[Rows]:
        n = len(rows)
        unreadable: dict[int, str] = {}
        text = _text(rows.column(self.text), unreadable)
        for row in np.flatnonzero(pc.greater(pc.binary_length(text), self.max_doc_bytes)).tolist():
            unreadable[row] = too_long(self.max_doc_bytes)
        ids = self._ids(rows, first, path, dataset, unreadable)
        source = repeated(dataset, n, pa.string())
        if self.source:
            source = pc.fill_null(_text(rows.column(self.source), unreadable).cast(pa.string()), dataset)
        columns = {}
        for name, kind in self.columns.items():
            columns[name] = rows.column(name).cast(COLUMN_TYPES[kind]) if name in rows.schema.names else pa.nulls(n, COLUMN_TYPES[kind])
        batch = batch_of(schema_of(self.columns), ids, pc.fill_null(text, ""), source, self._meta(rows), columns)
        reports = tuple(Unreadable(path, first + row, why, _head(rows.column(self.text)[row])) for row, why in sorted(unreadable.items()))
        if unreadable:
            keep = np.ones(n, bool)
            keep[list(unreadable)] = False
            batch = batch.filter(pa.array(keep))
        yield from in_batches(batch, reports)

    def _ids(self, rows: pa.RecordBatch, first: int, path: str, dataset: str, unreadable: dict[int, str]) -> pa.StringArray:
        name = self.id or "id"
        ids = _text(rows.column(name), unreadable).cast(pa.string()) if name in rows.schema.names else pa.nulls(len(rows), pa.string())
        if not ids.null_count:
            return ids
        empty = np.flatnonzero(pc.is_null(ids)).tolist()
        if self.id:
            unreadable.update((row, f"column {self.id!r} is null, expected an id") for row in empty if row not in unreadable)
        new_id = id_maker(dataset, path)
        return replaced(ids, {row: new_id(first + row) for row in empty})

    def _meta(self, rows: pa.RecordBatch) -> pa.LargeStringArray:
        used = {self.text, *self._names(rows.schema), *self.columns}
        others = [n for n in rows.schema.names if n not in used]
        if not others or not self.meta:
            return repeated(NO_META, len(rows), pa.large_string())
        if others == ["meta"] and _is_text(rows.schema.field("meta").type):
            given = pc.fill_null(rows.column("meta").cast(pa.large_string()), NO_META)
            if pc.all(pc.and_(pc.starts_with(given, "{"), pc.ends_with(given, "}"))).as_py() is not False:
                return given  # a data set that was written with this column
        return json_objects(rows.select(others))


class ParquetReader(_Columnar):
    """Parquet files, split by row groups."""

    name: ClassVar[str] = "parquet"
    summary: ClassVar[str] = "Parquet files"

    def splits(self, base: str, split_bytes: int = SPLIT_BYTES) -> list[Split]:
        """List the pieces to read."""
        return [s for f in list_files(self.paths, base, (".parquet", ".pq"), self.name) for s in self.pieces(f, split_bytes)]

    def pieces(self, file: File, split_bytes: int) -> list[Split]:
        """Cut one file at row groups."""
        return _row_groups(file, split_bytes)

    def _batches(self, file: BinaryIO, split: Split) -> Iterator[tuple[int, pa.RecordBatch]]:
        parquet = pq.ParquetFile(file, pre_buffer=not is_local(split.uri))
        columns = self._needed(parquet.schema_arrow)
        meta = parquet.metadata
        rows = list(itertools.accumulate((meta.row_group(g).num_rows for g in range(meta.num_row_groups)), initial=0))
        for group in range(split.start, split.end if split.end >= 0 else meta.num_row_groups):
            row = rows[group]
            each = meta.row_group(group).total_byte_size // max(1, meta.row_group(group).num_rows) + 1
            for batch in parquet.iter_batches(max(1, min(BATCH_ROWS, BATCH_BYTES // each)), [group], columns, use_threads=False):
                yield row, batch
                row += len(batch)


class ArrowReader(_Columnar):
    """Arrow IPC files (file or stream format), memory-mapped where local; the file format is split by record batches."""

    name: ClassVar[str] = "arrow"
    summary: ClassVar[str] = "Arrow IPC files and streams"

    def splits(self, base: str, split_bytes: int = SPLIT_BYTES) -> list[Split]:
        """List the pieces to read."""
        return [s for f in list_files(self.paths, base, (".arrow", ".feather", ".ipc"), self.name) for s in self.pieces(f, split_bytes)]

    def pieces(self, file: File, split_bytes: int) -> list[Split]:
        """Cut one file at record batches."""
        return _record_batches(file, split_bytes)

    def _batches(self, file: BinaryIO, split: Split) -> Iterator[tuple[int, pa.RecordBatch]]:
        source = pa.memory_map(split.uri) if is_local(split.uri) else pa.PythonFile(file, "r")
        if source.read(6) == b"ARROW1":
            table = pa.ipc.open_file(source)
            self._needed(table.schema)
            batches: Any = (table.get_batch(i) for i in range(split.end if split.end >= 0 else table.num_record_batches))
        else:
            source.seek(0)
            batches = pa.ipc.open_stream(source)
            self._needed(batches.schema)
        row = 0
        for number, batch in enumerate(batches):
            if number >= split.start:
                yield from self._pieces(row, batch)
            row += len(batch)

    def _pieces(self, row: int, batch: pa.RecordBatch) -> Iterator[tuple[int, pa.RecordBatch]]:
        each = batch.nbytes // max(1, len(batch)) + 1
        step = max(1, min(BATCH_ROWS, BATCH_BYTES // each))
        for at in range(0, len(batch), step):
            yield row + at, batch.slice(at, step)


def _row_groups(file: File, split_bytes: int) -> list[Split]:
    whole = [Split(file.uri, file.path, file.size, file.fingerprint)]
    if file.size <= split_bytes:
        return whole
    with closing(open_file(file.uri)) as handle:
        try:
            meta = pq.read_metadata(handle)
        except _DAMAGE:
            return whole
        sizes = [_on_disk(meta.row_group(g)) for g in range(meta.num_row_groups)]
    return _runs(file, sizes, split_bytes)


def _on_disk(group: Any) -> int:
    return sum(group.column(c).total_compressed_size for c in range(group.num_columns))


def _record_batches(file: File, split_bytes: int) -> list[Split]:
    whole = [Split(file.uri, file.path, file.size, file.fingerprint)]
    if file.size <= split_bytes or not is_local(file.uri):
        return whole
    try:
        with pa.memory_map(file.uri) as source:
            count = pa.ipc.open_file(source).num_record_batches
    except _DAMAGE:
        return whole
    return _runs(file, [file.size // max(1, count)] * count, split_bytes)


def _runs(file: File, sizes: list[int], split_bytes: int) -> list[Split]:
    """Cut a list of pieces into runs of about split_bytes."""
    cuts, held = [0], 0
    for number, size in enumerate(sizes):
        if held and held + size > split_bytes:
            cuts.append(number)
            held = 0
        held += size
    ends = [*cuts[1:], len(sizes)]
    return [Split(file.uri, file.path, sum(sizes[a:b]), file.fingerprint, a, b) for a, b in zip(cuts, ends, strict=True)]


def _plain_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_text(kind: pa.DataType) -> bool:
    kind = _plain_type(kind)
    tests = (
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_string_view,
        pa.types.is_binary,
        pa.types.is_large_binary,
        pa.types.is_binary_view,
        pa.types.is_null,
    )
    return any(test(kind) for test in tests)


def _wrong(column: str, got: pa.DataType, expected: str) -> RowError:
    return RowError(f"column {column!r} is {got}, expected {expected}")


def _text(column: pa.Array, unreadable: dict[int, str]) -> pa.LargeStringArray:
    """The column as valid UTF-8 (numbers as decimals, null as null). Rows that are not are added to `unreadable` and null."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if any(t(column.type) for t in _NUMBERS):
        return column.cast(pa.large_string())
    try:
        text = column.cast(pa.large_string())
        text.validate(full=True)
    except pa.ArrowInvalid:
        rows: list[str | None] = []
        for row, value in enumerate(column.cast(pa.large_binary()).to_pylist()):
            try:
                rows.append(None if value is None else value.decode())
            except UnicodeDecodeError as error:
                unreadable[row] = f"not UTF-8: byte 0x{value[error.start]:02x} at {error.start} ({error.reason})"
                rows.append(None)
        return pa.array(rows, pa.large_string())
    return text


def _head(value: pa.Scalar) -> bytes:
    raw = value.cast(pa.large_binary()).as_py()
    return b"" if raw is None else bytes(raw[:HEAD])


def _empty(reader: Reader) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([], schema=schema_of(reader.columns))
