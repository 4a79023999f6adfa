"""Who stays equals the naive twin's choice; work in huge buckets is bounded."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels.near_duplicates import PER_BUCKET, PER_DOCUMENT, choose, copy_lists
from curate.kernels.shingles import ShingleSets
from tests.reference import minhash as reference


def csr(sets: list[list[int]]) -> ShingleSets:
    doc = np.cumsum([0, *(len(s) for s in sets)])
    return ShingleSets(doc, np.array([v for s in sets for v in sorted(s)], np.uint64))


def decide(bands: list[list[int]], sets: list[list[int]], threshold: float) -> list[tuple[int, float]]:
    found = choose(np.array(bands, np.uint64).reshape(len(sets), -1), csr(sets), threshold)
    return list(zip(found.partner.tolist(), found.similarity.tolist(), strict=True))


documents = st.tuples(st.tuples(st.integers(0, 2), st.integers(10, 12), st.integers(20, 22)), st.frozensets(st.integers(0, 9), min_size=1))


@settings(deadline=None)
@given(st.lists(documents, min_size=1, max_size=25), st.sampled_from([0.1, 0.3, 0.5, 0.6, 0.75, 0.8, 1.0]))
def test_choice_is_that_of_the_naive_twin(docs: list[tuple[tuple[int, ...], frozenset[int]]], threshold: float) -> None:
    first = {s: list(b) for b, s in reversed(docs)}  # equal sets have equal bands
    bands, sets = [first[s] for _, s in docs], [sorted(s) for _, s in docs]
    assert decide(bands, sets, threshold) == reference.choose(bands, [set(s) for s in sets], threshold)


@pytest.mark.parametrize(("common", "removed"), [(7, False), (8, True), (9, True)])
def test_threshold_itself_removes(common: int, removed: bool) -> None:
    a, b = list(range(10)), list(range(common))  # similarity: common / 10
    ((first, _), (second, similarity)) = decide([[1], [1]], [a, b], 0.8)
    assert (first, second) == (-1, 0 if removed else -1)
    assert similarity == (common / 10 if removed else 0.0)


@pytest.mark.parametrize(("common", "total", "threshold"), [(4, 5, 0.8), (7, 10, 0.7), (1, 3, 1 / 3), (9, 10, 0.9), (3, 10, 0.3)])
def test_rational_thresholds_are_reached(common: int, total: int, threshold: float) -> None:
    scale = 1000
    found = decide([[1], [1]], [list(range(total * scale)), list(range(common * scale))], threshold)
    assert found[1] == (0, common / total)
    assert decide([[1], [1]], [list(range(total * scale)), list(range(common * scale - 1))], threshold)[1][0] == -1


def test_no_chains() -> None:
    a, b, c = list(range(10)), list(range(1, 11)), list(range(2, 12))
    assert decide([[1], [1], [1]], [a, b, c], 0.8) == [(-1, 0.0), (0, 9 / 11), (-1, 0.0)]


def test_without_a_shared_band_nothing_is_removed() -> None:
    assert decide([[1], [2]], [[1, 2], [1, 2]], 0.8) == [(-1, 0.0), (-1, 0.0)]


def test_most_similar_partner_and_the_earlier_of_equals() -> None:
    sets = [[1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 3, 4, 50, 60], [1, 2, 3, 4, 5, 60], [1, 2, 3, 4, 50, 6]]
    assert [p for p, _ in decide([[1]] * 4, sets, 0.7)] == [-1, -1, 1, 1]
    assert [p for p, _ in decide([[1]] * 3, [[1, 2, 3], [3, 4, 5], [2, 3, 4]], 0.5)] == [-1, -1, 0]


def test_without_sets_a_shared_band_removes() -> None:
    found = choose(np.array([[1, 11], [1, 12], [2, 12], [3, 11]], np.uint64), None, 0.8)
    assert found.partner.tolist() == [-1, 0, -1, 0]
    assert found.similarity.tolist() == [0.0, 0.5, 0.0, 0.5]


def test_identical_documents_meet_one_kept_document() -> None:
    n = 20_000
    found = choose(np.ones((n, 1), np.uint64) + np.arange(3, dtype=np.uint64), csr([[1, 2, 3]] * n), 0.8)
    assert found.partner.tolist() == [-1] + [0] * (n - 1)


def overfull(n: int, last: list[int], bands: list[int]) -> list[tuple[int, float]]:
    """n documents of a template, band 1 shared by all and one band of their own, and one more document."""
    sets = [[*range(7), 100 + 3 * i, 101 + 3 * i, 102 + 3 * i] for i in range(n)]
    return decide([*([1, 1000 + i] for i in range(n)), bands], [*sets, last], 0.8)


def test_bound_on_a_bucket_misses_only_what_shares_nothing_rarer() -> None:
    n = PER_BUCKET + 10
    oldest = [*range(7), 100, 101, 102]
    assert all(p == -1 for p, _ in overfull(n, oldest, [1, 5])[:n])
    assert overfull(n, oldest, [1, 5])[n] == (-1, 0.0)  # 74 kept documents in the bucket, the twin is the oldest
    assert overfull(n, oldest, [1, 1000])[n] == (0, 1.0)  # a rarer band finds it
    latest = [*range(7), *(100 + 3 * (n - PER_BUCKET) + k for k in range(3))]
    assert overfull(n, latest, [1, 5])[n] == (n - PER_BUCKET, 1.0)


def test_bound_on_a_document() -> None:
    # Full buckets of documents that have nothing in common, more of them than a document may look at.
    full = PER_DOCUMENT // PER_BUCKET
    bands, sets = [], []
    for bucket in range(full + 1):
        for i in range(PER_BUCKET):
            bands.append([1000 * (bucket == b) + 10 + b if bucket == b else 10**6 + len(bands) * 10 + b for b in range(full + 1)])
            sets.append([10**4 * bucket + 2 * i, 10**4 * bucket + 2 * i + 1])
    own = [1010 + b for b in range(full + 1)]
    assert decide([*bands, own], [*sets, sets[-1]], 0.8)[-1] == (-1, 0.0)  # the fifth bucket is not reached
    assert decide([*bands, own], [*sets, sets[PER_BUCKET * full - 1]], 0.8)[-1] == (PER_BUCKET * full - 1, 1.0)


def test_empty() -> None:
    assert len(choose(np.zeros((0, 14), np.uint64), csr([]), 0.8).partner) == 0


def test_copy_lists() -> None:
    source = csr([[1, 2], [], [3]])
    out = np.zeros(5, np.uint64)
    copy_lists(source.doc, source.hash, np.array([2, 0, 0]), np.array([1, 0, 2]), np.array([0, 2, 3, 5]), out)
    assert out.tolist() == [1, 2, 3, 1, 2]
