"""The same tasks as Ray tasks, on a cluster (RAY_ADDRESS) or on this machine.

A Ray task is `execute(job path, index)`; the run folder must be on storage that every node sees under the same path.
Retries are ours, not Ray's: a task whose process died leaves its marker, and the next attempt narrows down.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from curate import errors
from curate.errors import MissingDependency, RunError
from curate.executors.executor import Progress
from curate.executors.process import ONE_THREAD

MAX_DEATHS = 200


def _execute(job_path: str, index: int) -> tuple[str, ...] | tuple[str, int, int]:
    """What runs on a Ray worker. Errors come back as values, so that their class survives."""
    import traceback

    import pyarrow as pa

    from curate.worker import execute

    pa.set_cpu_count(1)
    try:
        receipt = execute(job_path, index, lambda rows, size, said="", share=0.0: None)
    except errors.CurateError as error:
        return ("error", type(error).__name__, str(error))
    except Exception:  # noqa: BLE001  travels back as text
        return ("crash", traceback.format_exc())
    ledger = receipt.get("ledger", {})
    return ("done", int(ledger.get("rows_in", 0)), int(ledger.get("bytes_in", 0)))


class RayExecutor:
    """Runs tasks on Ray, at most `workers` at a time (default: all CPUs of the cluster)."""

    def __init__(self, workers: int | None = None) -> None:
        try:
            import ray
        except ModuleNotFoundError as error:
            raise MissingDependency.extra("ray", "ray", "--executor ray") from error
        self._ray: Any = ray
        self.workers = workers

    def run(self, job_path: str, tasks: Sequence[int], progress: Progress, whole_machine: bool = False) -> None:
        """Run the tasks; see Executor."""
        self._start()
        ray = self._ray
        environment = {} if whole_machine else {"runtime_env": {"env_vars": ONE_THREAD}}
        remote = ray.remote(max_retries=0, num_cpus=1, **environment)(_execute)
        limit = self.workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        waiting, flying, deaths = list(tasks)[::-1], dict[Any, int](), dict.fromkeys(tasks, 0)
        while waiting or flying:
            while waiting and len(flying) < limit:
                task = waiting.pop()
                flying[remote.remote(job_path, task)] = task
            for reference in ray.wait(list(flying), num_returns=1)[0]:
                task = flying.pop(reference)
                try:
                    answer = ray.get(reference)
                except ray.exceptions.WorkerCrashedError as error:
                    deaths[task] += 1
                    if deaths[task] > MAX_DEATHS:
                        raise RunError(f"Task {task} of {job_path} killed its Ray worker {MAX_DEATHS} times.") from error
                    waiting.append(task)
                    continue
                _raise_if_failed(answer, task)
                progress(task, answer[1], answer[2])

    def _start(self) -> None:
        if self._ray.is_initialized():
            return
        address = os.environ.get("RAY_ADDRESS")
        local = {} if address else {"num_cpus": self.workers or len(os.sched_getaffinity(0)), "include_dashboard": False}
        self._ray.init(address=address, log_to_driver=False, logging_level="error", **local)

    def __enter__(self) -> RayExecutor:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._ray.is_initialized():
            self._ray.shutdown()


def _raise_if_failed(answer: tuple[Any, ...], task: int) -> None:
    if answer[0] == "error":
        raise getattr(errors, answer[1], RunError)(answer[2])
    if answer[0] == "crash":
        raise RunError(f"Task {task} failed in a way that curate does not know; please report it.\n{answer[1]}")
