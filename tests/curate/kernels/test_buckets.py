"""Every pair of a bucket meets in a group; huge buckets are cut; nothing depends on the order of records."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels import buckets
from curate.kernels.buckets import group


def members(key: list[int], row: list[int], claim: list[int]) -> list[frozenset[int]]:
    arrays = (np.array(key, np.uint64), np.array(row, np.int64), np.array(claim, np.uint64))
    found = group(*arrays, np.zeros(len(key), np.uint64))
    held: dict[int, set[int]] = defaultdict(set)
    for r, g in zip(found.row.tolist(), found.group.tolist(), strict=True):
        held[g].add(r)
    return sorted(frozenset(m) for m in held.values())


records = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 20)), unique=True)


@settings(deadline=None)
@given(records, st.randoms(use_true_random=False))
def test_pairs_of_a_bucket_meet(pairs: list[tuple[int, int]], random: np.random.Generator) -> None:
    claim = {r: (r * 5) % 21 for r in range(21)}
    key, row = [p[0] for p in pairs], [p[1] for p in pairs]
    found = members(key, row, [claim[r] for r in row])
    for k in set(key):
        inside = frozenset(r for q, r in pairs if q == k)
        assert len(inside) < 2 or any(inside <= g for g in found)
    for g in found:  # the strongest of a bucket leads: a group is the buckets of one leader
        leader = min(g, key=lambda r: claim[r])
        assert all(any({leader, r} <= {s for q, s in pairs if q == k} for k in set(key)) for r in g)
    random.shuffle(pairs)  # type: ignore[arg-type]
    assert members([p[0] for p in pairs], [p[1] for p in pairs], [claim[p[1]] for p in pairs]) == found


@pytest.mark.parametrize("size", [buckets.WHOLE, buckets.WHOLE + 1, 10_000])
def test_a_huge_bucket_is_cut(size: int) -> None:
    key, row = np.full(size, 5, np.uint64), np.random.default_rng(1).permutation(size)
    found = group(key, row, row.astype(np.uint64), np.zeros(size, np.uint64))
    assert found.counts == {"buckets": 1, "buckets_cut": int(size > buckets.WHOLE), "largest_bucket": size}
    assert set(found.row.tolist()) == set(range(size))
    parts = np.unique(found.group, return_counts=True)[1]
    if size == buckets.WHOLE:
        assert len(parts) == 1 and not found.cut.any()
        return
    assert parts.max() < 2 * buckets.PART and len(parts) >= size / buckets.PART / 2
    for leader in range(buckets.LEADERS):
        assert len(np.unique(found.group[(found.row == leader) & ~found.cut])) == len(parts)


def test_nobody_shares_anything() -> None:
    found = group(np.arange(5, dtype=np.uint64), np.arange(5), np.zeros(5, np.uint64), np.zeros(5, np.uint64))
    assert len(found.row) == 0 and found.counts["buckets"] == 0
    none = np.zeros(0, np.uint64)
    assert len(group(none, none.astype(np.int64), none, none).row) == 0
