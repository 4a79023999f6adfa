"""Listing: globs, folders, files, URLs; the root that paths are relative to."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from curate.errors import DataError
from curate.io.files import list_files, ranges
from curate.io.jsonl import SUFFIXES, JsonlReader


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("c/b.jsonl", "c/a.jsonl.gz", "c/deep/z.ndjson", "c/.hidden.jsonl", "c/_tmp/x.jsonl", "c/notes.txt", "d/b.jsonl"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"text": name}) + "\n")
    return tmp_path


@pytest.mark.parametrize(
    "paths,expected",
    [
        (["c"], ["a.jsonl.gz", "b.jsonl", "deep/z.ndjson"]),
        (["c/*.jsonl*"], ["a.jsonl.gz", "b.jsonl"]),
        (["c/**/*.ndjson"], ["deep/z.ndjson"]),
        (["c/b.jsonl"], ["b.jsonl"]),
        (["c/b.jsonl", "d/b.jsonl"], ["c/b.jsonl", "d/b.jsonl"]),
        (["c/b.jsonl", "c/*.jsonl", "./c/b.jsonl"], ["b.jsonl"]),
        (["c/notes.txt"], ["notes.txt"]),
        (["*/b.jsonl"], ["c/b.jsonl", "d/b.jsonl"]),
    ],
)
def test_local(tree: Path, paths: list[str], expected: list[str]) -> None:
    files = list_files(paths, str(tree), SUFFIXES, "jsonl")
    assert [f.path for f in files] == expected
    assert [f.path for f in list_files([str(tree / p) for p in paths], "/", SUFFIXES, "jsonl")] == expected
    assert all(Path(f.uri).is_file() and f.size == Path(f.uri).stat().st_size for f in files)


def test_a_folder_that_a_glob_matches(tree: Path) -> None:
    (tree / "e" / "out.jsonl").mkdir(parents=True)
    (tree / "e" / "out.jsonl" / "part-0.json").write_text("{}")
    assert [f.path for f in list_files(["e/*.jsonl"], str(tree), SUFFIXES, "jsonl")] == ["out.jsonl/part-0.json"]


@pytest.mark.parametrize("path", ["nothing/*.jsonl", "c/absent.jsonl", "c/_tmp/.."])
def test_nothing_there(tree: Path, path: str) -> None:
    if path.endswith(".."):
        assert list_files([path], str(tree), SUFFIXES, "jsonl")
        return
    with pytest.raises(DataError, match="nothing to read at"):
        list_files([path], str(tree), SUFFIXES, "jsonl")


def test_a_link_to_nothing_is_named(tree: Path) -> None:
    (tree / "c" / "gone.jsonl").symlink_to(tree / "away.jsonl")
    with pytest.raises(DataError, match=r"c/gone\.jsonl: is a link to .*away\.jsonl, which can't be read"):
        list_files(["c"], str(tree), SUFFIXES, "jsonl")
    assert [f.path for f in list_files(["d"], str(tree), SUFFIXES, "jsonl")] == ["b.jsonl"]


def test_a_file_that_vanishes_while_its_folder_is_listed(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walk = os.walk

    def walked(*given: Any, **options: Any) -> Iterator[Any]:
        for found in walk(*given, **options):
            (tree / "d" / "b.jsonl").unlink()
            yield found

    monkeypatch.setattr(os, "walk", walked)
    with pytest.raises(DataError, match=r"d/b\.jsonl: can't be read \(No such file or directory\), though its folder lists it"):
        list_files(["d"], str(tree), SUFFIXES, "jsonl")


def test_a_folder_that_cannot_be_listed(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = os.scandir

    def scandir(path: str) -> Any:
        if path.endswith("deep"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match=r"c/deep: can't be listed \(Permission denied\)"):
        list_files(["c"], str(tree), SUFFIXES, "jsonl")


def test_links_to_folders_are_followed_once(tree: Path) -> None:
    for name, target in {"c/other": "d", "c/other2": "d", "c/self": "c", "c/deep/up": ".", "d/back": "c", "c/inner": "c/deep"}.items():
        (tree / name).symlink_to(tree / target)
    found = [f.path for f in list_files(["c"], str(tree), SUFFIXES, "jsonl")]
    assert found == ["a.jsonl.gz", "b.jsonl", "deep/z.ndjson", "other/b.jsonl"]


def test_any_fsspec_url(tree: Path) -> None:
    memory = fsspec.filesystem("memory")
    for name in ("/m/a/x.jsonl", "/m/a/y.jsonl", "/m/b/x.jsonl"):
        memory.pipe(name, b'{"text":"%s"}\n' % name.encode())
    assert [f.path for f in list_files(["memory://m/a/*.jsonl"], "/", SUFFIXES, "jsonl")] == ["x.jsonl", "y.jsonl"]
    assert [f.path for f in list_files(["memory://m"], "/", SUFFIXES, "jsonl")] == ["a/x.jsonl", "a/y.jsonl", "b/x.jsonl"]
    assert [f.path for f in list_files(["memory://m/a/x.jsonl"], "/", SUFFIXES, "jsonl")] == ["x.jsonl"]
    reader = JsonlReader(paths=("memory://m/a",))
    texts = [t for s in reader.splits("/", 5) for r in reader.read(s, "d") for t in r.batch.column("text").to_pylist()]
    assert texts == ["/m/a/x.jsonl", "/m/a/y.jsonl"]
    with pytest.raises(DataError, match="one file system"):
        list_files(["memory://m/a", str(tree)], "/", ("",), "jsonl")
    with pytest.raises(DataError, match="nothing to read"):
        list_files(["memory://m/none*"], "/", SUFFIXES, "jsonl")


@pytest.mark.parametrize("size", [0, 1, 9, 10, 14, 15, 16, 100, 101])
def test_ranges_cover_everything_once(size: int) -> None:
    pieces = list(ranges(size, 10))
    assert pieces[0][0] == 0 and pieces[-1][1] == -1
    assert all(a[1] == b[0] for a, b in itertools.pairwise(pieces))
