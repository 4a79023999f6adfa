r"""Counts for the rules on source code: lines, classes of characters, and runs of encoded data.

Encoded data, after StarCoder 2 (Lozhkov et al. 2024, arXiv:2402.19173, section 3.1): base64, `[A-Za-z0-9+/=\n]{64,}`; hexadecimal,
eight or more pairs of digits, each perhaps behind 0x or \x, with commas or white space between them; Unicode escapes, eight
or more \uXXXX one behind the other. A place that belongs to several counts once, for the first kind in this order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from curate.kernels.characters import ALNUM, ALPHA, bits_at
from curate.kernels.compiled import kernel, leaf, ro, rw2

# Columns of `counts`.
LINES, CHARS, LONGEST_LINE, ALNUMS, ALPHAS, ENCODED, LONGEST_ENCODED = range(7)
COLUMNS = 7

_BASE64, _HEX, _ESCAPES = 64, 8, 8

_OF_BASE64 = np.zeros(256, np.bool_)
_OF_BASE64[list(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\n")] = True
_OF_HEX = np.zeros(256, np.bool_)
_OF_HEX[list(b"0123456789abcdefABCDEF")] = True

_u8, _i64 = types.uint8, types.int64


@leaf
def _word(b: Any) -> Any:
    return 48 <= b <= 57 or 65 <= b <= 90 or 97 <= b <= 122 or b == 95


@kernel(_i64(ro(_u8), _i64, _i64), allocates=False)
def _pairs_end(data: Any, at: int, end: int) -> int:
    """Where a run of at least eight pairs of hexadecimal digits that begins at data[at] ends; `at` where there is none."""
    begin, pairs, last = at, 0, at
    while at + 1 < end:
        prefixed = at + 3 < end and ((data[at] == 48 and data[at + 1] | 32 == 120) or (data[at] == 92 and data[at + 1] == 120))
        first = at + 2 if prefixed else at
        if not prefixed and at > 0 and _word(data[at - 1]):
            break
        if not (_OF_HEX[data[first]] and _OF_HEX[data[first + 1]]) or (first + 2 < end and _word(data[first + 2])):
            break
        pairs += 1
        at = last = first + 2
        if at < end and data[at] == 44:
            at += 1
        while at < end and (data[at] == 32 or 9 <= data[at] <= 13):
            at += 1
    return last if pairs >= _HEX else begin


@kernel(_i64(ro(_u8), _i64, _i64), allocates=False)
def _escapes_end(data: Any, at: int, end: int) -> int:
    """Where a run of at least eight \\uXXXX that begins at data[at] ends; `at` where there is none."""
    begin, escapes = at, 0
    while at + 5 < end and data[at] == 92 and data[at + 1] == 117:
        if not (_OF_HEX[data[at + 2]] and _OF_HEX[data[at + 3]] and _OF_HEX[data[at + 4]] and _OF_HEX[data[at + 5]]):
            break
        escapes += 1
        at += 6
    return at if escapes >= _ESCAPES else begin


@kernel(types.void(ro(_u8), ro(_i64), ro(_u8), rw2(_i64)), allocates=False)
def count_code(data, offsets, bits, counts):  # type: ignore[no-untyped-def]
    """Fill counts: i64[n, COLUMNS], zeros. Lines lie between newlines; characters are code points, newlines among them."""
    for d in range(offsets.size - 1):
        start, end = offsets[d], offsets[d + 1]
        chars = line = longest = lines = alnums = alphas = 0
        at = start
        while at < end:
            found, width = bits_at(data, at, end, bits)
            chars += 1
            line += 1
            alnums += 1 if found & ALNUM else 0
            alphas += 1 if found & ALPHA else 0
            if data[at] == 10:
                longest = max(longest, line - 1)
                lines += 1
                line = 0
            at += width
        counts[d, LINES] = lines + 1 if end > start else 0
        counts[d, CHARS] = chars
        counts[d, LONGEST_LINE] = max(longest, line)
        counts[d, ALNUMS] = alnums
        counts[d, ALPHAS] = alphas
        at = start
        while at < end:
            b = data[at]
            stop = at
            if _OF_BASE64[b]:
                while stop < end and _OF_BASE64[data[stop]]:
                    stop += 1
                if stop - at < _BASE64:
                    past = stop
                    stop = at
                    while at < past:  # the run is too short for base64, but a run of pairs may begin in it
                        if _OF_HEX[data[at]] and (at == start or not _word(data[at - 1])):
                            stop = _pairs_end(data, at, end)
                            if stop > at:
                                break
                        at += 1
            elif b == 92:
                stop = _pairs_end(data, at, end)
                if stop == at:
                    stop = _escapes_end(data, at, end)
                if stop == at:
                    at += 1
                    continue
            else:
                at += 1
                continue
            if stop > at:
                counts[d, ENCODED] += stop - at
                counts[d, LONGEST_ENCODED] = max(counts[d, LONGEST_ENCODED], stop - at)
                at = stop
