"""The dictionary of a fastText model: its entries found in the file, and a hash table over them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from curate.kernels.compiled import kernel, leaf, ro, rw

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

OFFSET, PRIME, SIGN = np.uint32(2166136261), np.uint32(16777619), np.uint32(0xFFFFFF00)
TAIL = 9  # bytes of an entry behind its NUL: a count (i64) and a type (i8)


@leaf
def hashed(h: Any, b: Any) -> Any:
    """One byte of fastText's hash: FNV-1a in 32 bits (wraps around), the byte sign-extended."""
    return np.uint32((h ^ (np.uint32(b) | (SIGN if b > 127 else np.uint32(0)))) * PRIME)


@kernel(types.int64(ro(types.uint8), types.int64, rw(types.int64), rw(types.int64), rw(types.uint8)), allocates=False)
def find_entries(raw: Any, at: Any, starts: Any, counts: Any, kinds: Any) -> Any:
    """Read as many entries (bytes, NUL, count, type) as `starts` has room for from raw[at:].

    starts, counts i64[E], kinds u8[E]: written. Returns where the last one ends, or -1 where raw ends first.
    """
    stop = raw.shape[0]
    for entry in range(starts.shape[0]):
        starts[entry] = at
        while at < stop and raw[at] != 0:
            at += 1
        at += 1
        if at + TAIL > stop:
            return -1
        count = np.uint64(0)
        for i in range(8):
            count |= np.uint64(raw[at + i]) << np.uint64(8 * i)
        counts[entry], kinds[entry] = np.int64(count), raw[at + 8]
        at += TAIL
    return at


@kernel(types.void(ro(types.uint8), ro(types.int64), ro(types.int64), rw(types.uint8), rw(types.int32)), allocates=False)
def place_words(raw: Any, starts: Any, offsets: Any, word_bytes: Any, slots: Any) -> None:
    """Copy the words together and enter their numbers into a hash table.

    starts i64[E], offsets i64[E + 1]: where each begins in raw and in word_bytes (written)
    slots i32[power of two above E]: -1 everywhere at first; open addressing by fastText's hash
    """
    mask = np.uint64(slots.shape[0] - 1)
    for entry in range(starts.shape[0]):
        h = OFFSET
        for i in range(offsets[entry + 1] - offsets[entry]):
            byte = raw[starts[entry] + i]
            word_bytes[offsets[entry] + i] = byte
            h = hashed(h, byte)
        place = np.uint64(h) & mask
        while slots[place] >= 0:
            place = (place + np.uint64(1)) & mask
        slots[place] = np.int32(entry)


def dictionary(raw: U8, starts: I64, end: int) -> tuple[I32, U8, I64]:
    """Return (slots, word_bytes, word_offsets) of the entries that begin at `starts`, the last one ending at `end`."""
    n = len(starts)
    offsets = np.zeros(n + 1, np.int64)
    np.cumsum(np.diff(starts, append=end) - (TAIL + 1), out=offsets[1:])
    slots = np.full(1 << max(4, (2 * n).bit_length()), -1, np.int32)
    word_bytes = np.zeros(max(1, int(offsets[-1])), np.uint8)
    place_words(raw, starts, offsets, word_bytes, slots)
    return slots, word_bytes, offsets
