"""A kernel is loaded when it is first called, or compiled into another one, and takes its own types only."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from curate.kernels import compiled
from curate.kernels.compiled import kernel, ro, types


@kernel(types.int64(ro(types.int64)), allocates=False)
def total(values: Any) -> int:
    found = 0
    for value in values:
        found += value
    return found


@kernel(types.int64(ro(types.int64)), allocates=False)
def twice(values: Any) -> int:
    return 2 * total(values)


@kernel(types.int64(ro(types.int64)), allocates=False)
def never(values: Any) -> int:
    return total(values)


def is_ready(made: Any) -> bool:
    return not isinstance(made, compiled._Unready)


def test_needed_kernels_are_made_ready_and_no_others() -> None:
    values = np.arange(5)
    assert not is_ready(twice)
    assert twice(values) == 20
    assert is_ready(twice) and not is_ready(never)
    assert total(values) == 10 and len(total.signatures) == 1
    values.flags.writeable = False
    assert twice(values) == 20 and len(twice.signatures) == 1


@pytest.mark.parametrize("wrong", [np.arange(5, dtype=np.int32), np.arange(10)[::2], np.zeros((2, 2), np.int64)])
def test_other_types_are_refused_by_the_first_call_too(wrong: Any) -> None:
    fresh = kernel(types.int64(ro(types.int64)), allocates=False)(total.py_func)
    with pytest.raises(TypeError, match="No matching definition"):
        fresh(wrong)
    assert fresh(np.arange(5)) == 10


def test_a_modules_kernels_are_made_ready_without_those_it_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("made_here")
    monkeypatch.setitem(sys.modules, "made_here", module)
    mine = kernel(types.int64(ro(types.int64)), allocates=False)(never.py_func)
    mine.py_func.__module__, before = "made_here", mine.py_func.__module__
    other = kernel(types.int64(types.int64), allocates=False)(lambda number: number)
    vars(module).update(mine=mine, other=other)
    compiled.make_ready(module)
    mine.py_func.__module__ = before
    assert is_ready(mine) and not is_ready(other)


def test_what_only_kernels_call_is_not_loaded() -> None:
    """In a process that measures repetition with everything in the cache."""
    code = (
        "import pyarrow as pa, curate\n"
        "curate.steps.gopher_repetition(pa.table({'text': ['some words of text, twice', 'some more']}))\n"
        "from curate.kernels import compiled, repetition\n"
        "print(*[n for n, v in vars(repetition).items() if isinstance(v, compiled.CPUDispatcher) and not isinstance(v, compiled._Unready)])\n"
    )
    for _ in range(2):  # the first may have to compile
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "ngram_shares" in done.stdout.split() and not {"_fill_slots", "_select", "count_exactly"} & set(done.stdout.split())


KERNELS = """
import numpy as np
from numba.core.runtime import nrt
from curate.kernels.compiled import kernel, ro, types

@kernel(types.int64[::1](ro(types.int64)))
def doubled(values):
    return np.sort(2 * values)

@kernel(types.int64(ro(types.int64)))
def most(values):
    return doubled(values)[-1]
"""


def test_from_the_cache_a_kernel_runs_alone_and_is_compiled_into_a_caller(tmp_path: Path) -> None:
    """Its code for callers is parsed, and numba's runtime compiled, when a caller is compiled and not before."""
    (tmp_path / "kept.py").write_text(KERNELS)
    calls = [
        "doubled(values)",
        "(doubled(values), overload(doubled), ready(), most(values), overload(doubled), ready())",
        "(most(values), ready())",
    ]
    said = []
    for call in calls:
        code = (
            "from kept import *\n"
            "values = np.array([3, 1, 2])\n"
            "def overload(made): return [o.library._shared_module is not None for o in made.overloads.values()]\n"
            "def ready(): return nrt.rtsys._init\n"
            f"print({call})\n"
        )
        environment = {**os.environ, "PYTHONPATH": str(tmp_path), "CURATE_CACHE": str(tmp_path / "cache")}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
        said.append(done.stdout.strip())
    assert said == ["[2 4 6]", "(array([2, 4, 6]), [False], False, 6, [True], True)", "(6, False)"]


def test_a_cached_kernel_reads_no_modules_of_functions_it_inlined(tmp_path: Path) -> None:
    """Sorting brings numba's modules of sorts, lists and arrays into the compilation; they are no part of running it."""
    (tmp_path / "kept.py").write_text(KERNELS)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "CURATE_CACHE": str(tmp_path / "cache")}
    code = "import sys, kept\nkept.doubled(kept.np.array([3, 1, 2]))\nprint(*sorted({'numba.misc.quicksort', 'numba.np.arrayobj'} & set(sys.modules)))"
    said = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment).stdout.strip()
        for _ in range(2)
    ]
    assert said == ["numba.misc.quicksort numba.np.arrayobj", ""]
