"""Records of WARC and ARC files, one after the other, with everything broken reported where it lies.

The format of a record is told by its first line: `WARC/1.0` (ISO 28500; versions 0.17, 0.18, 1.0 and 1.1 are alike
here) or the one-line header of ARC 1.0 and 2.0. Damage never ends a file: after it reading goes on at the next record
header (or the next gzip member), and what lies between is reported. Why not a library's iterator: FastWARC 2.0 refuses
ARC and ends the file at the first bad header, warcio 1.8 raises there and refuses gzip files of one member.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from curate.io.byte_cursor import ByteCursor, Place
from curate.io.http_message import HEADERS, HEADERS_END, lines_of, parse_headers

BEGIN = 8 << 10
HELD = 1 << 20  # unwanted records up to this size are held all the same: a wrong length shows only after them
WARC_START = re.compile(rb"WARC/\d\.\d{1,2}\r?\n")
ARC_START = re.compile(
    rb"(?:^|(?<=\n))[A-Za-z][A-Za-z0-9+.-]{1,20}:[^\r\n]{1,8000} [^ \r\n]{1,64} \d{8,18} [^\r\n]{0,200} -?[^ \r\n]{1,20}\r?\n"
)
_ANY_START = re.compile(WARC_START.pattern + b"|" + ARC_START.pattern)
_LINE = re.compile(rb"\n")
_OVERLAP = 8400  # the longest start of a record
_END = b"\r\n"
_ARC_FIELDS = ("url", "ip", "date", "mime", "length")
_ARC2_FIELDS = ("url", "ip", "date", "mime", "status", "checksum", "location", "offset", "filename", "length")
_SHOWN = 80


class Record(NamedTuple):
    """A whole record. body is None where it was not wanted, or was longer than what may be held."""

    place: Place
    kind: str  # warc | arc
    type: str  # WARC-Type; of ARC records response, resource or arc_header
    headers: dict[str, str]  # of a WARC record, names in lower case; of an ARC record its fields
    length: int  # of head and body
    head: bytes  # what `wanted` has cut off the content
    body: bytes | None


class Damage(NamedTuple):
    """Something that is no whole record."""

    place: Place
    error: str
    head: bytes


class Header(NamedTuple):
    """A record's header: what decides whether its content is wanted."""

    kind: str
    type: str
    headers: dict[str, str]
    length: int


class BadHeader(ValueError):
    """A header that can't be used: what was got, what was expected."""


Wanted = Callable[[Header, bytes], int | None]


def read_records(cursor: ByteCursor, end: int, wanted: Wanted, max_bytes: int) -> Iterator[Record | Damage]:
    """Yield the records that start before `end` (a place's offset; < 0: all), and all damage between them.

    wanted: is given the header and the first bytes of the content; it returns how many of them are a head, to be cut off, or None
        for a record that is not wanted. max_bytes: longer contents are passed over.
    """
    reader = _Reader(cursor, wanted, max_bytes)
    while True:
        there = cursor.skip_any(_END)
        place = cursor.place()
        if 0 <= end <= place.offset or not (there or cursor.broken):
            return
        if there:
            yield from reader.next(place)
            continue
        if not reader.told:
            yield Damage(place, str(cursor.broken), b"")
        reader.told = False
        if not cursor.resume():
            return


def record_size(head: bytes) -> int | None:
    """Bytes of the record, header and content, that begins a plain file's bytes; None where none begins there."""
    cursor = ByteCursor(io.BytesIO(head))
    try:
        length = _Reader(cursor, lambda *_: None, 0).header().length
    except BadHeader:
        return None
    return cursor.position + length


