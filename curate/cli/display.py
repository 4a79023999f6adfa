"""Progress: bars with rate and time left on a terminal (`bars.py`), a plain line now and then elsewhere, nothing with --quiet."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from curate.report.words import size
from curate.runner import Silent

if TYPE_CHECKING:
    from curate.cli.bars import Bars

PLAIN_EVERY_S = 10.0


class Plain:
    """Lines on stderr where it is no terminal: one when a stage ends, one every ten seconds in a long stage."""

    def __init__(self) -> None:
        self._meter = Meter([], [])
        self._label = ""
        self._last = time.monotonic()

    def __enter__(self) -> Plain:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def note(self, text: str) -> None:
        self._say(text)

    def stage(self, label: str, steps: Sequence[str], weights: Sequence[int], waiting: Sequence[int]) -> None:
        self._meter, self._label, self._last = Meter(weights, waiting), label, time.monotonic()

    def advance(self, task: int, rows: int, size: int, said: str = "", share: float = 0.0) -> None:
        self._meter.advance(task, rows, size, said, share)
        if time.monotonic() - self._last > PLAIN_EVERY_S:
            self._last = time.monotonic()
            self._say(f"{self._label}: {100 * self._meter.done / max(1, self._meter.total):.0f} %, {self._meter.rate()}")

    def stage_done(self, label: str) -> None:
        self._say(f"{label}: done, {self._meter.rate()}")

    def _say(self, text: str) -> None:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


class Quiet(Silent):
    """Nothing, in the same form."""

    def __enter__(self) -> Quiet:
        return self

    def __exit__(self, *error: object) -> None:
        pass


class Meter:
    """Adds up what a stage has done. Tasks weigh what they read; a task counts when it ends."""

    def __init__(self, weights: Sequence[int], waiting: Sequence[int]) -> None:
        self._weights = [max(1, w) for w in weights]
        self.total = sum(self._weights)
        left = set(waiting)
        self.done: float = sum(w for i, w in enumerate(self._weights) if i not in left)
        self._rows = self._bytes = 0
        self._said = ""
        self._tasks, self._ended = len(weights), len(weights) - len(left)
        self._started = time.monotonic()

    def advance(self, task: int, rows: int, size: int, said: str = "", share: float = 0.0) -> None:
        self._rows += rows
        self._bytes += size
        if said:
            self._said = said
            if len(self._weights) == 1:
                self.done = share * self.total
        if task >= 0:
            self.done = self.done + self._weights[task] if len(self._weights) > 1 else self.total
            self._ended += 1

    def rate(self) -> str:
        """'3/12 tasks, 40,211 documents, 61.0 MB, 12.1 MB/s', or what the task says of itself."""
        if self._said:
            return self._said
        spent = max(1e-3, time.monotonic() - self._started)
        words = [f"{self._ended}/{self._tasks} tasks"]
        if self._rows:
            words += [f"{self._rows:,} documents", size(self._bytes), f"{size(self._bytes / spent)}/s"]
        return ", ".join(words)


def make_display(quiet: bool) -> Bars | Plain | Quiet:
    """What fits: nothing, bars or lines."""
    if quiet:
        return Quiet()
    if not sys.stderr.isatty():
        return Plain()
    from curate.cli.bars import Bars

    return Bars()
