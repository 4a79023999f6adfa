"""Lists that users give as files: one entry a line, in UTF-8, `#` for comments; gzip, zstd and bz2 by file name."""

from __future__ import annotations

import os
from collections.abc import Iterable

from curate.errors import DataError


def entries(path: str) -> list[str]:
    """The entries of one file, stripped, in order; blank lines and comments are none. Bytes that are no UTF-8 are replaced.

    Raises DataError where the file can't be read.
    """
    import fsspec

    try:
        with fsspec.open(path, "rb", compression="infer") as file:
            text = file.read().decode("utf-8", errors="replace")
    except OSError as error:
        raise DataError(f"The list {path} can't be read: {error.strerror or error}.") from error
    stripped = (line.strip() for line in text.split("\n"))
    return [line for line in stripped if line and not line.startswith("#")]


def all_entries(given: Iterable[str], files: Iterable[str]) -> list[str]:
    """Entries of the recipe, then those of files, each once."""
    return list(dict.fromkeys([*(g.strip() for g in given if g.strip()), *(e for path in files for e in entries(path))]))


def listed_files(folder: str, names: tuple[str, ...]) -> list[str]:
    """Files of these names in a folder or in the folders right below it, sorted (UT1: CATEGORY/domains, CATEGORY/urls)."""
    places = [folder, *sorted(entry.path for entry in os.scandir(folder) if entry.is_dir())]
    return [path for place in places for name in names if os.path.isfile(path := os.path.join(place, name))]
