"""One HTTP/1.1 response put together from bytes as they come, however they are cut. It knows no sockets."""

from __future__ import annotations

from typing import NamedTuple

MAX_HEADER = 1 << 17
MAX_BODY = 1 << 28
_NO_BODY = (204, 304)


class Response(NamedTuple):
    """A whole answer."""

    status: int
    head: bytes  # status line and headers
    body: bytes

    def header(self, name: bytes) -> bytes:
        """Value of a header (its name in lower case), b'' where it is missing."""
        return _header(self.head, self.head.lower(), name)


def _header(head: bytes, lower: bytes, name: bytes) -> bytes:
    at = lower.find(b"\r\n" + name + b":")
    if at < 0:
        return b""
    start = at + len(name) + 3
    return head[start : head.index(b"\r\n", start)].strip()


class Reading:
    """A response on its way. Bodies are of Content-Length, chunked or until the connection ends; trailers are dropped.

    tunnel: the response to CONNECT, which has no body whatever its headers say.
    """

    def __init__(self, tunnel: bool = False) -> None:
        self.empty, self.keep = True, True  # nothing came yet; the connection can be used again afterwards
        self._tunnel = tunnel
        self._data: bytes | bytearray = b""  # what is not read yet; a bytearray once a second piece has come
        self._looked = 0  # bytes of _data that hold no end of the head; later, where the next chunk begins
        self._status = 0
        self._head = b""
        self._length: int | None = None
        self._chunked = False
        self._chunks: list[bytes] = []
        self._total = 0

    def feed(self, data: bytes) -> Response | None:
        """Take the next bytes; the response once it is whole. Raises ValueError for what is no HTTP or too large."""
        self.empty = False
        if not self._data:
            self._data = data
        elif isinstance(self._data, bytes):
            self._data = bytearray(self._data + data)
        else:
            self._data += data
        if not self._head and not self._take_head():
            return None
        if self._chunked:
            return self._take_chunks()
        if self._length is None:
            _bounded(len(self._data))
            return None
        if len(self._data) < self._length:
            return None
        return self._whole(bytes(self._data[: self._length]), len(self._data) - self._length)

    def end(self) -> Response | None:
        """The connection ended: the response, if that is how its body ends; None where it broke off."""
        self.keep = False
        if not self._head or self._chunked or self._length is not None:
            return None
        return Response(self._status, self._head, bytes(self._data))

    def _take_head(self) -> bool:
        """Read the head if all of it is there; responses of 1xx are passed over."""
        while True:
            at = self._data.find(b"\r\n\r\n", max(0, self._looked - 3))
            if max(at, len(self._data) if at < 0 else 0) > MAX_HEADER:
                raise ValueError(f"a head of more than {MAX_HEADER} bytes")
            if at < 0:
                self._looked = len(self._data)
                return False
            head, self._data = bytes(self._data[: at + 4]), self._data[at + 4 :]
            self._looked = 0
            self._status = _status(head)
            if self._status >= 200:
                self._read_headers(head)
                return True

    def _read_headers(self, head: bytes) -> None:
        lower = head.lower()
        self._head = head
        self.keep = not head.startswith(b"HTTP/1.0") and _header(head, lower, b"connection").lower() != b"close"
        if self._tunnel or self._status in _NO_BODY:
            self._length = 0
        elif length := _header(head, lower, b"content-length"):
            self._length = _bounded(int(length))
        else:
            self._chunked = _header(head, lower, b"transfer-encoding").lower() == b"chunked"

    def _take_chunks(self) -> Response | None:
        while (line := self._data.find(b"\r\n", self._looked)) >= 0:
            size = int(bytes(self._data[self._looked : line]).split(b";")[0], 16)
            _bounded(self._total + _bounded(size))
            if not size:
                end = self._data.find(b"\r\n\r\n", line)  # trailers, then an empty line
                if end >= 0:
                    return self._whole(b"".join(self._chunks), len(self._data) - end - 4)
                break
            end = line + 2 + size
            if len(self._data) < end + 2:
                return None
            self._chunks.append(bytes(self._data[line + 2 : end]))
            self._total += size
            self._looked = end + 2
        if len(self._data) - self._looked > MAX_HEADER:
            raise ValueError("a chunk or trailers without an end")
        return None

    def _whole(self, body: bytes, left: int) -> Response:
        self.keep = self.keep and not left  # bytes beyond the answer: what comes next can't be trusted
        return Response(self._status, self._head, body)


def _status(head: bytes) -> int:
    first = head[: head.index(b"\r\n")].split(b" ", 2)
    if not first[0].startswith(b"HTTP/1.") or len(first) < 2 or len(first[1]) != 3:
        raise ValueError(f"no status line: {head[:64]!r}")
    return int(first[1])


def _bounded(size: int) -> int:
    if not 0 <= size <= MAX_BODY:
        raise ValueError(f"a body of {size} bytes")
    return size
