"""What shingles are made of where it is not words by `\\w+`: characters, or words of another split.

Both are lower-cased by the table of `curate.kernels.folding`, so that case never hides a near-duplicate.
n documents, w units.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numba import types

from curate.kernels.compiled import kernel, ro, rw
from curate.kernels.folding import FLAG_BITS, I32, SPACE, U16, tables
from curate.kernels.hashing import mix64
from curate.kernels.shingles import STEP, TABLES, U64, WordHashes, code_point
from curate.kernels.strings import I64, U8, views

_u = np.uint64
_CHARACTER, _WORD = _u(0xD1B54A32D192ED03), _u(0xC2B2AE3D27D4EB4F)
_S8, _S32, _BYTE, _BLANK = _u(8), _u(32), _u(255), _u(32)
_TWO: Any = types.UniTuple(types.int64, 2)  # type: ignore[no-untyped-call]  # numba has none


@kernel(_TWO(ro(types.uint8), types.int64, types.int64, types.boolean, *TABLES, rw(types.uint64)), allocates=False)
def fill_characters(data: U8, i: int, end: int, first: bool, stage1: U16, stage2: I32, out: U64) -> tuple[int, int]:
    """Write hashes of the lower-cased characters of data[i:end] to out; return (characters written, where to go on).

    A run of white space counts as one blank, none at the start and the end of the document. Stops early when out is full.
    first: nothing of the document was written before
    """
    at = 0
    while i < end and at < out.size - 1:
        code = np.int64(data[i])
        width: Any = np.int64(1)
        if code >= 128:
            code, width = code_point(data, i, end)
        entry = np.int64(stage2[(_u(stage1[_u(code) >> _S8]) << _S8) | (_u(code) & _BYTE)])
        i += width
        if not entry & SPACE:
            out[at] = mix64(_u(code + (entry >> FLAG_BITS)) * STEP + _CHARACTER)
            at += 1
            continue
        while i < end:
            code = np.int64(data[i])
            width = np.int64(1)
            if code >= 128:
                code, width = code_point(data, i, end)
            if not np.int64(stage2[(_u(stage1[_u(code) >> _S8]) << _S8) | (_u(code) & _BYTE)]) & SPACE:
                break
            i += width
        if i < end and not (first and at == 0):
            out[at] = mix64(_BLANK * STEP + _CHARACTER)
            at += 1
    return at, i


@kernel(types.int64(ro(types.uint8), ro(types.int64), *TABLES, rw(types.int64), rw(types.uint64)), allocates=False)
def _characters(data: U8, offsets: I64, stage1: U16, stage2: I32, doc: I64, out: U64) -> int:
    """Write the hashes of all characters to out and where each document's begin to doc; return how many."""
    at = 0
    doc[0] = 0
    for d in range(offsets.size - 1):
        written, _ = fill_characters(data, offsets[d], offsets[d + 1], True, stage1, stage2, out[at:])
        at += written
        doc[d + 1] = at
    return at


@kernel(types.void(ro(types.uint8), ro(types.int64), ro(types.int32), *TABLES, rw(types.uint64)), allocates=False)
def _folded(data: U8, start: I64, size: I32, stage1: U16, stage2: I32, out: U64) -> None:
    """out[w] = hash of the lower-cased characters of data[start[w] : start[w] + size[w]]."""
    for w in range(start.size):
        i = start[w]
        end = i + size[w]
        h = _WORD
        while i < end:
            code = np.int64(data[i])
            width: Any = np.int64(1)
            if code >= 128:
                code, width = code_point(data, i, end)
            entry = np.int64(stage2[(_u(stage1[_u(code) >> _S8]) << _S8) | (_u(code) & _BYTE)])
            h = (h ^ _u(code + (entry >> FLAG_BITS))) * STEP
            h ^= h >> _S32
            i += width
        out[w] = mix64(h)


def character_hashes(text: pa.Array | pa.ChunkedArray) -> WordHashes:
    """Hash every character of a string column, in text order: lower case, white space folded to one blank."""
    data, offsets = views(text)
    doc, out = np.empty(len(offsets), np.int64), np.empty(int(offsets[-1] - offsets[0]) + 2, np.uint64)
    used = _characters(data, offsets, *tables(), doc, out)
    return WordHashes(doc, out[:used].copy())


def folded_words(text: pa.Array | pa.ChunkedArray, words: Any) -> WordHashes:
    """Hash the words of a split (`curate.kernels.words.Words` of the same column), lower-cased."""
    data, _ = views(text)
    out = np.empty(len(words.start), np.uint64)
    _folded(data, words.start, words.size, *tables(), out)
    return WordHashes(words.doc, out)
