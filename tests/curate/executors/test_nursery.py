"""Workers forked by a process that only imported: they end as processes of our own would, and with it."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from curate.executors.local import LocalExecutor
from curate.executors.nursery import AVAILABLE, Forked, Nursery

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="workers are forked on Linux only")


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    made = Nursery()
    yield made
    made.stop()


def worker(nursery: Nursery) -> tuple[Forked, Connection]:
    ours, theirs = socket.socketpair()
    forked = nursery.fork(theirs.fileno())
    theirs.close()
    return forked, Connection(ours.detach())


def process_of(nursery: Nursery, number: int) -> int:
    return nursery.heard[number][0]


def is_gone(process: int) -> bool:
    """Within five seconds: dead, or a zombie that whoever adopted it did not reap yet."""
    for _ in range(500):
        try:
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


def test_workers_are_ready_and_the_nursery_has_one_thread(nursery: Nursery) -> None:
    (first, pipe), (second, other) = worker(nursery), worker(nursery)
    assert first.poll() is None
    assert pipe.recv() == other.recv() == ("ready",)
    assert first.poll() is None and second.poll() is None
    assert len(os.listdir(f"/proc/{nursery._process.pid}/task")) == 1, "forking a process with threads is not safe"
    a, b = process_of(nursery, 1), process_of(nursery, 2)
    assert a != b and len(os.listdir(f"/proc/{a}/task")) == 1
    pipe.close()  # the worker ends by itself, the other one does not
    assert first.wait() == 0 and second.poll() is None
    other.close()
    assert second.wait() == 0


def test_a_killed_worker_has_its_exit_code_and_closes_its_pipe(nursery: Nursery) -> None:
    forked, pipe = worker(nursery)
    assert pipe.recv() == ("ready",)
    forked.kill()
    assert forked.wait() == -signal.SIGKILL == forked.poll()
    with pytest.raises(EOFError):
        pipe.recv()
    forked.kill()  # once more does no harm


def test_workers_end_with_their_nursery() -> None:
    nursery = Nursery()
    forked, pipe = worker(nursery)
    assert pipe.recv() == ("ready",)
    os.kill(nursery._process.pid, signal.SIGKILL)
    assert forked.wait() == -signal.SIGKILL
    with pytest.raises(EOFError):
        pipe.recv()
    assert is_gone(process_of(nursery, 1)) and not nursery.lives()
    late, end = worker(nursery)
    assert late.wait() == -signal.SIGKILL
    late.kill()
    with pytest.raises((EOFError, ConnectionResetError)):
        end.recv()
    nursery.stop()


@pytest.mark.parametrize("imported", [False, True])
def test_stop_leaves_nothing(imported: bool) -> None:
    """A nursery that still imports is not waited for."""
    nursery = Nursery()
    forked, pipe = worker(nursery)
    if imported:
        assert pipe.recv() == ("ready",)
    nursery.stop()
    assert not nursery.lives() and forked.poll() is not None
    with pytest.raises((EOFError, ConnectionResetError)):
        pipe.recv()
    assert all(is_gone(process) for process, _ in nursery.heard.values())


def test_an_executor_makes_another_nursery_where_one_died() -> None:
    with LocalExecutor(2) as executor:
        executor.start(2)
        before = executor._nursery
        assert before is not None and executor._pool[0].pipe.recv() == ("ready",)
        os.kill(before._process.pid, signal.SIGKILL)
        before._process.wait()
        assert executor._worker().pipe.recv() == ("ready",)
        assert executor._nursery is not before and len(executor._pool) == 1


def test_a_single_worker_is_a_process_of_its_own() -> None:
    with LocalExecutor(1) as executor:
        executor.start(5)
        assert executor._nursery is None and len(executor._pool) == 1


def test_dismissed_workers_end_and_may_be_asked_for_again() -> None:
    with LocalExecutor(2) as executor:
        executor.start(2)
        workers = list(executor._pool)
        assert all(w.pipe.recv() == ("ready",) for w in workers)
        executor.dismiss()
        assert [w.process.wait() for w in workers] == [-signal.SIGKILL] * 2
        assert executor._worker().pipe.recv() == ("ready",)
    assert not executor._pool
