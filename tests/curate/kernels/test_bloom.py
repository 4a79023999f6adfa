"""The filter finds all it has seen, equals a set of bits, and is wrong as often as it says."""

from __future__ import annotations

import numpy as np
import pytest

from curate.kernels.bloom import Layout, add_and_test, false_positive_rate, layout


def twin(size: Layout, pairs: list[tuple[int, int]]) -> list[bool]:
    bits: set[int] = set()
    found = []
    for first, second in pairs:
        places = {((first + i * (second | 1)) % 2**64) % size.bits for i in range(size.hashes)}
        found.append(places <= bits)
        bits |= places
    return found


def run(size: Layout, lanes: np.ndarray) -> list[bool]:
    bits, seen = np.zeros(size.bits // 64, np.uint64), np.zeros(len(lanes), np.uint8)
    add_and_test(bits, size.hashes, lanes[:, 0].copy(), lanes[:, 1].copy(), seen)
    return [bool(s) for s in seen]


@pytest.mark.parametrize("size", [Layout(64, 1), Layout(640, 3), Layout(6400, 7)])
def test_equals_a_set_of_bits(size: Layout) -> None:
    lanes = np.random.default_rng(1).integers(0, 2**64, (500, 2), np.uint64)
    lanes[300:400] = lanes[:100]
    found = run(size, lanes)
    pairs = [(int(first), int(second)) for first, second in lanes.tolist()]
    assert found == twin(size, pairs) and all(found[300:400])


@pytest.mark.parametrize("rate", [0.3, 0.01, 0.001])
def test_false_positives_are_as_stated(rate: float) -> None:
    n = 50_000
    size = layout(n, rate)
    assert false_positive_rate(size, n) <= rate < false_positive_rate(Layout(size.bits - 640, size.hashes), n)
    lanes = np.random.default_rng(2).integers(0, 2**64, (n, 2), np.uint64)
    bits, seen = np.zeros(size.bits // 64, np.uint64), np.zeros(n, np.uint8)
    assert add_and_test(bits, size.hashes, lanes[:, 0].copy(), lanes[:, 1].copy(), seen) == n - int(seen.sum())
    new = np.random.default_rng(3).integers(0, 2**64, (100_000, 2), np.uint64)
    hit = np.ones(len(new), bool)
    for i in range(size.hashes):
        place = (new[:, 0] + np.uint64(i) * (new[:, 1] | np.uint64(1))) % np.uint64(size.bits)
        hit &= bits[(place >> np.uint64(6)).astype(np.int64)] >> (place & np.uint64(63)) & np.uint64(1) == 1
    assert abs(hit.mean() / rate - 1) < 0.25
