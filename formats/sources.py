"""Rows of files of any kind we read: JSON lines, a JSON list, Parquet and Arrow; compressed or not; in bounded memory.

What can't be read is given on with its place and reason, never passed over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate.io.fields import not_utf8
from curate.io.files import open_file
from curate.io.lines import BOM, HEAD, LineBlock, read_lines, too_long
from curate.io.reader import Split, Unreadable
from curate.io.streams import Broken, Source, compression, decompressed, fill
from formats.json_text import decode, decode_lines, loads, without_nulls

MAX_ROW_BYTES = 16 << 20
JSON_COLUMNS = b"json_columns"  # key of the Parquet metadata that lists columns of JSON text
_BATCH_ROWS = 1024
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*("?)|[{}\[\],]', re.DOTALL)  # group 1 is empty for a string that has not ended
_PIECE = 1 << 20
_LINES = 1 << 18  # bytes of a block of lines: its values stay in the processor's cache
_BRACE = ord("{")


class Block(msgspec.Struct):
    """n rows that follow each other in a file."""

    values: list[Any]  # JSON values; an Unreadable where one can't be read
    offsets: list[int]  # byte offset in the decompressed file; row number in tables
    data: bytes = b""  # where they came as JSON: row i is data[starts[i] : ends[i]]
    starts: list[int] = []
    ends: list[int] = []

    def head(self, row: int) -> bytes:
        """The first bytes of a row as it was written; b"" from tables."""
        return self.data[self.starts[row] : min(self.ends[row], self.starts[row] + HEAD)] if self.starts else b""

    def lines(self) -> Iterator[Line | Unreadable]:
        """The rows one by one."""
        for at, (offset, value) in enumerate(zip(self.offsets, self.values, strict=True)):
            if isinstance(value, Unreadable):
                yield value
            elif self.starts:
                yield Line(offset, value, self.data, self.starts[at], self.ends[at])
            else:
                yield Line(offset, value)


class Line(msgspec.Struct):
    """One row: its place, its value, and where its bytes are where it came as JSON (b"" from tables)."""

    offset: int  # byte offset in the decompressed file; row number in tables
    value: Any
    data: bytes = b""
    start: int = 0
    end: int = 0

    def head(self) -> bytes:
        """The first bytes of the row as it was written."""
        return self.data[self.start : min(self.end, self.start + HEAD)]

    @property
    def size(self) -> int:
        """Bytes of the row; a guess for rows of tables."""
        return self.end - self.start or 1024


def parse(raw: bytes, path: str, offset: int) -> Any:
    """The value of a row of JSON, or an Unreadable. Whatever the fast parser refuses is read again for a message, or because only it is too strict."""
    try:
        return decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    problem = not_utf8(raw)
    if problem is None:
        try:
            value = json.loads(raw, parse_constant=lambda _: None)  # NaN is not JSON; null, as everywhere in curate
            json.dumps(value, ensure_ascii=False).encode()
            return value
        except UnicodeEncodeError as error:
            problem = f"a lone surrogate at character {error.start} of the row, which UTF-8 can't hold"
        except json.JSONDecodeError as error:
            problem = f"not JSON: {error.msg} at character {error.pos}"
        except (RecursionError, ValueError) as error:
            problem = "nested too deeply" if isinstance(error, RecursionError) else f"not read: {error}"
    return Unreadable(path, offset, problem, raw[:HEAD])


def rows_of(split: Split, max_bytes: int = MAX_ROW_BYTES) -> Iterator[Line | Unreadable]:
    """Every row of a JSON file (lines, or one list told by its first character), in order."""
    for block in blocks_of(split, max_bytes):
        yield from block.lines()


def blocks_of(split: Split, max_bytes: int = MAX_ROW_BYTES) -> Iterator[Block]:
    """The rows of `rows_of` in blocks of a quarter of a megabyte or more."""
    if begins_a_list(split.uri):
        yield from _list_blocks(split, max_bytes)
        return
    for block in read_lines(split, max_bytes, _LINES):
        if block.unreadable:
            yield Block(list(block.unreadable), [row.offset for row in block.unreadable])
        starts = block.start.tolist()
        values = _all_at_once(block.data, starts, max_bytes)
        if values is not None:
            yield Block(values, (block.start[:-1] + block.base).tolist(), block.data, starts[:-1], starts[1:])
        else:
            yield _one_by_one(block, split.path, max_bytes)


def _one_by_one(block: LineBlock, path: str, max_bytes: int) -> Block:
    """The rows of a block in which something needs a closer look."""
    made = Block([], [], block.data, [], [])
    for start, end in pairwise(block.start.tolist()):
        at = block.base + start
        raw = block.data[start:end].removeprefix(BOM) if at == 0 else block.data[start:end]
        if raw.isspace():
            continue
        if len(raw.removesuffix(b"\n")) > max_bytes:
            made.values.append(Unreadable(path, at, too_long(max_bytes), raw[:HEAD]))
        else:
            made.values.append(parse(raw, path, at))
        made.offsets.append(at)
        made.starts.append(end - len(raw))
        made.ends.append(end)
    return made


def _all_at_once(data: bytes, starts: list[int], max_bytes: int) -> list[Any] | None:
    """The values of all lines of a block; None where one of them needs a closer look."""
    first = np.frombuffer(data, np.uint8)[starts[:-1]] if data else np.zeros(0)
    if len(data) > max_bytes or not (first == _BRACE).all():
        return None  # blank lines, a mark at the start, or no objects
    try:
        values = decode_lines(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return values if len(values) == len(starts) - 1 else None


def begins_a_list(uri: str) -> bool:
    """Whether a file's content is one JSON list."""
    with closing(open_file(uri)) as file:
        try:
            compression(file.read(4))
            file.seek(0)
            head, _, _ = fill(decompressed(file), 4096)
        except Broken:
            return False
    return head.removeprefix(BOM).lstrip()[:1] == b"["


