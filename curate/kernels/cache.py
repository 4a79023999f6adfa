"""Where compiled kernels are kept, and whether they are there. Apart from `compiled`, so that asking does not import numba.

numba's cache looks at the source file of a function, not at the files of the functions it calls, so an edited helper
would leave old code in its callers. Therefore each kernel module has a folder of its own, whose name holds a digest of
the module and of every kernel module that it imports, directly or not: an edit compiles again just what it touches.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
_IMPORTED = re.compile(r"^\s*from curate\.kernels(?:\.(\w+) import| import ([\w, ]+))", re.MULTILINE)


@cache
def cache_folder() -> Path:
    """$CURATE_CACHE, or `curate` in the user's cache folder; then by version."""
    from curate import __version__

    base = os.environ.get("CURATE_CACHE") or os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "curate")
    return Path(base) / f"kernels-{__version__}"


@cache
def module_folder(source: str) -> Path:
    """Where numba keeps the kernels of one source file (also of one outside this folder)."""
    content = hashlib.sha256()
    for path in sorted(_sources(Path(source))):
        content.update(path.name.encode() + _read(path)[0])
    return cache_folder() / f"{Path(source).stem}-{content.hexdigest()[:12]}"


def source_of(name: str) -> Path:
    """The source file of a kernel module."""
    return HERE / f"{name}.py"


def made_of(name: str) -> list[str]:
    """The kernel modules whose code may be compiled into this one, itself among them."""
    return sorted(path.stem for path in _sources(source_of(name)))


def _sources(source: Path) -> set[Path]:
    """The file and the kernel modules whose code may be compiled into it."""
    found: set[Path] = set()
    waiting = [source]
    while waiting:
        path = waiting.pop()
        if path in found or not path.is_file():
            continue
        found.add(path)
        waiting += _read(path)[1]
    return found


@cache
def _read(path: Path) -> tuple[bytes, list[Path]]:
    """A kernel module's bytes and where the kernel modules lie that it imports."""
    content = path.read_bytes()
    imported = [[one] if one else re.findall(r"\w+", several) for one, several in _IMPORTED.findall(content.decode())]
    return content, [HERE / f"{name}.py" for names in imported for name in names]


def is_compiled(name: str) -> bool:
    """True where the kernels of this module lie in the cache for this installation, Python, numba and CPU."""
    return _mark(name).exists()


def note_compiled(name: str) -> None:
    """Note that they do."""
    mark = _mark(name)
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()


def _mark(name: str) -> Path:
    return module_folder(str(source_of(name))) / f"compiled-{_machine()}"


@cache
def _machine() -> str:
    """What numba looks at besides the source: where it lies, and for what its code was made."""
    from importlib.metadata import version

    parts = [str(HERE), platform.python_version(), version("numba"), _cpu()]
    return hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:12]


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return "".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
