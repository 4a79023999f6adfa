"""JSON in one form: compact, keys in their order, numbers as Python reads them. What a record holds as text is made here."""

from __future__ import annotations

from typing import Any

import msgspec

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder().decode
decode_lines = msgspec.json.Decoder().decode_lines


def dumps(value: Any) -> str:
    """Compact JSON text."""
    return encode(value).decode()


def loads(text: str | bytes) -> Any:
    """A JSON value. Raises ValueError with the place of the mistake."""
    return decode(text)


def without_nulls(value: Any) -> Any:
    """A value without the null members that Arrow adds to objects when it gives all of them one struct type."""
    if isinstance(value, dict):
        return {k: without_nulls(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [without_nulls(v) for v in value]
    return value
