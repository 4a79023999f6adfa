"""Bytes that two processes see: what the one writes the other reads where it lies, so nothing goes through a pipe.

They live in memory without a name (memfd), gone with the last process that maps them. They grow with what is written and
never shrink; the side that reads follows when it looks further than it has mapped. Who may write when is for the two
sides to settle between them.
"""

from __future__ import annotations

import mmap
import os
from typing import Self

STEP = 1 << 20  # what it grows by


class SharedBytes:
    """A map that grows. Offsets and sizes are in bytes."""

    def __init__(self, descriptor: int) -> None:
        """Map the memory of a descriptor, which may be closed then."""
        self._map = mmap.mmap(descriptor, 0)

    @classmethod
    def made(cls, size: int) -> tuple[Self, int]:
        """Fresh memory and its descriptor, to hand on and close."""
        descriptor = os.memfd_create("curate")
        os.ftruncate(descriptor, size)
        return cls(descriptor), descriptor

    def __len__(self) -> int:
        """What is mapped on this side."""
        return len(self._map)

    def put(self, at: int, data: bytes | memoryview) -> int:
        """Write; where it ends. Raises OSError where memory is short."""
        end = at + len(data)
        self._reach(end)
        self._map[at:end] = data
        return end

    def get(self, at: int, size: int) -> bytes:
        """A copy of some of it."""
        self._reach(at + size)
        return self._map[at : at + size]

    def view(self, end: int) -> memoryview:
        """All up to `end` without a copy. To be released before anything else is asked for."""
        self._reach(end)
        return memoryview(self._map)[:end]

    def _reach(self, end: int) -> None:
        if end > len(self._map):
            self._map.resize(-(-end // STEP) * STEP)
