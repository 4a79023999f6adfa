"""Share of characters in 5 to 10-grams of words that repeat, as datatrove counts it: by the words joined WITHOUT spaces.

n-grams are looked for from left to right, a hit skips its n words, and two are the same when their words joined without
spaces are ("ab c" is "a bc"). They are compared by 64-bit hashes of the joined text.

Pruning, exact up to those hashes: joined n-grams of at least PREFIXES bytes can be the same only where their first so many
bytes are. (Repeated 5-grams say nothing about joined 6-grams: "a b c d e f" and "ab c d e f g" share letters, not words.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from curate.kernels.compiled import kernel, leaf, ro, rw, rw2
from curate.kernels.hashing import ODD1, ODD2, ODD3, SEED, fold_multiply, hash_range, load64
from curate.kernels.ngram_tables import MIX1, power_of_two, slot, slot_shift

JOINED = (5, 6, 7, 8, 9, 10)
PREFIXES = (12, 15, 22, 30)  # bytes: 4, 5, 7 and 10 CJK characters, 3 to 7 English words; at most 8 between two
SLACK = 32  # bytes after the joined words that may be read or written: the longest prefix, two words of 64 bits

_U = np.uint64
_NEVER = 2**31 - 1

_u8, _i32, _i64, _u64, _f64 = types.uint8, types.int32, types.int64, types.uint64, types.float64


def _store64(_: Any, data: Any, at: Any, value: Any) -> Any:
    """Type and code of store64(data: u8[], at: i64, value: u64): eight bytes to any address, no bounds check."""
    from llvmlite import ir

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        address = builder.bitcast(builder.gep(array.data, [arguments[1]]), ir.IntType(64).as_pointer())
        builder.store(arguments[2], address, align=1)
        return context.get_dummy_value()

    return types.void(data, types.int64, types.uint64), generate


store64: Any = intrinsic(_store64)


@kernel(types.void(ro(_u8), ro(_i64), ro(_i32), _i64, _i64, rw(_u8), rw(_i64)), allocates=False)
def _join(data: Any, start: Any, size: Any, a: int, n: int, joined: Any, at: Any) -> None:
    """Write the words of one document without spaces to `joined`, and where word i starts in it to at[i], i64[n+1].

    Sixteen bytes are written at once where they can be read; those after the word are overwritten by the next one, and
    `joined` has SLACK bytes for those after the last.
    """
    o = np.int64(0)
    for w in range(n):
        at[w] = o
        begin, width = start[a + w], size[a + w]
        if begin + 16 <= data.shape[0] and width <= 16:
            store64(joined, o, load64(data, begin))
            store64(joined, o + 8, load64(data, begin + 8))
        else:
            for k in range(width):
                joined[o + k] = data[begin + k]
        o += width
    at[n] = o


@leaf
def _hash_run(joined: Any, begin: int, end: int) -> Any:
    """u64: hash of joined[begin:end]; sixteen bytes a step, the last ones read from the end (they may overlap)."""
    size = end - begin
    if size < 8:
        return hash_range(joined, begin, end)
    state = _U(size) * SEED
    while end - begin > 16:
        state = fold_multiply(state ^ load64(joined, begin), ODD1 ^ load64(joined, begin + 8))
        begin += 16
    begin = end - 16 if size >= 16 else begin
    state = fold_multiply(state ^ load64(joined, begin), ODD2 ^ load64(joined, end - 8))
    return fold_multiply(state ^ SEED, ODD3)


@kernel(types.void(ro(_u8), ro(_i64), _i64, rw(_u64), rw(_i32), rw(_i32), rw(_u8)), allocates=False)
def _find_alone(joined: Any, at: Any, n: int, key: Any, cand: Any, alone: Any, seen: Any) -> None:
    """Write to alone[i], i < n: no joined n-gram of at least so many bytes that starts at word i can repeat."""
    nc = n
    for i in range(n):
        cand[i] = i
    for stage in range(len(PREFIXES)):
        prefix = PREFIXES[stage]
        size = power_of_two(4 * nc)
        shift = slot_shift(size)
        for p in range(size):
            seen[p] = 0
        for q in range(nc):
            i = cand[q]
            h = key[i] if stage else load64(joined, at[i])
            h = (h * MIX1) ^ load64(joined, at[i] + prefix - 8)
            h ^= h >> _U(32)
            key[i] = h
            p = slot(h, shift)
            seen[p] = (seen[p] << 1) | 1
        k = 0
        for q in range(nc):
            i = cand[q]
            alone[i] = prefix
            cand[k] = i
            k += 1 if seen[slot(key[i], shift)] > 1 else 0
        nc = k
    for q in range(nc):
        alone[cand[q]] = _NEVER


@kernel(_i64(ro(_u8), ro(_i64), ro(_i32), _i64, _i64, ro(_i32), _i64, rw(_u64), rw(_i32)), allocates=False)
def _repeated_characters(joined: Any, at: Any, chars: Any, a: int, gram: int, cand: Any, nc: int, key: Any, slots: Any) -> Any:
    """Return the characters of n-grams at cand[:nc] seen before, from left to right; a hit skips its words."""
    size = power_of_two(4 * nc)
    shift = slot_shift(size)
    for place in range(size):
        slots[place] = 0
    following: Any = np.int64(0)
    repeated: Any = np.int64(0)
    for q in range(nc):
        i = cand[q]
        if i < following:
            continue
        h = _hash_run(joined, at[i], at[i + gram])
        key[i] = h
        p: Any = np.int64(h >> shift)
        earliest = np.int64(slots[p]) - 1 if slots[p] else i
        while key[earliest] != h:
            p = (p + 1) & (size - 1)
            earliest = np.int64(slots[p]) - 1 if slots[p] else i
        slots[p] = earliest + 1
        if earliest < i:
            following = i + gram
            for w in range(a + i, a + following):
                repeated += chars[w]
    return repeated


@kernel(
    types.void(
        ro(_u8), ro(_i64), ro(_i32), ro(_i32), _i64, _i64, _i64, ro(_f64), types.boolean,
        rw(_u8), rw(_i64), rw(_u64), rw(_i32), rw(_i32), rw(_i32), rw(_u8), _i64, rw2(_f64),
    ),
    allocates=False,
)  # fmt: skip
def joined_shares(
    data: Any, start: Any, size: Any, chars: Any, a: int, n: int, length: int, bounds: Any, everything: bool,
    joined: Any, at: Any, key: Any, cand: Any, alone: Any, slots: Any, seen: Any, d: int, out: Any,
) -> None:  # fmt: skip
    """Write the shares of duplicate 5 to 10-grams of one document to out[d, 7:13]; stop at the first above its bound.

    data: u8[nbytes]; start, size, chars: fields of `Words`, of which a : a + n are the document's
    joined: u8[bytes of the words + SLACK], at: i64[n + 1], key: u64[n], cand, alone: i32[n], slots: i32, seen: u8 of the
    power of two that is at least 4 * n: scratch
    """
    if n < JOINED[0]:
        return
    _join(data, start, size, a, n, joined, at)
    nc = n - JOINED[0] + 1
    _find_alone(joined, at, nc, key, cand, alone, seen)
    for i in range(nc):
        cand[i] = i
    for gram in JOINED:
        if gram > n:
            return
        while nc and cand[nc - 1] + gram > n:
            nc -= 1
        k = 0
        for q in range(nc):
            i = cand[q]
            cand[k] = i
            k += 1 if at[i + gram] - at[i] < alone[i] else 0
        nc = k
        if nc < 2:
            return
        if bounds[gram + 2] == np.inf and not everything:
            continue
        out[d, gram + 2] = _repeated_characters(joined, at, chars, a, gram, cand, nc, key, slots) / length
        if out[d, gram + 2] > bounds[gram + 2] and not everything:
            return
