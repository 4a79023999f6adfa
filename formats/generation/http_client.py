"""A small HTTP/1.1 client for many slow requests at once: one kept-alive connection for each of them, over asyncio's protocols.

A library would do as well but for its price: aiohttp 3.14 takes 400 us of CPU a request, httpx more, this about 100 (64 requests at a
time, a server that answers after 0.1 s). It knows what model servers need: POST and GET, TLS, a proxy by CONNECT from the usual
environment variables; bodies are read by `http_reply.py`. It follows no redirect.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import ssl
import urllib.request
from urllib.parse import urlsplit

from curate.errors import RecipeError
from formats.generation.http_reply import Reading, Response


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
        self._wire: _Wire | None = None

    async def request(self, method: str, path: str, head: bytes, body: bytes, timeout_s: float) -> Response:
        """Send and wait for the whole answer. head: header lines, each ended by CRLF. Raises Trouble."""
        target = f"{method} {self._address.path}{path} HTTP/1.1\r\nHost: {self._address.authority}\r\n".encode()
        request = b"%sContent-Length: %d\r\n%s\r\n%b" % (target, len(body), head, body)
        deadline = asyncio.get_running_loop().time() + timeout_s
        try:
            if self._wire is not None and not self._wire.closed:
                with contextlib.suppress(_Stale):  # the server closes an idle connection while it is used again
                    return await self._wire.ask(request, deadline)
                self.close()
            self._wire = await self._open(timeout_s)
            return await self._wire.ask(request, deadline)
        except _Stale as error:
            raise self._trouble("connection", "the server closed the connection without an answer") from error
        except TimeoutError as error:
            raise self._trouble("timeout", f"no answer within {timeout_s:g} s") from error
        except OSError as error:
            raise self._trouble("connection", str(error) or type(error).__name__) from error
        except BaseException:  # Trouble; cancelled: an answer may still come, and would be taken for the next one's
            self.close()
            raise

    def close(self) -> None:
        """Forget the connection."""
        if self._wire is not None:
            self._wire.close()
        self._wire = None

    def _trouble(self, kind: str, detail: str) -> Trouble:
        self.close()
        return Trouble(kind, detail)

    async def _open(self, timeout_s: float) -> _Wire:
        at, loop = self._address, asyncio.get_running_loop()
        async with asyncio.timeout(timeout_s):
            if at.proxy is None:
                return (await loop.create_connection(_Wire, at.host, at.port, ssl=at.context()))[1]
            _, wire = await loop.create_connection(_Wire, *at.proxy)
            try:
                await self._tunnel(wire)
            except BaseException:
                wire.close()
                raise
            return wire

    async def _tunnel(self, wire: _Wire) -> None:
        """Through a proxy to the server, then TLS."""
        at, loop = self._address, asyncio.get_running_loop()
        request = f"CONNECT {at.host}:{at.port} HTTP/1.1\r\nHost: {at.host}:{at.port}\r\n\r\n".encode()
        answer = await wire.ask(request, math.inf, tunnel=True)
        if answer.status != 200:
            words = answer.head.splitlines()[0].decode(errors="replace")
            raise Trouble("connection", f"the proxy {at.proxy[0] if at.proxy else ''} refused: {words}")
        context = at.context()
        assert context is not None and wire.transport is not None  # a proxy is used for TLS alone
        wire.transport = await loop.start_tls(wire.transport, wire, context, server_hostname=at.host)


class _Wire(asyncio.Protocol):
    """A socket and the response that is on its way."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.closed = False
        self._reading = Reading()
        self._answer: asyncio.Future[Response] | None = None
        self._deadline = math.inf
        self._timer: asyncio.TimerHandle | None = None  # rings at the deadline of this request or of an earlier one

    async def ask(self, request: bytes, deadline: float, tunnel: bool = False) -> Response:
        """Send, wait until the loop's clock shows `deadline`. Raises _Stale, Trouble, TimeoutError."""
        if self.transport is None or self.closed:
            raise _Stale
        self._reading, self._answer = Reading(tunnel), asyncio.get_running_loop().create_future()
        self._deadline = deadline
        if deadline < math.inf and (self._timer is None or self._timer.when() > deadline):
            self._set_timer()
        self.transport.write(request)
        try:
            return await self._answer
        finally:
            self._answer = None

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(self._deadline, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._answer is not None and asyncio.get_running_loop().time() >= self._deadline:
            self._fail(TimeoutError())
        elif self._answer is not None:
            self._set_timer()

    def close(self) -> None:
        """End the connection at once."""
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self.transport is not None:
            self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open. Called by the loop."""
        self.transport = transport  # type: ignore[assignment]  # of create_connection: always a Transport

    def data_received(self, data: bytes) -> None:
        """Some bytes came. Called by the loop."""
        if self._answer is None or self._answer.done():  # nobody asked
            self.close()
            return
        try:
            response = self._reading.feed(data)
        except ValueError as error:
            self._fail(Trouble("protocol", f"not HTTP: {error}"))
            return
        if response is not None:
            if not self._reading.keep:
                self.close()
            self._answer.set_result(response)

    def connection_lost(self, error: Exception | None) -> None:
        """It is closed. Called by the loop."""
        self.closed = True
        if self._answer is None or self._answer.done():
            return
        response = self._reading.end() if error is None else None
        if response is not None:
            self._answer.set_result(response)
        else:
            self._fail(_Stale() if self._reading.empty else Trouble("truncated", "the answer broke off"))

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


class _Stale(Exception):
    """The server had closed the connection before the request."""


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
