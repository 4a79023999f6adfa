"""Connected components. Nearly linear in the edges; the result does not depend on their order.

r rows, e edges.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from curate.kernels.compiled import inline, kernel, ro, rw
from curate.kernels.strings import I64


@inline
def _root(parent: I64, x: Any) -> Any:
    """Return the root of x, halving the path to it on the way."""
    while parent[x] != x:
        parent[x] = parent[parent[x]]
        x = parent[x]
    return x


@kernel(types.void(ro(types.int64), ro(types.int64), rw(types.int64)), allocates=False)
def _unite(a: I64, b: I64, parent: I64) -> None:
    """Join a[i] with b[i] for all i; the smaller root stays root. Then point every node at its root.

    parent: i64[r], given as 0..r-1.
    """
    for i in range(a.size):
        x = _root(parent, a[i])
        y = _root(parent, b[i])
        if x < y:
            parent[y] = x
        elif y < x:
            parent[x] = y
    for i in range(parent.size):  # roots are smaller than what hangs below them, so theirs are final already
        parent[i] = parent[parent[i]]


def components(a: I64, b: I64) -> tuple[I64, I64]:
    """Return (rows i64[r], sorted: every row of an edge; component i64[r]: smallest row that each is connected to).

    a, b: i64[e], the two ends of each edge.
    """
    rows = np.unique(np.concatenate([a, b]))
    parent = np.arange(len(rows))
    _unite(np.searchsorted(rows, a), np.searchsorted(rows, b), parent)
    return rows, rows[parent]
