"""Byte streams of plain, gzip and zstd files: bounded memory whatever the ratio, and breaks reported where they are.

The compression is told by the first bytes, never by the name. A `Source` gives decompressed bytes in order; where the
compressed stream ends early or is damaged it raises Broken after everything before the break has been given (zstd: all
but the last 128 KiB before a damaged block).
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, BinaryIO, Literal, NamedTuple, Protocol, cast

from zlib_ng import zlib_ng

from curate.errors import DataError

zlib: Any = zlib_ng  # two to three times as fast; its types leave out `copy` and that `error` is an exception
Compression = Literal["plain", "gzip", "zstd"]
PIECE = 256 << 10  # decompressed bytes asked for at once
INPUT = 64 << 10
ZSTD_PIECE = 128 << 10  # what is lost before a damaged block
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
SKIPPABLE = b"\x2a\x4d\x18"
DICTIONARY_FRAME = b"\x5d\x2a\x4d\x18"  # a skippable frame that holds the dictionary of all frames behind it
DICTIONARY_MAGIC = b"\x37\xa4\x30\xec"
MAX_DICTIONARY = 64 << 20
MAX_WINDOW = 1 << 31  # `zstd --long=31`; the window is allocated only where a frame declares it


class Broken(Exception):
    """The compressed stream ends early or is damaged."""


class Source(Protocol):
    """Decompressed bytes, in order."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes, b"" at the end. Raises Broken, and again whenever called after that."""
        ...


def compression(head: bytes) -> Compression:
    """Tell from the first four bytes. Raises Broken for the kinds that are known and not read."""
    if head[:2] == b"\x1f\x8b":
        return "gzip"
    if head[:4] == ZSTD_MAGIC or (head[1:4] == SKIPPABLE and head[0] >> 4 == 5):
        return "zstd"
    for magic, name in ((b"BZh", "bzip2"), (b"\xfd7zX", "xz"), (b"PK\x03\x04", "zip")):
        if head.startswith(magic):
            raise Broken(f"{name} files are not read; compress with gzip or zstd")
    return "plain"


def decompressed(file: BinaryIO, offset: int = 0) -> Source:
    """The content of a seekable file from decompressed byte `offset` on. Raises Broken for a damaged start.

    zstd frames before the one that holds the offset are passed over without decompressing them, gzip has no such door.
    """
    kind = compression(file.read(4))
    if kind == "plain":
        file.seek(offset)
        return _Plain(file)
    at = 0
    start = 0
    dictionary = zstd_dictionary(file) if kind == "zstd" else b""
    if kind == "zstd" and offset:
        for frame in zstd_frames(file) or []:
            if frame.content_at > offset:
                break
            at, start = frame.content_at, frame.start
    file.seek(start)
    source: Source = _Gzip(file) if kind == "gzip" else _Zstd(file, dictionary)
    while at < offset:
        got = source.read(min(PIECE, offset - at))
        if not got:
            raise Broken(f"ends at byte {at} of its content, before {offset}")
        at += len(got)
    return source


def fill(source: Source, size: int) -> tuple[bytes, Broken | None, bool]:
    """Read exactly `size` bytes, fewer only at the end or a break: (bytes, the break, whether it is the end)."""
    pieces: list[bytes] = []
    held = 0
    try:
        while held < size:
            piece = source.read(size - held)
            if not piece:
                return b"".join(pieces), None, True
            pieces.append(piece)
            held += len(piece)
    except Broken as error:
        return b"".join(pieces), error, True
    return b"".join(pieces) if len(pieces) != 1 else pieces[0], None, False


class _Plain:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        return from_disk(self._file.read, size)


