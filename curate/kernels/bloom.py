"""Bloom filter over 128-bit hashes: bits in one array, positions by double hashing.

Bloom 1970 (space/time trade-offs in hash coding with allowable errors); positions a + i * b as Kirsch and Mitzenmacher 2006 show
to be as good as independent ones. Arithmetic is uint64 and wraps around. n hashes, m bits, k positions a hash.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import types

from curate.kernels.compiled import kernel, ro, rw
from curate.kernels.hashing import U8, U64

_U = np.uint64


class Layout(NamedTuple):
    """Size of a filter."""

    bits: int  # a multiple of 64
    hashes: int  # positions of each value


def layout(expected: int, false_positive: float) -> Layout:
    """The smallest filter whose rate of false positives is at most `false_positive` with `expected` values in it.

    m = -n ln p / (ln 2)^2, then the k that is best for it; at a k rounded to a whole number m grows until the rate holds.
    """
    hashes = max(1, round(-math.log2(false_positive)))
    # (1 - exp(-k n / m))^k = p, solved for m
    bits = math.ceil(-hashes * expected / math.log1p(-(false_positive ** (1 / hashes))))
    return Layout(max(64, -(-bits // 64) * 64), hashes)


def false_positive_rate(size: Layout, values: int) -> float:
    """Chance that a new value is found in a filter that holds `values` different ones."""
    return float(-math.expm1(-size.hashes * values / size.bits)) ** size.hashes


@kernel(types.int64(rw(types.uint64), types.int64, ro(types.uint64), ro(types.uint64), rw(types.uint8)), allocates=False)
def add_and_test(bits: U64, hashes: int, first: U64, second: U64, seen: U8) -> Any:
    """Add hashes one after the other; seen[i] = 1 where hash i was found in the filter. Return how many were not.

    bits u64[m / 64]: changed in place. first, second u64[n]: the two lanes; seen u8[n]: written.
    """
    size = _U(bits.shape[0]) << _U(6)
    added = 0
    for i in range(first.shape[0]):
        at = first[i]
        step = second[i] | _U(1)
        found = True
        for _ in range(hashes):
            place = at % size
            mask = _U(1) << (place & _U(63))
            word = np.int64(place >> _U(6))
            found &= bits[word] & mask != _U(0)
            bits[word] |= mask
            at += step
        seen[i] = 1 if found else 0
        added += 0 if found else 1
    return added
