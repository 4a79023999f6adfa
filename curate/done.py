"""A finished stage: what later stages, the manifest and publication need of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from curate.fingerprint import digest
from curate.store import StageFolder


@dataclass(frozen=True)
class Done:
    """A finished stage: what later stages and the manifest need of it."""

    label: str
    key: str
    folder: StageFolder
    receipts: tuple[dict[str, Any], ...]

    @cached_property
    def digest(self) -> str:
        """Of all its output: names and checksums of files in task order."""
        return digest([[(f["name"], f["xxh128"]) for f in r["files"]] for r in self.receipts])

    @property
    def bytes(self) -> int:
        """Bytes on disk."""
        return sum(f["bytes"] for r in self.receipts for f in r["files"])


def data_files(done: Done) -> list[tuple[str, Path]]:
    """(published name, file) of the data of a finished node: parts numbered through all tasks, or a node's own files."""
    files = [(f["name"], done.folder.task(r["task"]) / f["name"]) for r in done.receipts for f in r["files"]]
    if "ledger" not in done.receipts[0]:
        return files
    parts = [path for name, path in files if name.startswith("part-")]
    return [(f"part-{number:05d}{''.join(path.suffixes)}", path) for number, path in enumerate(parts)]
