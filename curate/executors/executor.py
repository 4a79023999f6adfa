"""What an executor is: something that runs the tasks of a job. It knows a path and numbers, never a step's name."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol


class Progress(Protocol):
    """Takes the task that ended (-1: none did), documents and bytes done since the last call; what a task says of itself and the share it has done."""

    def __call__(self, task: int, rows: int, size: int, said: str = "", share: float = 0.0) -> None: ...


class Executor(Protocol):
    """Runs tasks; a task whose process died is tried again (the worker narrows down what killed it)."""

    def run(self, job_path: str, tasks: Sequence[int], progress: Progress, whole_machine: bool = False) -> None:
        """Return when every task has its receipt; raise the first error that is not worth another try.

        whole_machine: the single task may use all cores (training a tokenizer).
        """
        ...

    def __enter__(self) -> Executor: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...
