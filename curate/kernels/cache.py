"""Where compiled kernels are kept. Apart from `compiled`, so that asking does not import numba."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """$CURATE_CACHE, or `curate` in the user's cache folder; then by version."""
    from curate import __version__

    base = os.environ.get("CURATE_CACHE") or os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "curate")
    return Path(base) / f"kernels-{__version__}"
