"""MinHash band hashes: documents whose shingle sets have Jaccard similarity s share one with P = 1 - (1 - s^rows)^bands.

Broder 1997, "On the resemblance and containment of documents"; banding as in Leskovec, Rajaraman and Ullman, "Mining of
Massive Datasets", section 3.4. The permutations are classic 32-bit multiply-shift, min over (a * x + b) mod 2^32, on the
high half x of a mixed 64-bit shingle hash: on planted pairs of 20 to 1,000 words its error equals theory and cannot be
told from 61-bit Mersenne arithmetic, where one-permutation hashing is worse on short documents.

Signatures live for one document and are never stored; only the band hashes leave. n documents, k = bands * rows.
uint32 and uint64 arithmetic wraps around on purpose.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import types

from curate.kernels.compiled import kernel, ro, rw, rw2
from curate.kernels.folding import I32, U16, tables
from curate.kernels.hashing import mix64
from curate.kernels.shingles import STEP, TABLES, U64, WordHashes, fill_words
from curate.kernels.strings import I64, U8, views
from curate.kernels.units import fill_characters

U32 = npt.NDArray[np.uint32]

_u, _u32 = np.uint64, np.uint32
_HIGH = _u(32)
_NONE = _u32(0xFFFFFFFF)
WORDS, CHARACTERS, GIVEN = 0, 1, 2  # what a shingle is made of: words of the text, its characters, or hashes that are there already
_NO_TEXT, _NO_UNITS = np.zeros(1, np.uint8), np.zeros(0, np.uint64)
BLOCK = 1024  # words hashed at a time: their shingles, 4 kB, stay in the first-level cache while k minima pass over them


class Bands(NamedTuple):
    """Band hashes of n documents."""

    hash: U64  # u64[n, bands]; the band's number is mixed in, so equal hashes mean the same band
    shingles: I64  # i64[n], with repeats; 0: the document has no words and no band hashes (its row is all zero)


def spread(value: I64 | U64) -> U64:
    """Mix i64[n] to u64[n], one to one, so that numbers in a row fall into different partitions (the step of SplitMix64)."""
    with np.errstate(over="ignore"):
        z = value.astype(np.uint64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def splitmix64(seed: int, count: int) -> U64:
    """Return u64[count], the first outputs of SplitMix64 (Steele, Lea and Flood 2014) started at `seed`."""
    with np.errstate(over="ignore"):
        return spread(np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))


def permutations(seed: int, k: int) -> tuple[U32, U32]:
    """Return (a u32[k], odd; b u32[k]): of output j of SplitMix64, a is the high half with its last bit set, b the low half."""
    stream = splitmix64(seed, k)
    return (stream >> np.uint64(32)).astype(np.uint32) | np.uint32(1), stream.astype(np.uint32)


@kernel(types.void(ro(types.uint32), types.int64, ro(types.uint32), ro(types.uint32), rw(types.uint32)), allocates=False)
def _lower_minima(x: U32, m: int, a: U32, b: U32, minima: U32) -> None:
    """minima[j] = min(minima[j], a[j] * x[i] + b[j] for i < m). Hash outside, shingle inside: the inner loop is one vector op a step."""
    for j in range(a.size):
        aj = a[j]
        bj = b[j]
        low = minima[j]
        for i in range(m):
            low = min(low, _u32(_u32(aj * x[i]) + bj))
        minima[j] = low


@kernel(
    types.void(
        *(types.int64, ro(types.uint8), ro(types.uint64), ro(types.int64), *TABLES),
        *(types.int64, ro(types.uint32), ro(types.uint32), rw2(types.uint64), rw(types.int64)),
    )
)
def _band_hashes(
    kind: int, data: U8, given: U64, offsets: I64, stage1: U16, stage2: I32, ngram: int, a: U32, b: U32, out: U64, shingles: I64
) -> None:
    """Fill out u64[n, bands] and shingles i64[n]. Scratch does not grow with the documents.

    offsets: i64[n+1], into data, or into given where kind is GIVEN
    """
    bands = out.shape[1]
    rows = a.size // bands
    words = np.empty(ngram + BLOCK + 1, np.uint64)  # the last `ngram` words seen before, then the new ones
    x = np.empty(BLOCK + 1, np.uint32)
    minima = np.empty(a.size, np.uint32)
    leaving = _u(1)
    for _ in range(ngram):
        leaving *= STEP
    for d in range(offsets.size - 1):
        i = offsets[d]
        end = offsets[d + 1]
        seen = 0
        found = 0
        h = _u(0)
        minima[:] = _NONE
        words[:ngram] = _u(0)
        while i < end:
            if kind == WORDS:
                new, i = fill_words(data, i, end, stage1, stage2, words[ngram:])
            elif kind == CHARACTERS:
                new, i = fill_characters(data, i, end, seen == 0, stage1, stage2, words[ngram:])
            else:
                new = min(end - i, BLOCK)
                for j in range(new):  # a slice on both sides compiles for 3.7 s: numba brings strings in for its error
                    words[ngram + j] = given[i + j]
                i += new
            m = 0
            for j in range(new):
                # Before `ngram` words are seen the leaving word is one of the zeros at the front.
                h = h * STEP + words[ngram + j] - words[j] * leaving
                seen += 1
                if seen >= ngram:
                    x[m] = _u32(mix64(h) >> _HIGH)
                    m += 1
            if i >= end and 0 < seen < ngram:
                x[0] = _u32(mix64(h) >> _HIGH)
                m = 1
            found += m
            _lower_minima(x, m, a, b, minima)
            for j in range(ngram):
                words[j] = words[new + j]
        shingles[d] = found
        for band in range(bands):
            g = _u(band + 1) * STEP
            for r in range(rows):
                g = mix64(g ^ _u(minima[band * rows + r])) * STEP
            out[d, band] = mix64(g) if found else _u(0)


def band_hashes(text: pa.Array | pa.ChunkedArray, ngram: int, bands: int, rows: int, seed: int, kind: int = WORDS) -> Bands:
    """Hash each document's MinHash signature of bands * rows values, band by band.

    Shingles are those of `curate.kernels.shingles.shingles`, of words or (kind) of characters. Two documents share a band
    hash where the `rows` minima of that band are equal (or by a collision, 2^-64 a pair).
    """
    data, offsets = views(text)
    return _banded(kind, data, _NO_UNITS, offsets, ngram, bands, rows, seed)


def band_hashes_of(units: WordHashes, ngram: int, bands: int, rows: int, seed: int) -> Bands:
    """The same, of units (words of any split) that are hashed already."""
    return _banded(GIVEN, _NO_TEXT, units.hash, units.doc, ngram, bands, rows, seed)


def _banded(kind: int, data: U8, given: U64, offsets: I64, ngram: int, bands: int, rows: int, seed: int) -> Bands:
    a, b = permutations(seed, bands * rows)
    n = len(offsets) - 1
    out, count = np.empty((n, bands), np.uint64), np.empty(n, np.int64)
    _band_hashes(kind, data, given, offsets, *tables(), ngram, a, b, out, count)
    return Bands(out, count)
