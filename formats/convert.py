"""`curate convert`: files of one format to a file of another, row by row, with nothing lost in silence."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any

from curate.errors import DataError
from curate.io.files import File, list_files
from curate.io.reader import Split, Unreadable
from formats.adapters.adapter import Adapter, Row, Unholdable, lost_fields
from formats.adapters.adapter import Unreadable as Refused
from formats.batches import from_batch, is_record
from formats.catalog import adapter
from formats.delimited_rows import SUFFIXES as DELIMITED
from formats.delimited_rows import delimited_blocks, is_delimited
from formats.detect import ROWS, Detected, detect
from formats.outputs import Output, check_suffix
from formats.policies import Policies, is_usual
from formats.records import Record, text_view
from formats.report import Report
from formats.sources import Block, blocks_of, is_table, json_columns, table_batches, table_block

_JSON = tuple(s + c for s in (".jsonl", ".json", ".ndjson") for c in ("", ".gz", ".zst"))

SUFFIXES = (*_JSON, *DELIMITED, ".parquet", ".pq", ".arrow", ".feather", ".ipc")

Progress = Callable[[int, int, int], None]  # file number where it is done, else -1; rows and bytes since the last call


class Writer:
    """Rows of one format to rows of another, by way of records, with the report kept."""

    def __init__(self, reader: Adapter, target: Adapter, policies: Policies, report: Report, ids: bool = False) -> None:
        self.reader, self.target, self.policies, self.report, self.ids = reader, target, policies, report, ids
        self.quarantine: list[dict[str, Any]] = []

    def block(self, block: Block, path: str) -> list[Row]:
        """The rows of a block. Most sets are pairs of question and answer, which need no record in between."""
        report, made, pairs = self.report, list[Row](), 0
        pair, write_pair = self.reader.pair, self.target.write_pair
        short = self.target.writes_pairs and not self.ids
        for row, value in enumerate(block.values):
            found = pair(value) if short and type(value) is dict else None
            if found is not None:
                made.append(write_pair(*found))
                pairs += 1
                continue
            for record in read(block, row, path, self.reader, report, self.quarantine):
                made += self.rows(record, path, block.offsets[row])
        report.rows += pairs
        report.records += pairs
        report.held += pairs
        report.written += pairs
        return made

    def rows(self, record: Record, path: str, at: int) -> list[Row]:
        """The rows of a record; [] where it is dropped, which the report then says."""
        report = self.report
        report.records += 1
        lost: set[str] = set()
        try:
            if not is_usual(record):
                record = self.policies.apply(record, report.odd)
                lost = lost_fields(record, self.target.holds)
            rows = self.target.write(record, lost)
        except Unholdable as error:
            reason = f"convert.{error.reason}"
            report.dropped[reason] += 1
            report.example(reason, f"{path}@{at}", f"{error}: {text_view(record)}")
            return []
        if lost:
            report.lost.update(lost)
            for name in lost:
                report.example(name, f"{path}@{at}", text_view(record))
        if self.ids and record.id:
            for row in rows:
                row.setdefault("id", record.id)
        report.held += 1
        report.written += len(rows)
        return rows


def convert(
    src: str,
    to: str,
    dst: Path,
    source: str | Adapter | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    roles: Mapping[str, str] | None = None,
    read_settings: Mapping[str, Any] | None = None,
    write_settings: Mapping[str, Any] | None = None,
    policies: Policies | None = None,
    ids: bool = False,
    progress: Progress | None = None,
) -> tuple[Report, Detected | None]:
    """Convert files to one file. Returns the report, and what was detected where `source` is None.

    src: a file, folder or glob. source: the format read, or an adapter; None: told by content. columns: {name the format reads: name in
    the file}. Unreadable rows go to `<dst>.quarantine.jsonl`. Raises RecipeError for wrong names, DataError for no input.
    """
    check_suffix(dst)
    target = adapter(to, **dict(write_settings or {}))
    files = list_files((src,), ".", SUFFIXES, "convert")
    found = None
    if source is None and not holds_records(files):
        found = detect(sample(files), src)
        source = found.format
    reader = source if isinstance(source, Adapter) else adapter(source or "messages", columns, roles=roles, **dict(read_settings or {}))
    report = Report()
    writer = Writer(reader, target, policies or Policies(), report, ids)
    with Output(dst) as out, _few_collections():
        for number, file in enumerate(files):
            for done, rows in _converted(file, writer):
                out.write(rows)
                if progress is not None:
                    progress(-1, done, 0)
            if progress is not None:
                progress(number, 0, file.size)
    report.notes += out.notes
    if writer.quarantine:
        with Output(dst.with_name(f"{dst.name}.quarantine.jsonl")) as side:
            side.write(writer.quarantine)
    return report, found


def _converted(file: File, writer: Writer) -> Iterator[tuple[int, list[Row]]]:
    """(records, their rows) of a file, block by block."""
    for content in contents(file, writer.reader):
        before = writer.report.records
        if isinstance(content, Block):
            rows = writer.block(content, file.path)
        else:
            at, records = content
            writer.report.rows += len(records)
            rows = [row for n, record in enumerate(records, at) for row in writer.rows(record, file.path, n)]
        yield writer.report.records - before, rows


@contextmanager
def _few_collections() -> Iterator[None]:
    """Rows hold no cycles, so looking for them after every few hundred objects costs a sixth of the time for nothing."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def contents(file: File, reader: Adapter | None = None) -> Iterator[Block | tuple[int, list[Record]]]:
    """Blocks of rows of a file; of a table of records, (number of the first, records). reader: see formats/delimited_rows.py."""
    if not is_table(file.uri):
        split = Split(file.uri, file.path, file.size, file.fingerprint)
        yield from delimited_blocks(split, reader) if is_delimited(file.uri) else blocks_of(split)
        return
    at = 0
    for batch in table_batches(file.uri):
        if is_record(batch.schema):
            yield at, from_batch(batch)
        else:
            yield table_block(batch, at, json_columns(batch.schema), file.path)
        at += len(batch)


