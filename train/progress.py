"""Progress of a run for people. Needs no torch."""

from __future__ import annotations

import sys


class Line:
    """Progress on stderr: one line that is written over on a terminal, a line every ten seconds elsewhere."""

    def __init__(self, name: str) -> None:
        self._name, self._tty = name, sys.stderr.isatty()

    def __call__(self, share: float, what: str) -> None:
        end = "\n" if not self._tty or share >= 1 else ""
        sys.stderr.write(f"\r\033[K{self._name}: {what}{end}" if self._tty else f"{self._name}: {what}\n")
        sys.stderr.flush()
