"""Records of crawl archives for tests: well-formed unless told otherwise."""

from __future__ import annotations

import uuid
from collections.abc import Mapping


def http(body: bytes, headers: Mapping[str, str] | None = None, status: int = 200, mime: str = "text/html; charset=utf-8") -> bytes:
    """A response as a crawler stores it."""
    given = {"Content-Type": mime, **(headers or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items() if value)
    return f"HTTP/1.1 {status} OK\r\n{lines}\r\n".encode() + body


def warc_record(kind: str, body: str | bytes, url: str, headers: Mapping[str, str] | None = None, **more: object) -> bytes:
    """A WARC record with the blank lines after it. A response gets an HTTP head (unless its body has one)."""
    content = body.encode() if isinstance(body, str) else body
    mime = {"response": "application/http; msgtype=response", "conversion": "text/plain"}.get(kind, "text/html")
    if kind == "response" and not content.startswith(b"HTTP/"):
        content = http(content)
    given = {
        "WARC-Type": kind,
        "WARC-Record-ID": f"<urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, url + kind)}>",
        "WARC-Target-URI": url,
        "WARC-Date": "2024-05-18T01:58:10Z",
        "Content-Type": mime,
        "Content-Length": str(more.get("length", len(content))),
        **(headers or {}),
    }
    return "\r\n".join(["WARC/1.0", *(f"{n}: {v}" for n, v in given.items()), "", ""]).encode() + content + b"\r\n\r\n"


def arc_record(body: str | bytes, url: str, length: object = None) -> bytes:
    """An ARC 1.0 record with the line end after it."""
    content = http(body.encode() if isinstance(body, str) else body)
    return f"{url} 10.0.0.1 20080430204826 text/html {len(content) if length is None else length}\n".encode() + content + b"\n"
