"""Tables of the n-grams of one document: how often each occurs, and where first.

An n-gram is known by a 64-bit key. Tables have a power of two of slots, at least four times as many as n-grams; the top
bits of a mixed key say which. uint64 arithmetic wraps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from curate.kernels.blocks import last_bit
from curate.kernels.compiled import kernel, leaf, ro, rw

_U = np.uint64
MIX1 = _U(0x9E3779B97F4A7C15)
MIX2 = _U(0xD6E8FEB86659FD93)

_i32, _u32, _i64, _u64 = types.int32, types.uint32, types.int64, types.uint64


@kernel(_i64(_i64), allocates=False)
def power_of_two(least: int) -> int:
    """Smallest power of two that is at least 16 and at least that."""
    size: int = np.int64(2) << last_bit(np.uint64(max(least, 16) - 1))
    return size


@leaf
def slot_shift(size: int) -> Any:
    """u64: how far to shift a 64-bit hash so that it indexes a table of `size` (a power of two)."""
    return np.uint64(64 - last_bit(np.uint64(size)))


@kernel(_i64(ro(_u64), ro(_u32), _i64, rw(_i32), rw(_i32), rw(_u32)), allocates=False)
def count_exactly(key: Any, cand: Any, n: int, first: Any, count: Any, slots: Any) -> Any:
    """Count the n-grams at positions cand[:n], which ascend; return the most frequent one: count << 32, less its position.

    The first of equally frequent ones wins; without any, position 0 and a count of 1.
    first[i], i in cand, written: position of the first n-gram with the key of i; count[first[i]], written: how many
    there are; slots: scratch, four times n.
    """
    size = power_of_two(4 * n)
    shift = slot_shift(size)
    for p in range(size):
        slots[p] = 0
    # No branches that a processor can't foresee: half of the bigrams of a text are copies.
    top: Any = np.int64(1) << 32
    mask = _U(size - 1)
    for q in range(n):
        i = np.int64(cand[q])
        h = key[i]
        p = (h * MIX2) >> shift
        earliest = np.uint32(slots[p] - 1) if slots[p] else np.uint32(i)
        while key[earliest] != h:
            p = (p + _U(1)) & mask
            earliest = np.uint32(slots[p] - 1) if slots[p] else np.uint32(i)
        slots[p] = earliest + 1
        first[i] = earliest
        count[i] = 0
        times = np.int64(count[earliest]) + 1
        count[earliest] = times
        top = max(top, (times << 32) - np.int64(earliest))
    return top
