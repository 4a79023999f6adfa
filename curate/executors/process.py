"""A worker process: `python -m curate.executors.process FD`. Takes tasks from a pipe until it closes.

Started as a fresh interpreter: nothing is forked after threads exist, and a user's script is not imported again.
It owns one core: kernels, Arrow and polars run single-threaded. It ignores Ctrl-C (the parent decides) and dies with
its parent.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
import traceback
from multiprocessing.connection import Connection
from typing import Any

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


def serve(connection: Connection) -> None:
    """Run tasks one after the other: receives (job path, index), sends progress, then done or the error."""
    from curate.errors import CurateError
    from curate.worker import execute

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
            connection.send(("done", index))
        except CurateError as error:
            connection.send(("error", index, type(error).__name__, str(error)))
        except Exception as error:  # noqa: BLE001  the supervisor prints it; the process must live on
            connection.send(("crash", index, f"{type(error).__name__}: {error}", traceback.format_exc()))


def warm_up(modules: list[str]) -> None:
    """Compile the kernels of these modules, or load them from the cache."""
    import importlib

    for module in modules:
        importlib.import_module(f"curate.kernels.{module}")


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


def _start_numba() -> None:
    """Make numba ready without what no kernel uses: 0.6 s of CPU in each worker.

    It imports SciPy where that is installed, for its BLAS, and at its first compilation, or load from the cache, every
    installed package that extends it (awkward comes with the tokenizer).
    """
    sys.modules["scipy"] = None  # type: ignore[assignment]  # an import of it now fails, as where it is not installed
    try:
        import numba.core.entrypoints
        import numba.np.arraymath
    finally:
        del sys.modules["scipy"]
    numba.core.entrypoints._already_initialized = True


def main(arguments: list[str]) -> None:
    """Entry point of the process."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    wide = arguments[1:] == ["wide"]
    if not wide:
        os.environ.update(ONE_THREAD)
    import pyarrow as pa

    if not wide:
        pa.set_cpu_count(1)
        pa.set_io_thread_count(1)
        _start_numba()
    connection: Any = Connection(int(arguments[0]))
    with contextlib.suppress(BrokenPipeError):
        serve(connection)


if __name__ == "__main__":
    main(sys.argv[1:])
