"""The run folder: nothing half-written is ever visible."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from curate import store
from curate.errors import StoreError
from curate.store import Store, write_atomic

KEY = "0123456789abcdef"


def test_a_task_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = Store(tmp_path).open_stage("web.1", KEY, {"tasks": 1})
    assert folder.path == tmp_path / ".stages" / "web.1-0123456789ab"
    with pytest.raises(RuntimeError, match="in the middle"), folder.writing(0) as scratch:
        (scratch / "part-00000.parquet").write_bytes(b"half")
        raise RuntimeError("in the middle")
    assert not folder.task(0).exists() and folder.receipt(0) is None
    assert list((folder.path / "tmp").iterdir()) == []
    with folder.writing(0) as scratch:
        (scratch / "part-00000.parquet").write_bytes(b"whole")
    assert folder.receipt(0) is None, "files without a receipt are not done"
    with folder.writing(0) as scratch:  # a second attempt replaces what a dead process left
        (scratch / "other").write_bytes(b"again")
    folder.commit(0, {"task": 0})
    assert [p.name for p in folder.task(0).iterdir()] == ["other"]
    assert folder.receipt(0) == {"task": 0}


def test_damaged_receipt_is_named(tmp_path: Path) -> None:
    folder = Store(tmp_path).open_stage("web.1", KEY, {})
    folder.receipt_path(3).write_text("{")
    with pytest.raises(StoreError, match=r"00003\.json is damaged .* Delete it and run again"):
        folder.receipt(3)


def test_publish_swaps_in_one_rename(tmp_path: Path) -> None:
    store = Store(tmp_path / "run")
    for number, names in enumerate((["a", "b"], ["c"])):
        files = []
        for name in names:
            path = tmp_path / f"{name}{number}"
            path.write_text(name)
            files.append((f"part-{len(files):05d}.txt", path))
        link = store.publish("web", f"{number}{KEY}", files, {"_dataset.json": b"{}"})
        assert sorted(p.name for p in link.glob("part-*")) == [inside for inside, _ in files]
        assert os.readlink(link) == f".data/web@{number}{KEY[:11]}"
        assert json.loads((link / "_dataset.json").read_text()) == {}
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == [".data", "web"]


def test_publish_leaves_a_folder_of_the_user_alone(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir(parents=True)
    with pytest.raises(StoreError, match="exists and is not a dataset of this run"):
        Store(tmp_path).publish("web", KEY, [], {})


def test_write_atomic_replaces(tmp_path: Path) -> None:
    for content in (b"one", b"two"):
        write_atomic(tmp_path / "f", content)
        assert (tmp_path / "f").read_bytes() == content
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_files_are_asked_for_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real call on this system, then what it is called with."""
    (tmp_path / "part").write_bytes(b"x" * 5000)
    (tmp_path / "folder").mkdir()
    (tmp_path / "broken").symlink_to("nothing")
    store.begin_flush(tmp_path)
    assert (tmp_path / "part").read_bytes() == b"x" * 5000
    asked: list[tuple[int, int, int, int]] = []
    monkeypatch.setattr(store, "_sync_file_range", lambda: lambda *call: asked.append((os.fstat(call[0]).st_size, *call[1:])))
    store.begin_flush(tmp_path)
    assert asked == [(5000, 0, 0, 2)]
    monkeypatch.setattr(store, "_sync_file_range", lambda: None)
    store.begin_flush(tmp_path / "folder" / "that is not there")
