"""Documents against indexed ones: which indexed document is the most similar one, exactly. n documents, p pairs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import types

from curate.kernels.compiled import kernel, ro, rw
from curate.kernels.near_duplicates import pair_similarity
from curate.kernels.shingles import U64, ShingleSets
from curate.kernels.strings import I64

F64 = npt.NDArray[np.float64]


@kernel(
    types.void(
        *(ro(types.uint64), ro(types.int64), ro(types.int64), ro(types.int64), ro(types.int64), types.float64, types.boolean),
        *(rw(types.int64), rw(types.float64)),
    ),
    allocates=False,
)
def _nearest(
    values: U64, own: I64, other: I64, document: I64, indexed: I64, threshold: float, contained: bool, best: I64, similarity: F64
) -> None:
    """Keep for each document the pair with the highest similarity; of equal ones the first."""
    for p in range(document.size):
        d, x = document[p], indexed[p]
        s = pair_similarity(values, own[d], own[d + 1], other[x], other[x + 1], threshold, contained)
        if s > similarity[d]:
            best[d], similarity[d] = x, s


def nearest(own: ShingleSets, other: ShingleSets, document: I64, indexed: I64, threshold: float, contained: bool) -> tuple[I64, F64]:
    """(i64[n]: position in `other` of the most similar indexed document, -1 where none reaches the threshold; f64[n]: similarity).

    document, indexed: i64[p], pairs to compare
    """
    n = len(own.doc) - 1
    best, similarity = np.full(n, -1, np.int64), np.zeros(n)
    values = np.concatenate([own.hash, other.hash])
    _nearest(values, own.doc, other.doc + len(own.hash), document, indexed, threshold, contained, best, similarity)
    return best, similarity
