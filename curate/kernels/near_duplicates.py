"""Which documents of a component stay: each is compared with kept ones that share a band, and with nothing else.

No chains: A ~ B ~ C removes C only if C itself is close enough to a document that stays. D documents, B bands.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import types

from curate.kernels.compiled import kernel, ro, ro2, rw
from curate.kernels.shingles import U64, ShingleSets
from curate.kernels.strings import I64

F64 = npt.NDArray[np.float64]

# Bounds of the work a document can cause. Buckets with few kept documents are looked at first and in each the latest
# kept ones, so what is missed is a partner that shares only overfull buckets (a template's) and lies far back in them.
PER_BUCKET = 64
PER_DOCUMENT = 256


class Choice(NamedTuple):
    """What was decided on D documents."""

    partner: I64  # i64[D]: the kept document that replaces this one, or -1: it stays
    similarity: F64  # f64[D]: with the partner; 0 where it stays


@kernel(types.float64(ro(types.uint64), types.int64, types.int64, types.int64, types.int64, types.float64), allocates=False)
def _jaccard(values: U64, i: int, i_end: int, j: int, j_end: int, threshold: float) -> float:
    """Jaccard similarity of the sorted sets values[i:i_end] and values[j:j_end], or -1.0 once it must be below threshold.

    The quotient of two integers is the nearest double, so 4 / 5 passes a threshold written as 0.8.
    """
    a = i_end - i
    b = j_end - j
    # intersection >= t (a + b) / (1 + t); one less, so that rounding never ends a comparison too early
    needed = np.int64(threshold * (a + b) / (1.0 + threshold)) - 1
    i_most = i + a - needed
    j_most = j + b - needed
    common = 0
    while i < i_end and j < j_end:
        x = values[i]
        y = values[j]
        common += x == y
        i += x <= y
        j += y <= x
        if i - common > i_most or j - common > j_most:
            return -1.0
    similarity = common / (a + b - common)
    return similarity if similarity >= threshold else -1.0


@kernel(
    types.void(
        ro2(types.int64),
        *(ro(types.int64), ro(types.int64), ro(types.uint64)),
        *(types.boolean, types.float64),
        *(rw(types.int64), rw(types.float64)),
    )
)
def _choose(bucket: I64, start: I64, sets: I64, values: U64, verify: bool, threshold: float, partner: I64, similarity: F64) -> None:
    """Fill partner and similarity, document by document in the order given.

    bucket: i64[D, B], dense; start: i64[buckets+1], where each bucket's list of kept documents begins;
    sets: i64[D+1] into values u64: sorted shingle sets.
    """
    documents, bands = bucket.shape
    kept = np.empty(start[-1], np.int64)
    filled = np.zeros(start.size - 1, np.int64)
    seen_by = np.full(documents, -1, np.int64)
    order = np.empty(bands, np.int64)
    for d in range(documents):
        for band in range(bands):  # insertion sort: few kept documents first
            at = band
            while at > 0 and filled[bucket[d, order[at - 1]]] > filled[bucket[d, band]]:
                order[at] = order[at - 1]
                at -= 1
            order[at] = band
        best = np.int64(-1)
        best_similarity = -1.0
        left = PER_DOCUMENT
        for place in range(bands):
            here = bucket[d, order[place]]
            last = start[here] + filled[here]
            for at in range(last - 1, max(start[here], last - PER_BUCKET) - 1, -1):
                c = kept[at]
                if seen_by[c] == d or left == 0 or best_similarity == 1.0:
                    continue
                seen_by[c] = d
                left -= 1
                if verify:
                    s = _jaccard(values, sets[d], sets[d + 1], sets[c], sets[c + 1], threshold)
                else:
                    s = 0.0
                    for band in range(bands):
                        s += bucket[d, band] == bucket[c, band]
                    s /= bands
                if s > best_similarity or (s == best_similarity and c < best):
                    best = c
                    best_similarity = s
        if best >= 0:
            partner[d] = best
            similarity[d] = best_similarity
            continue
        for band in range(bands):
            here = bucket[d, band]
            kept[start[here] + filled[here]] = d
            filled[here] += 1


def choose(bands: U64, sets: ShingleSets | None, threshold: float) -> Choice:
    """Decide on documents given in the order in which they have a claim to stay.

    bands: u64[D, B], equal values mean a shared band; sets: sorted shingle sets of the same documents. A document goes if
    the exact Jaccard similarity with a kept one that shares a band reaches the threshold; the most similar is its partner,
    the earlier one of equals (the search ends at an equal set, which shares all bands). Without sets a shared band is
    enough, and `similarity` is the share of equal bands. At most PER_BUCKET comparisons a band and PER_DOCUMENT a document.
    """
    documents = len(bands)
    keys, inverse = np.unique(bands, return_inverse=True)
    bucket = inverse.reshape(bands.shape).astype(np.int64, copy=False)
    start = np.zeros(len(keys) + 1, np.int64)
    np.cumsum(np.bincount(bucket.ravel(), minlength=len(keys)), out=start[1:])
    partner, similarity = np.full(documents, -1, np.int64), np.zeros(documents)
    held = sets if sets is not None else ShingleSets(np.zeros(documents + 1, np.int64), np.zeros(0, np.uint64))
    _choose(bucket, start, held.doc, held.hash, sets is not None, threshold, partner, similarity)
    return Choice(partner, similarity)


@kernel(types.void(ro(types.int64), ro(types.uint64), ro(types.int64), ro(types.int64), rw(types.int64), rw(types.uint64)), allocates=False)
def _copy_lists(offsets: I64, values: U64, rows: I64, places: I64, target: I64, out: U64) -> None:
    """Copy list rows[q] of (offsets, values) to out[target[places[q]]:]."""
    for q in range(rows.size):
        at = target[places[q]]
        for j in range(offsets[rows[q]], offsets[rows[q] + 1]):
            out[at] = values[j]
            at += 1


def copy_lists(offsets: I64, values: U64, rows: I64, places: I64, target: I64, out: U64) -> None:
    """Copy the lists `rows` of (offsets, values) to out, list rows[q] to out[target[places[q]]:]."""
    _copy_lists(offsets, values, rows, places, target, out)
