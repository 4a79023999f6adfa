"""Gzip files member by member: where each starts in the file, and finding the next one after damage or after a cut.

A WARC file is one member per record, `bgzip` writes one per 64 KiB; both can be entered in the middle. A member start is
found by its header (RFC 1952, section 2.3.1) and proven by inflating its beginning. Compressed bytes imitate a header
that inflates about once in 10^13 bytes; a gzip file stored inside an archive without being compressed again does it too,
and `find_member` takes a test of the content for that reason.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import BinaryIO

from curate.io.streams import INPUT, PIECE, Broken, from_disk, until_error

MAGIC = b"\x1f\x8b\x08"
SCAN = 1 << 20  # bytes looked through at once
PROOF = 4096  # bytes of content a member start must inflate to, or the whole member
HEADER = 18


class GzipMembers:
    """Decompressed pieces of a gzip file from byte `start` on; `start` must be where a member starts.

    No piece spans two members. `member` is the start of the one that the last piece belongs to. Zero bytes between
    members are passed over. Raises Broken like every Source, once everything before the damage has been given.
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
        self.member = start

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
        self.member, self._inside = self._at, True
        self._inflate = zlib.decompressobj(wbits=31)
        return True

    def _step(self, size: int) -> bytes:
        before = self._inflate.copy()
        try:
            out = self._inflate.decompress(self._input, size)
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
    at = start
    while at < end:
        file.seek(at)
        data = from_disk(file.read, SCAN + HEADER)
        found = data.find(MAGIC)
        while 0 <= found < SCAN and at + found < end:
            if starts_member(data[found : found + 10]) and test(_content(file, at + found)):
                return at + found
            found = data.find(MAGIC, found + 1)
        if len(data) < SCAN + HEADER:
            break
        at += SCAN
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
