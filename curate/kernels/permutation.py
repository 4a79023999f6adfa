"""A keyed permutation of 0..n-1 that needs no memory: position -> place, in any order, from any position.

A balanced Feistel network over the smallest domain of 2 * `half_bits` bits that holds n, with cycle walking: a value
outside 0..n-1 is sent through again, which takes fewer than four rounds of the network on average. Six rounds: with
four, the first million outputs for n = 10^9 were at the 5 % line of a Kolmogorov-Smirnov test.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
from numba import types

from curate.kernels.compiled import kernel, ro, rw

ROUNDS = 6
U64 = npt.NDArray[np.uint64]


def round_keys(*parts: int | str) -> U64:
    """u64[ROUNDS] from anything that names the permutation (seed, source, epoch)."""
    name = "\0".join(str(part) for part in parts).encode()
    return np.frombuffer(hashlib.sha512(name).digest()[: 8 * ROUNDS], "<u8").astype(np.uint64)


def half_bits(n: int) -> int:
    """Bits of each half of the network for a domain of n."""
    return max(1, (max(n - 1, 0).bit_length() + 1) // 2)


def permuted(positions: npt.NDArray[np.int64], n: int, keys: U64) -> npt.NDArray[np.int64]:
    """Places of the given positions under the permutation of 0..n-1 that `keys` chooses. n up to 2^62."""
    if len(positions) and not 0 <= int(positions.min()) <= int(positions.max()) < n:
        raise ValueError(f"positions must lie in 0..{n - 1}")
    out = np.empty(len(positions), np.int64)
    permute(np.ascontiguousarray(positions, np.int64), n, half_bits(n), keys, out)
    return out


@kernel(types.void(ro(types.int64), types.int64, types.int64, ro(types.uint64), rw(types.int64)))
def permute(positions, n, half, keys, out):  # type: ignore[no-untyped-def]
    """Send every position through the network until it lands below n.

    positions: i64[m] in [0, n); keys: u64[ROUNDS]; out: i64[m], written. Products wrap around at 64 bits.
    """
    bits = np.uint64(half)
    mask = (np.uint64(1) << bits) - np.uint64(1)
    limit = np.uint64(n)
    for i in range(positions.shape[0]):
        value = np.uint64(positions[i])
        while True:
            left, right = value >> bits, value & mask
            for r in range(keys.shape[0]):
                mixed = (right + keys[r]) * np.uint64(0x9E3779B97F4A7C15)
                mixed ^= mixed >> np.uint64(29)
                mixed *= np.uint64(0xBF58476D1CE4E5B9)
                left, right = right, left ^ ((mixed >> np.uint64(32)) & mask)
            value = (left << bits) | right
            if value < limit:
                break
        out[i] = np.int64(value)
