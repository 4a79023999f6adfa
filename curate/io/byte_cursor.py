"""Go forward through the decompressed bytes of an archive file, knowing the place of every byte.

A place is (offset, inner): in a gzip file the start of the member in the file and the byte inside of its content, in
other files the byte of the content and 0. Places do not depend on where reading began, so ids made of them hold for any
split. A record may span members.
"""

from __future__ import annotations

import io
import re
from typing import BinaryIO, NamedTuple

from curate.io.gzip_members import GzipMembers, find_member
from curate.io.streams import PIECE, Broken, Source, compression, decompressed


class Place(NamedTuple):
    """Where a byte lies."""

    offset: int
    inner: int = 0


class ByteCursor:
    """A forward cursor over a file's content from byte `start` on (a member's start in a gzip file).

    Where the compressed stream breaks, the bytes before the break are given, then `broken` says what is wrong.
    """

    def __init__(self, file: BinaryIO, start: int = 0) -> None:
        """Raises Broken for a kind of compression that is not read."""
        self._file = file
        self._size = file.seek(0, io.SEEK_END)
        file.seek(0)
        kind = compression(file.read(4))
        self.is_gzip = kind == "gzip"
        file.seek(0)
        self._members = GzipMembers(file, start) if self.is_gzip else None
        self._source: Source = self._members or decompressed(file, start)
        self._starts: list[tuple[int, int]] = []  # (position, offset) of members begun, for those still in reach
        self._data = b""
        self._at = 0
        self._base = 0 if self.is_gzip else start  # position of _data[0]
        self.broken: Broken | None = None
        self.ended = False

    @property
    def position(self) -> int:
        """Decompressed bytes from where reading began (gzip) or from the start of the file (others)."""
        return self._base + self._at

    def place(self) -> Place:
        """Of the next byte. Look at it first (`peek`): only then is the member known. At a break: of the broken member."""
        if self._members is None:
            return Place(self.position)
        if self.broken and self._at == len(self._data):
            return Place(self._members.member)
        while len(self._starts) > 1 and self._starts[1][0] <= self.position:
            self._starts.pop(0)
        position, offset = self._starts[0] if self._starts else (self.position, self._members.member)
        return Place(offset, self.position - position)

    def peek(self, size: int) -> bytes:
        """The next bytes, `size` of them unless the content ends or breaks before; they stay to be taken."""
        if len(self._data) - self._at < size:
            self._hold(size)
        return self._data[self._at : self._at + size]

    def take(self, size: int) -> bytes:
        """The next bytes, fewer at the end or a break."""
        start, held = self._at, len(self._data) - self._at
        if size <= held:
            self._at = start + size
            return self._data[start : self._at]
        position, last = self.position, b""
        pieces = [memoryview(self._data)[start:]]
        while held < size and (last := self._more(position + held)):
            pieces.append(memoryview(last))
            held += len(last)
        over = max(0, held - size)
        pieces[-1] = pieces[-1][: len(pieces[-1]) - over]
        self._data, self._at, self._base = last, len(last) - over, position + held - len(last)
        return b"".join(pieces)

    def _hold(self, size: int) -> None:
        """Have the next `size` bytes in one piece, unless the content ends or breaks before."""
        held = len(self._data) - self._at
        pieces = [self._data[self._at :]] if held else []
        self._base += self._at
        self._at = 0
        while held < size and (piece := self._more(self._base + held)):
            pieces.append(piece)
            held += len(piece)
        self._data = pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def skip(self, size: int) -> int:
        """Pass over bytes without holding them; how many there were."""
        left = size
        while left and (step := len(self.take(min(left, PIECE)))):
            left -= step
        return size - left

    def back(self, data: bytes) -> None:
        """Put bytes that were just taken back before the next one."""
        self._data = data + self._data[self._at :]
        self._base, self._at = self._base + self._at - len(data), 0

    def skip_any(self, what: bytes) -> bytes:
        """Pass over all bytes that are in `what`; the next byte, b"" at the end."""
        while True:
            if self._at == len(self._data):
                self._hold(1)
            head = self._data[self._at : self._at + 64]
            rest = head.lstrip(what)
            self._at += len(head) - len(rest)
            if rest or not head:
                return rest[:1]

    def until(self, pattern: re.Pattern[bytes], limit: int) -> bytes | None:
        """Take what stands up to and with the first match; None (and nothing taken) where there is none in `limit` bytes.

        pattern: a match does not depend on what follows it, so what is held is searched before more is read
        """
        while True:
            found = pattern.search(self._data, self._at, self._at + limit)
            if found is not None:
                return self.take(found.end() - self._at)
            held = len(self._data) - self._at
            if held < limit:
                self._hold(min(max(4096, 4 * held), limit))
            if len(self._data) - self._at == held:
                return None

    def seek_to(self, pattern: re.Pattern[bytes], overlap: int) -> int:
        """Pass over bytes until a match starts (or all of them); how many. overlap: bytes a match may have at most."""
        passed = 0
        while True:
            head = self.peek(PIECE)
            found = pattern.search(head)
            step = found.start() if found is not None else len(head) if len(head) < PIECE else len(head) - overlap
            self._at += step
            passed += step
            if found is not None or len(head) < PIECE:
                return passed

    def resume(self) -> bool:
        """After a break in a gzip file go on at the next member; False where there is none."""
        if self._members is None:
            return False
        start = find_member(self._file, self._members.member + 1, self._size)
        if start < 0:
            return False
        self._base += len(self._data)
        self._data, self._at, self._starts = b"", 0, []
        self._members.enter(start)
        self.broken, self.ended = None, False
        return True

    def _more(self, position: int) -> bytes:
        if self.broken or self.ended:
            return b""
        try:
            piece = self._source.read(PIECE)
        except Broken as error:
            self.broken = error
            return b""
        if not piece:
            self.ended = True
        elif self._members is not None and (not self._starts or self._starts[-1][1] != self._members.member):
            self._starts.append((position, self._members.member))
        return piece
