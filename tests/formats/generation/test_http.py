"""The HTTP client: responses cut anywhere are those that http.client reads; what goes wrong on a connection has a name."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import io
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats.generation import http_reply
from formats.generation.http_client import Address, Connection, Trouble
from formats.generation.http_reply import Reading, Response

BODIES = st.binary(max_size=300)


@st.composite
def replies(draw: st.DrawFn) -> bytes:
    """A response of any of the three kinds, with headers in any case."""
    status = draw(st.sampled_from([b"200 OK", b"429 Too Many Requests", b"500 ", b"204 No Content"]))
    kind = draw(st.sampled_from(["length", "chunked", "close"]))
    body = b"" if status.startswith(b"204") else draw(BODIES)
    before = draw(st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n"]))
    head = before + b"HTTP/1.1 " + status + b"\r\nX-Any: a: b\r\n"
    if status.startswith(b"204"):
        return head + b"\r\n"
    if kind == "length":
        return head + b"CONTENT-length:  %d \r\n\r\n" % len(body) + body
    if kind == "close":
        return head + b"Connection: close\r\n\r\n" + body
    cuts = sorted(draw(st.lists(st.integers(0, len(body)), max_size=4)))
    pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True) if a < b]
    extra = draw(st.sampled_from([b"", b";name=value"]))
    end = draw(st.sampled_from([b"0\r\n\r\n", b"0;x\r\nTrailer: y\r\n\r\n"]))
    return head + b"Transfer-Encoding: Chunked\r\n\r\n" + b"".join(b"%x%b\r\n%b\r\n" % (len(p), extra, p) for p in pieces) + end


class _Pipe:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self.data)


def twin(data: bytes) -> tuple[int, bytes]:
    """Status and body by the standard library."""
    response = http.client.HTTPResponse(_Pipe(data), method="POST")  # type: ignore[arg-type]
    response.begin()
    return response.status, response.read()


@given(replies(), st.lists(st.integers(0, 600), max_size=12))
def test_a_response_cut_anywhere_is_the_one_that_the_standard_library_reads(data: bytes, cuts: list[int]) -> None:
    reading, found = Reading(), None
    places = [0, *sorted(c for c in cuts if c < len(data)), len(data)]
    for start, end in itertools.pairwise(places):
        if start < end:
            assert found is None
            found = reading.feed(data[start:end])
    found = found or reading.end()
    assert found is not None
    assert (found.status, found.body) == twin(data)
    assert found.header(b"x-any") == b"a: b"
    assert reading.keep == (b"Connection: close" not in data)


@given(replies(), st.data())
def test_a_response_that_breaks_off_is_none(data: bytes, draw: st.DataObject) -> None:
    if b"Connection: close" in data:
        data = data[: data.rindex(b"\r\n\r\n") + 3]  # its body may end anywhere
    reading = Reading()
    part = data[: draw.draw(st.integers(0, len(data) - 1))]
    assert not part or reading.feed(part) is None
    assert reading.end() is None
    assert reading.empty == (not part)


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 268435457\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * (http_reply.MAX_HEADER + 1),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"x" * (http_reply.MAX_HEADER + 1),
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * http_reply.MAX_HEADER,
    ],
)
def test_what_is_no_http(data: bytes) -> None:
    with pytest.raises(ValueError):
        Reading().feed(data)


def test_a_connection_is_not_used_again_after_close_http_1_0_or_more_than_the_answer() -> None:
    for data in (
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na",
        b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab",
    ):
        reading = Reading()
        assert reading.feed(data) is not None
        assert not reading.keep
    tunnel = Reading(tunnel=True)
    assert tunnel.feed(b"HTTP/1.1 200 Connection established\r\n\r\n") == Response(200, b"HTTP/1.1 200 Connection established\r\n\r\n", b"")
    assert tunnel.keep


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter, int], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d"


def served(handle: Handler, use: Callable[[int], Awaitable[Any]]) -> Any:
    """Result of `use(port)` beside a server; handle gets the number of the connection."""

    async def main() -> Any:
        running: list[asyncio.Task[Any] | None] = []

        async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            running.append(asyncio.current_task())
            try:
                await handle(reader, writer, len(running))
            except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass  # the client left
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

        server = await asyncio.start_server(one, "127.0.0.1", 0)
        try:
            return await use(server.sockets[0].getsockname()[1])
        finally:
            server.close()
            for task in filter(None, running):
                task.cancel()
            await asyncio.gather(*filter(None, running))

    return asyncio.run(main())


def test_an_idle_connection_that_was_closed_is_opened_again() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        for _ in range(2):
            await reader.readuntil(b"\r\n\r\n")
            if (number, _) == (1, 1):
                return  # the second request of the first connection gets nothing
            writer.write(OK % number)

    async def use(port: int) -> list[bytes]:
        connection = Connection(Address(f"http://127.0.0.1:{port}"))
        found = [(await connection.request("GET", "/", b"", b"", 5)).body for _ in range(3)]
        connection.close()
        return found

    assert served(handle, use) == [b"1", b"2", b"2"]


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        (b"", "connection"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", "truncated"),
        (b"HTTP/1.1 2", "truncated"),
        (b"nonsense\r\n\r\n", "protocol"),
        (None, "timeout"),
    ],
)
def test_what_goes_wrong_has_a_name_and_the_next_request_a_new_connection(sent: bytes | None, kind: str) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if number > 1:
            writer.write(OK % 7)
        elif sent is None:
            await asyncio.sleep(1)
        else:
            writer.write(sent)

    async def use(port: int) -> tuple[str, bytes]:
        connection = Connection(Address(f"http://127.0.0.1:{port}"))
        with pytest.raises(Trouble) as caught:
            await connection.request("POST", "/x", b"", b"{}", 0.2)
        answer = await connection.request("POST", "/x", b"", b"{}", 5)
        connection.close()
        return caught.value.kind, answer.body

    assert served(handle, use) == (kind, b"7")


def test_a_cancelled_request_leaves_no_answer_for_the_next_one() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if number == 1:
            await asyncio.sleep(0.1)
        writer.write(OK % number)

    async def use(port: int) -> bytes:
        connection = Connection(Address(f"http://127.0.0.1:{port}"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await connection.request("GET", "/", b"", b"", 5)
        body = (await connection.request("GET", "/", b"", b"", 5)).body
        connection.close()
        return body

    assert served(handle, use) == b"2"


def test_a_proxy_that_refuses_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 900\r\n\r\n")

    async def use(port: int) -> str:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        monkeypatch.delenv("no_proxy", raising=False)
        with pytest.raises(Trouble) as caught:
            await Connection(Address("https://api.example/v1")).request("GET", "/", b"", b"", 5)
        return str(caught.value)

    assert served(handle, use) == "the proxy 127.0.0.1 refused: HTTP/1.1 407 Proxy Authentication Required"
    assert asked == [b"CONNECT api.example:443 HTTP/1.1\r\nHost: api.example:443\r\n\r\n"]