class _Gzip:
    """All members of a gzip file; zero padding after the last one is allowed, as gzip itself allows it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._inflate = zlib.decompressobj(wbits=31)
        self._input = b""
        self._inside = False
        self._pending: list[bytes] = []
        self._broken: Broken | None = None

    def read(self, size: int) -> bytes:
        while not self._pending:
            if self._broken:
                raise self._broken
            if not self._more():
                return b""
            self._step()
        piece = self._pending.pop()
        if len(piece) > size:
            self._pending.append(piece[size:])
            piece = piece[:size]
        return piece

    def _more(self) -> bool:
        """Have input at hand; False at the end of a whole file."""
        while not self._input:
            self._input = from_disk(self._file.read, INPUT)
            if not self._input:
                if self._inside:
                    raise self._break("the gzip stream ends early (truncated file)")
                return False
            if not self._inside:
                self._input = self._input.lstrip(b"\0")
        return True

    def _break(self, message: str) -> Broken:
        self._broken = Broken(message)
        return self._broken

    def _step(self) -> None:
        if not self._inside and not b"\x1f\x8b".startswith(self._input[:2]):
            raise self._break("other bytes follow the gzip stream")
        self._inside = True
        before = self._inflate.copy()
        try:
            out = self._inflate.decompress(self._input, PIECE)
        except zlib.error as error:
            self._break(f"the gzip stream is damaged ({error})")
            self._pending = [b for b in [until_error(before, self._input)] if b]
            return
        self._input = self._inflate.unconsumed_tail
        if self._inflate.eof:
            self._input = self._inflate.unused_data.lstrip(b"\0")
            self._inflate = zlib.decompressobj(wbits=31)
            self._inside = False
        if out:
            self._pending = [out]


def until_error(inflate: Any, data: bytes) -> bytes:
    """Everything that `data` gives before its error: inflate stops short of an error while its output is full."""
    pieces: list[bytes] = []
    step = PIECE
    while step:
        trial = inflate.copy()
        try:
            out = trial.decompress(data, step)
        except zlib.error:
            step //= 2
            continue
        if not out:
            break
        pieces.append(out)
        inflate, data = trial, trial.unconsumed_tail
    return b"".join(pieces)


class _Zstd:
    """All frames of a zstd file. libzstd does not say that a stream ended early, so the frame headers are followed."""

    def __init__(self, file: BinaryIO, dictionary: bytes) -> None:
        import zstandard

        self._input = _Followed(file)
        self._error = zstandard.ZstdError
        trained = zstandard.ZstdCompressionDict(dictionary, dict_type=zstandard.DICT_TYPE_FULLDICT) if dictionary else None
        decompressor = zstandard.ZstdDecompressor(dict_data=trained, max_window_size=MAX_WINDOW)
        self._reader = decompressor.stream_reader(cast(Any, self._input), read_size=INPUT, read_across_frames=True)
        self._broken: Broken | None = None

    def read(self, size: int) -> bytes:
        if self._broken:
            raise self._broken
        try:
            out = self._reader.read(min(size, ZSTD_PIECE))
        except self._error as error:
            self._broken = Broken(f"the zstd stream is damaged ({error})")
            raise self._broken from error
        if not out and self._input.headers.unfinished:
            self._broken = Broken("the zstd stream ends early (truncated file)")
            raise self._broken
        return out


def zstd_dictionary(file: BinaryIO) -> bytes:
    """The dictionary at the start of a zstd file, b"" where there is none. Raises Broken for one that can't be used.

    The zstd WARC files of IIPC's proposal ("Zstandard Compression of WARC Files", 1.0) begin with a skippable frame that holds it,
    by itself compressed with zstd or not.
    """
    import zstandard

    file.seek(0)
    head = from_disk(file.read, 8)
    size = int.from_bytes(head[4:], "little")
    if head[:4] != DICTIONARY_FRAME or len(head) < 8:
        return b""
    if size > MAX_DICTIONARY:
        raise Broken(f"its zstd dictionary has {size} bytes, expected at most {MAX_DICTIONARY}")
    held = from_disk(file.read, size)
    if len(held) < size:
        raise Broken("the zstd dictionary ends early (truncated file)")
    if held.startswith(ZSTD_MAGIC):
        try:
            held = zstandard.ZstdDecompressor(max_window_size=MAX_DICTIONARY).stream_reader(held).read(MAX_DICTIONARY)
        except zstandard.ZstdError as error:
            raise Broken(f"the zstd dictionary is damaged ({error})") from error
    return held if held.startswith(DICTIONARY_MAGIC) else b""  # another one's skippable frame


class _Followed:
    """A file whose frame headers are followed while it is read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.headers = FrameHeaders()

    def read(self, size: int) -> bytes:
        data = from_disk(self._file.read, size)
        self.headers.feed(data)
        return data


