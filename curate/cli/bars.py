"""Progress as bars with rate and time left, one line per stage on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeRemainingColumn

from curate.cli.display import Meter


class Bars:
    """One line per stage on a terminal (stderr)."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[what]}"),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            console=self._console,
        )
        self._task: TaskID | None = None
        self._meter = Meter([], [])

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def note(self, text: str) -> None:
        self._progress.console.print(f"[dim]{text}[/]")

    def stage(self, label: str, steps: Sequence[str], weights: Sequence[int], waiting: Sequence[int]) -> None:
        self._meter = Meter(weights, waiting)
        self._task = self._progress.add_task(label, total=max(1, self._meter.total), what="")
        self._refresh()

    def advance(self, task: int, rows: int, size: int, said: str = "", share: float = 0.0) -> None:
        self._meter.advance(task, rows, size, said, share)
        self._refresh()

    def stage_done(self, label: str) -> None:
        if self._task is not None:
            self._progress.update(self._task, completed=max(1, self._meter.total), what=self._meter.rate())

    def _refresh(self) -> None:
        if self._task is not None:
            self._progress.update(self._task, completed=self._meter.done, what=self._meter.rate())
