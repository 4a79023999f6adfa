"""JSON lines: plain, gzip or zstd, told by content.

Two paths with one meaning. A kernel takes the rows it has no doubt about (curate/kernels/json_lines.py); the others go
through Python's `json` row by row, and what that refuses is reported. What differs from `json.loads` on purpose:

- values of `meta` stay as they are written (numbers of any size, escapes), with the white space between tokens removed,
  NaN and Infinity as null (they are not JSON), the last value of a repeated key in the place of the first;
- a lone surrogate in the text can't be held in UTF-8: the row is unreadable.

Null text is an empty document, a row without the field is unreadable. Blank lines are passed over. Speed: 150-350 MB/s
of text per core (plain files, documents of 1 KB and more), 90 with documents of 200 bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from json.decoder import scanstring  # type: ignore[attr-defined]  # not in the stubs
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.io.fields import (
    NO_META,
    RowError,
    batch_of,
    id_maker,
    in_batches,
    missing,
    name_of,
    not_utf8,
    repeated,
    replaced,
    schema_of,
    string_of,
    valid_utf8,
    value_of,
    wrong_type,
)
from curate.io.files import COMPRESSED, File, list_files
from curate.io.lines import BOM, HEAD, LineBlock, line_splits, read_lines, too_long
from curate.io.reader import COLUMN_TYPES, SPLIT_BYTES, Reader, Rows, Split, Unreadable
from curate.kernels.strings import I64, U8, from_buffers

SUFFIXES = tuple(name + packed for name in (".jsonl", ".json", ".ndjson") for packed in COMPRESSED)
_TOKENS = re.compile(r'("(?:[^"\\]|\\.)*")|[ \t\n\r]+|(-?Infinity|NaN)')
_WHITE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder(parse_int=len, parse_float=len, parse_constant=len)  # numbers of any length, at no cost


class JsonlReader(Reader):
    """One JSON object a line. Plain files are split by bytes, zstd files by frames that declare their size; a gzip file is one task."""

    name: ClassVar[str] = "jsonl"
    summary: ClassVar[str] = "JSON lines, plain, .gz or .zst"

    def splits(self, base: str, split_bytes: int = SPLIT_BYTES) -> list[Split]:
        """List the pieces to read."""
        return [s for f in list_files(self.paths, base, SUFFIXES, self.name) for s in self.pieces(f, split_bytes)]

    def pieces(self, file: File, split_bytes: int) -> list[Split]:
        """Cut one file at lines."""
        return line_splits(file, split_bytes)

    def read(self, split: Split, dataset: str) -> Iterator[Rows]:
        """Yield the documents of a split."""
        parser = _Parser(self, split.path, dataset)
        for block in read_lines(split, self.max_doc_bytes):
            yield from parser.rows(block)


class _Scan(NamedTuple):
    """What the kernel made of a block of n lines."""

    status: U8
    text: pa.LargeStringArray
    meta: pa.LargeStringArray
    spans: I64  # i64[n, fields, 2]


class _Parser:
    """Turns blocks of lines of one file into batches."""

    def __init__(self, reader: JsonlReader, path: str, dataset: str) -> None:
        self.reader, self.path, self.dataset = reader, path, dataset
        self.schema = schema_of(reader.columns)
        self.wanted = [reader.text, reader.id or "id", *([reader.source] if reader.source else []), *reader.columns]
        self.names = [w.encode() for w in self.wanted]
        self.new_id = id_maker(dataset, path)

    def rows(self, block: LineBlock) -> Iterator[Rows]:
        """Yield the block's documents and everything unreadable in it."""
        lines = _without_bom(block)
        scan = self._scan(lines)
        slow: dict[int, SlowRow] = {}
        errors: dict[int, str] = {}
        for row in np.flatnonzero(scan.status == 1).tolist():
            try:
                slow[row] = self._slow(lines.line(row))
            except RowError as error:
                errors[row] = str(error)
        batch = self._batch(lines, scan, slow, errors)
        unreadable = [Unreadable(self.path, lines.offset(row), message, lines.line(row)[:HEAD]) for row, message in sorted(errors.items())]
        yield from in_batches(batch, (*block.unreadable, *unreadable))

    def _scan(self, lines: LineBlock) -> _Scan:
        from curate.kernels.json_lines import scan_lines

        n, k, size = len(lines.start) - 1, len(self.wanted), len(lines.data)
        status = np.zeros(n, np.uint8)
        if not valid_utf8(lines.data):
            status[:] = [not_utf8(lines.line(row)) is not None for row in range(n)]
        status[np.diff(lines.start) > self.reader.max_doc_bytes] = 1
        text, meta = np.empty(size, np.uint8), np.empty(size + 2 * n, np.uint8)
        text_at, meta_at, spans = np.empty(n + 1, np.int64), np.empty(n + 1, np.int64), np.empty(n * k * 2, np.int64)
        names, name_at = np.frombuffer(b"".join(self.names), np.uint8), np.cumsum([0, *map(len, self.names)], dtype=np.int64)
        scan_lines(_bytes(lines.data), lines.start, names, name_at, int(self.reader.meta), status, text, text_at, meta, meta_at, spans)
        return _Scan(status, from_buffers(text, text_at), from_buffers(meta, meta_at), spans.reshape(n, k, 2))

    def _slow(self, line: bytes) -> SlowRow:
        stripped = line.removesuffix(b"\n")
        if len(stripped) > self.reader.max_doc_bytes:
            raise RowError(too_long(self.reader.max_doc_bytes))
        return slow_row(stripped, self.wanted, self.reader.meta)

    def _batch(self, lines: LineBlock, scan: _Scan, slow: dict[int, SlowRow], errors: dict[int, str]) -> pa.RecordBatch:
        """The readable rows. Adds those with a value of the wrong type to `errors`."""
        reader = self.reader
        n = len(scan.status)
        ids = self._ids(lines, scan, slow, errors)
        field = iter(range(2, len(self.wanted)))
        source = repeated(self.dataset, n, pa.string())
        if reader.source:
            source = pc.fill_null(self._column(next(field), "name", lines, scan, slow, errors), self.dataset)
        columns = {name: self._column(next(field), kind, lines, scan, slow, errors) for name, kind in reader.columns.items()}
        text, meta = scan.text, scan.meta if reader.meta else repeated(NO_META, n, pa.large_string())
        if slow:
            text = replaced(text, {row: r.text for row, r in slow.items()})
            meta = replaced(meta, {row: r.meta for row, r in slow.items()})
        batch = batch_of(self.schema, ids, text, source, meta, columns)
        keep = scan.status != 2
        keep[list(errors)] = False
        return batch if keep.all() else batch.filter(pa.array(keep))

    def _ids(self, lines: LineBlock, scan: _Scan, slow: dict[int, SlowRow], errors: dict[int, str]) -> pa.StringArray:
        ids = self._column(1, "name", lines, scan, slow, errors)
        if not ids.null_count:
            return ids
        made = {}
        for row in np.flatnonzero(pc.is_null(ids)).tolist():
            made[row] = self.new_id(lines.offset(row))
            if self.reader.id and row not in errors and scan.status[row] != 2:
                there = slow_row(lines.line(row), self.wanted, False).keys
                errors[row] = str(
                    missing(self.reader.id, there)
                    if self.reader.id not in there
                    else wrong_type(self.reader.id, b"null", "text or a number")
                )
        return replaced(ids, made)

    def _column(self, at: int, kind: str, lines: LineBlock, scan: _Scan, slow: dict[int, SlowRow], errors: dict[int, str]) -> pa.Array:
        """Values of wanted field `at` in all n lines, null where there is none. Whole columns where values are plain, rows one by one where not."""
        field, target = self.wanted[at], pa.string() if kind == "name" else COLUMN_TYPES[kind]
        begin, end = scan.spans[:, at, 0], scan.spans[:, at, 1]
        there = (scan.status == 0) & (begin >= 0)
        first = _bytes(lines.data)[np.where(there, begin, 0)]
        plain = there & _PLAIN[kind][first]
        quoted = plain & (first == 34)
        values = _cut(lines, np.where(plain, begin + quoted, lines.start[:-1]), np.where(plain, end - quoted, lines.start[:-1]))
        if quoted.any():
            plain &= ~pc.match_substring(values, "\\").to_numpy(zero_copy_only=False)
        try:
            column = pc.if_else(pa.array(plain), values, None).cast(target)
        except pa.ArrowInvalid:  # a number that does not fit, named below
            plain[:] = False
            column = pa.nulls(len(plain), target)
        odd = {}
        for row in [*np.flatnonzero(there & ~plain & (first != 110)).tolist(), *slow]:
            raw = slow[row].raws[at - 1] if row in slow else lines.data[begin[row] : end[row]]
            try:
                odd[row] = None if raw is None or row in errors else name_of(field, raw) if kind == "name" else value_of(field, kind, raw)
            except RowError as error:
                errors[row] = str(error)
        return replaced(column, odd)


