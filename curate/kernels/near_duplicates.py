"""Verification: which documents of a group are near enough to which, exactly. The work a document causes is bounded.

A group holds documents that share bands with one document; in it they stand in the order of their claim to stay. Each is
compared with earlier ones, and every pair at or above the threshold becomes an edge from the weaker to the stronger.
Who goes is decided elsewhere (`curate.kernels.assignment`), when the edges of all groups are together.

D documents, G groups, e edges.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import types

from curate.kernels.compiled import kernel, ro, rw
from curate.kernels.hashing import mix64
from curate.kernels.shingles import U64, ShingleSets
from curate.kernels.strings import I64

F64 = npt.NDArray[np.float64]

# A document is compared with the FIRST strongest and the LATEST documents of its group that no stronger one of the group
# replaces, and with the REPLACED latest of the others. In groups of FIRST + LATEST documents nothing is left out: a group
# that is larger and holds few duplicates is a template's.
FIRST, LATEST, REPLACED = 64, 64, 32
EDGES = 6  # of a document in a group: the strongest partners, and the most similar one
COUNTS = ("compared", "matched", "bounded")  # pairs, pairs at the threshold, documents not compared with all that may stay


class Edges(NamedTuple):
    """Pairs of documents of one block whose similarity reaches the threshold."""

    weak: I64  # i64[e]: position in the block
    strong: I64  # i64[e]: an earlier position of the same group
    similarity: F64  # f64[e]
    same: npt.NDArray[np.bool_]  # bool[e]: the two sets are equal
    counts: I64  # i64[3], see COUNTS


@kernel(types.float64(ro(types.uint64), *(types.int64,) * 4, types.float64, types.boolean), allocates=False)
def pair_similarity(values: U64, i: int, i_end: int, j: int, j_end: int, threshold: float, contained: bool) -> float:
    """Jaccard similarity of the sorted sets values[i:i_end] and values[j:j_end], or the share of the first that is in the second
    (contained); -1.0 once it must be below threshold.

    The quotient of two integers is the nearest double, so 4 / 5 passes a threshold written as 0.8.
    """
    a = i_end - i
    b = j_end - j
    # Jaccard: intersection >= t (a + b) / (1 + t); one less, so that rounding never ends a comparison too early
    needed = np.int64(threshold * a if contained else threshold * (a + b) / (1.0 + threshold)) - 1
    i_most = i + a - needed
    j_most = j + b - needed
    common = 0
    if needed > min(a, b):
        return -1.0
    while i < i_end and j < j_end:
        x = values[i]
        y = values[j]
        common += x == y
        i += x <= y
        j += y <= x
        if i - common > i_most or j - common > j_most:
            return -1.0
    similarity = common / (a if contained else a + b - common)
    return similarity if similarity >= threshold else -1.0


@kernel(types.void(ro(types.int64), ro(types.uint64), rw(types.uint64)), allocates=False)
def _fingerprints(sets: I64, values: U64, out: U64) -> None:
    """out[d]: a hash of set d; equal sets have equal ones."""
    for d in range(out.size):
        h = np.uint64(sets[d + 1] - sets[d])
        for at in range(sets[d], sets[d + 1]):
            h = mix64(h ^ values[at]) + np.uint64(1)
        out[d] = h


@kernel(
    types.int64(
        *(ro(types.int64), ro(types.int64), ro(types.uint64), ro(types.int64), types.float64, types.boolean),
        *(rw(types.int64), rw(types.int64), rw(types.float64), rw(types.int64)),
    )
)
def _compare(
    groups: I64, sets: I64, values: U64, twin: I64, threshold: float, contained: bool, weak: I64, strong: I64, similarity: F64, counts: I64
) -> int:
    """Write the edges of every group; return how many.

    groups: i64[G+1], first document of each; sets: i64[D+1] into values; twin: i64[D], first document of the group with the
    same fingerprint; weak, strong, similarity: room for EDGES a document. A similarity above 1 marks equal sets.
    """
    documents = twin.size
    kept = np.empty(documents, np.int64)
    gone = np.empty(documents, np.int64)
    e = 0
    for g in range(groups.size - 1):
        n_kept = 0
        n_gone = 0
        for d in range(groups[g], groups[g + 1]):
            i = sets[d]
            i_end = sets[d + 1]
            c = twin[d]
            if c != d and pair_similarity(values, i, i_end, sets[c], sets[c + 1], 1.0, False) == 1.0:
                weak[e], strong[e], similarity[e] = d, c, 2.0
                e += 1
                counts[0] += 1
                counts[1] += 1
                continue
            first = e
            looked = 0
            matched = False
            for place in range(n_kept + min(n_gone, REPLACED)):
                if place < n_kept:
                    if FIRST <= place < n_kept - LATEST:
                        continue
                    c = kept[place]
                else:
                    c = gone[n_gone - 1 - (place - n_kept)]
                looked += 1
                s = pair_similarity(values, i, i_end, sets[c], sets[c + 1], threshold, contained)
                if s < 0.0:
                    continue
                counts[1] += 1
                matched |= place < n_kept  # a document that is replaced itself in this group proves nothing
                if e - first < EDGES:
                    weak[e], strong[e], similarity[e] = d, c, s
                    e += 1
                elif s > similarity[e - 1]:
                    strong[e - 1], similarity[e - 1] = c, s
            counts[0] += looked
            counts[2] += n_kept > FIRST + LATEST
            if matched:
                gone[n_gone] = d
                n_gone += 1
            else:
                kept[n_kept] = d
                n_kept += 1
    return e


def compare(groups: I64, sets: ShingleSets, threshold: float, contained: bool = False) -> Edges:
    """Find the edges of whole groups. sets: sorted shingle sets of the documents, group by group, in the order of their claims."""
    documents = len(sets.doc) - 1
    fingerprint = np.empty(documents, np.uint64)
    _fingerprints(sets.doc, sets.hash, fingerprint)
    group = np.repeat(np.arange(len(groups) - 1), np.diff(groups))
    order = np.lexsort((fingerprint, group))  # stable: of equal ones the earlier document comes first
    new = np.ones(documents, bool)
    new[1:] = (fingerprint[order][1:] != fingerprint[order][:-1]) | (group[order][1:] != group[order][:-1])
    twin = np.empty(documents, np.int64)
    twin[order] = order[new][np.cumsum(new) - 1] if documents else order
    room = EDGES * documents
    weak, strong, similarity = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room)
    counts = np.zeros(len(COUNTS), np.int64)
    found = _compare(groups, sets.doc, sets.hash, twin, threshold, contained, weak, strong, similarity, counts)
    weak, strong, similarity = weak[:found], strong[:found], similarity[:found]
    same = similarity > 1.0
    return Edges(weak, strong, np.minimum(similarity, 1.0), same, counts)


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
