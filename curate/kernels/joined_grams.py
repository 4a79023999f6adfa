"""Share of characters in 5 to 10-grams of words that repeat, as datatrove counts it: by the words joined WITHOUT spaces.

n-grams are looked for from left to right, a hit skips its n words, and two are the same when their words joined without
spaces are ("ab c" is "a bc"). They are compared by 64-bit hashes of the joined text.

Pruning, exact up to those hashes: joined n-grams of at least PREFIXES bytes can be the same only where their first so many
bytes are. (Repeated 5-grams say nothing about joined 6-grams: "a b c d e f" and "ab c d e f g" share letters, not words.)
Whether they are is asked of tables of bits, 32 to 64 a word of the text: two prefixes in one place leave an n-gram in that
is then compared, and bits find a place of their own more often than bytes in the same memory do.

Loops over words have no branches that a processor can't foresee, and index by numbers without a sign where they can: numba
looks at others for those that count from the end.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from curate.kernels.blocks import copy32
from curate.kernels.compiled import kernel, leaf, ro, rw, rw2
from curate.kernels.hashing import ODD1, ODD2, fold_multiply, hash_piece, load64
from curate.kernels.ngram_tables import power_of_two, slot_shift

JOINED = (5, 6, 7, 8, 9, 10)
PREFIXES = (12, 15, 23)  # bytes: 4, 5 and nearly 8 CJK characters, 3 to 6 English words; the first at most 16, at most 8 between two
SLACK = 32  # bytes after the joined words that may be read or written: the longest prefix, a copy of 32

_U = np.uint64
_NEVER = 2**31 - 1

_u8, _i32, _u32, _i64, _u64, _f64 = types.uint8, types.int32, types.uint32, types.int64, types.uint64, types.float64


@kernel(types.void(ro(_u8), ro(_i64), ro(_i32), _i64, _i64, rw(_u8), rw(_i64)), allocates=False)
def _join(data: Any, start: Any, size: Any, a: int, n: int, joined: Any, at: Any) -> None:
    """Write the words of one document without spaces to `joined`, and where word i starts in it to at[i], i64[n+1].

    32 bytes are written at once where they can be read; those after the word are overwritten by the next one, and `joined`
    has SLACK bytes for those after the last.
    """
    o = np.int64(0)
    for w in range(n):
        at[w] = o
        k = _U(a) + _U(w)
        begin, width = start[k], size[k]
        if begin + 32 <= data.shape[0] and width <= 32:
            copy32(data, begin, joined, o)
        else:
            for b in range(width):
                joined[o + b] = data[begin + b]
        o += width
    at[n] = o


@leaf
def _note(pairs: Any, h: Any, shift: Any) -> None:
    """Note a hash in a table of pairs of bits: the lower half of a word says that it came, the upper half that it came again."""
    p = h >> shift
    bit = _U(1) << (h & _U(31))
    word = pairs[p]
    pairs[p] = word | bit | ((word & bit) << _U(32))


@leaf
def _came_again(pairs: Any, h: Any, shift: Any) -> Any:
    """i64: 1 where the hash, or another that shares its bit, was noted twice."""
    return np.int64(pairs[h >> shift] >> ((h & _U(31)) | _U(32)) & _U(1))


@kernel(_i64(ro(_u8), ro(_i64), _i64, rw(_u64), rw(_u32), rw(_i32), rw(_u64)), allocates=False)
def _candidates(joined: Any, at: Any, n: int, key: Any, cand: Any, alone: Any, pairs: Any) -> Any:
    """Write the n-grams that may repeat to cand: the words they start at; return how many there are.

    n: how many words start one of the shortest n-grams. alone[i], i in cand, written: no joined n-gram of at least so many
    bytes that starts at word i can repeat. What lies behind the document's last word is read and does no harm: no n-gram holds it.
    """
    shift = slot_shift(power_of_two(n >> 1))
    for p in range(power_of_two(n >> 1)):
        pairs[p] = 0
    for w in range(n):
        h = fold_multiply(load64(joined, at[w]) ^ ODD1, load64(joined, at[w] + (PREFIXES[0] - 8)) ^ ODD2)
        key[w] = h
        _note(pairs, h, shift)
    nc: Any = 0
    for w in range(n):
        again = _came_again(pairs, key[w], shift)
        alone[w] = _NEVER if again else PREFIXES[0]
        cand[nc] = w
        nc += again | (at[w + JOINED[0]] - at[w] < PREFIXES[0])
    for prefix in PREFIXES[1:]:
        if nc < 2:
            return nc
        shift = slot_shift(power_of_two(nc >> 1))
        for p in range(power_of_two(nc >> 1)):
            pairs[p] = 0
        for q in range(nc):
            i = np.int64(cand[q])
            h = fold_multiply(key[i], load64(joined, at[i] + (prefix - 8)) ^ ODD2)
            key[i] = h
            _note(pairs, h, shift)
        k: Any = 0
        for q in range(nc):
            i = np.int64(cand[q])
            reach = min(np.int64(alone[i]), prefix + (_came_again(pairs, key[i], shift) << 31))
            alone[i] = reach
            cand[k] = i
            k += at[i + JOINED[0]] - at[i] < reach
        nc = k
    return nc


@kernel(_i64(ro(_u8), ro(_i64), ro(_i32), _i64, _i64, ro(_u32), _i64, rw(_u64), rw(_u32), rw(_u32)), allocates=False)
def _repeated_characters(
    joined: Any, at: Any, chars: Any, a: int, gram: int, cand: Any, nc: int, key: Any, slots: Any, hits: Any
) -> Any:  # fmt: skip
    """Return the characters of n-grams at cand[:nc] seen before, from left to right; a hit skips its words.

    What is skipped or repeated can't be foreseen, so nothing here branches on it.
    """
    size = power_of_two(4 * nc)
    shift, mask = slot_shift(size), _U(size - 1)
    for place in range(size):
        slots[place] = 0
    following: Any = np.int64(0)
    found: Any = 0
    for q in range(nc):
        i = np.int64(cand[q])
        if i < following:
            continue
        h = hash_piece(joined, at[i], at[_U(i) + _U(gram)])
        key[i] = h
        p = h >> shift
        taken = np.int64(slots[p])
        while key[_U(taken - 1) if taken else _U(i)] != h:
            p = (p + _U(1)) & mask
            taken = np.int64(slots[p])
        slots[p] = taken if taken else i + 1
        hits[found] = i
        found += taken > 0
        following = i + gram if taken else following
    repeated: Any = np.int64(0)
    for q in range(found):
        first = _U(a) + _U(hits[q])
        for w in range(first, first + _U(gram)):
            repeated += chars[w]
    return repeated


@kernel(
    types.void(
        ro(_u8), ro(_i64), ro(_i32), ro(_i32), _i64, _i64, _i64, ro(_f64), types.boolean,
        rw(_u8), rw(_i64), rw(_u64), rw(_u32), rw(_i32), rw(_u32), rw(_u32), rw(_u64), _i64, rw2(_f64),
    ),
    allocates=False,
)  # fmt: skip
def joined_shares(
    data: Any, start: Any, size: Any, chars: Any, a: int, n: int, length: int, bounds: Any, everything: bool,
    joined: Any, at: Any, key: Any, cand: Any, alone: Any, hits: Any, slots: Any, pairs: Any, d: int, out: Any,
) -> None:  # fmt: skip
    """Write the shares of duplicate 5 to 10-grams of one document to out[d, 7:13]; stop at the first above its bound.

    data: u8[nbytes]; start, size, chars: fields of `Words`, of which a : a + n are the document's
    joined: u8[bytes of the words + SLACK], at: i64[n + 1], key: u64[n], cand, hits: u32[n + 1], alone: i32[n], slots: u32 of
    the power of two that is at least 4 * n, pairs: u64 of the one that is at least n / 2: scratch
    """
    if n < JOINED[0]:
        return
    _join(data, start, size, a, n, joined, at)
    nc = _candidates(joined, at, n - JOINED[0] + 1, key, cand, alone, pairs)
    for gram in JOINED:
        while nc and np.int64(cand[nc - 1]) + gram > n:
            nc -= 1
        if gram > JOINED[0]:
            k = 0
            for q in range(nc):
                i = np.int64(cand[q])
                cand[k] = i
                k += at[_U(i) + _U(gram)] - at[i] < alone[i]
            nc = k
        if nc < 2:
            return
        if bounds[gram + 2] == np.inf and not everything:
            continue
        out[d, gram + 2] = _repeated_characters(joined, at, chars, a, gram, cand, nc, key, slots, hits) / length
        if out[d, gram + 2] > bounds[gram + 2] and not everything:
            return
