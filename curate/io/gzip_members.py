"""Gzip files member by member: where each starts in the file, and finding the next one after damage or after a cut.

A WARC file is one member per record, `bgzip` writes one per 64 KiB; both can be entered in the middle. A member start is
found by its header (RFC 1952, section 2.3.1) and proven by inflating its beginning. Compressed bytes imitate a header
that inflates about once in 10^13 bytes; a gzip file stored inside an archive without being compressed again does it too,
and `find_member` takes a test of the content for that reason.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

from curate.errors import DataError
from curate.io.streams import INPUT, PIECE, Broken, from_disk, until_error, zlib

MAGIC = b"\x1f\x8b\x08"
SCAN = 1 << 20  # bytes looked through at once
PROOF = 4096  # bytes of content a member start must inflate to, or the whole member
HEADER = 18
PROBE = 1 << 20  # compressed bytes in which the first member must end: a file of one member costs no more than this


class Member(NamedTuple):
    """Where a member starts in the file, and its content in the whole content."""

    start: int
    content_at: int


class GzipMembers:
    """Decompressed pieces of a gzip file from byte `start` on; `start` must be where a member starts.

    No piece spans two members. `member` is the start of the one that the last piece belongs to, `first` whether the piece
    begins its content. Zero bytes between members are passed over. Raises Broken like every Source, once everything before the damage has been given.
    """

    def __init__(self, file: BinaryIO, start: int = 0) -> None:
        self._file = file
        self.enter(start)

    def enter(self, start: int) -> None:
        """Go on at the member that starts at byte `start`."""
        self._file.seek(start)
        self._at = start  # in the file, of the first byte of _input
        self._input = b""
        self._inflate = zlib.decompressobj(wbits=31)
        self._inside = False
        self._broken: Broken | None = None
        self.member, self.first = start, True
        self._begun = False  # a piece of the member has been given

    def read(self, size: int = PIECE) -> bytes:
        """The next piece, of at most `size` bytes; b"" at the end."""
        while True:
            if self._broken:
                raise self._broken
            if not self._input and not self._more():
                return b""
            if not self._inside and not self._begin():
                continue
            piece = self._step(size)
            if piece:
                self.first, self._begun = not self._begun, True
                return piece

    def _more(self) -> bool:
        self._input = from_disk(self._file.read, INPUT)
        if not self._input and self._inside:
            raise self._break("the gzip stream ends early (truncated file)")
        return bool(self._input)

    def _begin(self) -> bool:
        """Enter the next member; False where more input is needed to see its first bytes."""
        rest = self._input.lstrip(b"\0")
        self._at += len(self._input) - len(rest)
        self._input = rest
        if not rest:
            return False
        if not MAGIC.startswith(rest[:3]):
            raise self._break("other bytes follow the gzip stream")
        self.member, self._inside, self._begun = self._at, True, False
        self._inflate = zlib.decompressobj(wbits=31)
        return True

    def _step(self, size: int) -> bytes:
        before = self._inflate.copy()
        try:
            out: bytes = self._inflate.decompress(self._input, size)
        except zlib.error as error:
            self._break(f"the gzip stream is damaged ({error})")
            return until_error(before, self._input)
        rest = self._inflate.unconsumed_tail
        if self._inflate.eof:
            rest, self._inside = self._inflate.unused_data, False
        self._at += len(self._input) - len(rest)
        self._input = rest
        return out

    def _break(self, message: str) -> Broken:
        self._broken = Broken(message)
        return self._broken


def starts_member(head: bytes) -> bool:
    """Whether bytes can be the header of a member: magic, flags, and what compressors write as XFL and OS."""
    return len(head) >= 10 and head.startswith(MAGIC) and head[3] < 32 and head[8] in (0, 2, 4) and (head[9] < 14 or head[9] == 255)


def find_member(file: BinaryIO, start: int, end: int, test: Callable[[bytes], bool] = bool) -> int:
    """The first member that starts at or after `start` and before `end`; -1 where there is none.

    test: is given the first bytes of its content (up to PROOF) and may refuse it.
    """
    at, scan = start, 16 << 10
    while at < end:
        file.seek(at)
        data = from_disk(file.read, scan + HEADER)
        found = data.find(MAGIC)
        while 0 <= found < scan and at + found < end:
            if starts_member(data[found : found + 10]) and test(_content(file, at + found)):
                return at + found
            found = data.find(MAGIC, found + 1)
        if len(data) < scan + HEADER:
            break
        at += scan
        scan = min(2 * scan, SCAN)
    return -1


def _content(file: BinaryIO, start: int) -> bytes:
    """The first bytes of a member's content; b"" where it is none."""
    file.seek(start)
    inflate = zlib.decompressobj(wbits=31)
    out = b""
    try:
        while len(out) < PROOF and not inflate.eof:
            data = inflate.unconsumed_tail or from_disk(file.read, PROOF)
            if not data:
                return b""
            out += inflate.decompress(data, PROOF - len(out))
    except zlib.error:
        return b""
    return out


