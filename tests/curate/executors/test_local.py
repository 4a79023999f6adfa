"""Workers that die while they have nothing to do."""

from __future__ import annotations

from pathlib import Path

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
