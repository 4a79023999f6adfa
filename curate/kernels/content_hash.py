"""128-bit hashes of whole texts or parts of them: equal hashes are taken for equal texts (2^-128 a pair; not against a forger).

Two independent 64-bit lanes; arithmetic is uint64 and wraps around. n texts.

A text can be folded first, by name: `case` (lower case), `whitespace` (each run of `str.isspace` is one blank, none at the ends),
`punctuation` (counts as white space), `digits` (each run of decimal digits is one 0).
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
from numba import types

from curate.kernels.compiled import inline, kernel, ro, rw2
from curate.kernels.folding import ENDS, FLAG_BITS, I32, SPACE, U16
from curate.kernels.folding import tables as lower_case
from curate.kernels.hashing import ODD1, ODD3, SEED, fold_multiply, load64, mix64
from curate.kernels.shingles import TABLES, U64, code_point
from curate.kernels.strings import I64, U8, views
from curate.kernels.tables import SYMBOL, classes

FOLDS = ("case", "whitespace", "punctuation", "digits")
NORMALIZED = ("case", "whitespace")  # what `normalized_text` folds

# The zero of every run of ten decimal digits (Unicode 14.0, general category Nd).
ZEROS = (
    0x30, 0x660, 0x6F0, 0x7C0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xB66, 0xBE6, 0xC66, 0xCE6, 0xD66, 0xDE6, 0xE50, 0xED0, 0xF20, 0x1040,
    0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90, 0x1B50, 0x1BB0, 0x1C40, 0x1C50, 0xA620, 0xA8D0, 0xA900, 0xA9D0,
    0xA9F0, 0xAA50, 0xABF0, 0xFF10, 0x104A0, 0x10D30, 0x11066, 0x110F0, 0x11136, 0x111D0, 0x112F0, 0x11450, 0x114D0, 0x11650,
    0x116C0, 0x11730, 0x118E0, 0x11950, 0x11C50, 0x11D50, 0x11DA0, 0x16A60, 0x16AC0, 0x16B50, 0x1D7CE, 0x1D7D8, 0x1D7E2, 0x1D7EC,
    0x1D7F6, 0x1E140, 0x1E2F0, 0x1E950, 0x1FBF0,
)  # fmt: skip

_DIGIT = 1  # in our tables, the place of folding's WORD

_u = np.uint64
_S32, _S8, _BYTE = _u(32), _u(8), _u(255)
_BLANK, _DOT_ABOVE = 0x20, 0x307


@inline
def _chain(h: Any, value: Any) -> Any:
    """Add a value to a lane: a bijection of h for each value."""
    h = (h ^ value) * ODD3
    return h ^ (h >> _S32)


@kernel(types.void(ro(types.uint8), ro(types.int64), ro(types.int64), rw2(types.uint64)), allocates=False)
def _hash_bytes(data: U8, starts: I64, stops: I64, out: U64) -> None:
    """out[d] = two lanes over the bytes data[starts[d]:stops[d]], eight at a time."""
    for d in range(starts.size):
        i = starts[d]
        end = stops[d]
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


@kernel(types.void(ro(types.uint8), ro(types.int64), ro(types.int64), *TABLES, rw2(types.uint64)), allocates=False)
def _hash_folded(data: U8, starts: I64, stops: I64, stage1: U16, stage2: I32, out: U64) -> None:
    """out[d] = two lanes over the code points of data[starts[d]:stops[d]] as the tables of `_folding` fold them."""
    for d in range(starts.size):
        i = starts[d]
        end = stops[d]
        a = SEED
        b = ODD1
        begun = False
        blank = False
        digit = False
        while i < end:
            code = np.int64(data[i])
            width = np.int64(1)
            if code >= 128:
                code, width = code_point(data, i, end)
            entry = np.int64(stage2[(_u(stage1[_u(code) >> _S8]) << _S8) | (_u(code) & _BYTE)])
            i += width
            if entry & SPACE:
                blank = begun
                digit = False
                continue
            if entry & _DIGIT and digit:
                continue
            digit = entry & _DIGIT != 0
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
            if entry & ENDS:  # U+0130, the one code point whose lower case is two
                a = _chain(a, _u(_DOT_ABOVE))
                b = (b ^ _u(_DOT_ABOVE)) * SEED
                b ^= b >> _S32
        out[d, 0] = mix64(a)
        out[d, 1] = mix64(b)


@cache
def _folding(fold: frozenset[str]) -> tuple[U16, I32]:
    """Two-stage table of (folded - code point) << FLAG_BITS | SPACE, ENDS or _DIGIT for one choice of folds; read-only."""
    stage1, stage2 = lower_case()
    lower = stage2.reshape(-1, 256)[stage1].ravel()
    change = lower >> FLAG_BITS if "case" in fold else np.zeros_like(lower)
    flags = lower & (ENDS if "case" in fold else 0)
    if fold & {"whitespace", "punctuation"}:
        flags |= lower & SPACE
    if "punctuation" in fold:
        of_class = classes()
        symbol = of_class.stage2.reshape(-1, 256)[of_class.stage1].ravel() & SYMBOL
        flags[symbol != 0] |= SPACE
    if "digits" in fold:
        digits = (np.array(ZEROS)[:, None] + np.arange(10)).ravel()
        change[digits], flags[digits] = ord("0") - digits, _DIGIT
    blocks, place = np.unique((change << FLAG_BITS | flags).astype(np.int32).reshape(-1, 256), axis=0, return_inverse=True)
    made = place.ravel().astype(np.uint16), np.ascontiguousarray(blocks).ravel()
    for stage in made:
        stage.setflags(write=False)
    return made


def range_hashes(data: U8, starts: I64, stops: I64, fold: Collection[str] = ()) -> U64:
    """Return u64[n, 2], the hash of each text data[starts[i]:stops[i]], folded as named.

    fold: of FOLDS. With case and whitespace: Python's `" ".join(text.lower().split())`, but that final sigma counts as sigma
    (`curate.kernels.folding`). About 2 GB/s per core unfolded, 180 MB/s folded.
    """
    out = np.empty((len(starts), 2), np.uint64)
    starts, stops = np.ascontiguousarray(starts), np.ascontiguousarray(stops)
    if fold:
        _hash_folded(data, starts, stops, *_folding(frozenset(fold)), out)
    else:
        _hash_bytes(data, starts, stops, out)
    return out


def content_hashes(text: pa.Array | pa.ChunkedArray, normalized: bool = False, fold: Collection[str] = ()) -> U64:
    """Return u64[n, 2], the hash of each text of a column; null is the empty text. normalized: folded as NORMALIZED, else as `fold` names."""
    data, offsets = views(text)
    return range_hashes(data, offsets[:-1], offsets[1:], NORMALIZED if normalized else fold)


def joined(first: U64, second: U64) -> U64:
    """u64[n, 2]: hash of each pair of texts from their hashes; order matters."""
    pairs = np.ascontiguousarray(np.concatenate([first, second], axis=1)).view(np.uint8).ravel()
    at = np.arange(len(first), dtype=np.int64) * 32
    return range_hashes(pairs, at, at + 32) if len(first) else first
