"""Words and n-gram sets for near-duplicate search and decontamination.

A word is what Python's `re` finds as `\\w+` in the lower-cased text, and each Hiragana, Katakana or Han character is a
word of its own (`curate.kernels.folding` names the one difference, final sigma). Words and shingles are 64-bit hashes;
two different ones are equal with a chance of 2^-64 a pair. The hash has no key: who knows it can construct collisions.

n documents, w words, s shingles. All arithmetic on hashes is uint64 and wraps around.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import types

from curate.kernels.compiled import inline, kernel, ro, rw
from curate.kernels.folding import CJK, ENDS, FLAG_BITS, I32, U16, WORD, tables
from curate.kernels.hashing import mix64
from curate.kernels.strings import I64, U8, views

U64 = npt.NDArray[np.uint64]

_u = np.uint64
STEP = _u(0x9E3779B97F4A7C15)  # odd; multiplies a hash for each further character or word
_WORD_START = _u(0xC2B2AE3D27D4EB4F)
_S32, _S8, _BYTE = _u(32), _u(8), _u(255)
_SMALL = 48  # sets up to this size are sorted by insertion

TABLES = (ro(types.uint16), ro(types.int32))


class WordHashes(NamedTuple):
    """Words of n documents in text order."""

    doc: I64  # i64[n+1]: words of document d are doc[d]..doc[d+1]
    hash: U64  # u64[w]


class ShingleSets(NamedTuple):
    """One list of shingle hashes a document."""

    doc: I64  # i64[n+1]: shingles of document d are doc[d]..doc[d+1]
    hash: U64  # u64[s]


@inline
def code_point(data: U8, i: int, end: int) -> tuple[Any, Any]:
    """Return (code point, bytes) of the character of two to four bytes at i; cut-off text gives (0, what is left)."""
    b = np.int64(data[i])
    if b < 0xE0:
        if i + 2 > end:
            return np.int64(0), end - i
        return ((b & 31) << 6) | (np.int64(data[i + 1]) & 63), np.int64(2)
    if b < 0xF0:
        if i + 3 > end:
            return np.int64(0), end - i
        return ((b & 15) << 12) | ((np.int64(data[i + 1]) & 63) << 6) | (np.int64(data[i + 2]) & 63), np.int64(3)
    if i + 4 > end:
        return np.int64(0), end - i
    high = ((b & 7) << 18) | ((np.int64(data[i + 1]) & 63) << 12)
    return high | ((np.int64(data[i + 2]) & 63) << 6) | (np.int64(data[i + 3]) & 63), np.int64(4)


_POSITIONS: Any = types.UniTuple(types.int64, 2)  # type: ignore[no-untyped-call]  # numba has none


@kernel(_POSITIONS(ro(types.uint8), types.int64, types.int64, *TABLES, rw(types.uint64)), allocates=False)
def fill_words(data: U8, i: int, end: int, stage1: U16, stage2: I32, out: U64) -> tuple[int, int]:
    """Write the hashes of the words in data[i:end] to out; return (words written, where to go on).

    out: u64[2 or more], the last place is spare; stops early when full. ASCII is handled without branches on the class of
    a character, because the ends of words can't be predicted: 1.7 times as fast as a function that finds the next word.
    """
    at = 0
    last = out.size - 1
    h = _WORD_START
    inside: Any = np.int64(0)
    while i < end and at < last:
        code = np.int64(data[i])
        if code < 128:
            entry = np.int64(stage2[_u(code)])
            word = entry & WORD
            out[at] = h  # counts where a word has just ended, else overwritten
            at += inside & ~word
            inside = word
            g = (h ^ _u(code + (entry >> FLAG_BITS))) * STEP
            g ^= g >> _S32
            h = g if word else _WORD_START
            i += 1
            continue
        code, width = code_point(data, i, end)
        entry = np.int64(stage2[(_u(stage1[_u(code) >> _S8]) << _S8) | (_u(code) & _BYTE)])
        i += width
        if entry & WORD:
            h = (h ^ _u(code + (entry >> FLAG_BITS))) * STEP
            h ^= h >> _S32
            inside = np.int64(1)
            if not entry & ENDS:
                continue
        if inside:
            out[at] = h
            at += 1
            h = _WORD_START
            inside = np.int64(0)
        if entry & CJK:
            h = (h ^ _u(code)) * STEP
            out[at] = h ^ (h >> _S32)
            at += 1
            h = _WORD_START
    if inside:
        out[at] = h
        at += 1
    for j in range(at):
        out[j] = mix64(out[j])
    return at, i


@kernel(types.int64(ro(types.uint8), ro(types.int64), *TABLES, rw(types.int64), rw(types.uint64)), allocates=False)
def _words(data: U8, offsets: I64, stage1: U16, stage2: I32, doc: I64, out: U64) -> int:
    """Write the hashes of all words to out and where each document's begin to doc; return how many."""
    at = 0
    doc[0] = 0
    for d in range(offsets.size - 1):
        written, _ = fill_words(data, offsets[d], offsets[d + 1], stage1, stage2, out[at:])
        at += written
        doc[d + 1] = at
    return at


