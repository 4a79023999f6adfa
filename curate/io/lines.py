"""Blocks of whole lines from a byte source, with the place of every line, in bounded memory.

A line ends at byte 0x0A and nowhere else (JSON text may hold U+2028 and lone CR). Blocks are cut at fixed byte counts of
the source, so they are the same however the bytes arrive. A split owns the lines that start in its range.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from curate.io.files import File, is_local, open_file, ranges
from curate.io.gzip_members import Member, Passage, member_table
from curate.io.reader import BATCH_BYTES, Split, Unreadable
from curate.io.streams import Broken, Frame, Source, compression, decompressed, fill, zstd_frames

HEAD = 4096  # bytes of an unreadable row that are kept
BOM = b"\xef\xbb\xbf"


class LineBlock(NamedTuple):
    """n whole lines. `data` holds them with their newlines; line i is data[start[i] : start[i + 1]]."""

    data: bytes
    start: npt.NDArray[np.int64]  # i64[n+1]
    base: int  # offset of data[0] in the decompressed file
    unreadable: tuple[Unreadable, ...]  # lines before these that were too long, or the rest of a broken file

    def line(self, row: int) -> bytes:
        """Line `row` with its newline."""
        return self.data[int(self.start[row]) : int(self.start[row + 1])]

    def offset(self, row: int) -> int:
        """Where line `row` starts in the decompressed file."""
        return self.base + int(self.start[row])


def line_splits(file: File, split_bytes: int) -> list[Split]:
    """Cut one file: plain ones anywhere, zstd ones between frames that declare their size, gzip ones of many members between them.

    start and end are offsets in the decompressed content. Compressed files behind a URL are not cut.
    """
    whole = [Split(file.uri, file.path, file.size, file.fingerprint)]
    if file.size <= split_bytes // 8:
        return whole
    with open_file(file.uri) as handle:
        try:
            kind = compression(handle.read(4))
        except Broken:
            return whole
        if kind == "plain" and file.size > split_bytes:
            pieces = list(ranges(file.size, split_bytes))
            return [
                Split(file.uri, file.path, (end if end > 0 else file.size) - start, file.fingerprint, start, end) for start, end in pieces
            ]
        if not is_local(file.uri):
            return whole
        if kind == "gzip":
            return _member_splits(file, member_table(handle) if file.size > split_bytes else None, split_bytes) or whole
        frames = zstd_frames(handle)
    cuts: list[Frame] = []
    for frame in frames or []:
        if not cuts or frame.content_at - cuts[-1].content_at >= split_bytes:
            cuts.append(frame)
    if len(cuts) < 2:
        return whole
    ends = [*((c.start, c.content_at) for c in cuts[1:]), (file.size, -1)]
    return [
        Split(file.uri, file.path, on_disk - c.start, file.fingerprint, c.content_at, end)
        for c, (on_disk, end) in zip(cuts, ends, strict=True)
    ]


def _member_splits(file: File, members: list[Member] | None, split_bytes: int) -> list[Split]:
    """Runs of gzip members of at least split_bytes of the file each; [] where there is but one."""
    cuts = [0]
    for number, member in enumerate(members or []):
        if members and member.start - members[cuts[-1]].start >= split_bytes and file.size - member.start >= split_bytes // 2:
            cuts.append(number)
    if members is None or len(cuts) < 2:
        return []
    made = []
    for number, after in zip(cuts, [*cuts[1:], -1], strict=True):
        first, last = members[number], members[after] if after > 0 else Member(file.size, -1)
        door = next((m for m in reversed(members[:number]) if m.content_at < first.content_at), first)
        leave = (last.start, last.content_at) if after > 0 else (-1, -1)
        enter = (door.start, door.content_at)
        made.append(Split(file.uri, file.path, last.start - first.start, file.fingerprint, first.content_at, last.content_at, enter, leave))
    return made


def _opened(file: BinaryIO, split: Split) -> Source:
    """The content from one byte before the split on, to see whether a line starts with it."""
    at = max(split.start - 1, 0)
    if tuple(split.enter) == (0, 0) and tuple(split.leave) == (-1, -1):
        return decompressed(file, at)
    source = Passage(file, (split.enter[0], split.enter[1]), (split.leave[0], split.leave[1]))
    fill(source, at - split.enter[1])
    return source


def read_lines(split: Split, max_bytes: int, block_bytes: int = BATCH_BYTES) -> Iterator[LineBlock]:
    """Yield the lines that start in [split.start, split.end). Longer ones than max_bytes are reported, not held."""
    with closing(open_file(split.uri, split.fingerprint)) as file:
        try:
            source = _opened(file, split)
        except Broken as error:
            yield _only(Unreadable(split.path, split.start, str(error), b""))
            return
        cutter = _Cutter(split, max_bytes, block_bytes)
        yield from cutter.blocks(source)


def _only(row: Unreadable) -> LineBlock:
    return LineBlock(b"", np.zeros(1, np.int64), row.offset, (row,))


class _Cutter:
    """Cuts one split's bytes into blocks of whole lines."""

    def __init__(self, split: Split, max_bytes: int, block_bytes: int) -> None:
        self.path, self.end = split.path, split.end
        self.max_bytes, self.block_bytes = max_bytes, block_bytes
        self.first = split.start
        self.position = max(split.start - 1, 0)  # of the next byte to read
        self.pieces: list[bytes] = []  # of a line whose end has not been seen
        self.start = self.position  # of that line
        self.skipping = split.start > 0  # until the next newline
        self.long = b""  # first bytes of a line that is skipped because it is too long

    def blocks(self, source: Source) -> Iterator[LineBlock]:
        while True:
            chunk, broken, ended = self._fill(source)
            reports: list[Unreadable] = []
            if self.skipping:
                chunk = self._skip(chunk, reports)
            cut = chunk.rfind(b"\n") + 1
            if cut:
                data = b"".join([*self.pieces, chunk[:cut]])
                yield self._block(data, reports)
                self.start += len(data)
                self.pieces = [chunk[cut:]] if cut < len(chunk) else []
            else:
                if chunk:
                    self.pieces.append(chunk)
                if reports:
                    yield LineBlock(b"", np.zeros(1, np.int64), self.start, tuple(reports))
            if ended:
                yield from self._last(broken)
                return
            if sum(map(len, self.pieces)) > self.max_bytes + 1:
                self.long = b"".join(self.pieces)[:HEAD]
                self.pieces, self.skipping = [], True

    def _fill(self, source: Source) -> tuple[bytes, Broken | None, bool]:
        """The next block; past the end of the split only up to the end of the line that started before it."""
        if self.end < 0 or self.position + self.block_bytes <= self.end:
            chunk, broken, ended = fill(source, self.block_bytes)
        elif self.position < self.end:
            chunk, broken, ended = fill(source, self.end - self.position)
        else:
            chunk, broken, ended = fill(source, min(self.block_bytes, 1 << 16))
            cut = chunk.find(b"\n") + 1
            if cut:
                chunk, broken, ended = chunk[:cut], None, True
        self.position += len(chunk)
        if self.position == self.end and chunk.endswith(b"\n"):
            ended = True
        return chunk, broken, ended

    def _skip(self, chunk: bytes, reports: list[Unreadable]) -> bytes:
        cut = chunk.find(b"\n") + 1
        if not cut:
            return b""
        if self.long:
            reports.append(self._too_long(self.start, self.long))
        self.start = self.position - len(chunk) + cut
        self.skipping, self.long = False, b""
        return chunk[cut:]

    def _block(self, data: bytes, reports: list[Unreadable]) -> LineBlock:
        ends = np.flatnonzero(np.frombuffer(data, np.uint8) == 10) + 1
        if not len(ends) or ends[-1] != len(data):
            ends = np.append(ends, len(data))
        return LineBlock(data, np.concatenate([np.zeros(1, np.int64), ends]), self.start, tuple(reports))

    def _last(self, broken: Broken | None) -> Iterator[LineBlock]:
        data = b"".join(self.pieces)
        if self.skipping and not self.long:
            # The line that began before this split never ended here: what follows it is somebody else's.
            if broken and self.position <= self.first:
                yield _only(Unreadable(self.path, self.position, str(broken), b""))
            return
        if broken:
            yield _only(Unreadable(self.path, self.start, str(broken), (self.long or data)[:HEAD]))
        elif self.long:
            yield _only(self._too_long(self.start, self.long))
        elif data:
            yield self._block(data, [])

    def _too_long(self, offset: int, head: bytes) -> Unreadable:
        return Unreadable(self.path, offset, too_long(self.max_bytes), head)


def too_long(max_bytes: int) -> str:
    """The message for a row above `max_doc_bytes`."""
    return f"longer than max_doc_bytes = {max_bytes}"
