"""Workers that die while they have nothing to do."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from curate.errors import RunError
from curate.executors.local import LocalExecutor
from curate.store import Store


def test_workers_that_die_idle_are_replaced(tmp_path: Path) -> None:
    """One is found dead when a task is to be given; one dies between that look and the task."""
    folder = Store(tmp_path).open_stage("s", "0" * 12, {"kind": "documents", "label": "s"})
    for index in range(2):  # a task with a receipt is done
        with folder.writing(index):
            pass
        folder.commit(index, {"task": index, "files": []})
    ended: list[int] = []
    with LocalExecutor(2) as executor:
        executor.start(2)
        dead = list(executor._pool)
        for worker in dead:
            worker.process.kill()
        dead[0].process.wait()
        executor.run(str(folder.job), [0, 1], lambda task, rows, size, said="", share=0.0: ended.append(task))
        assert not set(dead) & set(executor._pool)
    assert sorted(task for task in ended if task >= 0) == [0, 1]


def test_files_of_the_users_folder_are_no_modules_of_a_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder may hold a `json.py` of its user's, or of who made the recipe: nothing of it is imported, or run."""
    for name in ("json", "random", "tokenize", "queue", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the folder')\n")
    monkeypatch.chdir(tmp_path)
    folder = Store(tmp_path / "out").open_stage("s", "0" * 12, {"kind": "documents", "label": "s"})
    with folder.writing(0):
        pass
    folder.commit(0, {"task": 0, "files": []})
    ended: list[int] = []
    with LocalExecutor(1) as executor:
        executor.run(str(folder.job), [0], lambda task, rows, size, said="", share=0.0: ended.append(task))
        assert len(executor._pool) == 1
    assert [task for task in ended if task >= 0] == [0]


@pytest.mark.parametrize("workers", [1, 2])
def test_processes_that_cannot_start_end_the_run_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    """Not after the two hundred deaths that a task may have: nothing is wrong with the task."""
    started = tmp_path / "started"
    broken = tmp_path / "python"
    broken.write_text(f"#!/bin/sh\necho once >> {started}\nexit 9\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    folder = Store(tmp_path / "out").open_stage("s", "0" * 12, {"kind": "documents", "label": "s"})
    with (
        LocalExecutor(workers) as executor,
        pytest.raises(RunError, match="3 worker processes ended before their first task, the last with 9"),
    ):
        executor.run(str(folder.job), [0, 1, 2, 3], lambda task, rows, size, said="", share=0.0: None)
    assert started.read_text().count("once") <= 3
