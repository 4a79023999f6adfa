"""Bitmaps of 64 bytes say of each byte what a loop over the bytes says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels.blocks import BLOCK, bytes_between, bytes_equal, copy32, count_bits, first_bit, last_bit, letters, low_bits
from curate.kernels.compiled import kernel, ro, rw
from curate.kernels.compiled import types as nb

WORD = (1 << 64) - 1
words = st.integers(0, WORD) | st.sampled_from([0, 1, 1 << 63, WORD, 0x8000000000000001])
blocks = st.binary(min_size=BLOCK, max_size=BLOCK + 9)


@kernel(nb.uint64(ro(nb.uint8), nb.int64, nb.uint8, nb.uint8), allocates=False)
def _between(data: Any, at: int, low: Any, high: Any) -> Any:
    return bytes_between(data, at, low, high)


@kernel(nb.uint64(ro(nb.uint8), nb.int64, nb.uint8), allocates=False)
def _equal(data: Any, at: int, byte: Any) -> Any:
    return bytes_equal(data, at, byte)


@kernel(nb.uint64(ro(nb.uint8), nb.int64), allocates=False)
def _letter_k(data: Any, at: int) -> Any:
    return letters(data, at, ord("k"))


@kernel(nb.UniTuple(nb.int64, 3)(nb.uint64), allocates=False)  # type: ignore[no-untyped-call]  # numba has none
def _bits(value: Any) -> Any:
    return first_bit(value), last_bit(value), count_bits(value)


@kernel(nb.uint64(nb.int64), allocates=False)
def _low(n: int) -> Any:
    return low_bits(n)


@kernel(nb.void(ro(nb.uint8), nb.int64, rw(nb.uint8), nb.int64), allocates=False)
def _copy(source: Any, at: int, target: Any, to: int) -> None:
    copy32(source, at, target, to)


def test_copy_of_32_bytes() -> None:
    source, target = np.arange(40, dtype=np.uint8), np.zeros(40, np.uint8)
    _copy(source, 8, target, 3)
    assert target.tolist() == [0] * 3 + list(range(8, 40)) + [0] * 5


def bitmap(flags: list[bool]) -> int:
    return sum(1 << k for k, flag in enumerate(flags) if flag)


@settings(deadline=None)
@given(blocks, st.integers(0, 255), st.integers(0, 255))
def test_comparisons_equal_a_loop(block: bytes, a: int, b: int) -> None:
    low, high = sorted((a, b))
    data = np.frombuffer(block, np.uint8)
    for at in {0, len(block) - BLOCK}:  # from any address
        part = block[at : at + BLOCK]
        assert _between(data, at, low, high) == bitmap([low <= byte <= high for byte in part])
        assert _equal(data, at, a) == bitmap([byte == a for byte in part])
        assert _letter_k(data, at) == bitmap([byte in b"kK" for byte in part])


@pytest.mark.parametrize("bounds", [(0, 255), (0, 0), (255, 255), (127, 128)])
def test_comparisons_are_of_unsigned_bytes(bounds: tuple[int, int]) -> None:
    for first in range(0, 256, BLOCK):
        data = np.arange(first, first + BLOCK).astype(np.uint8)
        assert _between(data, 0, *bounds) == bitmap([bounds[0] <= byte <= bounds[1] for byte in data.tolist()])


@settings(deadline=None)
@given(words)
def test_bits_are_found_and_counted(value: int) -> None:
    digits = f"{value:064b}"[::-1]
    expected = (digits.index("1"), digits.rindex("1")) if value else (64, -1)
    assert _bits(np.uint64(value)) == (*expected, digits.count("1"))


def test_low_bits() -> None:
    assert [_low(n) for n in range(65)] == [(1 << n) - 1 for n in range(65)]