def _list_blocks(split: Split, max_bytes: int) -> Iterator[Block]:
    made, raws, size = Block([], []), list[bytes](), 0
    for offset, raw, value in _list_rows(split, max_bytes):
        made.values.append(value)
        made.offsets.append(offset)
        raws.append(raw)
        made.starts.append(size)
        size += len(raw)
        made.ends.append(size)
        if size >= _PIECE:
            made.data = b"".join(raws)
            yield made
            made, raws, size = Block([], []), [], 0
    if raws:
        made.data = b"".join(raws)
        yield made


def _list_rows(split: Split, max_bytes: int) -> Iterator[tuple[int, bytes, Any]]:
    """(offset, bytes, value or Unreadable) of every element of a JSON list."""
    with closing(open_file(split.uri, split.fingerprint)) as file:
        try:
            source = decompressed(file)
        except Broken as error:
            yield 0, b"", Unreadable(split.path, 0, str(error), b"")
            return
        for offset, raw, problem in _elements(source, max_bytes):
            if problem:
                yield offset, raw[:HEAD], Unreadable(split.path, offset, problem, raw[:HEAD])
            else:
                yield offset, raw, parse(raw, split.path, offset)


def _elements(source: Source, max_bytes: int) -> Iterator[tuple[int, bytes, str]]:
    """(offset, bytes, problem) of every element of a JSON list. Elements are found by brackets and strings alone."""
    data, base, at, start, depth = b"", 0, 0, 0, 0
    while True:
        piece, broken, ended = fill(source, _PIECE)
        data += piece
        for match in _TOKEN.finditer(data, at):
            token = match[0]
            if token[:1] == b'"':
                if not match[1]:
                    at = match.start()  # look again from here when more has come
                    break
            elif token in b"[{":
                depth += 1
                start = match.end() if depth == 1 else start
            elif depth == 1:
                raw = data[start : match.start()].lstrip()
                at_raw, raw = match.start() - len(raw), raw.rstrip()
                if raw:
                    yield base + at_raw, raw, too_long(max_bytes) if len(raw) > max_bytes else ""
                start = match.end()
                depth -= token != b","
            elif token != b",":
                depth -= 1
            if not depth:
                yield from _after(data[match.end() :], base + match.end())
                return
        else:
            at = len(data)
        if ended:
            yield base + start, data[start:], str(broken) if broken else "the file ends inside the list"
            return
        if len(data) - start > max_bytes + _PIECE:
            yield base + start, data[start:], f"{too_long(max_bytes)}; the rest of the file is not read"
            return
        keep = min(start, at)
        data, base, start, at = data[keep:], base + keep, start - keep, at - keep


def _after(rest: bytes, offset: int) -> Iterator[tuple[int, bytes, str]]:
    if rest.strip():
        yield offset, rest.strip(), "text after the end of the list; one JSON list, or one object a line is expected"


def table_rows(batch: pa.RecordBatch, first: int, decoded: frozenset[str], path: str) -> Iterator[Line | Unreadable]:
    """Rows of a table as dicts: JSON text of the columns `decoded` read, null padding of structs removed, nulls left out."""
    nested = [f.name for f in batch.schema if pa.types.is_nested(f.type)]
    for at, row in enumerate(batch.to_pylist(), first):
        try:
            for name in decoded:
                if row[name] is not None:
                    row[name] = loads(row[name])
        except ValueError as error:
            yield Unreadable(path, at, f"column {name!r} is not JSON: {error}", str(row[name]).encode()[:HEAD])
            continue
        for name in nested:
            row[name] = _turns(without_nulls(row[name]))
        yield Line(at, {k: v for k, v in row.items() if v is not None}, b"")


def table_block(batch: pa.RecordBatch, first: int, decoded: frozenset[str], path: str) -> Block:
    """The rows of `table_rows` as a block."""
    made = Block([], [])
    for row in table_rows(batch, first, decoded, path):
        made.values.append(row.value if isinstance(row, Line) else row)
        made.offsets.append(row.offset)
    return made


def _turns(value: Any) -> Any:
    """Turns have content, also where it is null."""
    if isinstance(value, list):
        for turn in value:
            if isinstance(turn, dict) and "role" in turn:
                turn.setdefault("content", None)
    return value


def json_columns(schema: pa.Schema) -> frozenset[str]:
    """Columns that a file of ours holds as JSON text."""
    named = (schema.metadata or {}).get(JSON_COLUMNS)
    return frozenset(loads(named)) & set(schema.names) if named else frozenset()


def table_batches(uri: str) -> Iterator[pa.RecordBatch]:
    """Batches of a Parquet or Arrow file."""
    if uri.endswith((".parquet", ".pq")):
        with closing(open_file(uri)) as file:
            yield from pq.ParquetFile(file).iter_batches(_BATCH_ROWS)
        return
    with closing(open_file(uri)) as file:
        head = file.read(6)
        file.seek(0)
        if head == b"ARROW1":
            table = pa.ipc.open_file(file)
            for number in range(table.num_record_batches):
                yield table.get_batch(number)
        else:
            yield from pa.ipc.open_stream(file)


def is_table(uri: str) -> bool:
    """Whether a file is read by columns."""
    return uri.lower().endswith((".parquet", ".pq", ".arrow", ".feather", ".ipc"))