def _plain(first: bytes) -> npt.NDArray[np.bool_]:
    table = np.zeros(256, bool)
    table[list(first)] = True
    return table


# First bytes of the values that Arrow can cast as they are written. Other kinds and other bytes go row by row.
_PLAIN = {
    "name": _plain(b'"-0123456789'),
    "string": _plain(b'"'),
    "int": _plain(b"-0123456789"),
    "float": _plain(b"-0123456789"),
    "bool": _plain(b"tf"),
    "timestamp": _plain(b""),
}


class SlowRow(NamedTuple):
    """A row as the exact path reads it."""

    text: str
    meta: str
    raws: list[bytes | None]  # JSON of the wanted fields after the text
    keys: list[str]


def slow_row(line: bytes, wanted: Sequence[str], keep_meta: bool) -> SlowRow:
    """Read one line. wanted: the text field, then others. Raises RowError."""
    problem = not_utf8(line)
    if problem:
        raise RowError(problem)
    row = line.decode()
    try:
        value = _DECODER.decode(row)
    except json.JSONDecodeError as error:
        raise RowError(f"not JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise RowError("not read: nested too deeply") from None
    if not isinstance(value, dict):
        raise RowError(f"{kind_of_line(row)} where an object is due; one JSON object a line is expected")
    members = _members(row)
    text = members.get(wanted[0])
    if text is None:
        raise missing(wanted[0], list(members))
    if text[1] != "null" and not text[1].startswith('"'):
        raise wrong_type(wanted[0], text[1].encode(), "text")
    others = ",".join(f"{key}:{_compact(raw)}" for name, (key, raw) in members.items() if name not in wanted) if keep_meta else ""
    raws = [members[name][1].encode() if name in members else None for name in wanted[1:]]
    try:
        return SlowRow("" if text[1] == "null" else string_of(text[1].encode()), "{" + others + "}", raws, list(members))
    except RowError as error:
        raise RowError(f"field {wanted[0]!r}: {error}") from None


def kind_of_line(row: str) -> str:
    """What stands in a line that is not an object."""
    from curate.io.fields import kind_of

    return kind_of(row.lstrip(" \t\r\n").encode())


def _members(row: str) -> dict[str, tuple[str, str]]:
    """Name -> (key as written, value as written) of a line known to be an object; the last value of a repeated key."""
    members: dict[str, tuple[str, str]] = {}
    at = _skip(row, _skip(row, 0) + 1)
    while row[at] == '"':
        name, after = scanstring(row, at + 1, True)
        start = _skip(row, _skip(row, after) + 1)
        _, stop = _DECODER.raw_decode(row, start)
        members[name] = (members[name][0] if name in members else row[at:after], row[start:stop])
        at = _skip(row, stop)
        if row[at] == ",":
            at = _skip(row, at + 1)
    return members


def _skip(row: str, at: int) -> int:
    match = _WHITE.match(row, at)
    return match.end() if match else at


def _compact(raw: str) -> str:
    return _TOKENS.sub(lambda m: m[1] or ("null" if m[2] else ""), raw)


def _without_bom(block: LineBlock) -> LineBlock:
    if block.base or not block.data.startswith(BOM):
        return block
    start = block.start.copy()
    start[0] = len(BOM)
    return block._replace(start=start)


def _bytes(data: bytes) -> U8:
    return np.frombuffer(data or b"\0", np.uint8)


def _cut(lines: LineBlock, begin: I64, end: I64) -> pa.LargeStringArray:
    """The n strings data[begin[i]:end[i]], which follow each other: every other string of one array over the block."""
    offsets = np.stack([begin, end], axis=1).ravel()
    both = pa.LargeStringArray.from_buffers(max(len(offsets) - 1, 0), pa.py_buffer(offsets), pa.py_buffer(lines.data))
    return both.take(pa.array(np.arange(0, len(both), 2)))