class Passage:
    """The content of a gzip file between two members that a listing named, proven on the way.

    A listing takes the sizes of contents from the members' own words (ISIZE); here they are counted. Where the two do
    not agree, a byte would be read twice or never, so it is an error.
    """

    def __init__(self, file: BinaryIO, enter: tuple[int, int], leave: tuple[int, int]) -> None:
        """enter, leave: (byte of the file, byte of the content); leave < 0: to the end."""
        self._members = GzipMembers(file, enter[0])
        self._at = enter[1]
        self._leave = leave
        self._held = b""

    def read(self, size: int, /) -> bytes:
        """As every Source."""
        piece, self._held = self._held[:size], self._held[size:]
        if not piece:
            left = self._leave[1] - self._at
            piece = self._border(size) if left == 0 else self._members.read(min(size, left) if left > 0 else size)
        self._at += len(piece)
        return piece

    def _border(self, size: int) -> bytes:
        """The first bytes of the member that the next split begins with."""
        piece = self._members.read(size)
        if not piece or self._members.member != self._leave[0] or not self._members.first:
            raise DataError(
                f"byte {self._leave[1]} of the content should begin the gzip member at byte {self._leave[0]}, and does not: the file names wrong sizes. "
                "Compress it anew, as one member or with zstd."
            )
        return piece


def member_table(file: BinaryIO) -> list[Member] | None:
    """Every member of a seekable file with its place in the content; None for a file of one member or one that can't be cut.

    `bgzip` names the size of every member, so that only headers are read; of other files all compressed bytes are looked through.
    """
    size = file.seek(0, io.SEEK_END)
    starts = list(_block_starts(file, size)) or (list(_all_starts(file, size)) if _first_ends(file) else [])
    if len(starts) < 2 or starts[0] != 0:
        return None
    table, content = [], 0
    for start, end in zip(starts, [*starts[1:], size], strict=True):
        table.append(Member(start, content))
        file.seek(end - 4)
        held = int.from_bytes(from_disk(file.read, 4), "little")
        if not (end - start - 1024) <= held * 1.01 <= (end - start) * 1100:  # what deflate can do
            return None if end != size else table
        content += held
    return table


def _block_starts(file: BinaryIO, size: int) -> Iterator[int]:
    """Starts of the blocks of a `bgzip` file (SAM specification, section 4.1); none for other files."""
    at = 0
    while at < size:
        file.seek(at)
        head = from_disk(file.read, HEADER)
        if len(head) < HEADER or not head.startswith(MAGIC + b"\x04") or head[12:16] != b"BC\x02\0":
            return
        yield at
        at += int.from_bytes(head[16:18], "little") + 1


def _first_ends(file: BinaryIO) -> bool:
    """Whether the first member ends within PROBE bytes and another one follows."""
    file.seek(0)
    inflate = zlib.decompressobj(wbits=31)
    data = from_disk(file.read, PROBE)
    try:
        while data and not inflate.eof:
            inflate.decompress(data, PIECE)
            data = inflate.unconsumed_tail
    except zlib.error:
        return False
    return inflate.eof and starts_member(inflate.unused_data.lstrip(b"\0")[:10])


def _all_starts(file: BinaryIO, size: int) -> Iterator[int]:
    """Starts of all members of a file, each proven."""
    at = 0
    while (found := find_member(file, at, size)) >= 0:
        yield found
        at = found + HEADER