@kernel(types.void(rw(types.uint64), rw(types.uint64), rw(types.int64)), allocates=False)
def _sort(values: U64, scratch: U64, count: I64) -> None:
    """Sort values in place: insertion for few, else radix by byte, so that no input is slow.

    scratch: u64, at least as long; count: i64[2048], overwritten.
    """
    m = values.size
    if m <= _SMALL:
        for i in range(1, m):
            v = values[i]
            j = i - 1
            while j >= 0 and values[j] > v:
                values[j + 1] = values[j]
                j -= 1
            values[j + 1] = v
        return
    count[:] = 0
    for i in range(m):
        v = values[i]
        for p in range(8):
            count[p * 256 + np.int64(v & _BYTE)] += 1
            v >>= _S8
    source = values
    target = scratch
    for p in range(8):
        total = 0
        for q in range(p * 256, p * 256 + 256):
            c = count[q]
            count[q] = total
            total += c
        shift = _u(8 * p)
        for i in range(m):
            v = source[i]
            slot = p * 256 + np.int64((v >> shift) & _BYTE)
            target[count[slot]] = v
            count[slot] += 1
        source, target = target, source


@kernel(types.int64(ro(types.int64), ro(types.uint64), types.int64, types.boolean, rw(types.int64), rw(types.uint64)))
def _shingles(doc: I64, words: U64, ngram: int, unique: bool, out_doc: I64, out: U64) -> int:
    """Write the shingles of each document to out, back to back; return how many.

    doc: i64[n+1], words: u64[w]; out_doc: i64[n+1]; out: u64 with room for every shingle before duplicates go.
    """
    most = 0
    for d in range(doc.size - 1):
        most = max(most, doc[d + 1] - doc[d])
    scratch = np.empty(most if unique else 0, np.uint64)
    count = np.empty(2048, np.int64)
    leaving = _u(1)
    for _ in range(ngram):
        leaving *= STEP
    at = 0
    out_doc[0] = 0
    for d in range(doc.size - 1):
        first = doc[d]
        n_words = doc[d + 1] - first
        start = at
        h = _u(0)
        for j in range(n_words):
            h = h * STEP + words[first + j]
            if j >= ngram:
                h -= words[first + j - ngram] * leaving
            if j + 1 >= ngram or j + 1 == n_words:
                out[at] = mix64(h)
                at += 1
        if unique and at > start:
            _sort(out[start:at], scratch, count)
            kept = start + 1
            for j in range(start + 1, at):
                if out[j] != out[j - 1]:
                    out[kept] = out[j]
                    kept += 1
            at = kept
        out_doc[d + 1] = at
    return at


def word_hashes(text: pa.Array | pa.ChunkedArray) -> WordHashes:
    """Hash every word of a string column, in text order."""
    data, offsets = views(text)
    # A word and what ends it are two bytes or more. Only the pages that words are written to become real memory.
    room = int(offsets[-1] - offsets[0] + len(offsets)) // 2 + 2
    doc, out = np.empty(len(offsets), np.int64), np.empty(room, np.uint64)
    used = _words(data, offsets, *tables(), doc, out)
    return WordHashes(doc, out[:used].copy())


def shingles(words: WordHashes, ngram: int, unique: bool = True) -> ShingleSets:
    """Hash every run of `ngram` words; the sorted set of each document, or with unique=False all, in text order.

    A document of fewer words (but one at least) has one shingle of all its words; one without words has none.
    """
    per_doc = np.diff(words.doc)
    room = int(np.where(per_doc > 0, np.maximum(per_doc - ngram + 1, 1), 0).sum())
    doc, out = np.empty(len(words.doc), np.int64), np.empty(room, np.uint64)
    used = _shingles(words.doc, words.hash, ngram, unique, doc, out)
    return ShingleSets(doc, out[:used])
