"""Signatures of other tools, to the last bit, from the hashes of their shingles.

    datatrove 0.10.1   min over (x * a + b) mod (2^61 - 1), where the product and the sum have wrapped around at 2^64
    datasketch 2.0.0   min over a * fmix32(x) + b mod 2^32, its scheme "affine32"

Which bytes they hash is in `curate.steps.foreign_signatures`. n documents, s shingles, k permutations.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import types

from curate.kernels.compiled import kernel, ro, rw2
from curate.kernels.hashing import mix64
from curate.kernels.shingles import STEP, U64
from curate.kernels.strings import I64

U32 = npt.NDArray[np.uint32]

_u = np.uint64
MERSENNE = _u((1 << 61) - 1)
_S61 = _u(61)


@kernel(
    types.void(ro(types.int64), ro(types.uint64), ro(types.uint64), ro(types.uint64), types.boolean, rw2(types.uint64)),
    allocates=False,
)
def _signatures(doc: I64, hashes: U64, a: U64, b: U64, mersenne: bool, out: U64) -> None:
    """out u64[n, k]: minima of each document; of one without shingles, the largest number."""
    for d in range(doc.size - 1):
        for j in range(a.size):
            low = _u(0xFFFFFFFFFFFFFFFF)
            for at in range(doc[d], doc[d + 1]):
                x = hashes[at] * a[j] + b[j]
                if mersenne:
                    x = (x & MERSENNE) + (x >> _S61)
                    x = x - MERSENNE if x >= MERSENNE else x
                else:
                    x &= _u(0xFFFFFFFF)
                low = min(low, x)
            out[d, j] = low


@kernel(types.void(types.Array(types.uint64, 2, "C", readonly=True), types.int64, rw2(types.uint64)), allocates=False)
def _fold(signature: U64, rows: int, out: U64) -> None:
    """out u64[n, bands]: one hash of the values of each band; the band's number is mixed in."""
    for d in range(out.shape[0]):
        for band in range(out.shape[1]):
            g = _u(band + 1) * STEP
            for r in range(rows):
                g = mix64(g ^ signature[d, band * rows + r]) * STEP
            out[d, band] = mix64(g)


def datatrove_parameters(seed: int, k: int) -> tuple[U64, U64]:
    """Its (a, b) u64[k]."""
    generator = np.random.RandomState(seed)
    a = generator.randint(1, MERSENNE, dtype=np.uint64, size=(1, k))
    return a[0], generator.randint(0, MERSENNE, dtype=np.uint64, size=(1, k))[0]


def datasketch_parameters(seed: int, k: int) -> tuple[U32, U32]:
    """Its (a, b) u32[k], scheme affine32."""
    generator = np.random.RandomState(seed)
    a = generator.randint(0, 1 << 31, k, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    return a, generator.randint(0, 1 << 32, k, dtype=np.uint32)


def fmix32(x: U32) -> U32:
    """The finaliser of MurmurHash3 (Appleby), a bijection of 32 bits."""
    x = x ^ (x >> np.uint32(16))
    x = x * np.uint32(0x85EBCA6B)
    x = x ^ (x >> np.uint32(13))
    x = x * np.uint32(0xC2B2AE35)
    return x ^ (x >> np.uint32(16))


def datatrove_signatures(doc: I64, hashes: U64, seed: int, k: int) -> U64:
    """Return u64[n, k]. doc: i64[n+1] into hashes u64[s]: the hash of every shingle, 64 bits."""
    out = np.empty((len(doc) - 1, k), np.uint64)
    _signatures(doc, hashes, *datatrove_parameters(seed, k), True, out)
    return out


def datasketch_signatures(doc: I64, hashes: U64, seed: int, k: int) -> U64:
    """Return u64[n, k], values below 2^32. hashes: u64[s], the 32-bit SHA-1 hash of every shingle."""
    a, b = datasketch_parameters(seed, k)
    out = np.empty((len(doc) - 1, k), np.uint64)
    mixed = fmix32(hashes.astype(np.uint32)).astype(np.uint64)
    _signatures(doc, mixed, a.astype(np.uint64), b.astype(np.uint64), False, out)
    empty = doc[1:] == doc[:-1]
    out[empty] = 0xFFFFFFFF  # what its empty signature holds
    return out


def fold_bands(signature: U64, bands: int, rows: int) -> U64:
    """Return u64[n, bands] of signatures u64[n, bands * rows]; equal where all values of the band are."""
    out = np.empty((len(signature), bands), np.uint64)
    _fold(signature, rows, out)
    return out
