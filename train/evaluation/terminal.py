"""The terminal side of `curate eval`: a bar while a model is asked, and the tables afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from train.evaluation.evaluate import TaskResult
from train.evaluation.tables import comparison_lines, task_lines


class Bar:
    """Progress by task. Call it with (task, items done, items of the task)."""

    def __init__(self, model: str, quiet: bool = False) -> None:
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console, disable=quiet or not console.is_terminal, transient=True)
        self._console, self._quiet, self._model = console, quiet, model
        self._tasks: dict[str, int] = {}

    def __call__(self, task: str, done: int, total: int) -> None:
        if task not in self._tasks:
            self._tasks[task] = self._progress.add_task(task, total=total)
            if not self._quiet and not self._console.is_terminal:
                self._console.print(f"{self._model}: {task}, {total:,} items", highlight=False)
        self._progress.advance(self._tasks[task], done)  # type: ignore[arg-type]  # rich's TaskID is an int

    def tick(self) -> None:
        """Something goes on that has no number yet."""
        self._progress.refresh()

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()


def show(results: Mapping[str, Sequence[TaskResult]]) -> None:
    """Print a table for each model, and one that compares them where there are several."""
    console = Console()
    for name, found in results.items():
        console.print(_table(name, task_lines(found)))
        for r in found:
            if r.skipped:
                console.print(f"{r.task}: {r.skipped:,} rows were no items and are left out", highlight=False)
    if len(results) > 1:
        console.print(_table("against the first model: difference, 95 % interval, verdict", comparison_lines(results)))


def _table(title: str, lines: Sequence[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left", highlight=False, box=SIMPLE_HEAD, pad_edge=False)
    for at, name in enumerate(lines[0]):
        table.add_column(name, justify="right" if at in (1, 3) and len(lines[0]) == 6 else "left", overflow="fold")
    for line in lines[1:]:
        table.add_row(*line)
    return table
