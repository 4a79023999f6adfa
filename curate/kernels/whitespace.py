"""White space as Python's `str.strip`, `str.split` and `str.splitlines` see it, on UTF-8 bytes.

White space: U+0009-000D, 001C-0020, 0085, 00A0, 1680, 2000-200A, 2028, 2029, 202F, 205F, 3000. Zero-width characters
and the byte order mark are not white space. The set has not changed since Unicode 6.3, so the few byte sequences are
tested directly instead of through a table.
"""

from __future__ import annotations

from typing import Any

from numba import types

from curate.kernels.compiled import kernel, ro

_BYTES = ro(types.uint8)
_SPAN: Any = types.UniTuple(types.int64, 2)  # type: ignore[no-untyped-call]  # numba has none


@kernel(types.int64(_BYTES, types.int64, types.int64), allocates=False)
def space_width(data: Any, at: int, end: int) -> int:
    """Bytes of the white-space character that starts at data[at], or 0 where none does; at < end."""
    b = data[at]
    if b < 0x80:
        return 1 if b == 32 or 9 <= b <= 13 or 28 <= b <= 31 else 0
    if b == 0xC2 and at + 1 < end:
        return 2 if data[at + 1] == 0x85 or data[at + 1] == 0xA0 else 0
    if at + 2 >= end:
        return 0
    c, d = data[at + 1], data[at + 2]
    if b == 0xE2 and c == 0x80:
        return 3 if d <= 0x8A or d == 0xA8 or d == 0xA9 or d == 0xAF else 0
    if (b == 0xE2 and c == 0x81 and d == 0x9F) or (b == 0xE1 and c == 0x9A and d == 0x80) or (b == 0xE3 and c == 0x80 and d == 0x80):
        return 3
    return 0


@kernel(_SPAN(_BYTES, types.int64, types.int64), allocates=False)
def strip(data: Any, start: int, end: int) -> tuple[int, int]:
    """Return (start, end) of data[start:end] without white space at either end; (end, end) where all is white space."""
    while start < end:
        width = space_width(data, start, end)
        if width == 0:
            break
        start += width
    while end > start:
        at = end - 1
        while at > start and data[at] & 0xC0 == 0x80:
            at -= 1
        if space_width(data, at, end) == 0:
            break
        end = at
    return start, end
