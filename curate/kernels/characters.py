"""What Python says of single characters (`str.isupper`, `str.isdigit`, `\\w`, ...), as one byte of bits for each code point.

Public rules are written in Python and mean Python's classes, which are not quite those of Unicode's regular expressions:
a combining mark is no `\\w`, a superscript two is a digit. The table is asked of the running Python, once per process
(0.1 s), and not stored: rules then mean what they mean there.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.kernels.compiled import leaf

UPPER = 1  # str.isupper
DIGIT = 2  # str.isdigit
WORD = 4  # \w: str.isalnum, or _
ALPHA = 8  # str.isalpha
DECIMAL = 16  # \d: str.isdecimal
ALNUM = 32  # str.isalnum
BLANK = 64  # str.isspace

LAST = 0x40000  # no letter or digit is assigned behind it


@cache
def character_bits() -> npt.NDArray[np.uint8]:
    """u8[LAST], read-only."""
    bits = np.zeros(LAST, np.uint8)
    for code in range(LAST):
        c = chr(code)
        if c.isalnum():
            bits[code] = UPPER * c.isupper() | DIGIT * c.isdigit() | WORD | ALPHA * c.isalpha() | DECIMAL * c.isdecimal() | ALNUM
        elif c.isspace():
            bits[code] = BLANK
        elif c.isupper():
            bits[code] = UPPER
    bits[ord("_")] |= WORD
    bits.setflags(write=False)
    return bits


@leaf
def bits_at(data: Any, at: int, end: int, bits: Any) -> Any:
    """(bits, bytes) of the code point at data[at], at < end. A broken sequence is one character without bits."""
    lead = np.int64(data[at])
    if lead < 0x80:
        return np.int64(bits[lead]), 1
    code, width = np.int64(LAST), 1
    if 0xC0 <= lead < 0xE0 and at + 1 < end:
        code, width = (lead & 31) << 6 | np.int64(data[at + 1]) & 63, 2
    elif 0xE0 <= lead < 0xF0 and at + 2 < end:
        code, width = (lead & 15) << 12 | (np.int64(data[at + 1]) & 63) << 6 | np.int64(data[at + 2]) & 63, 3
    elif lead >= 0xF0 and at + 3 < end:
        code = (lead & 7) << 18 | (np.int64(data[at + 1]) & 63) << 12 | (np.int64(data[at + 2]) & 63) << 6 | np.int64(data[at + 3]) & 63
        width = 4
    return np.int64(bits[code]) if code < LAST else np.int64(0), width


@leaf
def bits_before(data: Any, start: int, at: int, bits: Any) -> Any:
    """Bits of the code point that ends before data[at]; 0 at the start of the text."""
    if at <= start:
        return np.int64(0)
    first = at - 1
    while first > start and data[first] & 0xC0 == 0x80:
        first -= 1
    found, _ = bits_at(data, first, at, bits)
    return found
