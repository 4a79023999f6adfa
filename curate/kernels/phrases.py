"""Which of the phrases that C4 looks for stand in a line, whatever their case.

Of all characters beyond ASCII only U+212A (Kelvin sign) has a lower case that can be part of a phrase: "k".
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from curate.kernels.blocks import BLOCK, bytes_equal, letters, low_bits
from curate.kernels.compiled import kernel, leaf, ro

LOREM_IPSUM, JAVASCRIPT, CURLY_BRACKET, POLICY = 1, 2, 4, 8

_PHRASES = (
    (LOREM_IPSUM, "lorem ipsum"),
    (JAVASCRIPT, "javascript"),
    (POLICY, "terms of use"),
    (POLICY, "privacy policy"),
    (POLICY, "cookie policy"),
    (POLICY, "uses cookies"),
    (POLICY, "use of cookies"),
    (POLICY, "use cookies"),
)
_BYTES = np.frombuffer("".join(p for _, p in _PHRASES).encode(), np.uint8)
_AT = np.cumsum([0] + [len(p) for _, p in _PHRASES])
_FOUND = np.array([found for found, _ in _PHRASES])
_SECOND = np.zeros(256, np.uint8)  # by the first byte of a phrase: the second, lower case; 0 for bytes that start none
for _, _phrase in _PHRASES:
    _SECOND[[ord(_phrase[0]), ord(_phrase[0].upper())]] = ord(_phrase[1])
_SECOND[ord("{")] = ord("{")

_u8, _i64 = types.uint8, types.int64


@leaf
def _may_hold(data: Any, at: int) -> Any:
    """u64: bit k, k < 61, is set where one of the parts "jav", "ooki", "ipsu", "ms o" or "licy" starts at data[at + k].

    Every phrase holds one of them, and hardly any other text does. Also where a "{" or a Kelvin sign starts.
    """
    one, two, three = np.uint64(1), np.uint64(2), np.uint64(3)
    i, o, s = letters(data, at, ord("i")), letters(data, at, ord("o")), letters(data, at, ord("s"))
    c, u = letters(data, at, ord("c")), letters(data, at, ord("u"))
    found = letters(data, at, ord("j")) & (letters(data, at, ord("a")) >> one) & (letters(data, at, ord("v")) >> two)
    found |= o & (o >> one) & (letters(data, at, ord("k")) >> two) & (i >> three)
    found |= i & (letters(data, at, ord("p")) >> one) & (s >> two) & (u >> three)
    found |= letters(data, at, ord("m")) & (s >> one) & (bytes_equal(data, at, ord(" ")) >> two) & (o >> three)
    found |= letters(data, at, ord("l")) & (i >> one) & (c >> two) & (letters(data, at, ord("y")) >> three)
    kelvin = bytes_equal(data, at, 0xE2) & (bytes_equal(data, at, 0x84) >> one) & (bytes_equal(data, at, 0xAA) >> two)
    return found | kelvin | bytes_equal(data, at, ord("{"))


@kernel(types.boolean(ro(_u8), _i64, _i64, _i64), allocates=False)
def _stands_at(data: Any, at: int, end: int, phrase: int) -> bool:
    """Whether the phrase of that number starts at data[at], in any case."""
    k, last = _AT[phrase], _AT[phrase + 1]
    while k < last and at < end:
        want = _BYTES[k]
        if data[at] == want or (want != ord(" ") and data[at] == want - 32):
            at += 1
        elif want == ord("k") and at + 2 < end and data[at] == 0xE2 and data[at + 1] == 0x84 and data[at + 2] == 0xAA:
            at += 3
        else:
            return False
        k += 1
    return bool(k == last)


@kernel(_i64(ro(_u8), _i64, _i64), allocates=False)
def _search(data: Any, start: int, end: int) -> int:
    """What find_phrases returns, byte by byte."""
    found = 0
    for at in range(start, end):
        second = _SECOND[data[at]]
        if second == 0:
            continue
        if second == ord("{"):
            found |= CURLY_BRACKET
        elif at + 1 < end and data[at + 1] | 32 == second:
            for phrase in range(len(_FOUND)):
                if _stands_at(data, at, end, phrase):
                    found |= _FOUND[phrase]
    return found


@kernel(_i64(ro(_u8), _i64, _i64), allocates=False)
def find_phrases(data: Any, start: int, end: int) -> int:
    """Return the bits of what stands in data[start:end]. 5 GB/s per core where nothing does."""
    at = start
    while at < end:
        if at + BLOCK > data.shape[0] or _may_hold(data, at) & low_bits(min(end - at, np.int64(BLOCK))):
            found: int = _search(data, start, end)
            return found
        at += BLOCK - 3
    return 0
