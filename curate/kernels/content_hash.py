"""128-bit hashes of whole texts: equal hashes are taken for equal texts (2^-128 a pair; not against a forger).

Two independent 64-bit lanes; arithmetic is uint64 and wraps around. n texts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numba import types

from curate.kernels.compiled import inline, kernel, ro, rw2
from curate.kernels.folding import FLAG_BITS, I32, SPACE, U16, tables
from curate.kernels.hashing import ODD1, ODD3, SEED, fold_multiply, load64, mix64
from curate.kernels.shingles import TABLES, U64, code_point
from curate.kernels.strings import I64, U8, views

_u = np.uint64
_S32, _S8, _BYTE = _u(32), _u(8), _u(255)
_BLANK, _DOT_ABOVE, _I_DOT = 0x20, 0x307, 0x130


@inline
def _chain(h: Any, value: Any) -> Any:
    """Add a value to a lane: a bijection of h for each value."""
    h = (h ^ value) * ODD3
    return h ^ (h >> _S32)


@kernel(types.void(ro(types.uint8), ro(types.int64), rw2(types.uint64)), allocates=False)
def _hash_bytes(data: U8, offsets: I64, out: U64) -> None:
    """out[d] = two lanes over the bytes of text d, eight at a time."""
    for d in range(offsets.size - 1):
        i = offsets[d]
        end = offsets[d + 1]
        a = _u(end - i) * SEED
        b = ~a
        while i + 8 <= end:
            word = load64(data, i)
            a = fold_multiply(a ^ word, ODD1)
            b = _chain(b, word)
            i += 8
        word = _u(0)
        for j in range(i, end):
            word = (word << _S8) | _u(data[j])
        out[d, 0] = mix64(fold_multiply(a ^ word, ODD1))
        out[d, 1] = mix64(_chain(b, word))


@kernel(types.void(ro(types.uint8), ro(types.int64), *TABLES, rw2(types.uint64)), allocates=False)
def _hash_normalized(data: U8, offsets: I64, stage1: U16, stage2: I32, out: U64) -> None:
    """out[d] = two lanes over the lower-cased code points of text d, each run of white space a blank, none at the ends."""
    for d in range(offsets.size - 1):
        i = offsets[d]
        end = offsets[d + 1]
        a = SEED
        b = ODD1
        begun = False
        blank = False
        while i < end:
            code = np.int64(data[i])
            width = np.int64(1)
            if code >= 128:
                code, width = code_point(data, i, end)
            entry = np.int64(stage2[(_u(stage1[_u(code) >> _S8]) << _S8) | (_u(code) & _BYTE)])
            i += width
            if entry & SPACE:
                blank = begun
                continue
            if blank:
                a = _chain(a, _u(_BLANK))
                b = (b ^ _u(_BLANK)) * SEED
                b ^= b >> _S32
                blank = False
            begun = True
            lower = _u(code + (entry >> FLAG_BITS))
            a = _chain(a, lower)
            b = (b ^ lower) * SEED
            b ^= b >> _S32
            if code == _I_DOT:  # the one code point whose lower case is two
                a = _chain(a, _u(_DOT_ABOVE))
                b = (b ^ _u(_DOT_ABOVE)) * SEED
                b ^= b >> _S32
        out[d, 0] = mix64(a)
        out[d, 1] = mix64(b)


def content_hashes(text: pa.Array | pa.ChunkedArray, normalized: bool = False) -> U64:
    """Return u64[n, 2], the hash of each text; null is the empty text.

    normalized: of the lower-cased text with every run of white space (`str.isspace`) as one blank and none at its ends:
    Python's `" ".join(text.lower().split())`, but that final sigma counts as sigma (`curate.kernels.folding`).
    """
    data, offsets = views(text)
    out = np.empty((len(offsets) - 1, 2), np.uint64)
    if normalized:
        _hash_normalized(data, offsets, *tables(), out)
    else:
        _hash_bytes(data, offsets, out)
    return out
