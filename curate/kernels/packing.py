"""Best-fit decreasing: put pieces of documents into as few windows as may be, without cutting them.

Johnson et al. 1974: largest first, each into the fullest window that still has room; at most 11/9 of the fewest windows plus
one, in practice within a few of the sum of the sizes. Ding et al. 2024 (arXiv:2404.10830) use it for pretraining.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import types

from curate.kernels.compiled import kernel, ro, rw

I64 = npt.NDArray[np.int64]


def best_fit(sizes: I64, room: int) -> tuple[I64, int]:
    """(window i64[n] of each piece, number of windows). sizes: i64[n], 1..room each."""
    if len(sizes) and not 1 <= int(sizes.min()) <= int(sizes.max()) <= room:
        raise ValueError(f"sizes must lie in 1..{room}")
    leaves = 1 << room.bit_length()  # more than `room`
    window, following = np.empty(len(sizes), np.int64), np.empty(len(sizes), np.int64)
    newest, tree = np.full(leaves, -1, np.int64), np.zeros(2 * leaves, np.uint8)
    largest_first = np.argsort(-sizes, kind="stable")
    return window, int(pack(sizes, largest_first, room, newest, following, tree, window))


@kernel(
    types.int64(
        ro(types.int64), ro(types.int64), types.int64, rw(types.int64), rw(types.int64), rw(types.uint8), rw(types.int64)
    ),
    allocates=False,
)  # fmt: skip
def pack(sizes, turns, room, newest, following, tree, window):  # type: ignore[no-untyped-def]
    """Return the number of windows; write the window of each piece.

    sizes: i64[n]; turns: i64[n], pieces from large to small
    newest: i64[leaves], -1s: a window with this much room left, the next one in following: i64[n], and so on
    tree: u8[2 * leaves], zeros: node i is 1 where a leaf below it (leaf r at leaves + r) has a window
    """
    leaves, windows = newest.shape[0], 0
    for t in range(turns.shape[0]):
        piece = turns[t]
        size = sizes[piece]
        node = leaves + size
        if tree[node] == 0:
            while node > 1:  # up, until something lies to the right
                if node % 2 == 0 and tree[node + 1] != 0:
                    node += 1
                    break
                node //= 2
        if node <= 1:
            chosen, left = windows, room
            windows += 1
        else:
            while node < leaves:
                node *= 2
                if tree[node] == 0:
                    node += 1
            left = node - leaves
            chosen = newest[left]
            newest[left] = following[chosen]
            if newest[left] < 0:  # up, until another leaf below is left
                tree[node] = 0
                while node > 1 and tree[node - node % 2] == 0 and tree[node - node % 2 + 1] == 0:
                    node //= 2
                    tree[node] = 0
        window[piece] = chosen
        left -= size
        if left > 0:
            following[chosen] = newest[left]
            newest[left] = chosen
            node = leaves + left
            while node > 0 and tree[node] == 0:
                tree[node] = 1
                node //= 2
    return windows
