"""64-bit hashes of byte ranges, ways to combine them, and a set of hashes: parts that other kernels are built from.

Every multiplication here wraps around at 64 bits, on purpose. The hashes are fixed for ever (no seed, no dependence on
the CPU): signatures and duplicate keys made by different workers must be equal. Words are read as little-endian;
numba's other targets are not supported. Two different texts share a hash with a chance of about 2^-64; a text built to
collide can, so nothing secret hangs on them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba.extending import intrinsic

from curate.kernels.compiled import inline, kernel, leaf, ro, rw
from curate.kernels.compiled import types as nb

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

SEED = np.uint64(0x9E3779B97F4A7C15)  # golden ratio, and odd constants of high weight from splitmix64 and wyhash
ODD1 = np.uint64(0xBF58476D1CE4E5B9)
ODD2 = np.uint64(0x94D049BB133111EB)
ODD3 = np.uint64(0xD6E8FEB86659FD93)
_THREE = np.uint64(3 * int(SEED) % 2**64) ^ ODD2


def _load64(_: Any, data: Any, at: Any) -> Any:
    """Type and code of load64(data: u8[], at: i64) -> u64: eight bytes from any address, no bounds check."""
    from llvmlite import ir

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        address = builder.bitcast(builder.gep(array.data, [arguments[1]]), ir.IntType(64).as_pointer())
        value = builder.load(address)
        value.align = 1
        return value

    return nb.uint64(data, nb.int64), generate


def _fold_multiply(_: Any, a: Any, b: Any) -> Any:
    """Type and code of fold_multiply(a: u64, b: u64) -> u64: both halves of the 128-bit product, xored."""
    from llvmlite import ir

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide = ir.IntType(128)
        product = builder.mul(builder.zext(arguments[0], wide), builder.zext(arguments[1], wide))
        high = builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))
        return builder.xor(high, builder.trunc(product, ir.IntType(64)))

    return nb.uint64(nb.uint64, nb.uint64), generate


load64: Any = intrinsic(_load64)
fold_multiply: Any = intrinsic(_fold_multiply)


@inline
def mix64(value: Any) -> Any:
    """u64: spread every bit over all others; a bijection (the finaliser of splitmix64, Steele et al. 2014)."""
    value = (value ^ (value >> np.uint64(30))) * ODD1
    value = (value ^ (value >> np.uint64(27))) * ODD2
    return value ^ (value >> np.uint64(31))


@inline
def combine(state: np.uint64, value: np.uint64) -> Any:
    """u64: hash of a sequence so far and its next element; order matters."""
    return mix64(state * ODD3 + value)


@kernel(nb.uint64(ro(nb.uint8), nb.int64, nb.int64), allocates=False)
def hash_range(data: U8, start: int, end: int) -> Any:
    """u64: hash of the bytes data[start:end]; eight at a time, as wyhash does (one folded multiplication each)."""
    state = np.uint64(end - start) * SEED ^ ODD2
    at = start
    while at + 8 <= end:
        state = fold_multiply(state ^ load64(data, at), ODD1)
        at += 8
    rest = np.uint64(0)
    if at < end:
        if at + 8 <= data.shape[0]:
            rest = load64(data, at) & ((np.uint64(1) << np.uint64(8 * (end - at))) - np.uint64(1))
        else:
            for i in range(at, end):
                rest |= np.uint64(data[i]) << np.uint64(8 * (i - at))
    return fold_multiply(fold_multiply(state ^ rest, ODD3) ^ SEED, ODD1)


@leaf
def hash_word(data: U8, start: int, end: int) -> Any:
    """u64: the same hash; under 16 bytes, as nearly all words are, without a call and without a branch on the size."""
    size = end - start
    if size < 16 and start + 16 <= data.shape[0]:
        state = np.uint64(size) * SEED ^ ODD2
        longer = fold_multiply(state ^ load64(data, start), ODD1)
        rest = load64(data, start + (size & 8)) & ((np.uint64(1) << np.uint64(8 * (size & 7))) - np.uint64(1))
        return fold_multiply(fold_multiply((longer if size & 8 else state) ^ rest, ODD3) ^ SEED, ODD1)
    return hash_range(data, start, end)


@leaf
def hash_three(eight: Any) -> Any:
    """u64: the same hash of the lowest three bytes of a little-endian word: a CJK character."""
    return fold_multiply(fold_multiply(_THREE ^ (eight & np.uint64(0xFFFFFF)), ODD3) ^ SEED, ODD1)


@leaf
def hash_piece(data: U8, start: int, end: int) -> Any:
    """u64: another hash of data[start:end], for lines and n-grams: twice as fast on long ones, one way through for 8 to 32 bytes.

    The last 32 bytes are read as four words that may overlap. Only for tables that live in memory.
    """
    size = end - start
    if size < 8:
        return hash_word(data, start, end)
    one = np.uint64(size) * SEED
    two = one ^ ODD3
    while end - start > 32:
        one = fold_multiply(one ^ load64(data, start), ODD1 ^ load64(data, start + 8))
        two = fold_multiply(two ^ load64(data, start + 16), ODD2 ^ load64(data, start + 24))
        start += 32
    size = min(size, 32)
    start = end - size
    one = fold_multiply(one ^ load64(data, start), ODD1 ^ load64(data, start + min(8, size - 8)))
    two = fold_multiply(two ^ load64(data, start + max(0, size - 16)), ODD2 ^ load64(data, end - 8))
    return fold_multiply(one ^ SEED, two ^ ODD3)


@kernel(nb.void(ro(nb.uint8), ro(nb.int64), rw(nb.uint64)), allocates=False)
def hash_strings(data: U8, offsets: I64, out: U64) -> None:
    """Hash of every string of a column: equal to the `raw` hash of a word with the same bytes.

    data, offsets: as `strings.views` gives them; out: u64[n], written in place. About 3 GB/s per core on long strings.
    """
    for i in range(offsets.shape[0] - 1):
        out[i] = hash_range(data, offsets[i], offsets[i + 1])


@inline
def table_size(entries: int) -> int:
    """Power of two at least twice `entries`, and at least 16: size of a set that `seen_before` never fills."""
    size = 16
    while size < 2 * entries:
        size *= 2
    return size


@leaf
def seen_before(table: U64, mask: int, key: np.uint64) -> Any:
    """Whether `key` is in the set (a bool); adds it where not.

    table: u64[mask + 1], all 0 at first (so a hash of 0 counts as 1); mask + 1 a power of two above the number of keys.
    """
    key = max(key, np.uint64(1))
    at = np.int64(key & np.uint64(mask))
    while table[at] != np.uint64(0) and table[at] != key:
        at = (at + 1) & mask
    found = table[at] == key
    table[at] = key
    return found
