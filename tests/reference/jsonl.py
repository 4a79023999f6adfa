"""JSON lines read the slow way: `json.loads` line by line."""

from __future__ import annotations

import json
from typing import Any


def read_jsonl(data: bytes, text_field: str = "text", id_field: str = "id") -> tuple[list[dict[str, Any]], list[int]]:
    """Return (documents as {offset, id, text, meta}, offsets of unreadable lines) of a decompressed file."""
    documents, unreadable, offset = [], [], 0
    for raw in data.split(b"\n"):
        here, offset = offset, offset + len(raw) + 1
        line = raw
        if here == 0 and raw.startswith(b"\xef\xbb\xbf"):
            here, line = 3, raw[3:]
        if not line.strip(b" \t\r\n"):
            continue
        try:
            row = json.loads(line.decode(), parse_constant=lambda _: None, parse_float=Number, parse_int=Number)
            documents.append(document(row, here, text_field, id_field))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            unreadable.append(here)
    return documents, unreadable


class Number(str):
    """A number as it is written: equal to another only where it is written the same."""


def document(row: Any, offset: int, text_field: str, id_field: str) -> dict[str, Any]:
    """One row as a document. Raises where the text or the id is of a wrong type, or the text is not there."""
    row = dict(row.items())
    text = row.pop(text_field)
    given = row.pop(id_field, None)
    if type(text) not in (str, type(None)) or type(given) not in (str, Number, type(None)):
        raise TypeError("text and id must be text")
    for value in (text, given):
        if value is not None:
            value.encode()
    return {"offset": offset, "id": None if given is None else str(given), "text": text or "", "meta": row}
