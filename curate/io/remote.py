"""Files behind a URL (`s3://`, `gs://`, `https://`, `hf://` ...) through fsspec, with every request tried again.

A request that fails for a passing reason (a dropped connection, a timeout, an answer like 429 or 503) is repeated up to
ATTEMPTS times, with pauses that double; a read goes on at the byte where it was. What will not mend itself (absent, not
allowed, a missing package) is told at once. Credentials are the file system's own affair: environment variables and
configuration files as its documentation says; none are read or stored here.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

from curate.errors import CurateError, DataError, MissingDependency

ATTEMPTS = 6
FIRST_PAUSE_S = 0.5
PERMANENT = (
    CurateError,
    FileNotFoundError,
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
    NotImplementedError,
    ImportError,
    TypeError,
)
_PASSING_STATUS = (408, 425, 429)
_EXTRAS = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "http": "aiohttp", "https": "aiohttp", "hf": "huggingface_hub"}

Result = TypeVar("Result")
pause: Callable[[float], None] = time.sleep


def filesystem(uri: str) -> tuple[Any, str]:
    """The fsspec file system of a URL and the path inside. Raises MissingDependency naming the extra."""
    import fsspec

    protocol = uri.partition("://")[0]
    try:
        return cast(tuple[Any, str], fsspec.core.url_to_fs(uri))
    except ImportError as error:
        raise MissingDependency.extra(_EXTRAS.get(protocol, protocol), "hub", f"reading {uri}") from error
    except ValueError as error:
        raise DataError(f"{uri}: {error}. Known are s3://, gs://, https://, hf:// and whatever fsspec knows.") from error


def retried(what: str, call: Callable[[], Result]) -> Result:
    """Do a request until it works. what: the URL, for the message. Raises DataError, FileNotFoundError or PermissionError."""
    for attempt in range(ATTEMPTS):
        try:
            return call()
        except PERMANENT:
            raise
        except Exception as error:  # fsspec's backends raise what their libraries do; bound to a message below
            if not _passing(error):
                raise DataError(f"{what}: {_said(error)}. Mend the address or the access and run again.") from error
            if attempt == ATTEMPTS - 1:
                raise DataError(f"{what}: {_said(error)}, after {ATTEMPTS} attempts. Run again when the connection works.") from error
            pause(FIRST_PAUSE_S * 2**attempt)
    raise AssertionError


def _passing(error: Exception) -> bool:
    """Whether trying again may help."""
    status = getattr(error, "status", None) or getattr(getattr(error, "response", None), "status_code", None)
    return not isinstance(status, int) or not 400 <= status < 500 or status in _PASSING_STATUS


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error) or 'no message').splitlines()[0][:300]}"


class RemoteFile(io.RawIOBase):
    """A seekable file behind a URL. Reads ahead as fsspec does; after a failure it is opened anew where it was."""

    def __init__(self, uri: str, block_bytes: int = 4 << 20) -> None:
        """Raises what `retried` raises."""
        super().__init__()
        self._uri, self._block_bytes = uri, block_bytes
        self._at = 0
        self._file: Any = None
        self._fs, self._path = filesystem(uri)
        self.info: dict[str, Any] = retried(uri, lambda: self._fs.info(self._path))
        self.size = int(self.info.get("size") or 0)
        if not self.info.get("size") and self.info.get("type") != "directory":
            self.size = retried(uri, self._measured)

    def _measured(self) -> int:
        """The size of a file whose server does not tell: by reading it once."""
        with self._fs.open(self._path, "rb") as file:
            total = 0
            while piece := file.read(1 << 20):
                total += len(piece)
        return total

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte; nothing is asked of the server before the next read."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        """The byte that is read next."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read up to len(buffer) bytes."""
        view = memoryview(buffer).cast("B")
        if self._at >= self.size:
            return 0
        data = retried(self._uri, lambda: self._piece(len(view)))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _piece(self, size: int) -> bytes:
        try:
            if self._file is None:
                self._file = self._fs.open(self._path, "rb", block_size=self._block_bytes)
            if self._file.tell() != self._at:
                self._seek()
            data: bytes = self._file.read(min(size, self.size - self._at))
            if not data:
                raise OSError(f"the content ends at byte {self._at} of {self.size}")
            return data
        except BaseException:
            self._forget()
            raise

    def _seek(self) -> None:
        """Go to the place of the next read; a stream that can't is read up to it."""
        try:
            self._file.seek(self._at)
        except (ValueError, OSError):
            self._forget()
            self._file = self._fs.open(self._path, "rb", block_size=self._block_bytes)
            left = self._at
            while left:
                left -= len(self._file.read(min(left, 1 << 20)) or b"\0" * left)

    def _forget(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except Exception:  # noqa: BLE001  it is broken already; the first error is the one that is told
                return

    def close(self) -> None:
        """Let the connection go."""
        if not self.closed:
            self._forget()
        super().close()
