"""`read: {jsonl: ..., format: sharegpt}`: conversations as documents, for curate's readers of JSON, Parquet and Arrow.

A batch has the columns of `formats.records.RECORD`. Rows that are not of the format are quarantined with their reason.
A JSON list (`[{...}, ...]`) is read as well as JSON lines; it is one task, whatever its size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any, ClassVar, Self

import pyarrow as pa
from pydantic import Field, model_validator

from curate.errors import RecipeError
from curate.io.columnar import ArrowReader, ParquetReader
from curate.io.delimited import CsvReader
from curate.io.fields import RowError, id_maker
from curate.io.files import open_file
from curate.io.jsonl import JsonlReader
from curate.io.reader import BATCH_BYTES, SPLIT_BYTES, Reader, Rows, Split, Unreadable
from formats.adapters.adapter import Adapter
from formats.adapters.adapter import Unreadable as Refused
from formats.batches import from_batch, is_record, to_batch
from formats.catalog import adapter
from formats.delimited_rows import delimited_blocks
from formats.records import RECORD_COLUMNS, Record
from formats.sources import Line, begins_a_list, json_columns, rows_of, table_rows

_BATCH_ROWS = 16_384


class _Records(Reader):
    """What the readers of conversations share."""

    format: str = Field(description="format of the rows: alpaca, sharegpt, messages, preference, ...")
    fields: Mapping[str, str] = Field({}, description="names of fields: the name that the format reads -> the name in the file")
    roles: Mapping[str, str] = Field({}, description="names of roles in the file -> system, developer, user, assistant or tool")
    settings: Mapping[str, Any] = Field({}, description="settings of the format, such as branches: ranked for oasst")

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.columns:
            raise ValueError("'columns' has no use with a format: every other field stays in meta")
        try:
            self.adapter()
        except RecipeError as error:
            raise ValueError(str(error)) from error
        return self

    def adapter(self) -> Adapter:
        """The format's adapter."""
        return adapter(self.format, self.fields, roles=dict(self.roles), **dict(self.settings))

    def extra_columns(self) -> dict[str, pa.DataType]:
        """Columns of a record beside those of every document."""
        return dict(RECORD_COLUMNS)

    def gathered(self, rows: Iterator[Line | Unreadable], path: str, dataset: str) -> Iterator[Rows]:
        """Batches of the records of rows, with what was unreadable before them."""
        reader, new_id = self.adapter(), id_maker(dataset, path)
        records: list[Record] = []
        ids: list[str] = []
        bad: list[Unreadable] = []
        size = 0
        for row in rows:
            if isinstance(row, Unreadable):
                bad.append(row)
                continue
            try:
                found = self._records(reader, row.value)
            except Refused as error:
                bad.append(Unreadable(path, row.offset, f"{error.reason}: {error}", row.head()))
                continue
            for number, record in enumerate(found):
                records.append(record)
                ids.append(new_id(row.offset) if number == 0 else f"{new_id(row.offset)}-{number}")
            size += row.size
            if size >= BATCH_BYTES or len(records) >= _BATCH_ROWS:
                yield Rows(to_batch(records, ids, dataset), tuple(bad))
                records, ids, bad, size = [], [], [], 0
        if records or bad:
            yield Rows(to_batch(records, ids, dataset), tuple(bad))

    def _records(self, reader: Adapter, value: Any) -> list[Record]:
        if not isinstance(value, dict):
            raise Refused("not_an_object", "a row is not an object")
        identity = value.get(self.id) if self.id else None
        source = value.get(self.source) if self.source else None
        found = reader.read_many(value)
        for record in found:
            if isinstance(identity, (str, int)):
                record.id = str(identity)
            if isinstance(source, str):
                record.source = source
        return found


class JsonlRecords(_Records, JsonlReader):
    """Conversations in JSON lines or a JSON list."""

    name: ClassVar[str] = "jsonl_records"
    summary: ClassVar[str] = "conversations in JSON: what `jsonl` with a `format` means"

    def splits(self, base: str, split_bytes: int = SPLIT_BYTES) -> list[Split]:
        """List the pieces to read; a JSON list is not cut."""
        found = super().splits(base, split_bytes)
        lists = {s.uri for s in found if s.start == 0 and begins_a_list(s.uri)}
        return [_whole(s) if s.uri in lists else s for s in found if s.uri not in lists or s.start == 0]

    def read(self, split: Split, dataset: str) -> Iterator[Rows]:
        """Yield the records of a split."""
        yield from self.gathered(rows_of(split, self.max_doc_bytes), split.path, dataset)


class CsvRecords(_Records, CsvReader):
    """Conversations in CSV and TSV files with a header; cells of turns and candidates hold JSON (formats/delimited_rows.py)."""

    name: ClassVar[str] = "csv_records"
    summary: ClassVar[str] = "conversations in CSV: what `csv` with a `format` means"

    def read(self, split: Split, dataset: str) -> Iterator[Rows]:
        """Yield the records of a file."""
        blocks = delimited_blocks(split, self.adapter(), self.max_doc_bytes, self.delimiter)
        yield from self.gathered((row for block in blocks for row in block.lines()), split.path, dataset)


def _whole(split: Split) -> Split:
    return Split(split.uri, split.path, split.size, split.fingerprint)


class _TableRecords(_Records):
    """Parquet and Arrow: rows of a format, or records as they were written."""

    def _needed(self, schema: pa.Schema) -> list[str] | None:
        return None  # a format may use any column

    def _batches(self, file: Any, split: Split) -> Iterator[tuple[int, pa.RecordBatch]]:
        raise NotImplementedError

    def read(self, split: Split, dataset: str) -> Iterator[Rows]:
        """Yield the records of a split."""
        row = 0
        with closing(open_file(split.uri, split.fingerprint)) as file:
            try:
                for row, batch in self._batches(file, split):
                    if is_record(batch.schema):
                        records = from_batch(batch)
                        yield Rows(to_batch(records, [r.id for r in records], dataset))
                    else:
                        rows = table_rows(batch, row, json_columns(batch.schema), split.path)
                        yield from self.gathered(rows, split.path, dataset)
                    row += len(batch)
            except (pa.ArrowException, OSError, ValueError, EOFError, RowError) as error:
                message = f"the file can't be read from row {row} on: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
                yield Rows(to_batch([], []), (Unreadable(split.path, row, message, b""),))


class ParquetRecords(_TableRecords, ParquetReader):
    """Conversations in Parquet files."""

    name: ClassVar[str] = "parquet_records"
    summary: ClassVar[str] = "conversations in Parquet: what `parquet` with a `format` means"
    _batches = ParquetReader._batches


class ArrowRecords(_TableRecords, ArrowReader):
    """Conversations in Arrow files."""

    name: ClassVar[str] = "arrow_records"
    summary: ClassVar[str] = "conversations in Arrow IPC files: what `arrow` with a `format` means"
    _batches = ArrowReader._batches
