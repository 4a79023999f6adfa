"""Which window of which source stands at k: a pure function of mix.json, for any k, in any order.

k -> segment and place in it (curate.kernels.interleave) -> source and its how-manieth use u
  -> epoch u // W, position u % W -> window: a permutation of 0..W-1 keyed by (seed, source, epoch)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]


class Places(NamedTuple):
    """Where windows come from, one entry for each k that was asked for."""

    stage: I64
    source: I64  # number of the source in the mix
    epoch: I64  # how often the source has been read before
    window: I64  # tokens window * seq_len and on of the source's stream


@dataclass(frozen=True)
class _Segment:
    start: int  # first k
    stage: int
    counts: I64  # windows of each source in it
    used: I64  # windows of each source before it


class Order:
    """The training order of a mix."""

    def __init__(self, mix: dict[str, Any]) -> None:
        """mix: what mix.json holds"""
        self._seed: int = mix["seed"]
        self._names: list[str] = [source["name"] for source in mix["sources"]]
        self._windows: list[int] = [source["windows"] for source in mix["sources"]]
        before = np.array([source.get("used_before", 0) for source in mix["sources"]], np.int64)
        self._segments = _segments(mix["stages"], before)
        self._starts = np.array([segment.start for segment in self._segments], np.int64)
        self._length: int = sum(stage["windows"] for stage in mix["stages"])
        self._laid_out = lru_cache(maxsize=2)(self._lay_out)
        self._keys = lru_cache(maxsize=1024)(self._round_keys)

    def __len__(self) -> int:
        """Windows in the mix."""
        return self._length

    def places(self, ks: npt.ArrayLike) -> Places:
        """Places of windows ks: i64[n], each in 0..len-1, in any order. IndexError for others."""
        wanted = np.asarray(ks, np.int64).reshape(-1)
        if len(wanted) and not 0 <= int(wanted.min()) <= int(wanted.max()) < self._length:
            raise IndexError(f"window {int(wanted.min())}..{int(wanted.max())} of a mix with {self._length}")
        places = Places(*(np.empty(len(wanted), np.int64) for _ in range(4)))
        numbers = np.searchsorted(self._starts, wanted, "right") - 1
        for number in np.unique(numbers):
            self._fill(int(number), np.flatnonzero(numbers == number), wanted, places)
        return places

    def used(self, k: int) -> I64:
        """i64[sources]: windows of each source before k, those before the mix began counted too. k up to the length."""
        number = max(0, int(np.searchsorted(self._starts, k, "right")) - 1)
        segment = self._segments[number]
        sources, _ = self._laid_out(number)
        return segment.used + np.bincount(sources[: k - segment.start], minlength=len(self._names))

    def _fill(self, number: int, at: I64, wanted: I64, places: Places) -> None:
        """Fill in the entries `at`, whose k lie in one segment."""
        segment = self._segments[number]
        sources, ordinals = self._laid_out(number)
        inside = wanted[at] - segment.start
        places.stage[at] = segment.stage
        places.source[at] = sources[inside]
        for source in np.unique(places.source[at]):
            mine = at[places.source[at] == source]
            use = segment.used[source] + ordinals[wanted[mine] - segment.start]
            places.epoch[mine], positions = np.divmod(use, self._windows[source])
            places.window[mine] = self._permuted(int(source), places.epoch[mine], positions)

    def _permuted(self, source: int, epochs: I64, positions: I64) -> I64:
        from curate.kernels.permutation import permuted

        windows = np.empty(len(positions), np.int64)
        for epoch in np.unique(epochs):
            mine = epochs == epoch
            windows[mine] = permuted(positions[mine], self._windows[source], self._keys(source, int(epoch)))
        return windows

    def _lay_out(self, number: int) -> tuple[npt.NDArray[np.uint16], I64]:
        from curate.kernels.interleave import interleave

        return interleave(self._segments[number].counts)

    def _round_keys(self, source: int, epoch: int) -> npt.NDArray[np.uint64]:
        from curate.kernels.permutation import round_keys

        return round_keys("mix", self._seed, self._names[source], epoch)


def _segments(stages: list[dict[str, Any]], used: I64) -> list[_Segment]:
    found: list[_Segment] = []
    start = 0
    for number, stage in enumerate(stages):
        for counts in stage["segments"]:
            row = np.array(counts, np.int64)
            found.append(_Segment(start, number, row, used))
            start, used = start + int(row.sum()), used + row
    return found
