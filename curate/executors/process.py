"""A worker process: `python -m curate.executors.process FD`. Takes tasks from a pipe until it closes.

A fresh interpreter, or forked by one that only imported (`nursery.py`): nothing is forked after threads exist, and a user's
script is not imported again.
It owns one core: kernels, Arrow and polars run single-threaded; it keeps memory between batches. It ignores Ctrl-C (the parent decides) and dies with
its parent.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import resource
import signal
import socket
import sys
import time
import traceback
from multiprocessing.connection import Connection
from typing import Any

from curate.executors import cpu_compute, nursery

ONE_THREAD = {
    "NUMBA_NUM_THREADS": "1",
    "POLARS_MAX_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "RAYON_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
REPORT_EVERY_S = 0.2
PR_SET_PDEATHSIG = 1
KEPT_BELOW = 2 << 30  # bytes: a process that had more at its peak is not kept for another task that may use the whole machine


def serve(connection: Connection) -> None:
    """Run tasks one after the other: says it is ready, receives (job path, index), sends progress, then done (and whether another wide task may follow) or the error."""
    from curate.errors import CurateError
    from curate.worker import execute

    environment = dict(os.environ)
    connection.send(("ready",))
    while True:
        try:
            message = connection.recv()
        except EOFError:
            return
        if message[0] == "warm":
            warm_up(message[1])
            connection.send(("warm",))
            continue
        _, job_path, index = message
        report = _Throttle(connection, index)
        try:
            execute(job_path, index, report)
            report.flush()
            for name in os.environ.keys() - environment.keys():
                del os.environ[name]
            os.environ.update(environment)
            connection.send(("done", index, is_as_new()))
        except CurateError as error:
            connection.send(("error", index, type(error).__name__, str(error)))
        except Exception as error:  # noqa: BLE001  the supervisor prints it; the process must live on
            connection.send(("crash", index, f"{type(error).__name__}: {error}", traceback.format_exc()))


def is_as_new() -> bool:
    """Whether the next task finds this process as a fresh one would be, but for what is imported: no GPU held, little memory, no global setting of torch."""
    torch = sys.modules.get("torch")
    if torch is not None and (torch.cuda.is_initialized() or torch.are_deterministic_algorithms_enabled()):
        return False
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return peak < KEPT_BELOW


def warm_up(modules: list[str]) -> None:
    """Compile the kernels of these modules, or load them from the cache."""
    import importlib

    from curate.kernels.compiled import make_ready

    for module in modules:
        make_ready(importlib.import_module(f"curate.kernels.{module}"))


class _Throttle:
    """Adds up progress and sends it a few times a second."""

    def __init__(self, connection: Connection, index: int) -> None:
        self._connection, self._index = connection, index
        self._rows = self._bytes = 0
        self._said: tuple[str, float] | tuple[()] = ()
        self._sent = time.monotonic()

    def __call__(self, rows: int, size: int, said: str = "", share: float = 0.0) -> None:
        self._rows += rows
        self._bytes += size
        if said:
            self._said = (said, share)
        if time.monotonic() - self._sent >= REPORT_EVERY_S:
            self.flush()

    def flush(self) -> None:
        self._connection.send(("progress", self._index, self._rows, self._bytes, *self._said))
        self._rows = self._bytes = 0
        self._said = ()
        self._sent = time.monotonic()


def die_with_parent() -> None:
    with contextlib.suppress(OSError, AttributeError):  # Linux only; elsewhere a closed pipe ends us after the task
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _import_engine() -> None:
    """Import what every task needs, while the parent still writes the first one down."""

    import curate.kernels.compiled
    import curate.worker.documents
    import curate.worker.records  # noqa: F401


def main(arguments: list[str]) -> None:
    """Entry point of the process: FD, or FD and "wide" or "nursery"."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    descriptor, kind = int(arguments[0]), "".join(arguments[1:])
    if kind == "wide":
        cpu_compute.set_up()
    else:
        _set_up_narrow(alone=kind == "nursery")
    if kind == "nursery":
        nursery.rear(socket.socket(fileno=descriptor), _work)
        os._exit(0)  # nothing to tidy up
    else:
        _work(descriptor)


def _set_up_narrow(alone: bool) -> None:
    """One core, one thread, and what every task needs imported. alone: without any thread of a library.

    What is imported stays: looking for garbage in it takes 0.2 s meanwhile, and after a fork would copy the pages it lies on.
    """
    gc.disable()
    os.environ.update(ONE_THREAD)
    cpu_compute.set_up_worker()
    if alone:
        nursery.start_alone()
    import pyarrow as pa

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    _import_engine()
    gc.freeze()
    gc.enable()


def _work(descriptor: int) -> None:
    connection: Any = Connection(descriptor)
    with contextlib.suppress(BrokenPipeError):
        serve(connection)


if __name__ == "__main__":
    main(sys.argv[1:])
