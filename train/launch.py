"""Who runs a training job: this process, N processes of this machine, or the processes that torchrun started.

With N processes each is `python -m train.launch JOB.json` with the environment that torchrun gives (RANK, WORLD_SIZE, ...).
The first one that dies takes the others with it, so no rank waits for ever in a collective call.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from curate import errors, registry
from curate.errors import CurateError, Interrupted, RunError
from curate.executors import cpu_compute
from curate.node import Progress
from train.node import TrainJob
from train.progress import Line

PROCESSES = "CURATE_TRAIN_PROCESSES"
JOB, RESULT = "job.json", "result.json"


def run_job(job: TrainJob, processes: int | None, progress: Progress) -> dict[str, Any]:
    """Run a job and return its figures.

    processes: None: $CURATE_TRAIN_PROCESSES, else one for each GPU, else one
    """
    cpu_compute.set_up()
    registry.load("nodes", job.kind)(**job.settings).check_packages(f"train: {job.kind.removeprefix('train:')}")
    if "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1:  # torchrun, or our own launcher, has started us
        return _run_here(job, progress)
    count = processes or int(os.environ.get(PROCESSES, "0")) or _gpus()
    return _run_here(job, progress) if count == 1 else _run_many(job, count)


def _gpus() -> int:
    """GPUs of this machine, at least 1."""
    import torch

    return max(1, int(torch.cuda.device_count()))


def _run_here(job: TrainJob, progress: Progress) -> dict[str, Any]:
    node = registry.load("nodes", job.kind)(**job.settings)
    info: dict[str, Any] = node.train(job, progress)
    return info


def _run_many(job: TrainJob, count: int) -> dict[str, Any]:
    work = Path(job.work)
    forget_errors(work)
    (work / RESULT).unlink(missing_ok=True)
    (work / JOB).write_text(job.to_json(), "utf-8")
    see_through([_start(work / JOB, rank, count, port) for port in [free_port()] for rank in range(count)], work)
    return dict(json.loads((work / RESULT).read_bytes()))


def see_through(processes: Sequence[subprocess.Popen[bytes]], work: Path) -> None:
    """Wait until all have ended. The first that fails takes the others with it, and its error (`tell_error`) is raised.

    Raises Interrupted after Ctrl-C, when all have saved their step.
    """
    try:
        _watch(processes, work)
    except KeyboardInterrupt as error:
        with contextlib.suppress(KeyboardInterrupt, CurateError):  # they had the signal too: they save and end; a second one does not wait
            _watch(processes, work)
        raise Interrupted("interrupted; run the same command to go on from the last checkpoint") from error
    finally:
        for process in processes:
            process.kill()
            process.wait()


def forget_errors(work: Path) -> None:
    """Remove what processes of an earlier attempt had to say."""
    for old in work.glob("error-*.json"):
        old.unlink()


def tell_error(work: Path, number: int | str, error: CurateError) -> None:
    """Write down why this process ends, for the one that waits for it."""
    (work / f"error-{number}.json").write_text(json.dumps({"type": type(error).__name__, "message": str(error)}), "utf-8")


@contextlib.contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets from now on, so that a step can be finished and saved. Not where somebody else handles them."""
    asked, before = threading.Event(), {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                before[number] = signal.signal(number, lambda *_: asked.set())
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def free_port() -> int:
    """A TCP port that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _start(job: Path, rank: int, count: int, port: int) -> subprocess.Popen[bytes]:
    threads = max(1, len(os.sched_getaffinity(0)) // count)
    given = {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "WORLD_SIZE": count,
        "LOCAL_WORLD_SIZE": count,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }
    environment = {"OMP_NUM_THREADS": str(threads), **os.environ, **{k: str(v) for k, v in given.items()}}
    return subprocess.Popen([sys.executable, "-P", "-m", "train.launch", str(job)], env=environment, stdin=subprocess.DEVNULL)


def _watch(processes: Sequence[subprocess.Popen[bytes]], work: Path) -> None:
    """Wait for all; raise the error of the first that fails."""
    left = dict(enumerate(processes))
    while left:
        time.sleep(0.05)
        for rank, process in list(left.items()):
            status = process.poll()
            if status is None:
                continue
            del left[rank]
            if status:
                time.sleep(0.5)  # the cause may be another rank's error, written at the same moment
                raise _error(work, rank, status)


def _error(work: Path, rank: int, status: int) -> CurateError:
    found = sorted(work.glob("error-*.json"), key=lambda f: f.stat().st_mtime_ns)
    if found:
        entry = json.loads(found[0].read_bytes())
        kind = getattr(errors, entry["type"], RunError)
        return kind(entry["message"]) if issubclass(kind, CurateError) else RunError(entry["message"])
    return RunError(
        f"Process {rank} of the training run ended with status {status}; see its message above. The same command goes on from the last checkpoint."
    )


def main(arguments: list[str]) -> int:
    """Entry point of one rank."""
    from curate.executors.process import die_with_parent

    die_with_parent()
    cpu_compute.set_up()
    path = Path(arguments[0])
    job = TrainJob.from_json(path.read_text("utf-8"))
    try:
        info = _run_here(job, Line(job.name) if os.environ["RANK"] == "0" else lambda share, what: None)
    except CurateError as error:
        tell_error(path.parent, os.environ["RANK"], error)
        return 1
    if os.environ["RANK"] == "0":
        (path.parent / RESULT).write_text(json.dumps(info), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