class Frame(NamedTuple):
    """A zstd frame: where it starts in the file, and where its content starts in the whole content."""

    start: int
    content_at: int


class FrameHeaders:
    """Follow the headers of zstd frames and blocks (RFC 8878, section 3.1) without decompressing.

    `skip` bytes may be passed over before the next `wanted()` bytes of header, which `feed` needs to see.
    """

    def __init__(self) -> None:
        self.skip = 0
        self.content: int | None = 0  # size of the content of the current frame; None where it is not declared
        self.in_frame = False
        self.lost = False  # not zstd from here on
        self._head = b""
        self._checksum = 0

    @property
    def unfinished(self) -> bool:
        """Whether a stream that ends here ends inside a frame."""
        return not self.lost and bool(self.in_frame or self._head or self.skip)

    def wanted(self) -> int:
        """Bytes still missing of the current header."""
        return self._size() - len(self._head)

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the file."""
        at = 0
        while at < len(data) and not self.lost:
            step = min(self.skip or self.wanted(), len(data) - at)
            if self.skip:
                self.skip -= step
            else:
                self._head += data[at : at + step]
                if self.wanted() <= 0:
                    self._take(self._head)
            at += step

    def _size(self) -> int:
        if self.in_frame:
            return 3
        head = self._head
        if len(head) < 5:
            return 8 if head[1:4] == SKIPPABLE else 5
        if head[1:4] == SKIPPABLE:
            return 8
        return 5 + _descriptor(head[4])[0]

    def _take(self, head: bytes) -> None:
        self._head = b""
        if self.in_frame:
            word = int.from_bytes(head, "little")
            self.skip = 1 if word >> 1 & 3 == 1 else word >> 3
            if word & 1:
                self.in_frame = False
                self.skip += self._checksum
        elif head[1:4] == SKIPPABLE and head[0] >> 4 == 5:
            self.content = 0
            self.skip = int.from_bytes(head[4:8], "little")
        elif head[:4] == ZSTD_MAGIC:
            size, width = _descriptor(head[4])
            self._checksum = 4 if head[4] & 4 else 0
            self.content = None if not width else int.from_bytes(head[5 + size - width : 5 + size], "little") + (256 if width == 2 else 0)
            self.in_frame = True
        else:
            self.lost = True


def _descriptor(byte: int) -> tuple[int, int]:
    """(bytes of header that follow the descriptor, how many of them are the content size)."""
    single = byte >> 5 & 1
    width = (single, 2, 4, 8)[byte >> 6]
    return (1 - single) + (0, 1, 2, 4)[byte & 3] + width, width


def zstd_frames(file: BinaryIO) -> list[Frame] | None:
    """Every frame with content of a seekable, local file; None where one does not declare its size or the file is not whole.

    Reads headers only: one short read per block of at most 128 KiB of content.
    """
    size = file.seek(0, io.SEEK_END)
    headers = FrameHeaders()
    frames: list[Frame] = []
    position = content = 0
    while position < size:
        inside = headers.in_frame
        start = position
        while headers.wanted() > 0 and headers.in_frame == inside and not headers.skip:
            file.seek(position)
            data = file.read(headers.wanted())
            position += len(data)
            headers.feed(data)
            if not data or headers.lost:
                return None
        position += headers.skip
        headers.skip = 0
        if not inside and headers.in_frame:
            if headers.content is None:
                return None
            frames.append(Frame(start, content))
            content += headers.content
    return frames if position == size and not headers.unfinished else None


def from_disk(read: Callable[[int], bytes], size: int) -> bytes:
    """Read from a file. Raises DataError where the disk or the connection fails."""
    try:
        return read(size)
    except OSError as error:
        raise DataError(f"reading failed: {error}. Mend the disk or the connection and run again.") from error
