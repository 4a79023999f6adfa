"""Notes of the batch in flight, so that a document that kills its process can be found.

Before a batch (or a slice of it) is processed, its place is written into a small memory-mapped file. The file survives
the process. The next attempt at the task reads it and narrows down, 64 ways at a time: the batch that was in flight
goes through in 64 slices, then the slice that was in flight row by row; a row that kills three times while it is alone is
quarantined. A worker that was killed from outside costs one slower batch and changes no byte.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

MAGIC = 0x6375726174650001
WAYS = 64
DEATHS_ALONE = 3  # so that kills from outside can hardly condemn an innocent row
MAX_DEATHS = 12  # in one place without getting further: give up

_FIELDS = 8  # magic, batch, start, stop, deaths in this place, poison rows, -, -
_SLOTS = 512


@dataclass
class Marks:
    """What earlier attempts left, and the file that this attempt writes."""

    path: Path
    batch: int = -1  # in flight when the last attempt died
    start: int = 0
    stop: int = 0
    deaths: int = 0
    poison: list[tuple[int, int]] = field(default_factory=list)  # (batch, row in it), to be quarantined

    def __post_init__(self) -> None:
        self._read()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        size = 8 * (_FIELDS + 2 * _SLOTS)
        with open(self.path, "wb") as file:
            file.truncate(size)
        with open(self.path, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), size)
        self._cells = np.frombuffer(self._map, np.int64)
        for slot, pair in enumerate(self.poison[:_SLOTS]):
            self._cells[_FIELDS + 2 * slot : _FIELDS + 2 * slot + 2] = pair
        self._cells[5] = len(self.poison)
        self.flying(self.batch, self.start, self.stop, self.deaths)
        self._cells[0] = MAGIC

    def _read(self) -> None:
        try:
            cells = np.frombuffer(self.path.read_bytes(), np.int64)
        except FileNotFoundError:
            return
        if len(cells) != _FIELDS + 2 * _SLOTS or cells[0] != MAGIC:
            return
        self.batch, self.start, self.stop = (int(c) for c in cells[1:4])
        self.deaths = int(cells[4]) + 1
        pairs = cells[_FIELDS : _FIELDS + 2 * int(cells[5])].reshape(-1, 2).tolist()
        self.poison = [(int(b), int(r)) for b, r in pairs]
        if self.batch >= 0 and self.stop - self.start == 1 and self.deaths >= DEATHS_ALONE and len(self.poison) < _SLOTS:
            self.poison.append((self.batch, self.start))
            self.deaths = 0

    def flying(self, batch: int, start: int, stop: int, deaths: int = 0) -> None:
        """Note what is about to be processed. deaths: how often a process died at exactly this place before."""
        self._cells[1:5] = (batch, start, stop, deaths)

    def stuck(self) -> bool:
        """True where attempts die again and again without getting further."""
        return self.deaths >= MAX_DEATHS

    def poisoned(self, batch: int) -> list[int]:
        """Rows of this batch that killed their process while alone."""
        return sorted(r for b, r in self.poison if b == batch)

    def slices(self, batch: int, rows: int) -> list[tuple[int, int, int]]:
        """(start, stop, deaths) of the pieces in which to process a batch: one piece unless it is under suspicion."""
        if batch != self.batch and not self.poisoned(batch):
            return [(0, rows, 0)]
        width = self.stop - self.start
        pieces = _cut(0, rows, max(1, -(-rows // WAYS)))
        if batch == self.batch and 0 < width < rows and self.stop <= rows:
            pieces = [p for p in pieces if p[1] <= self.start or p[0] >= self.stop]
            pieces = sorted([*pieces, *_cut(self.start, self.stop, max(1, -(-width // WAYS)))])
            pieces = _fill(pieces, rows)
        for row in self.poisoned(batch):
            pieces = [q for p in pieces for q in _without(p, row)]
        same = (self.start, self.stop)
        return [(a, b, self.deaths if batch == self.batch and (a, b) == same else 0) for a, b in pieces]


def _cut(start: int, stop: int, width: int) -> list[tuple[int, int]]:
    return [(a, min(a + width, stop)) for a in range(start, stop, width)]


def _fill(pieces: list[tuple[int, int]], rows: int) -> list[tuple[int, int]]:
    """Cover [0, rows): close the gaps that removing overlapping pieces left."""
    covered, out = 0, []
    for a, b in pieces:
        if a > covered:
            out.append((covered, a))
        out.append((max(a, covered), b))
        covered = b
    if covered < rows:
        out.append((covered, rows))
    return out


def _without(piece: tuple[int, int], row: int) -> list[tuple[int, int]]:
    a, b = piece
    return [piece] if not a <= row < b else [p for p in ((a, row), (row + 1, b)) if p[0] < p[1]]
