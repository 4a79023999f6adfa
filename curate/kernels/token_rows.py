"""Gather rows of a flat token stream into another one."""

from __future__ import annotations

from numba import types

from curate.kernels.compiled import kernel, ro, rw

I64 = types.int64


@kernel(types.void(ro(types.uint16), ro(I64), ro(I64), rw(types.uint16)), allocates=False)
def copy_rows(words, starts, sizes, out):  # type: ignore[no-untyped-def]
    """Write words[starts[i]:starts[i] + sizes[i]] for i = 0, 1, ... back to back.

    words: u16[m]; starts, sizes: i64[n], in words (a token of 32 bits is two of them); out: u16[sum of sizes], written
    """
    at = 0
    for i in range(starts.shape[0]):
        start = starts[i]
        for j in range(sizes[i]):
            out[at + j] = words[start + j]
        at += sizes[i]
