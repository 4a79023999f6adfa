"""Worker processes on this machine, one per core, watched by our own supervisor.

A dead worker does not break the pool: its task goes to a fresh one, which finds in the task's marker file what was in
flight (`curate.worker.marks`). Workers stay alive between stages. One more, for tasks that may use the whole machine, stays
too where it left nothing behind (`process.is_as_new`): importing torch and trl costs ten seconds of CPU, and a recipe with
rounds of generation and training has dozens of such stages.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections import Counter, deque
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from types import TracebackType

from curate import errors
from curate.errors import RunError
from curate.executors.compiling import Schedule, compile_modules
from curate.executors.executor import Progress
from curate.executors.nursery import AVAILABLE, Nursery

WARM_UP_PROCESSES = 4  # more would mostly compile the small kernels that all modules share
MAX_DEATHS = 200  # of one task; the worker itself gives up much sooner where nothing moves
MAX_FALSE_STARTS = 3  # processes in a row that ended before they could take a task
KILLED = (-signal.SIGKILL, -signal.SIGTERM)  # exit codes of processes that somebody else ended


class _Worker:
    """A process and our end of its pipe."""

    def __init__(self, wide: bool, nursery: Nursery | None = None) -> None:
        ours, theirs = socket.socketpair()
        self.process = nursery.fork(theirs.fileno()) if nursery is not None else _started(theirs.fileno(), wide)
        theirs.close()
        self.pipe: Connection = Connection(ours.detach())
        self.task: int | None = None
        self.ready = self.as_new = False

    def give(self, job_path: str, index: int) -> None:
        self.task = index
        with contextlib.suppress(BrokenPipeError):  # it just died: the next message says so
            self.pipe.send(("task", job_path, index))

    def stop(self) -> None:
        self.pipe.close()
        self.process.kill()
        self.process.wait()


def _started(pipe: int, wide: bool) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "curate.executors.process", str(pipe), *(["wide"] if wide else [])]
    return subprocess.Popen(command, pass_fds=[pipe], stdin=subprocess.DEVNULL)


class _Deaths:
    """Counts the processes that ended while they had a task, and says when it is no use to go on."""

    def __init__(self, job_path: str) -> None:
        self._job_path = job_path
        self._of_task: Counter[int] = Counter()
        self._false_starts = 0

    def note(self, task: int, worker: _Worker) -> None:
        """One more. RunError where it is one too many."""
        self._of_task[task] += 1
        code = worker.process.wait()
        self._false_starts = 0 if worker.ready or code in KILLED else self._false_starts + 1
        if self._false_starts == MAX_FALSE_STARTS:
            raise RunError(
                f"{MAX_FALSE_STARTS} worker processes ended before their first task, the last with {code}; "
                "see their messages above. Look at the memory of this machine and at the installation."
            )
        if self._of_task[task] > MAX_DEATHS:
            raise RunError(f"Task {task} of {self._job_path} killed its process {MAX_DEATHS} times. Look at the memory of this machine.")


class LocalExecutor:
    """Runs tasks in `workers` processes."""

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers or len(os.sched_getaffinity(0))
        self._pool: list[_Worker] = []
        self._wide: _Worker | None = None
        self._nursery: Nursery | None = None

    def start(self, tasks: int) -> None:
        """Start the processes for so many tasks: they import what every task needs while the parent gets the first one ready."""
        while len(self._pool) < min(self.workers, tasks):
            self._pool.append(self._new())

    def warm_up(self, modules: Sequence[str]) -> None:
        """Compile these kernel modules once, in the first workers, before tasks make all of them want it at the same time."""
        workers: list[_Worker] = []
        for _ in range(min(self.workers, WARM_UP_PROCESSES, len(modules))):
            workers.append(self._worker(workers))
        dead = compile_modules(Schedule(modules), [worker.pipe for worker in workers])
        for worker in workers:
            if worker.pipe is dead:
                raise RunError(f"The process that compiles the kernels ended with {worker.process.wait()}; see its message above.")

    def run(self, job_path: str, tasks: Sequence[int], progress: Progress, whole_machine: bool = False) -> None:
        """Run the tasks; see Executor."""
        waiting = deque(tasks)
        deaths = _Deaths(job_path)
        extra: list[_Worker] = []
        if whole_machine:
            kept, self._wide = self._wide, None
            extra.append(kept if kept is not None and kept.process.poll() is None else _Worker(wide=True))
        try:
            busy: list[_Worker] = []
            while waiting or busy:
                while waiting and len(busy) < (1 if whole_machine else self.workers):
                    worker = extra[0] if whole_machine else self._worker(busy)
                    worker.give(job_path, waiting.popleft())
                    busy.append(worker)
                for pipe in wait([w.pipe for w in busy]):
                    worker = next(w for w in busy if w.pipe is pipe)
                    task = worker.task
                    assert task is not None
                    if not self._listen(worker, progress):
                        busy.remove(worker)
                        if worker.process.poll() is not None or worker not in [*self._pool, *extra]:
                            deaths.note(task, worker)
                            waiting.appendleft(task)
                            if whole_machine:
                                extra[0] = _Worker(wide=True)
            if whole_machine and extra[0].as_new:
                self._wide = extra.pop()
        finally:
            for worker in extra:
                worker.stop()

    def _listen(self, worker: _Worker, progress: Progress) -> bool:
        """Take one message. False: the worker is free or dead."""
        try:
            message = worker.pipe.recv()
        except (EOFError, ConnectionResetError):
            worker.stop()
            if worker in self._pool:
                self._pool.remove(worker)
            return False
        worker.ready = True
        kind, index = message[0], message[1] if len(message) > 1 else -1
        if kind == "ready":
            return True
        if kind == "progress":
            progress(-1, *message[2:])
            return True
        worker.task = None
        if kind == "done":
            worker.as_new = message[2]
            progress(index, 0, 0)
            return False
        if kind == "error":
            raise getattr(errors, message[2], RunError)(message[3])
        raise RunError(f"Task {index} failed in a way that curate does not know; please report it.\n{message[3]}")

    def _worker(self, busy: Sequence[_Worker] = ()) -> _Worker:
        for worker in [w for w in self._pool if w not in busy]:
            if worker.process.poll() is None:
                return worker
            worker.stop()
            self._pool.remove(worker)
        self._pool.append(self._new())
        return self._pool[-1]

    def _new(self) -> _Worker:
        """A worker for tasks that take one core each."""
        if self.workers == 1 or not AVAILABLE:
            return _Worker(wide=False)
        if self._nursery is not None and not self._nursery.lives():
            self._nursery.stop()
            self._nursery = None
        self._nursery = self._nursery or Nursery()
        return _Worker(False, self._nursery)

    def dismiss(self) -> None:
        """End all processes, without waiting until the system has taken back their memory; `__exit__` does."""
        for worker in self._workers():
            worker.process.kill()

    def _workers(self) -> list[_Worker]:
        return [*self._pool, *([self._wide] if self._wide is not None else [])]

    def __enter__(self) -> LocalExecutor:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._nursery is not None:
            self._nursery.stop()
        self.dismiss()  # all of them, before the first is waited for
        for worker in self._workers():
            worker.stop()
        self._pool, self._wide, self._nursery = [], None, None
