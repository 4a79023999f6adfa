"""The folder of a module's compiled kernels changes with every source that is compiled into it, and with no other."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from curate.kernels import cache


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for source in cache.HERE.glob("*.py"):
        shutil.copy(source, tmp_path)
    monkeypatch.setattr(cache, "HERE", tmp_path)
    return tmp_path


def forget() -> None:
    cache.module_folder.cache_clear()
    cache._read.cache_clear()


def folders(sources: Path) -> dict[str, str]:
    forget()
    return {source.stem: cache.module_folder(str(source)).name for source in sources.glob("*.py")}


def test_an_edit_moves_the_modules_that_it_is_compiled_into(sources: Path) -> None:
    before = folders(sources)
    with open(sources / "shingles.py", "a") as file:
        file.write("\n")
    after = folders(sources)
    moved = {name for name in before if before[name] != after[name]}
    assert {"shingles", "minhash", "near_duplicates", "ngrams", "content_hash", "assignment"} <= moved
    assert not {"langid", "words", "c4lines", "hashing", "scan"} & moved


def test_imports_of_whole_modules_count(sources: Path) -> None:
    before = folders(sources)
    with open(sources / "tables.py", "a") as file:
        file.write("\n")
    after = folders(sources)
    assert before["words"] != after["words"] and before["textstats"] != after["textstats"]
    assert before["langid"] == after["langid"]


def test_a_kernel_outside_of_the_folder_follows_what_it_imports(sources: Path, tmp_path: Path) -> None:
    outside = tmp_path / "elsewhere" / "mine.py"
    outside.parent.mkdir()
    outside.write_text("from curate.kernels.hashing import mix64\n")
    forget()
    before = cache.module_folder(str(outside)).name
    with open(sources / "hashing.py", "a") as file:
        file.write("\n")
    forget()
    after = cache.module_folder(str(outside)).name
    assert before.startswith("mine-") and after.startswith("mine-") and before != after
