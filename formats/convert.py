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
from formats.detect import ROWS, Detected, detect
from formats.outputs import Output, check_suffix
from formats.policies import Policies, is_usual
from formats.records import Record, text_view
from formats.report import Report
from formats.sources import Line, is_table, json_columns, rows_of, table_batches, table_rows

_JSON = tuple(s + c for s in (".jsonl", ".json", ".ndjson") for c in ("", ".gz", ".zst"))

SUFFIXES = (*_JSON, ".parquet", ".pq", ".arrow", ".feather", ".ipc")

Progress = Callable[[int, int, int], None]  # file number where it is done, else -1; rows and bytes since the last call


class Writer:
    """Records to rows of a format, with the report kept."""

    def __init__(self, target: Adapter, policies: Policies, report: Report, ids: bool = False) -> None:
        self.target, self.policies, self.report, self.ids = target, policies, report, ids

    def rows(self, record: Record, path: str, at: int) -> list[Row]:
        """The rows of a record; [] where it is dropped, which the report then says."""
        report = self.report
        report.records += 1
        try:
            lost: set[str] = set()
            if is_usual(record):
                rows = self.target.write_usual(record, lost)
            else:
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
    writer = Writer(target, policies or Policies(), report, ids)
    quarantine: list[dict[str, Any]] = []
    with Output(dst) as out, _few_collections():
        for number, file in enumerate(files):
            told = report.records
            for record, at in records(file, reader, report, quarantine):
                out.write(writer.rows(record, file.path, at))
                if progress is not None and report.records - told >= 4096:
                    progress(-1, report.records - told, 0)
                    told = report.records
            if progress is not None:
                progress(number, report.records - told, file.size)
    report.notes += out.notes
    if quarantine:
        with Output(dst.with_name(f"{dst.name}.quarantine.jsonl")) as side:
            side.write(quarantine)
    return report, found


@contextmanager
def _few_collections() -> Iterator[None]:
    """Rows hold no cycles, so looking for them after every few hundred objects costs a sixth of the time for nothing."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def records(file: File, reader: Adapter, report: Report, quarantine: list[dict[str, Any]]) -> Iterator[tuple[Record, int]]:
    """(record, place) of everything in a file that can be read; the rest goes to the report and the quarantine."""
    if is_table(file.uri):
        return _table_records(file, reader, report, quarantine)
    split = Split(file.uri, file.path, file.size, file.fingerprint)
    return _read(rows_of(split), file.path, reader, report, quarantine)


def _table_records(file: File, reader: Adapter, report: Report, quarantine: list[dict[str, Any]]) -> Iterator[tuple[Record, int]]:
    at = 0
    for batch in table_batches(file.uri):
        if is_record(batch.schema):
            report.rows += len(batch)
            yield from zip(from_batch(batch), range(at, at + len(batch)), strict=True)
        else:
            yield from _read(table_rows(batch, at, json_columns(batch.schema), file.path), file.path, reader, report, quarantine)
        at += len(batch)


def _read(
    rows: Iterator[Line | Unreadable], path: str, reader: Adapter, report: Report, quarantine: list[dict[str, Any]]
) -> Iterator[tuple[Record, int]]:
    for line in rows:
        report.rows += 1
        if isinstance(line, Unreadable):
            _refuse(report, quarantine, "source.unreadable", line)
            continue
        try:
            if not isinstance(line.value, dict):
                raise Refused("not_an_object", "a row is not an object")
            found = reader.read_many(line.value)
        except Refused as error:
            # The row was taken apart while it was read; its bytes say what it was.
            _refuse(report, quarantine, f"source.{error.reason}", Unreadable(path, line.offset, str(error), line.head()))
            continue
        for record in found:
            yield record, line.offset


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
    if is_table(file.uri):
        for batch in table_batches(file.uri):
            yield from (row.value for row in table_rows(batch, 0, json_columns(batch.schema), file.path) if isinstance(row, Line))
        return
    for row in rows_of(Split(file.uri, file.path, file.size, file.fingerprint)):
        if isinstance(row, Line):
            yield row.value


def check_balance(report: Report) -> None:
    """Raise DataError where a record is not accounted for: that would be a loss in silence."""
    if not report.balanced():
        raise DataError(f"convert: {report.records} records came in, but {report.held} were written and {report.dropped.total()} dropped.")
