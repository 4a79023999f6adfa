"""Which tokenizers the fast encoder was found equal for on this machine, so that one process finds it out and the others read it.

The probe takes 0.2 s, more than a third of what a worker needs before its first document is encoded. What it found is
kept under everything that it depends on: the texts, the tokenizer, both libraries, the CPU. Only that they are equal is kept; an
encoder that was refused is tried anew. While documents are encoded some are still compared.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from curate.kernels.cache import cache_folder


def mark_of(texts: Sequence[str], tokenizer: str, fast_config: str) -> Path:
    """The file that is there where both encoders gave the same ids of `texts`.

    tokenizer: digest of its file; fast_config: what the fast encoder was made of
    """
    from llvmlite.binding import get_host_cpu_features, get_host_cpu_name

    libraries = [f"{name} {version(name)}" for name in ("gigatoken", "tokenizers")]
    digest = hashlib.sha256()
    for part in (tokenizer, fast_config, *libraries, get_host_cpu_name(), get_host_cpu_features().flatten(), *texts):
        content = part.encode("utf-8", "surrogatepass")
        digest.update(len(content).to_bytes(8, "little") + content)
    return cache_folder().parent / "encoders" / digest.hexdigest()[:32]


def is_noted(mark: Path) -> bool:
    """Whether an earlier process found them equal."""
    return mark.is_file()


def note(mark: Path) -> None:
    """Note that they are. A cache that can't be written costs the next process the probe."""
    with contextlib.suppress(OSError):
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