class _Reader:
    """Reads one record after the other."""

    def __init__(self, cursor: ByteCursor, wanted: Wanted, max_bytes: int) -> None:
        self.cursor, self.wanted, self.max_bytes = cursor, wanted, max_bytes
        self.told = False  # whether the break that the cursor has met is reported

    def next(self, place: Place) -> Iterator[Record | Damage]:
        cursor = self.cursor
        start = cursor.position
        head = cursor.peek(_SHOWN)
        try:
            header = self.header()
        except BadHeader as error:
            yield self._lost(place, start, str(error), head)
            return
        cut = self.wanted(header, self._begin(header.length))
        hold = header.length <= (self.max_bytes if cut is not None else min(HELD, self.max_bytes))
        first, rest = (cursor.take(cut or 0), cursor.take(header.length - (cut or 0))) if hold else (b"", None)
        got = len(first) + len(rest) if rest is not None else cursor.skip(header.length)
        if got < header.length:
            yield from self._short(place, header, None if rest is None else first + rest, got, head)
            return
        stray = self._stray(header)
        if stray and rest is not None and (found := _start_of(header.kind).search(first + rest)):
            cursor.back((first + rest)[found.start() :])
            yield Damage(place, f"its length runs into the next record: it says {header.length} bytes", head)
            return
        yield Record(place, *header, first, None if cut is None else rest)
        if stray:
            at = cursor.place()
            yield self._lost(
                at, cursor.position, f"bytes that belong to no record: the length of the one before, {header.length}, is wrong", stray
            )

    def _begin(self, length: int) -> bytes:
        """The first bytes of a content: its HTTP head, if it has one, and some of the body."""
        begin = self.cursor.peek(min(length, BEGIN))
        if len(begin) == BEGIN and not HEADERS_END.search(begin):
            begin = self.cursor.peek(min(length, HEADERS))
        return begin

    def header(self) -> Header:
        """Take a header. Raises BadHeader."""
        cursor = self.cursor
        if cursor.peek(5) == b"WARC/":
            block = cursor.until(HEADERS_END, HEADERS)
            if block is None:
                raise BadHeader("a WARC header without an end")
            return _warc_header(block)
        line = cursor.peek(HEADERS).partition(b"\n")[0] + b"\n"
        if not ARC_START.match(line):
            raise BadHeader("not the start of a WARC or ARC record")
        block = cursor.until(_LINE, HEADERS)
        assert block is not None
        return _arc_header(block, cursor)

    def _stray(self, header: Header) -> bytes:
        """The bytes that follow a content where its end and a record should; b"" where all is well."""
        cursor = self.cursor
        ended = cursor.peek(4).startswith((b"\r\n\r\n", b"\n\n") if header.kind == "warc" else (b"\n", b"\r\n"))
        if not cursor.skip_any(_END) or ended:
            return b""
        head = cursor.peek(_SHOWN)
        return b"" if head.startswith(b"WARC/") or ARC_START.match(cursor.peek(_OVERLAP)) else head

    def _lost(self, place: Place, start: int, error: str, head: bytes) -> Damage:
        """Go on at the next record's header, and report what was passed over."""
        cursor = self.cursor
        if cursor.position == start:
            cursor.skip(1)
        cursor.seek_to(_ANY_START, _OVERLAP)
        self.told = bool(cursor.broken) and not cursor.peek(1)
        if self.told:
            error = f"{error} ({cursor.broken})"
        return Damage(place, f"{error}: starts with {head[:_SHOWN]!r}, {cursor.position - start} bytes passed over", head)

    def _short(self, place: Place, header: Header, content: bytes | None, got: int, head: bytes) -> Iterator[Damage]:
        """A content that ends before its length says: a truncated or damaged file, or a wrong length."""
        cursor = self.cursor
        found = _start_of(header.kind).search(content) if content is not None else None
        why = str(cursor.broken) if cursor.broken else "the file ends"
        if found:
            assert content is not None
            cursor.back(content[found.start() :])
            why = "its length runs into the next record"
        self.told = bool(cursor.broken) and not found
        yield Damage(place, f"{why}: {got} bytes of content, expected {header.length}", head)


def _start_of(kind: str) -> re.Pattern[bytes]:
    return WARC_START if kind == "warc" else ARC_START


def _warc_header(block: bytes) -> Header:
    version, *lines = lines_of(block)
    headers = parse_headers(lines)
    length = headers.get("content-length")
    if length is None or not (length.isascii() and length.isdigit()):
        raise BadHeader(
            f"bad Content-Length: got {length!r}, expected a number" if length is not None else f"no Content-Length: below {version!r}"
        )
    return Header("warc", headers.get("warc-type", "unknown").lower(), headers, int(length))


def _arc_header(line: bytes, cursor: ByteCursor) -> Header:
    text = lines_of(line)[0]
    words = text.rsplit(" ", 9)
    names: tuple[str, ...] = _ARC2_FIELDS
    if len(words) < 10 or not (words[2].isdigit() and words[7].isdigit()):
        words, names = text.rsplit(" ", 4), _ARC_FIELDS
    fields = dict(zip(names, words, strict=True))
    length = fields["length"]
    if not (length.isascii() and length.isdigit()):
        raise BadHeader(f"bad length: an ARC record has {length!r}, expected a number")
    if fields["url"].startswith("filedesc:"):
        kind = "arc_header"
    else:
        kind = "response" if cursor.peek(5) == b"HTTP/" else "resource"
    return Header("arc", kind, fields, int(length))
