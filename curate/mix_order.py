"""Which window of which source stands at k: a pure function of mix.json, for any k, in any order.

k -> block of 2^18 places and place in it (curate.mix_layout) -> source and its how-manieth use u
  -> epoch u // W, position u % W -> window: a permutation of 0..W-1 keyed by (seed, source, epoch)

mix.json has the plan (segments with shares) and, for each block, how often each source was used before it and the 64 places before
it: so any block can be laid out without those before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from curate.mix_layout import AHEAD, SPAN, UNIT, Layout, ordinals

FILE = "mix.json"
FORMAT = 3
I64 = npt.NDArray[np.int64]
U16 = npt.NDArray[np.uint16]
BLOCK = 1 << 18  # places that are laid out at once
ATTEMPTS = 16_384  # to choose places anew in a block, times the sources (8 or more): about a second where all are in vain


class Places(NamedTuple):
    """Where windows come from, one entry for each k that was asked for."""

    stage: I64
    source: I64  # number of the source in the mix
    epoch: I64  # how often the source has been read before
    window: I64  # of the source


class Block(NamedTuple):
    """What is before a block."""

    used: I64  # i64[k], windows of each source
    tail: U16  # sources of the last min(start, SPAN) places


@dataclass(frozen=True)
class Plan:
    """Shares of every place."""

    ends: I64  # i64[s], place after the last of each segment
    shares: I64  # i64[s, k], in UNITs
    stages: I64  # i64[s], stage of each segment
    limits: I64  # i64[k], windows that each source can give in the whole mix

    @classmethod
    def of(cls, mix: dict[str, Any]) -> Plan:
        """The plan in mix.json."""
        segments = [(number, windows, shares) for number, stage in enumerate(mix["stages"]) for windows, shares in stage["segments"]]
        sources = len(mix["sources"])
        return cls(
            np.cumsum([windows for _, windows, _ in segments], dtype=np.int64),
            np.array([shares for *_, shares in segments], np.int64).reshape(len(segments), sources),
            np.array([number for number, *_ in segments], np.int64),
            np.array([source["limit"] for source in mix["sources"]], np.int64),
        )

    def __len__(self) -> int:
        return int(self.ends[-1])

    @cached_property
    def _sums(self) -> npt.NDArray[np.uint64]:
        """u64[s + 1, k], planned UNITs before each segment. Sums and products wrap around; differences of what is near each other don't."""
        windows = np.diff(self.ends, prepend=0).astype(np.uint64)
        return np.vstack(
            [np.zeros((1, self.shares.shape[1]), np.uint64), np.cumsum(windows[:, None] * self.shares.astype(np.uint64), axis=0)]
        )

    @cached_property
    def _distinct(self) -> I64:
        """i64[s], for each segment the first of those before it that have the same shares without a break."""
        same = np.append(False, (self.shares[1:] == self.shares[:-1]).all(axis=1))
        return np.maximum.accumulate(np.where(same, 0, np.arange(len(self.ends))))

    def before(self, place: int) -> npt.NDArray[np.uint64]:
        """u64[k]: planned UNITs of each source in the places before `place`, modulo 2^64."""
        segment = min(int(np.searchsorted(self.ends, place, "right")), len(self.ends) - 1)
        start = int(self.ends[segment - 1]) if segment else 0
        inside: npt.NDArray[np.uint64] = np.uint64(place - start) * self.shares[segment].astype(np.uint64)
        found: npt.NDArray[np.uint64] = self._sums[segment] + inside
        return found

    def lay_out(self, start: int, stop: int, block: Block) -> tuple[U16, I64]:
        """(source u16[n], how-manieth window of it i64[n]) of places start..stop-1. block: what is before `start`"""
        tail, count = len(block.tail), len(block.used)
        source = np.empty(tail + stop - start, np.uint16)
        source[:tail] = block.tail
        came = np.bincount(block.tail, minlength=count).astype(np.uint64)
        owed = (self.before(start) - block.used.astype(np.uint64) * np.uint64(UNIT)).view(np.int64)
        recent = (self.before(start) - self.before(start - tail) - came * np.uint64(UNIT)).view(np.int64)
        places = np.minimum(np.arange(start - tail, stop + AHEAD), len(self) - 1)
        segment = self._distinct[np.searchsorted(self.ends, places, "right")]
        left, attempts = self.limits - block.used, ATTEMPTS // max(8, count)
        Layout(segment, self.shares, owed, recent, left, source, tail, start - tail, len(self), attempts).fill()
        return source[tail:], ordinals(source[tail:], block.used)

    def blocks(self) -> Iterator[tuple[int, Block, U16]]:
        """(first place, what is before it, its sources) of every block, each from the one before."""
        block = Block(np.zeros(self.shares.shape[1], np.int64), np.zeros(0, np.uint16))
        for start in range(0, len(self), BLOCK):
            sources, _ = self.lay_out(start, min(start + BLOCK, len(self)), block)
            yield start, block, sources
            used = block.used + np.bincount(sources, minlength=len(block.used))
            block = Block(used, np.concatenate([block.tail, sources])[-SPAN:])


