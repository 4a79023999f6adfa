"""Lay out the places of an order: where shares are constant by `curate.kernels.interleave`, near changes by `foresight`.

The driver is Python: it runs a few times for each change of the shares. The kernels that look ahead are loaded where there is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.ranges import ranges

I64 = npt.NDArray[np.int64]
U16 = npt.NDArray[np.uint16]
SPAN = 64  # places that the interleaving looks back on, and ahead
UNIT = 1 << 40
AHEAD = 2 * SPAN  # places before a change from which on it is in view, and that are chosen anew
TRIES = 512
FORCED = 8  # places that are taken as they come where nothing helps
FORESEEN = 128  # sources


@dataclass
class Layout:
    """An order in the making. Places count from `base`, the first that `source` holds."""

    segment: I64  # i64[places + AHEAD], row of `shares` of each place; neighbours with equal shares have one number
    shares: I64  # i64[segments, k], in UNITs
    owed: I64  # i64[k], plan less what was placed since the start of the mix, in UNITs
    recent: I64  # i64[k], the same of the last SPAN places
    left: I64  # i64[k], how many more may come
    source: U16  # u16[places], the first `tail` given
    tail: int  # min(places of the mix before, SPAN)
    base: int  # place of the mix
    end: int  # of the mix
    attempts: int  # to choose places anew, that are left

    def fill(self) -> None:
        """Write every place of `source` after the tail, and bring owed, recent and left up to date."""
        from curate.kernels.interleave import walk

        x = self.tail
        for stop, changing in self._runs():
            if x < stop and changing:
                x = self._foresee(x, stop)
            elif x < stop:
                walk(self.segment, self.shares, self.owed, self.recent, self.left, self.source, x, stop, False)
                x = stop

    def _runs(self) -> Iterator[tuple[int, bool]]:
        """(place after the last, whether shares change from SPAN before to AHEAD after) of runs of places."""
        stop = len(self.source)
        places = np.arange(self.tail, stop)
        changing = self.segment[np.maximum(0, places - SPAN)] != self.segment[places + AHEAD]
        changing &= len(self.owed) <= FORESEEN
        borders = np.flatnonzero(changing[1:] != changing[:-1]) + 1
        for start, after in zip([0, *borders.tolist()], [*borders.tolist(), len(places)], strict=True):
            if after:
                yield self.tail + after, bool(changing[start])

    def _foresee(self, x: int, stop: int) -> int:
        """Choose places x..stop-1, or a few more, and return how far it came."""
        work = _Work.of(len(self.owed))
        while True:
            x = self._look_ahead(work, x, stop, 0)
            if x >= stop:
                return x
            x = self._anew(work, x)
            if x >= stop:
                return x

    def _anew(self, work: _Work, x: int) -> int:
        """Choose the last AHEAD places before x, where it was stuck, and the next SPAN anew, and return how far it came."""
        from curate.kernels.interleave import walk

        back, goal = max(self.tail, x - AHEAD), min(x + SPAN, len(self.source))
        best = self.source[back:x].copy()
        reached = x
        for attempt in range(1, min(TRIES, self.attempts) + 1):
            self.attempts -= 1
            self._seek(reached, back)
            reached = self._look_ahead(work, back, goal, attempt)
            if reached == goal:
                return goal
            if reached - back > len(best):
                best = self.source[back:reached].copy()
        self._seek(reached, back)
        furthest = back + len(best)
        self.source[back:furthest] = best
        self._seek(back, furthest)
        goal = min(furthest + FORCED, len(self.source))
        walk(self.segment, self.shares, self.owed, self.recent, self.left, self.source, furthest, goal, True)
        return goal

    def _look_ahead(self, work: _Work, x: int, stop: int, attempt: int) -> int:
        from curate.kernels.foresight import look_ahead

        state = self.segment, self.shares, self.owed, self.recent, self.left, self.source
        return int(look_ahead(*state, *work.arrays, self.end - self.base, x, stop, self.base, attempt))

    def _seek(self, x: int, to: int) -> None:
        """Bring owed, recent and left from place x to place `to`: what stands between was placed, or is taken back."""
        first, last, way = min(x, to), max(x, to), 1 if x < to else -1
        planned, came = self._sums(first, last)
        self.owed += way * (planned - came * UNIT)
        self.left -= way * came
        planned, came = self._sums(max(0, to - SPAN), to)
        self.recent[:] = planned - came * UNIT

    def _sums(self, start: int, stop: int) -> tuple[I64, I64]:
        """Plan, in UNITs, and windows of each source in places start..stop-1."""
        planned: I64 = self.shares[self.segment[start:stop]].sum(axis=0)
        return planned, np.bincount(self.source[start:stop], minlength=len(self.owed))


@dataclass(frozen=True)
class _Work:
    """Scratch of the kernel."""

    arrays: tuple[I64, ...]

    @classmethod
    def of(cls, sources: int) -> _Work:
        return cls((*(np.empty((SPAN, sources), np.int64) for _ in range(2)), *(np.empty(sources, np.int64) for _ in range(4))))


def ordinals(source: U16, used: I64) -> I64:
    """The how-manieth window of its source stands at each place. used: i64[k], how many came before"""
    by_source = np.argsort(source, kind="stable")
    counts = np.bincount(source, minlength=len(used))
    found = np.empty(len(source), np.int64)
    found[by_source] = ranges(used, counts)
    return found
