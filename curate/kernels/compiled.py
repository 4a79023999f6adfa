"""How kernels are compiled: eagerly, with explicit signatures, cached in the user's cache folder.

One signature per kernel and read-only array types for inputs: numba takes writable arrays where read-only ones are
declared, so a memory-mapped buffer and a fresh one share one compilation. No `fastmath`, no `parallel`: results must
not depend on the CPU, and a worker process owns one core.

numba keys its cache by source file, its time stamp, Python, CPU model and features; ours adds the version of curate
and the sources that a kernel is made of (`cache.py`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from curate.kernels.cache import module_folder

os.environ.setdefault("NUMBA_NUM_THREADS", "1")

import numba
from numba import types as types


def ro(scalar: Any) -> Any:
    """Type of a one-dimensional, contiguous, read-only array: what a kernel only reads."""
    return types.Array(scalar, 1, "C", readonly=True)


def ro2(scalar: Any) -> Any:
    """Type of a two-dimensional, C-contiguous, read-only array."""
    return types.Array(scalar, 2, "C", readonly=True)


def rw(scalar: Any) -> Any:
    """Type of a one-dimensional, contiguous array that a kernel writes."""
    return types.Array(scalar, 1, "C")


def rw2(scalar: Any) -> Any:
    """Type of a two-dimensional, C-contiguous array that a kernel writes."""
    return types.Array(scalar, 2, "C")


def kernel(signature: Any, *, allocates: bool = True) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function for exactly this signature, at import, without the interpreter lock.

    No wrapper for C callbacks is made of it, nor one for Python of what only kernels call (`inline`, `leaf`): 14 % of the time.

    Say `allocates=False` where neither it nor what it calls makes or returns an array (scratch comes as an argument).
    numba then counts no references. With counting, every array handed to an `inline` function that branches costs two
    atomic operations a call, often one call a character: a loop over UTF-8 went from 57 to 537 MB/s without it.
    """
    compile_: Any = numba.njit  # its types leave out `_nrt`

    def decorate(function: Callable[..., Any]) -> Any:
        settings: Any = numba.config  # numba makes its settings at run time
        before = settings.CACHE_DIR
        settings.CACHE_DIR = str(module_folder(function.__code__.co_filename))  # read once, when the function is wrapped
        try:
            return compile_(signature, cache=True, nogil=True, error_model="numpy", _nrt=allocates, no_cfunc_wrapper=True)(function)
        finally:
            settings.CACHE_DIR = before

    return decorate


def inline(function: Callable[..., Any]) -> Any:
    """Mark a small function that kernels call; compiled into its callers."""
    compile_: Any = numba.njit  # its types leave out what is set here
    return compile_(inline="always", no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)


def leaf(function: Callable[..., Any]) -> Any:
    """Mark a small function of arrays and numbers that kernels call often, and that allocates nothing.

    Like `inline`, but numba types it once, LLVM copies it into its callers, and no references are counted in it, whatever
    the caller does. Text counts compile in 4.0 s instead of 5.8 s with it. It has no signature and no cache of its own:
    out of numba's cache it would come as machine code, which can't be copied into a caller.
    """
    compile_: Any = numba.njit  # its types leave out `_nrt`
    return compile_(nogil=True, error_model="numpy", forceinline=True, _nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)
