"""Look up runs of a few words, seeds, in the table of all seeds of the items: first in a Bloom filter, then in the table.

A seed's hash is a polynomial of the hashes of its words, mixed; uint64 arithmetic wraps around.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from curate.kernels.compiled import kernel, leaf, ro, rw
from curate.kernels.hashing import mix64
from curate.kernels.shingles import STEP

I32 = npt.NDArray[np.int32]
U64 = npt.NDArray[np.uint64]

_u = np.uint64
_S6, _S32, _63, _ONE, _LOW = _u(6), _u(32), _u(63), _u(1), _u(0xFFFFFFFF)


@kernel(types.void(ro(types.uint64), ro(types.int32), rw(types.uint64), rw(types.uint64)), allocates=False)
def fill(hashes: U64, places: I32, filter_words: U64, slots: U64) -> None:
    """Enter distinct seeds; postings of seed e begin at places[e]."""
    n_filter, n_slots = _u(filter_words.size), _u(slots.size)
    for e in range(hashes.size):
        g = hashes[e]
        filter_words[((g >> _S32) * n_filter) >> _S32] |= (_ONE << (g & _63)) | (_ONE << ((g >> _S6) & _63))
        at: Any = np.int64(((g >> _S32) * n_slots) >> _S32)
        while slots[at] != _u(0):
            at = at + 1 if at + 1 < slots.size else 0
        slots[at] = ((g & _LOW) << _S32) | _u(places[e] + 1)


@kernel(types.int64(ro(types.uint64), types.int64, types.int64, types.int64, ro(types.uint64), rw(types.int32)), allocates=False)
def seeds_in(words: U64, low: int, high: int, seed: int, filter_words: U64, out: I32) -> Any:
    """Write where seeds of words[low:high] begin, counted from `low`, that the filter lets through; return how many.

    Without branches, so that the processor has many accesses to the filter under way at a time.
    """
    n_filter, start, size = _u(filter_words.size), _u(low), _u(seed - 1)  # unsigned places need no test for negative ones
    leaving: Any = _ONE
    for _ in range(seed - 1):
        leaving *= STEP
    h: Any = _u(0)
    for j in range(min(seed - 1, high - low)):
        h = h * STEP + words[start + _u(j)]
    found: Any = _u(0)
    for j in range(high - low - seed + 1):
        h = h * STEP + words[start + size + _u(j)]
        g = mix64(h)
        h -= words[start + _u(j)] * leaving
        cell = filter_words[((g >> _S32) * n_filter) >> _S32]
        out[found] = j
        found += (cell >> (g & _63)) & (cell >> ((g >> _S6) & _63)) & _ONE
    return np.int64(found)


@leaf
def place_of(words, at, seed, slots):  # type: ignore[no-untyped-def]
    """First place in postings of the seed that begins at `at`, or -1."""
    h = _u(0)
    for j in range(at, at + seed):
        h = h * STEP + words[j]
    g = mix64(h)
    slot: Any = np.int64(((g >> _S32) * _u(slots.size)) >> _S32)
    tag = g & _LOW
    while slots[slot] != _u(0):
        if slots[slot] >> _S32 == tag:
            return np.int64(slots[slot] & _LOW) - 1
        slot = slot + 1 if slot + 1 < slots.size else 0
    return np.int64(-1)
