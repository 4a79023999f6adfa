"""Hash the character n-grams of words many at once and list their rows: what takes longest of a word that is not remembered.

The characters of all words to do lie side by side in planes of PLANE 32-bit numbers: bytes 0 to 3 of every character, sign-extended
as in fastText's hash; how many they are; the hash of nothing; how many characters are left of the word; the running hash; then,
for each length of n-gram, the hash of the one that starts at a character, which becomes its bucket.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from curate.kernels.compiled import leaf
from curate.kernels.fasttext_lanes import count_down, hash_four, hash_narrow, hash_two, to_buckets, widen
from curate.kernels.fasttext_lookup import SIZE
from curate.kernels.fasttext_words import OFFSET, SIGN
from curate.kernels.lanes import ones, prefetch

ROOM = 1024  # characters hashed at once
PLANE = ROOM + 144  # ROOM and what is read or written beyond it: the longest n-gram, the rest of a vector
PLANES = 8  # before those of the n-grams
WIDTH, OFFSETS, LEFT, HASH, GRAMS = (np.uint64(i * PLANE) for i in range(4, PLANES + 1))

# Positions are unsigned: numba then leaves out its test for negative indices.
_U64: Any = np.uint64
_0, _1, _2, _3, _4, _6, _7, _8, _16, _63 = (_U64(i) for i in (0, 1, 2, 3, 4, 6, 7, 8, 16, 63))
_ROOM, _PLANE = _U64(ROOM), _U64(PLANE)
_LARGEST, _ONES = _U64((1 << 32) - 1), _U64(0x0101010101010101)


def empty_planes(lengths: int) -> npt.NDArray[np.uint32]:
    """Planes for n-grams of so many lengths. Characters have one byte: who lays out longer ones calls `narrow` in the end."""
    planes = np.zeros((PLANES + lengths) * PLANE, np.uint32)
    planes[int(WIDTH) : int(WIDTH) + PLANE] = 1
    planes[int(OFFSETS) : int(OFFSETS) + PLANE] = OFFSET
    return planes


@leaf
def fill(data: Any, at: Any, stop: Any, n: Any, planes: Any, places: Any, widest: Any) -> Any:
    """Lay out characters of data[at:stop] from character n on, as long as there is room.

    places i64[ROOM]: where each starts. Returns (n, at, widest character).
    """
    while at < stop and n < _ROOM:
        places[n] = at
        byte = data[at]
        planes[n] = np.uint32(byte) | (SIGN if byte > 127 else np.uint32(0))
        at += _1
        size = _1
        while at < stop and data[at] & 0xC0 == 0x80 and size < _4:
            byte = data[at]
            planes[size * _PLANE + n] = np.uint32(byte) | SIGN
            at += _1
            size += _1
        planes[WIDTH + n] = np.uint32(size)
        widest = max(widest, size)
        n += _1
    return n, at, widest


@leaf
def fill_ascii(words: Any, w: Any, n: Any, planes: Any) -> None:
    """Lay out a word of ASCII whose bytes, at most 32, are at words[w:], from character n on; what lies behind it is overwritten."""
    for k in range(_0, _4, _2):
        widen(words[w + k], planes, n)
        widen(words[w + k + _1], planes, n + _8)
        n += _16
        if words[w + SIZE] <= _16:
            break


@leaf
def count_left(planes: Any, first: Any, n: Any) -> None:
    """Note how many characters are left of a word at each of its characters, first .. n - 1."""
    for c in range(first, n, _8):
        count_down(planes, LEFT + c, n - c)


@leaf
def narrow(planes: Any, first: Any, n: Any) -> None:
    """Let characters first .. n - 1, and some behind, have one byte again."""
    for c in range(first, n, _8):
        widen(_ONES, planes, WIDTH + c)


@leaf
def hash_grams(
    planes: Any, n: Any, border: Any, widest: Any, shortest: Any, longest: Any, lengths: Any, buckets: Any, nowhere: Any
) -> None:
    """Find the buckets of the n-grams that start at each of n characters, of which those before `border` are ASCII.

    n-grams that run on beyond their word go to the bucket `nowhere`.
    """
    stop = border & ~_7 if widest > _1 else n  # whole vectors: those of the hash not kept are changed in place
    for gram in range(_0, longest):
        to = HASH if gram + _1 < shortest else GRAMS + (gram + _1 - shortest) * _PLANE
        source = OFFSETS if gram == _0 else (HASH if gram < shortest else GRAMS + (gram - shortest) * _PLANE)
        for c in range(_0, stop, _8):
            hash_narrow(planes, to + c, source + c, c + gram, _PLANE, WIDTH + c + gram)
        if widest == _2:
            for c in range(stop, n, _8):
                hash_two(planes, to + c, source + c, c + gram, _PLANE, WIDTH + c + gram)
        elif widest > _2:
            for c in range(stop, n, _8):
                hash_four(planes, to + c, source + c, c + gram, _PLANE, WIDTH + c + gram)
    inverse = _LARGEST // buckets
    for length in range(_0, lengths):
        at = GRAMS + length * _PLANE
        for c in range(_0, n, _8):
            to_buckets(planes, at + c, LEFT + c, length + shortest, inverse, buckets, nowhere)


@leaf
def row_rank(bucket: Any, kept: Any, rank: Any) -> Any:
    """u64: how many buckets below this one have a row."""
    return _U64(rank[bucket >> _6]) + ones(kept[bucket >> _6] & ((_1 << (bucket & _63)) - _1))


@leaf
def _listed(planes: Any, at: Any, kept: Any, listed: Any, count: Any) -> Any:
    """List a bucket if it has a row: one without is overwritten by the next one, for a branch would be guessed wrong too often."""
    bucket = _U64(planes[at])
    listed[count] = bucket
    return count + (kept[bucket >> _6] >> (bucket & _63) & _1)


@leaf
def list_rows(
    planes: Any, n: Any, lengths: Any, kept: Any, rank: Any, n_words: Any, row_bytes: Any, weights: Any, listed: Any, upto: Any
) -> None:  # fmt: skip
    """List the rows of all n-grams that start at n characters, in fastText's order, and have them fetched.

    listed[1:]: where they start, in bytes; upto u64[ROOM + 1]: where in `listed` those begin that start at a character, and the end.
    """
    count = _1
    if lengths == _3:  # nearly every model: no inner loop
        for c in range(GRAMS, GRAMS + n):
            upto[c - GRAMS] = count
            count = _listed(planes, c, kept, listed, count)
            count = _listed(planes, c + _PLANE, kept, listed, count)
            count = _listed(planes, c + _2 * _PLANE, kept, listed, count)
    else:
        for c in range(GRAMS, GRAMS + n):
            upto[c - GRAMS] = count
            for length in range(_0, lengths):
                count = _listed(planes, c + length * _PLANE, kept, listed, count)
    upto[n] = count
    for k in range(_1, count):
        row = (n_words + row_rank(listed[k], kept, rank)) * row_bytes
        prefetch(weights, row)
        listed[k] = row
