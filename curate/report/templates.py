"""The templates of the pages, compiled once for a user: compiling them takes longer than filling them in."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment


def environment(**settings: Any) -> Environment:
    """An environment over the templates of this folder. A name that a template uses and nobody gave is an error."""
    from importlib.metadata import version

    from jinja2 import Environment, FileSystemBytecodeCache, PackageLoader, StrictUndefined

    from curate.kernels.cache import cache_folder

    folder = cache_folder().parent / f"templates-jinja2-{version('jinja2')}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        kept = None
    else:
        kept = FileSystemBytecodeCache(str(folder)) if os.access(folder, os.W_OK) else None
    return Environment(
        loader=PackageLoader("curate.report", "."),
        bytecode_cache=kept,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        **settings,
    )
