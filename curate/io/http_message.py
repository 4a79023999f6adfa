"""HTTP responses as crawlers store them: status line, headers, and the body without its transfer and content encodings.

Lenient on purpose, as browsers are: bare LF, headers without a colon, folded headers, chunked bodies that are not
chunked after all (proxies and old crawlers decode them and leave the header), a `Content-Encoding` that does not hold.
A body that ends early gives what is there and says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from curate.io.streams import PIECE, zlib

HEADERS = 64 << 10  # bytes of headers that are looked at
HEADERS_END = re.compile(rb"\r?\n\r?\n")
_PARTIAL = re.compile(rb"[ \t]*[0-9A-Fa-f]{0,15}(?:;[^\r\n]*)?\r?\Z")
_CHUNK = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r?\n")


class Head(NamedTuple):
    """Status line and headers of a response. status: None where the line has none."""

    status: int | None
    headers: dict[str, str]  # lower-case names; of repeated ones the first
    size: int  # bytes up to the body


def parse_headers(lines: list[str]) -> dict[str, str]:
    """Headers of a block, names in lower case, folded lines joined, the first of repeated ones."""
    found: dict[str, str] = {}
    last = ""
    for line in lines:
        if line[:1] in " \t":
            if last:
                found[last] = f"{found[last]} {line.strip()}"
            continue
        name, colon, value = line.partition(":")
        last = ""
        key = name.strip().lower()
        if colon and key not in found:
            last, found[key] = key, value.strip()
    return found


def text_of(raw: bytes) -> str:
    """Header bytes as text: UTF-8, else Latin-1 (RFC 9110, section 5.5, obs-text)."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def lines_of(raw: bytes) -> list[str]:
    """Lines of a header block."""
    return text_of(raw).rstrip("\r\n").replace("\r\n", "\n").split("\n")


def parse_head(data: bytes) -> Head | None:
    """The head of a response; None where the data is not HTTP. A head without an end is all of the data."""
    if not data.startswith(b"HTTP/"):
        return None
    end = HEADERS_END.search(data, 0, HEADERS)
    size = end.end() if end else len(data)
    first, *rest = lines_of(data[:size])
    words = first.split(None, 2)
    status = int(words[1]) if len(words) > 1 and words[1].isascii() and words[1].isdigit() and len(words[1]) == 3 else None
    return Head(status, parse_headers(rest), size)


class Body(NamedTuple):
    """A decoded body. problem: why it is not whole, or ""."""

    content: bytes
    problem: str = ""


def decode_body(raw: bytes, headers: Mapping[str, str], limit: int) -> Body:
    """Undo chunks and content encodings. At most limit + 1 bytes are made, whatever the compression ratio."""
    problem = ""
    if "chunked" in headers.get("transfer-encoding", "").lower():
        raw, problem = _without_chunks(raw)
    names = [n.strip().lower() for n in headers.get("content-encoding", "").split(",")]
    for name in reversed([n for n in names if n not in ("", "identity", "none")]):
        decoder = _decoder(name, raw)
        if decoder is None:
            continue
        content, broken = _bounded(decoder, raw, limit)
        if content or not broken:
            raw, problem = content, problem or broken
        elif _is_compressed(raw):
            return Body(b"", broken)
    return Body(raw, problem)


def _without_chunks(raw: bytes) -> tuple[bytes, str]:
    """(body, problem). A body that does not begin with a chunk is taken as it is."""
    pieces: list[bytes] = []
    at = 0
    while (size := _CHUNK.match(raw, at)) is not None:
        length = int(size[1], 16)
        if not length:
            return b"".join(pieces), ""
        pieces.append(raw[size.end() : size.end() + length])
        at = size.end() + length
        if at > len(raw):
            return b"".join(pieces), "the last chunk is cut short"
        at += 2 if raw.startswith(b"\r\n", at) else raw.startswith(b"\n", at)
    if _PARTIAL.match(raw, at) and pieces:
        return b"".join(pieces), "the last chunk is missing"
    return (b"".join(pieces), "a chunk is damaged") if len(pieces) > 1 else (raw, "")


def _is_compressed(raw: bytes) -> bool:
    return raw.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd"))


def _decoder(name: str, raw: bytes) -> Callable[[bytes, int], tuple[bytes, bytes, bool]] | None:
    """A function (input, most bytes) -> (output, input left, whether the end was seen), or None for the body as it is."""
    if name in ("gzip", "x-gzip"):
        return _zlib(31) if raw.startswith(b"\x1f\x8b") else None  # decoded by the crawler already
    if name == "deflate":
        zlib_header = len(raw) > 1 and raw[0] & 15 == 8 and (raw[0] << 8 | raw[1]) % 31 == 0
        return _zlib(15 if zlib_header else -15)
    if name == "br":
        return _reader("BrotliReader")
    return _reader("ZstdReader") if name == "zstd" else None


def _zlib(wbits: int) -> Callable[[bytes, int], tuple[bytes, bytes, bool]]:
    inflate = zlib.decompressobj(wbits)

    def step(data: bytes, most: int) -> tuple[bytes, bytes, bool]:
        out = inflate.decompress(data, most)
        return out, inflate.unconsumed_tail, inflate.eof

    return step


def _reader(name: str) -> Callable[[bytes, int], tuple[bytes, bytes, bool]]:
    import io

    from fastwarc import stream_io

    held: list[Any] = []

    def step(data: bytes, most: int) -> tuple[bytes, bytes, bool]:
        if not held:
            held.append(getattr(stream_io, name)(io.BytesIO(data)))
        out: bytes = held[0].read(most)
        return out, data if out else b"", not out

    return step


def _bounded(decode: Callable[[bytes, int], tuple[bytes, bytes, bool]], raw: bytes, limit: int) -> tuple[bytes, str]:
    pieces: list[bytes] = []
    held, done = 0, False
    try:
        while raw and not done and held <= limit:
            out, raw, done = decode(raw, min(PIECE, limit + 1 - held))
            pieces.append(out)
            held += len(out)
    except (zlib.error, OSError, ValueError, RuntimeError, EOFError) as error:
        return b"".join(pieces), f"the compressed body is damaged ({str(error)[:100]})"
    return b"".join(pieces), "" if done or held > limit else "the compressed body ends early"