class Order:
    """The training order of a mix."""

    def __init__(self, mix: dict[str, Any]) -> None:
        """mix: what mix.json holds"""
        self.plan = Plan.of(mix)
        self._draw = Windows(mix)
        self._before = np.array([source["used_before"] for source in mix["sources"]], np.int64)
        self._blocks = [Block(np.array(used, np.int64), np.array(tail, np.uint16)) for used, tail in mix["blocks"]]
        self._laid_out = lru_cache(maxsize=2)(self._lay_out)

    def __len__(self) -> int:
        """Windows in the mix."""
        return len(self.plan)

    def places(self, ks: npt.ArrayLike) -> Places:
        """Places of windows ks: i64[n], each in 0..len-1, in any order. IndexError for others."""
        wanted = checked(ks, len(self))
        places = Places(*(np.empty(len(wanted), np.int64) for _ in range(4)))
        places.stage[:] = self.plan.stages[np.searchsorted(self.plan.ends, wanted, "right")]
        numbers = wanted // BLOCK
        for number in distinct(numbers):
            at = where(numbers, number)
            sources, ordinals = self._laid_out(number)
            inside = wanted[at] - number * BLOCK
            source = sources[inside].astype(np.int64)
            places.source[at] = source
            places.epoch[at], places.window[at] = self._draw.windows(source, self._before[source] + ordinals[inside])
        return places

    def used(self, k: int) -> I64:
        """i64[sources]: windows of each source before k, those before the mix began counted too. k up to the length."""
        number = min(k // BLOCK, len(self._blocks) - 1)
        sources, _ = self._laid_out(number)
        came = np.bincount(sources[: k - number * BLOCK], minlength=len(self._before))
        return self._before + self._blocks[number].used + came

    def _lay_out(self, number: int) -> tuple[U16, I64]:
        start = number * BLOCK
        return self.plan.lay_out(start, min(start + BLOCK, len(self)), self._blocks[number])


class HeldOut:
    """The held-out windows of a mix, each once: source by source, in the order of the source."""

    def __init__(self, mix: dict[str, Any]) -> None:
        self._draw = Windows(mix)
        self._by_windows = [source["held_out"]["by"] == "windows" for source in mix["sources"]]
        self._starts = np.cumsum([0, *(source["held_out"]["windows"] for source in mix["sources"])], dtype=np.int64)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def places(self, ks: npt.ArrayLike) -> Places:
        """Places of windows ks. stage and epoch are 0."""
        wanted = checked(ks, len(self))
        source = np.searchsorted(self._starts, wanted, "right") - 1
        window = wanted - self._starts[source]
        for number in distinct(source):
            if self._by_windows[number]:
                window[source == number] = self._draw.held_out(number, window[source == number])
        return Places(np.zeros_like(wanted), source, np.zeros_like(wanted), window)


class Windows:
    """Which window of a source its u-th use is."""

    def __init__(self, mix: dict[str, Any]) -> None:
        self._seed: int = mix["seed"]
        self._names: list[str] = [source["name"] for source in mix["sources"]]
        self._train: list[int] = [source["windows"] for source in mix["sources"]]
        held = [source["held_out"] for source in mix["sources"]]
        self._held = [h["windows"] if h["by"] == "windows" else 0 for h in held]  # of the same windows as those that are trained on
        self._keys = lru_cache(maxsize=1024)(self._round_keys)

    def windows(self, source: I64, use: I64) -> tuple[I64, I64]:
        """(epoch, window) of each use of a source."""
        epoch, window = np.empty_like(use), np.empty_like(use)
        for number in distinct(source):
            at = where(source, number)
            epoch[at], position = np.divmod(use[at], max(1, self._train[number]))
            window[at] = self._permuted(number, epoch[at], position)
        return epoch, window

    def held_out(self, source: int, places: I64) -> I64:
        """The windows that a source never trains on, by number."""
        return self._spread(source, places + self._train[source])

    def _permuted(self, source: int, epochs: I64, positions: I64) -> I64:
        from curate.kernels.permutation import permuted

        windows = np.empty(len(positions), np.int64)
        for epoch in distinct(epochs):
            mine = where(epochs, epoch)
            windows[mine] = permuted(positions[mine], self._train[source], self._keys(source, str(epoch)))
        return self._spread(source, windows) if self._held[source] else windows

    def _spread(self, source: int, places: I64) -> I64:
        """Windows trained on are the first places of a permutation, held-out ones the last."""
        from curate.kernels.permutation import permuted

        return permuted(places, self._train[source] + self._held[source], self._keys(source, "held_out"))

    def _round_keys(self, source: int, what: str) -> npt.NDArray[np.uint64]:
        from curate.kernels.permutation import round_keys

        return round_keys("mix", self._seed, self._names[source], what)


def distinct(values: I64) -> list[int]:
    """The values that occur, rising. np.unique costs 50 us for a batch of few different ones, a tenth of all the work."""
    if not len(values):
        return []
    low, high = int(values.min()), int(values.max())
    if high - low > 2 * len(values):
        return [int(value) for value in np.unique(values)]
    return [low] if low == high else (np.flatnonzero(np.bincount(values - low)) + low).tolist()


def where(values: I64, value: int) -> slice | I64:
    """Where a value of `distinct` stands: an index."""
    mine = values == value
    return slice(None) if mine.all() else np.flatnonzero(mine)


def checked(ks: npt.ArrayLike, length: int) -> I64:
    """ks as i64[n]; IndexError where one is not in 0..length-1."""
    wanted = np.asarray(ks, np.int64).reshape(-1)
    if len(wanted) and not 0 <= int(wanted.min()) <= int(wanted.max()) < length:
        raise IndexError(f"window {int(wanted.min())}..{int(wanted.max())} of a mix with {length}")
    return wanted
