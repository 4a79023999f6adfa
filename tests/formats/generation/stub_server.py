"""A server with OpenAI's API that answers out of a hash and fails on purpose. Also a program: `python -m ... PORT_FILE [key=value ...]`.

The answer is a function of (prompt, seed) alone. Which requests fail, and how, is a function of (prompt, seed, how often it was sent), so every
question is answered in the end. It counts what it sees: `GET /stats`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

FAILURES = ("429", "500", "timeout", "truncated", "malformed", "slow")


def words(prompt: str, seed: int) -> str:
    """The stub's answer."""
    return "answer " + hashlib.sha256(f"{prompt}|{seed}".encode()).hexdigest()[:12]


class Stub:
    """The server's settings and counts."""

    def __init__(self, latency: float = 0.01, failing: float = 0.0, kinds: tuple[str, ...] = FAILURES, hang: float = 1.0, **_: Any) -> None:
        self.latency, self.failing, self.kinds, self.hang = latency, failing, kinds, hang
        self.sent: Counter[tuple[str, Any]] = Counter()
        self.stats: Counter[str] = Counter()
        self.flying = 0
        self.transports: set[asyncio.Transport] = set()
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.keep = False  # whether bodies and headers are kept

    async def start(self, port: int = 0) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        return await loop.create_server(lambda: _Connection(self), "127.0.0.1", port, backlog=512)

    def choose(self, body: dict[str, Any]) -> tuple[str, str]:
        """(how this request fails or '', the answer's text)."""
        prompt = body["prompt"] if "prompt" in body else body["messages"][-1]["content"]
        seed = body.get("seed")
        key = (prompt, seed)
        self.sent[key] += 1
        self.stats["requests"] += 1
        draw = hashlib.sha256(f"{prompt}|{seed}|{self.sent[key]}".encode()).digest()
        failure = self.kinds[draw[4] % len(self.kinds)] if int.from_bytes(draw[:4], "little") / 2**32 < self.failing else ""
        self.stats[f"chosen_{failure or 'good'}"] += 1
        return failure, words(prompt, seed or 0)

    def counts(self) -> dict[str, int]:
        return {"requests": 0, **self.stats, "flying": self.flying, "questions": len(self.sent)}


class _Connection(asyncio.Protocol):
    """One keep-alive connection. HTTP/1.1 with Content-Length is all it knows."""

    def __init__(self, stub: Stub) -> None:
        self.stub, self.held, self.busy, self.open = stub, b"", False, True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.out = transport
        self.stub.transports.add(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.open = False
        self.stub.transports.discard(self.out)
        if self.busy:
            self._finish("abandoned")  # the client died while it waited

    def data_received(self, data: bytes) -> None:
        self.held += data
        head, gap, rest = self.held.partition(b"\r\n\r\n")
        if not gap:
            return
        lines = head.decode().split("\r\n")
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines[1:])}
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return
        self.held = rest[length:]
        if lines[0].startswith("GET"):
            self._send(200, self.stub.counts())
            return
        body = json.loads(rest[:length])
        if self.stub.keep:
            self.stub.bodies.append(body)
            self.stub.headers.append(headers)
        failure, text = self.stub.choose(body)
        self.busy = True
        self.stub.flying += 1
        self.stub.stats["largest_flying"] = max(self.stub.stats["largest_flying"], self.stub.flying)
        delay = self.stub.hang if failure == "timeout" else 5 * self.stub.latency if failure == "slow" else self.stub.latency
        asyncio.get_running_loop().call_later(delay, self._answer, failure, text, body)

    def _finish(self, name: str) -> None:
        self.busy = False
        self.stub.flying -= 1
        self.stub.stats[name] += 1

    def _answer(self, failure: str, text: str, body: dict[str, Any]) -> None:
        if not self.busy:
            return
        self._finish("failed" if failure not in ("", "slow") else "answered")
        if failure == "timeout":
            self.out.abort()
        elif failure == "429":
            self._send(429, {"error": {"message": "slow down"}}, "Retry-After: 0.02\r\n")
        elif failure == "500":
            self._send(500, {"error": {"message": "broken"}})
        else:
            self._send(200, self.body(text, body), cut=failure == "truncated", garble=failure == "malformed")

    def body(self, text: str, asked: dict[str, Any]) -> dict[str, Any]:
        inner = {"text": text} if "prompt" in asked else {"message": {"role": "assistant", "content": text}}
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        return {
            "id": "x",
            "object": "chat.completion",
            "model": asked["model"],
            "choices": [{"index": 0, **inner, "finish_reason": "stop"}],
            "usage": usage,
        }

    def _send(self, status: int, value: Any, more: str = "", cut: bool = False, garble: bool = False) -> None:
        content = json.dumps(value).encode()
        if garble:
            content = content[: len(content) // 2] + b"}"
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n{more}\r\n".encode()
        if cut:
            self.out.write(head + content[: len(content) // 2])
            self.out.close()
        else:
            self.out.write(head + content)


async def _main(port_file: str, settings: dict[str, float]) -> None:
    port = int(settings.pop("port", 0))
    server = await Stub(**settings).start(port)  # type: ignore[arg-type]
    scratch = Path(port_file + ".new")
    scratch.write_text(str(server.sockets[0].getsockname()[1]))
    scratch.rename(port_file)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], {k: float(v) for k, _, v in (pair.partition("=") for pair in sys.argv[2:])}))
