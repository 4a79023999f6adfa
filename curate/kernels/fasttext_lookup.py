"""Cut the words out of documents and look them up in a memory of words: the first part of running a fastText model.

The memory is direct-mapped: a slot holds the bytes of the last word that fell there (up to 32, compared whole: a hash only
chooses the slot; words hold no NUL, which is white space here), how many rows of the model it has, and the sum of them.
A slot is HEAD + D / 2 numbers of 64 bits; D is the number of dimensions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from curate.kernels.compiled import leaf
from curate.kernels.fasttext_lanes import BLOCK, KEY, white_space, word_key
from curate.kernels.lanes import ones, prefetch, trailing_zeros

CHUNK = 128  # words of one round
HEAD = 8  # 64-bit words before the vector of a slot: 4 for the bytes of the word, then COUNT and MARK; a cache line
COUNT, MARK = 4, 5  # number of rows; LABEL_WORD, or, where word n-grams need it, fastText's hash of the word as a sign-extended int32
WORD = 16  # numbers kept of each word of a chunk: 4 for its bytes, then these
SLOT, SIZE, START, SHORT, HOME, HASHED, ROW, FIRST, LAST = (np.uint64(i) for i in range(4, 13))
_ODD = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93, 0xA0761D6478BD642F)  # of high weight, from splitmix64 and wyhash

# Positions are unsigned: numba then leaves out its test for negative indices.
_U64: Any = np.uint64
_0, _1, _2, _3, _4 = (_U64(i) for i in range(5))
_8, _32, _40, _63, _255 = _U64(8), _U64(32), _U64(40), _U64(63), _U64(255)
_BLOCK, _FULL = _U64(BLOCK), _U64(2 * CHUNK - BLOCK - 8)
_KEY, _CHUNK, _WORD, _BACK = _U64(KEY), _U64(CHUNK), _U64(WORD), _U64(CHUNK + 1)
_HIGH = _U64(0x8080808080808080)
_FOLD, _ODD0, _ODD1, _ODD2, _ODD3 = (_U64(i) for i in (0x9E3779B97F4A7C15, *_ODD))
_MARK_END, _MARK_LABEL, _MARK_LABEL_ENDS = (_U64(int.from_bytes(mark, "little")) for mark in (b"</s>", b"__label_", b"_"))


def place_of(keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The number from which gather_words chooses a slot, of words: keys u64[n, 4], KEY bytes each, padded with zeros."""
    h: npt.NDArray[np.uint64] = np.bitwise_xor.reduce(keys * np.array(_ODD, np.uint64), axis=1)
    h ^= h >> _32
    h *= _FOLD
    h >>= _40
    return h


@leaf
def find_words(data: Any, tail: Any, offsets: Any, d: Any, at: Any, inside: Any, seen: Any, bounds: Any, n: Any) -> Any:
    """Find where words start and end in data[at:], in document d and those after it.

    bounds u64[2 * CHUNK]: has n entries, and gets more, as long as there is room for those of a block: start and end of each word,
    and, after those of a document with words, twice the document's number.
    Returns (d, at, inside, seen, n): inside is 1 in a word, of which the start is known; seen: document d had a word so far.
    """
    n_docs, stop = _U64(offsets.shape[0] - 1), _U64(offsets[d + _1])
    while n < _FULL:
        if at >= stop:
            bounds[n] = stop
            n += inside
            bounds[n] = bounds[n + _1] = d
            n += _2 * seen
            d, inside, seen = d + _1, _0, _0
            if d == n_docs:
                break
            at, stop = _U64(offsets[d]), _U64(offsets[d + _1])
            continue
        letters = ~white_space(data, at, tail)
        if stop - at < _BLOCK:
            letters &= (_1 << (stop - at)) - _1
        edges = letters ^ (letters << _1 | inside)
        inside = letters >> _63
        count = ones(edges)
        for k in range(n, n + count, _4):  # the number of rounds is easier to foresee than the number of edges
            for i in range(_4):
                bounds[k + i] = at + trailing_zeros(edges)
                edges &= edges - _1
        seen |= _U64(count > _0)
        n += count
        at += _BLOCK
    return d, at, inside, seen, n


@leaf
def gather_words(data: Any, tail: Any, bounds: Any, n: Any, memory: Any, n_slots: Any, stride: Any, words: Any) -> Any:
    """Cut out the words that find_words found, and have their slots fetched. Returns how many they are.

    words u64[WORD * CHUNK]: written, one word after the other. The end mark of a document is a word of size 0 that
    starts at the document's number.
    """
    mask, end_mark = n_slots - _1, (n_slots + _CHUNK) * stride
    w = _0
    for k in range(_1, n, _2):
        start = bounds[k - _1]
        size = bounds[k] - start
        words[w + SIZE], words[w + START] = size, start
        if size == _0:
            words[w + SLOT], words[w + SHORT] = end_mark, _1
            w += _WORD
            continue
        word_key(data, start, tail, size, words, w)
        k0, k1, k2, k3 = words[w], words[w + _1], words[w + _2], words[w + _3]
        if k0 == _MARK_END or (k0 == _MARK_LABEL and k1 & _255 == _MARK_LABEL_ENDS):
            continue  # marks of fastText's training files, not words
        h = (k0 * _ODD0) ^ (k1 * _ODD1) ^ (k2 * _ODD2) ^ (k3 * _ODD3)
        h = ((h ^ (h >> _32)) * _FOLD) >> _40
        slot = (h & mask) * stride
        prefetch(memory, slot)
        prefetch(memory, slot + _8)
        words[w + SLOT], words[w + SHORT], words[w + HASHED] = slot, _U64(size <= _KEY), h
        w += _WORD
    return w // _WORD


@leaf
def look_up(words: Any, count: Any, memory: Any, n_slots: Any, stride: Any, missed: Any) -> Any:
    """List the words that the memory does not hold: missed u64[2 * CHUNK + 2], where they are in `words`; return how many.

    Those that are short and all ASCII come first, for the others are laid out in another way. Their SLOT becomes one of those behind the
    remembered words, HOME the one where they belong.
    """
    plain, n_missed, end_mark = _0, _0, (n_slots + _CHUNK) * stride
    for w in range(_0, count * _WORD, _WORD):
        slot, k0, k1, k2, k3 = words[w + SLOT], words[w], words[w + _1], words[w + _2], words[w + _3]
        same = (memory[slot] ^ k0) | (memory[slot + _1] ^ k1) | (memory[slot + _2] ^ k2) | (memory[slot + _3] ^ k3)
        known = (_U64(same == _0) & words[w + SHORT]) | _U64(words[w + SIZE] == _0)
        ascii_ = _U64((k0 | k1 | k2 | k3) & _HIGH == _0) & words[w + SHORT]
        words[w + HOME] = slot if words[w + SHORT] else end_mark
        words[w + SLOT] = slot if known else (n_slots + n_missed) * stride
        missed[plain] = missed[_BACK + n_missed - plain] = w
        plain += ascii_ & ~known  # no branch: it would be guessed wrong every fourth time
        n_missed += _1 - known
    for m in range(plain, n_missed):
        missed[m] = missed[_BACK + m - plain]
    return plain, n_missed
