"""Rows cut into units by their sizes: where a unit ends does not depend on how the rows came in."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Unit = tuple[list[pa.RecordBatch], int]  # its rows, and the sum of their sizes


class Units:
    """Gathers rows into units that end with the row that reaches `full`, or at `most_rows` rows."""

    def __init__(self, full: int, most_rows: int) -> None:
        self._full, self._most_rows = full, most_rows
        self._held: list[pa.RecordBatch] = []
        self._size = self.rows = 0  # of what is held

    def add(self, batch: pa.RecordBatch, sizes: npt.NDArray[np.integer]) -> Iterator[Unit]:
        """Take a batch, sizes one a row; yield each unit it fills."""
        at = 0
        ends = np.cumsum(sizes, dtype=np.int64)
        while at < len(batch):
            passed = int(ends[at - 1]) if at else 0
            cut = int(np.searchsorted(ends, self._full - self._size + passed)) + 1
            cut = min(cut, at + self._most_rows - self.rows, len(batch))
            self._held.append(batch.slice(at, cut - at))
            self._size += int(ends[cut - 1]) - passed
            self.rows += cut - at
            at = cut
            if self._size >= self._full or self.rows >= self._most_rows:
                yield self.take()

    def take(self) -> Unit:
        """What is held, full or not."""
        unit = self._held, self._size
        self._held, self._size, self.rows = [], 0, 0
        return unit
