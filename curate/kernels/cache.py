"""Where compiled kernels are kept, and whether they are there. Apart from `compiled`, so that asking does not import numba.

numba's cache looks at the source file of a function, not at the files of the functions it calls, so an edited helper
would leave old code in its callers. Therefore the folder's name holds a digest of all kernel sources.
"""

from __future__ import annotations

import hashlib
import os
import platform
from functools import cache
from pathlib import Path


@cache
def cache_folder() -> Path:
    """$CURATE_CACHE, or `curate` in the user's cache folder; then by version and digest of the kernels."""
    from curate import __version__

    base = os.environ.get("CURATE_CACHE") or os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "curate")
    content = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        content.update(source.read_bytes())
    return Path(base) / f"kernels-{__version__}-{content.hexdigest()[:12]}"


def is_compiled() -> bool:
    """True where all kernels lie in the cache for this installation, Python, numba and CPU."""
    return _mark().exists()


def note_compiled() -> None:
    """Note that they do."""
    mark = _mark()
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()


def _mark() -> Path:
    from importlib.metadata import version

    parts = [str(Path(__file__).parent), platform.python_version(), version("numba"), _cpu()]
    return cache_folder() / f"compiled-{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:12]}"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return "".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
