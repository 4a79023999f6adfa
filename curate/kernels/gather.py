"""Copy windows out of a token shard, without the interpreter lock: a page that is not in memory holds up nobody else."""

from __future__ import annotations

from numba import types

from curate.kernels.compiled import kernel, ro, rw2


@kernel(types.void(ro(types.uint16), ro(types.int64), ro(types.int64), rw2(types.uint16)), allocates=False)
def copy_windows(words, first, rows, out):  # type: ignore[no-untyped-def]
    """out[rows[i], :] = words[first[i] : first[i] + out.shape[1]]

    words: u16[w], a shard's file (one of 32-bit tokens as pairs of words); first, rows: i64[n]; out: u16[m, words of a window]
    """
    for i in range(first.shape[0]):
        start, row = first[i], rows[i]
        for j in range(out.shape[1]):
            out[row, j] = words[start + j]
