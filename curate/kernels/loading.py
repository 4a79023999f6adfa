"""How a kernel comes out of numba's cache: with what running it takes, not what compiling others against it takes.

numba reads both, always: a process had its 14 kernels of a pipeline after 1.4 s of CPU. Left out, with what each took of the rest:
its tables of types (0.9 s), LLVM's code of the kernel beside its machine code (0.09 s), the reference counts compiled
anew (0.04 s), modules of numba whose functions a kernel had inlined (0.04 s). What a compilation needs of it comes when it starts.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
from numba.core import caching
from numba.core.codegen import JITCodeLibrary
from numba.core.runtime import nrt


class _Kept(caching.CompileResultCacheImpl):
    """What is written of a compiled function."""

    def reduce(self, cres: Any) -> Any:
        """Without the environments of inlined functions that hold no constants: each would be made again in its module, which is imported for it."""
        reduced: Any = super().reduce
        *kept, environments = reduced(cres)
        return (*kept, tuple(environment for environment in environments if environment.consts))


class KernelCache(caching.FunctionCache):
    """numba's cache of one function, read lazily."""

    _impl_class: Any = _Kept

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled function, or None. numba fills its tables here; its compiler does that too, so a miss loses nothing."""
        _name_runtime()
        codegen = target_context.codegen()
        codegen._library_class = _Loaded
        try:
            load: Any = self._load_overload
            with self._guard_against_spurious_io_errors():
                return load(sig, target_context)
        finally:
            codegen._library_class = JITCodeLibrary


class _Loaded(JITCodeLibrary):
    """Machine code, and LLVM's code that a caller is compiled with, not parsed before one is."""

    _for_callers: bytes

    @classmethod
    def _unserialize(cls, codegen: Any, state: Any) -> Any:
        name, kind, (machine_code, for_callers) = state
        assert kind == "object"
        loaded: Any = codegen.create_library(name)
        loaded.enable_object_caching()
        loaded._set_compiled_object(machine_code)
        loaded._for_callers = for_callers
        loaded._finalize_final_module()
        return loaded

    def _get_module_for_linking(self) -> Any:
        if self._shared_module is None:
            self._shared_module = llvm.parse_bitcode(self._for_callers)
            engine: Any = self._codegen._engine
            engine._load_defined_symbols(self._shared_module)
        return self._shared_module

    def get_pointer_to_function(self, name: str) -> Any:
        """Its address; numba would look the name up in LLVM's code first."""
        return self._codegen._engine.get_function_address(name)


def _name_runtime() -> None:
    """Tell LLVM the addresses of numba's runtime; machine code holds the rest of it."""
    runtime: Any = nrt
    for name, address in runtime._nrt.c_helpers.items():
        llvm.add_symbol(name if name.startswith("_") else f"NRT_{name}", address)