def records(file: File, reader: Adapter, report: Report, quarantine: list[dict[str, Any]]) -> Iterator[tuple[Record, int]]:
    """(record, place) of everything in a file that can be read; the rest goes to the report and the quarantine."""
    for content in contents(file, reader):
        if isinstance(content, Block):
            for row, offset in enumerate(content.offsets):
                yield from ((record, offset) for record in read(content, row, file.path, reader, report, quarantine))
        else:
            at, found = content
            report.rows += len(found)
            yield from zip(found, range(at, at + len(found)), strict=True)


def read(block: Block, row: int, path: str, reader: Adapter, report: Report, quarantine: list[dict[str, Any]]) -> list[Record]:
    """The records of a row; [] where it can't be read, which the report and the quarantine then say."""
    value = block.values[row]
    report.rows += 1
    if isinstance(value, Unreadable):
        _refuse(report, quarantine, "source.unreadable", value)
        return []
    try:
        if not isinstance(value, dict):
            raise Refused("not_an_object", "a row is not an object")
        return reader.read_many(value)
    except Refused as error:
        # The row was taken apart while it was read; its bytes say what it was.
        _refuse(report, quarantine, f"source.{error.reason}", Unreadable(path, block.offsets[row], str(error), block.head(row)))
        return []


def _refuse(report: Report, quarantine: list[dict[str, Any]], reason: str, row: Unreadable) -> None:
    report.unreadable[reason] += 1
    content = row.content.decode("utf-8", "backslashreplace")
    report.example(reason, f"{row.path}@{row.offset}", f"{row.error}: {content}")
    quarantine.append({"file": row.path, "offset": row.offset, "reason": reason, "error": row.error, "content": content})


def holds_records(files: list[File]) -> bool:
    """Whether the files are tables of canonical records."""
    first = next((table_batches(f.uri) for f in files if is_table(f.uri)), None)
    batch = next(first, None) if first is not None else None
    return batch is not None and is_record(batch.schema)


def sample(files: list[File]) -> Iterator[Any]:
    """Rows from the beginning of every file, ROWS altogether."""
    each = max(1, ROWS // len(files))
    return chain.from_iterable(islice(_values(file), each) for file in files)


def _values(file: File) -> Iterator[Any]:
    for content in contents(file):
        if isinstance(content, Block):
            yield from (value for value in content.values if not isinstance(value, Unreadable))


def check_balance(report: Report) -> None:
    """Raise DataError where a record is not accounted for: that would be a loss in silence."""
    if not report.balanced():
        raise DataError(f"convert: {report.records} records came in, but {report.held} were written and {report.dropped.total()} dropped.")
