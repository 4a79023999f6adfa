"""Cut the words out of documents and look them up in a memory of words: the first part of running a fastText model.

The memory is direct-mapped: a slot holds the bytes of the last word that fell there (up to 32, compared whole: a hash only
chooses the slot; words hold no NUL, which is white space here), how many rows of the model it has, and the sum of them.
A slot is HEAD + D / 2 numbers of 64 bits; D is the number of dimensions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.kernels.compiled import leaf
from curate.kernels.hashing import load64
from curate.kernels.lanes import prefetch, trailing_zeros

CHUNK = 96  # words of one round
HEAD = 8  # 64-bit words before the vector of a slot: 4 for the bytes of the word, then COUNT and MARK; a cache line
COUNT, MARK = 4, 5  # number of rows; fastText's hash of the word as a sign-extended int32, or LABEL_WORD
WORD = 16  # numbers kept of each word of a chunk: 4 for its bytes, then these
SLOT, DOC, SIZE, START, SHORT, HOME, LAST, HASHED, FROM, TO = (np.uint64(i) for i in range(4, 14))

# Positions are unsigned: numba then leaves out its test for negative indices.
_U64: Any = np.uint64
_0, _1, _2, _3, _4 = (_U64(i) for i in range(5))
_8, _32, _40 = _U64(8), _U64(32), _U64(40)
_LONGEST_KEY, _CHUNK, _WORD = _U64(32), _U64(CHUNK), _U64(WORD)
_FOLD = np.uint64(0x9E3779B97F4A7C15)
_ODD0, _ODD1, _ODD2, _ODD3 = (_U64(i) for i in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93, 0xA0761D6478BD642F))
_MARK_END, _MARK_LABEL = _U64(int.from_bytes(b"</s>", "little")), _U64(int.from_bytes(b"__label_", "little"))
_HIGH, _LOW, _SPACES, _FROM_9, _FROM_14 = (_U64(0x0101010101010101 * i) for i in (0x80, 0x7F, 0x20, 0x80 - 9, 0x80 - 14))


@leaf
def _eight(data: Any, at: Any) -> Any:
    """u64: data[at : at + 8], the first byte lowest; NUL beyond the end of data."""
    if at + _8 <= _U64(data.shape[0]):
        return load64(data, np.int64(at))
    bytes_ = shift = _0
    while at < _U64(data.shape[0]):
        bytes_ |= _U64(data[at]) << shift
        at, shift = at + _1, shift + _8
    return bytes_


@leaf
def _to_white(bytes_: Any) -> Any:
    """How many of eight bytes come before the first white space: space, \\t \\n \\v \\f \\r, NUL. No sum reaches the next byte."""
    low = bytes_ & _LOW
    other = (low + _LOW) & ((low ^ _SPACES) + _LOW) & (~(low + _FROM_9) | (low + _FROM_14))
    return trailing_zeros(~(other | bytes_) & _HIGH) >> _3


@leaf
def gather_words(data: Any, offsets: Any, d: Any, at: Any, seen: Any, memory: Any, n_slots: Any, stride: Any, words: Any) -> Any:
    """Cut out up to CHUNK words from data[at:] on, in document d and those after it, and have their slots fetched.

    words u64[WORD * CHUNK]: written, one word after the other. After the last word of a document comes the end mark, of size 0.
    Returns (words, d, at, seen): seen tells whether document d had a word so far.
    """
    mask, end_mark = n_slots - _1, (n_slots + _CHUNK) * stride
    n_docs = _U64(offsets.shape[0] - 1)
    w, full = _0, _CHUNK * _WORD
    stop = _U64(offsets[d + _1])
    while w < full:
        if at >= stop:
            if seen:
                words[w + SLOT], words[w + DOC], words[w + SIZE], words[w + SHORT] = end_mark, d, _0, _1
                w += _WORD
            d += _1
            if d == n_docs:
                break
            at, stop, seen = _U64(offsets[d]), _U64(offsets[d + _1]), False
            continue
        # One word, up to 32 of its bytes in k0 .. k3: the last eight first, zeros behind.
        start = at
        first = k0 = _eight(data, at)
        k1 = k2 = k3 = _0
        n = min(_to_white(first), stop - at)
        while n == _8:
            at += _8
            last = _eight(data, at)
            n = min(_to_white(last), stop - at)
            if at - start < _LONGEST_KEY:
                k0, k1, k2, k3 = last, k0, k1, k2
        at += n
        size = at - start
        at += _1  # the white space after it
        if size == _0:
            continue
        if size < _LONGEST_KEY:
            k0 &= (_1 << (n << _3)) - _1
        seen = True
        if size == _4 and k0 == _MARK_END:
            continue  # marks of fastText's training files, not words
        if size > _8 and first == _MARK_LABEL and data[start + _8] == 95:
            continue
        h = (k0 * _ODD0) ^ (k1 * _ODD1) ^ (k2 * _ODD2) ^ (k3 * _ODD3)
        slot = ((((h ^ (h >> _32)) * _FOLD) >> _40) & mask) * stride
        prefetch(memory, slot)
        prefetch(memory, slot + _8)
        words[w], words[w + _1], words[w + _2], words[w + _3] = k0, k1, k2, k3
        words[w + SLOT], words[w + DOC], words[w + SIZE], words[w + START] = slot, d, size, start
        words[w + SHORT] = _U64(size <= _LONGEST_KEY)
        w += _WORD
    return w // _WORD, d, at, seen


@leaf
def look_up(words: Any, count: Any, memory: Any, n_slots: Any, stride: Any, missed: Any) -> Any:
    """List the words that the memory does not hold: missed u64[CHUNK], where they are in `words`; return how many.

    Their SLOT becomes one of those behind the remembered words, HOME the one where they belong.
    """
    n_missed, end_mark = _0, (n_slots + _CHUNK) * stride
    for w in range(_0, count * _WORD, _WORD):
        slot = words[w + SLOT]
        same = (memory[slot] ^ words[w]) | (memory[slot + _1] ^ words[w + _1])
        same |= (memory[slot + _2] ^ words[w + _2]) | (memory[slot + _3] ^ words[w + _3])
        known = (_U64(same == _0) & words[w + SHORT]) | _U64(words[w + SIZE] == _0)
        words[w + HOME] = slot if words[w + SHORT] else end_mark
        words[w + SLOT] = slot if known else (n_slots + n_missed) * stride
        missed[n_missed] = w
        n_missed += _1 - known  # no branch: it would be guessed wrong every fourth time
    return n_missed
