"""How kernels are compiled: with explicit signatures, when they are first needed, cached in the user's cache folder.

One signature per kernel and read-only array types for inputs: numba takes writable arrays where read-only ones are
declared, so a memory-mapped buffer and a fresh one share one compilation. No `fastmath`, no `parallel`: results must
not depend on the CPU, and a worker process owns one core.

numba keys its cache by source file, its time stamp, Python, CPU model and features; ours adds the version of curate
and the sources that a kernel is made of (`cache.py`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from curate.kernels.cache import module_folder

os.environ.setdefault("NUMBA_NUM_THREADS", "1")

import numba
from numba import types as types
from numba.core import entrypoints, typeinfer
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import CPUDispatcher

from curate.kernels.loading import KernelCache


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
    """Compile a function for exactly this signature, or load it from the cache, when it is first called; it runs without the interpreter lock.

    Not at import: half of the kernels are only called by other kernels, whose machine code holds theirs. No wrapper for C
    callbacks is made, nor one for Python of what only kernels call (`inline`, `leaf`): 14 % of the compilation.

    Say `allocates=False` where neither it nor what it calls makes or returns an array (scratch comes as an argument).
    numba then counts no references. With counting, every array handed to an `inline` function that branches costs two
    atomic operations a call, often one call a character: a loop over UTF-8 went from 57 to 537 MB/s without it.
    """
    compile_: Any = numba.njit  # its types leave out `_nrt`

    def decorate(function: Callable[..., Any]) -> Any:
        made = compile_(nogil=True, error_model="numpy", _nrt=allocates, no_cfunc_wrapper=True)(function)
        made.__class__, made.wanted = _Unready, signature
        return made

    return decorate


class _Unready(CPUDispatcher):
    """A kernel that nobody needed yet; an ordinary one of numba's after the first call, or when a kernel that calls it is compiled."""

    wanted: Any  # its signature

    def make_ready(self) -> None:
        """Load it from the cache, or compile it; from then on it takes these types only."""
        cache: Any = KernelCache
        with global_compiler_lock:  # the cache's folder is a setting of the process
            with _own_cache(self.py_func), _no_extensions(), typeinfer.register_dispatcher(self):
                self._cache = cache(self.py_func)
                self.compile(self.wanted)
            self.disable_compile()
            self.__class__ = CPUDispatcher  # type: ignore[assignment]

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        self.make_ready()
        return self(*arguments, **named)

    def get_call_template(self, arguments: Any, named: Any) -> Any:
        """What numba asks for to compile a caller."""
        self.make_ready()
        return self.get_call_template(arguments, named)


def make_ready(module: ModuleType) -> None:
    """Compile all kernels that the module defines, or load them from the cache."""
    for made in list(vars(module).values()):
        if isinstance(made, _Unready) and made.py_func.__module__ == module.__name__:
            made.make_ready()


@contextmanager
def _own_cache(function: Callable[..., Any]) -> Iterator[None]:
    """Let numba keep this function in the folder of its module."""
    settings: Any = numba.config  # numba makes its settings at run time
    before = settings.CACHE_DIR
    settings.CACHE_DIR = str(module_folder(function.__code__.co_filename))  # read once, when the cache is made
    try:
        yield
    finally:
        settings.CACHE_DIR = before


@contextmanager
def _no_extensions() -> Iterator[None]:
    """Compile without numba's extensions (awkward comes with gigatoken; its import takes 0.5 s); who needs them later gets them."""
    before = entrypoints._already_initialized
    entrypoints._already_initialized = True
    try:
        yield
    finally:
        entrypoints._already_initialized = before


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
