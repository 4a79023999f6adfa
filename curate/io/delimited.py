"""Delimited text (CSV, TSV) with a header: Python's `csv`, so that quoted newlines mean what they mean to everybody.

A quote may open a field that holds newlines, so no place in the middle of a file is known to be the start of a row: a
file is one task. A row with a stray quote is reported by its first line, and reading goes on with the next line. All
other columns go to `meta` as text.
"""

from __future__ import annotations

import csv
import io
import json
from collections import deque
from collections.abc import Iterator
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

from pydantic import Field

from curate.io.fields import Gathering, RowError, id_maker, missing, not_utf8, value_of_text
from curate.io.files import COMPRESSED, File, list_files
from curate.io.lines import BOM, HEAD, LineBlock, read_lines, too_long
from curate.io.reader import SPLIT_BYTES, Reader, Rows, Split, Unreadable

SUFFIXES = tuple(name + packed for name in (".csv", ".tsv") for packed in COMPRESSED)


class CsvReader(Reader):
    """Delimited text with a header line. About 20 MB/s per core where quoted text holds many lines."""

    name: ClassVar[str] = "csv"
    summary: ClassVar[str] = "CSV or TSV with a header, plain, .gz or .zst"

    delimiter: str = Field(",", min_length=1, max_length=1, description="what stands between fields")

    def splits(self, base: str, split_bytes: int = SPLIT_BYTES) -> list[Split]:
        """List the files."""
        return [s for f in list_files(self.paths, base, SUFFIXES, self.name) for s in self.pieces(f, split_bytes)]

    def pieces(self, file: File, split_bytes: int) -> list[Split]:
        """The whole file."""
        return [Split(file.uri, file.path, file.size, file.fingerprint)]

    def read(self, split: Split, dataset: str) -> Iterator[Rows]:
        """Yield the documents of a file."""
        rows = Gathering(self.columns)
        table = _Documents(self, split, dataset)
        for _ in table.into(rows):
            if rows.full:
                yield from rows.take()
        yield from rows.take()


class _Line(NamedTuple):
    offset: int
    raw: bytes


class Sink(Protocol):
    """What rows are added to."""

    unreadable: list[Unreadable]


S = TypeVar("S", bound=Sink)


class Table(Generic[S]):
    """The rows of one file, with the place of each. `add` says what becomes of a row."""

    def __init__(self, reader: CsvReader, split: Split) -> None:
        self.reader, self.path = reader, split.path
        self.blocks = read_lines(split, reader.max_doc_bytes)
        self.ahead: deque[_Line] = deque()
        self.taken: list[_Line] = []  # lines of the row that is being parsed
        self.taken_bytes = 0
        self.reports: list[Unreadable] = []

    def add(self, rows: S, row: dict[str, str]) -> None:
        """Add a row, whose lines are in `taken`. Raises WholeRow where it can't be one."""
        raise NotImplementedError

    def into(self, rows: S) -> Iterator[None]:
        """Add every row to `rows`, one a turn."""
        csv.field_size_limit(self.reader.max_doc_bytes)
        header: list[str] | None = None
        parser = self._parser()
        while True:
            self.taken, self.taken_bytes = [], 0
            try:
                cells = next(parser, None)
                if cells and header is not None:
                    self.add(rows, row_of(header, cells))
            except (csv.Error, RowError, UnicodeDecodeError) as error:
                cells = []
                self._refuse(rows, error)
                parser = self._parser()
            rows.unreadable.extend(self.reports)
            self.reports.clear()
            if cells is None:
                return
            if header is None and cells:
                header = cells
                if twice := [name for name in header if header.count(name) > 1]:
                    message = f"column {twice[0]!r} stands twice in the header: rename one; nothing of the file is read"
                    rows.unreadable.append(Unreadable(self.path, 0, message, self.taken[0].raw[:HEAD]))
                    return
            yield

    def _parser(self) -> Iterator[list[str]]:
        return csv.reader(self._lines(), delimiter=self.reader.delimiter, strict=True)

    def _lines(self) -> Iterator[str]:
        """Lines of the file, decoded one by one; what the current row took is remembered, so that it can be given back."""
        while True:
            while not self.ahead:
                block = next(self.blocks, None)
                if block is None:
                    return
                self._queue(block)
            line = self.ahead.popleft()
            self.taken.append(line)
            self.taken_bytes += len(line.raw)
            if self.taken_bytes > self.reader.max_doc_bytes:
                raise RowError(too_long(self.reader.max_doc_bytes))
            yield line.raw.decode()

    def _queue(self, block: LineBlock) -> None:
        self.reports.extend(block.unreadable)
        offset = block.base
        for raw in io.BytesIO(block.data):  # lines end at byte 0x0A alone, as in the block
            self.ahead.append(_Line(offset, raw))
            offset += len(raw)
        if not block.base and self.ahead:
            self.ahead[0] = _Line(0, self.ahead[0].raw.removeprefix(BOM))

    def _refuse(self, rows: S, error: Exception) -> None:
        """Report the row. Where its quoting is broken only its first line is: the others may be rows of their own."""
        first = self.taken[0] if self.taken else _Line(0, b"")
        reason = not_utf8(self.taken[-1].raw) if isinstance(error, UnicodeDecodeError) else str(error)
        message = f"not CSV: {reason}" if isinstance(error, csv.Error) else str(reason)
        rows.unreadable.append(Unreadable(self.path, first.offset, message, b"".join(line.raw for line in self.taken[:64])[:HEAD]))
        if isinstance(error, csv.Error) or (len(self.taken) > 1 and not isinstance(error, WholeRow)):
            self.ahead.extendleft(reversed(self.taken[1:]))


class _Documents(Table[Gathering]):
    """Rows as documents."""

    def __init__(self, reader: CsvReader, split: Split, dataset: str) -> None:
        super().__init__(reader, split)
        self.dataset = dataset
        self.new_id = id_maker(dataset, split.path)

    def add(self, rows: Gathering, row: dict[str, str]) -> None:
        """Add a document."""
        reader = self.reader
        for name in [reader.text, *filter(None, [reader.id, reader.source])]:
            if name not in row:
                raise WholeRow(str(missing(name, list(row))))
        text = row.pop(reader.text)
        name = row.pop(reader.id or "id", "") or self.new_id(self.taken[0].offset)
        source = (row.pop(reader.source) if reader.source else "") or self.dataset
        try:
            promoted: list[Any] = [value_of_text(c, kind, row.pop(c)) if c in row else None for c, kind in reader.columns.items()]
        except RowError as error:
            raise WholeRow(str(error)) from None
        meta = json.dumps(row, ensure_ascii=False, separators=(",", ":")) if reader.meta else "{}"
        rows.add(len(text) + len(meta), name, text, source, meta, *promoted)


def row_of(header: list[str], cells: list[str]) -> dict[str, str]:
    """Cells by their column. Raises WholeRow where their number is not the header's."""
    if len(cells) != len(header):
        raise WholeRow(f"{len(cells)} fields, expected {len(header)} as in the header")
    return dict(zip(header, cells, strict=True))


class WholeRow(RowError):
    """The row was well formed: all its lines are refused together."""
