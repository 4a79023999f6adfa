"""A stub server in a thread of the test's process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.formats.generation.stub_server import Stub

Start = Callable[..., tuple[str, Stub]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a server with these settings; returns its base URL and the stub."""
    loops: list[tuple[asyncio.AbstractEventLoop, threading.Thread, asyncio.Server, Stub]] = []

    def begin(stub: Stub | None = None, **settings: Any) -> tuple[str, Stub]:
        stub = stub or Stub(**settings)
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        server = asyncio.run_coroutine_threadsafe(stub.start(), loop).result(5)
        loops.append((loop, thread, server, stub))
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", stub

    yield begin
    for loop, thread, server, stub in loops:
        asyncio.run_coroutine_threadsafe(_stop(server, stub), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


async def _stop(server: asyncio.Server, stub: Stub) -> None:
    server.close()
    for transport in list(stub.transports):
        transport.abort()
    await asyncio.sleep(0)
