"""From windows of a mix to what a step needs: tokens, positions, labels, borders of documents, labels of their sources.

The order of windows is the mix's; which step gets which windows is a function of the settings alone (`StepPlan`), never of the
number of processes: rank r of w takes the r-th of w equal parts of every step.

B windows of a micro-batch, S tokens of a window, C places for borders (fixed, so that shapes stay the same).
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.errors import RecipeError
from curate.loader import Mix
from train.attribution import I64, Stretches, Tagger

IGNORED = -100


@dataclass
class Rows:
    """A micro-batch on the host."""

    windows: Sequence[int]
    tokens: npt.NDArray[np.int32]  # [B, S]
    positions: npt.NDArray[np.int32]  # [B, S], from 0 in every document
    labels: npt.NDArray[np.int32]  # [B, S], the next token of the same document, IGNORED where there is none
    ends: npt.NDArray[np.int32]  # [C], borders that attention keeps apart, in the B * S tokens; padded with B * S
    pieces: npt.NDArray[np.int32]  # [p + 1], borders of documents
    tags: npt.NDArray[np.int32]  # [columns, p]
    learnt: npt.NDArray[np.int64]  # [p], labels that count in each piece

    @property
    def real(self) -> int:
        """Tokens that are learnt."""
        return int(self.learnt.sum())

    def squares(self) -> int:
        """Sum of squared lengths of what attention keeps apart: for FLOPs."""
        lengths = np.diff(self.ends).astype(np.int64)
        return int((lengths * lengths).sum())


@dataclass(frozen=True)
class StepPlan:
    """How many windows every step has.

    batch: windows of a whole step; ramp: (windows of a step, steps) before steps are whole
    """

    windows: int  # of the run
    batch: int
    ramp: tuple[tuple[int, int], ...] = ()

    @property
    def steps(self) -> int:
        """Steps of the run; what is left and fills no batch is not used."""
        before = sum(size * steps for size, steps in self.ramp)
        return sum(steps for _, steps in self.ramp) + (self.windows - before) // self.batch

    def place(self, step: int) -> tuple[int, int]:
        """(first window, windows) of a step."""
        first = 0
        for size, steps in self.ramp:
            if step < steps:
                return first + step * size, size
            first, step = first + size * steps, step - steps
        return first + step * self.batch, self.batch

    @property
    def used(self) -> int:
        """Windows of all steps."""
        first, size = self.place(self.steps - 1) if self.steps else (0, 0)
        return first + size


def plan_steps(windows: int, batch: int, start: int | None, until: float) -> StepPlan:
    """A plan; with `start` windows a step at first, doubled at equal stretches of windows until `until` of the run is over."""
    sizes = []
    while start is not None and start < batch:
        sizes.append(start)
        start *= 2
    stretch = windows * until / max(1, len(sizes))
    ramp = tuple((size, max(1, int(stretch // size))) for size in sizes)
    plan = StepPlan(windows, batch, ramp if sum(s * n for s, n in ramp) + batch <= windows else ())
    if plan.steps < 1:
        raise RecipeError(f"The run has {windows:,} windows and a step has {batch:,}. Lower batch_tokens, or train on more tokens.")
    return plan


class Source:
    """Makes micro-batches of a mix.

    isolate: documents are kept apart and positions start anew in each
    excluded: ids of documents that are read but not learnt from
    """

    def __init__(self, mix: Mix, tagger: Tagger, *, isolate: bool, excluded: frozenset[str] = frozenset()) -> None:
        self.mix, self.tagger, self.isolate, self.excluded = mix, tagger, isolate, excluded
        self.capacity = 64

    def rows(self, windows: Sequence[int]) -> Rows:
        """The micro-batch of these windows."""
        size, count, ks = self.mix.seq_len, len(windows), np.array(windows, np.int64)
        tokens = self.mix.windows(ks).astype(np.int32)
        starts, stretches = self.mix.layout(ks)
        pieces = starts.astype(np.int32)
        tags = self.tagger.tags(ks, starts, stretches)
        ends = pieces if self.isolate else np.arange(0, count * size + 1, size, dtype=np.int32)
        labels = np.full(count * size, IGNORED, np.int32)
        labels[:-1] = tokens.reshape(-1)[1:]
        labels[ends[1:] - 1] = IGNORED
        self._leave_out(starts, stretches, labels)
        learnt = np.add.reduceat(labels != IGNORED, pieces[:-1]).astype(np.int64)
        positions = np.arange(count * size, dtype=np.int32) - np.repeat(ends[:-1], np.diff(ends))
        return Rows(windows, tokens, positions.reshape(count, size), labels.reshape(count, size), self._padded(ends), pieces, tags, learnt)

    def _padded(self, ends: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        while self.capacity < len(ends):
            self.capacity *= 2
        return np.concatenate([ends, np.full(self.capacity - len(ends), ends[-1], np.int32)])

    def _leave_out(self, starts: I64, stretches: Stretches, labels: npt.NDArray[np.int32]) -> None:
        """Learn neither padding nor excluded documents."""
        rows = np.concatenate([places for *_, places in stretches]) if stretches else starts[:0]
        real = np.zeros(len(starts) - 1, bool)
        if self.excluded:
            ids = [
                v for shard, number, mine, _ in stretches for v in shard.stream(number).batch.column("id").take(pa.array(mine)).to_pylist()
            ]
            rows = rows[np.array([name not in self.excluded for name in ids], bool)]
        real[np.searchsorted(starts, rows)] = True
        if not real.all():
            labels[np.repeat(~real, np.diff(starts))] = IGNORED
            before = starts[:-1][~real] - 1  # without isolation the token before would be asked for the first one left out
            labels[before[before >= 0]] = IGNORED

    def reserve(self, windows: Sequence[range]) -> None:
        """Make room for the borders of these micro-batches, so that the shapes of a run rarely change."""
        for few in windows:
            most = len(self.mix.borders(np.arange(few.start, few.stop))) if self.isolate else len(few) + 1
            while self.capacity < 1.25 * most:
                self.capacity *= 2


def _borders(starts: Sequence[npt.NDArray[np.int32]], size: int) -> npt.NDArray[np.int32]:
    """i32[p + 1]: starts in windows of `size` tokens as places in all of them, and the end."""
    return np.concatenate([s + i * size for i, s in enumerate(starts)] + [np.array([len(starts) * size])]).astype(np.int32)


def micro_batches(first: int, windows: int, rank: int, world: int, micro: int) -> list[range]:
    """The windows of a rank's part of a step, in micro-batches of equal size, at most `micro` windows each."""
    if windows % world:
        near = windows - windows % world or world
        raise RecipeError(
            f"A step of {windows:,} windows can't be shared out evenly to {world} processes. Set batch_tokens (and batch_ramp.start) to a "
            f"multiple of {world} windows, such as {near:,} windows."
        )
    share = windows // world
    size = max(d for d in range(1, min(micro, share) + 1) if share % d == 0)
    start = first + rank * share
    return [range(at, at + size) for at in range(start, start + share, size)]


@dataclass
class Step:
    """A rank's part of a step."""

    number: int
    end: int  # window after the last of the whole step
    parts: list[Rows]


class Steps:
    """A rank's parts of all steps from `start` on, read ahead in a thread. Close it, or read it to its end.

    The thread reads when it is told to (`read_on`), which the loop does while it waits for the GPU: a thread that computes while the
    loop starts kernels would keep it from Python's lock, and the GPU without work.
    """

    def __init__(self, source: Source, plan: StepPlan, *, rank: int, world: int, micro: int, start: int = 0, ahead: int = 2) -> None:
        self._source, self._plan, self._rank, self._world, self._micro = source, plan, rank, world, micro
        self._start, self._ready = start, queue.Queue[Step | BaseException](ahead)
        self._enough, self._wanted = threading.Event(), threading.Semaphore(ahead)
        self._thread = threading.Thread(target=self._fill, name="curate-steps", daemon=True)

    def read(self, number: int) -> Step:
        """This rank's part of a step."""
        first, windows = self._plan.place(number)
        parts = micro_batches(first, windows, self._rank, self._world, self._micro)
        return Step(number, first + windows, [self._source.rows(part) for part in parts])

    def read_on(self) -> None:
        """Let the thread read one more step."""
        if self._ready.qsize() < self._ready.maxsize:
            self._wanted.release()

    def __iter__(self) -> Iterator[Step]:
        self._thread.start()
        try:
            for _ in range(self._start, self._plan.steps):
                if self._ready.empty():
                    self._wanted.release()
                item = self._ready.get()
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            self._enough.set()
            self._wanted.release()
            self._thread.join()

    def _fill(self) -> None:
        try:
            for number in range(self._start, self._plan.steps):
                self._wanted.acquire()
                if self._enough.is_set() or not self._put(self.read(number)):
                    return
        except BaseException as error:  # noqa: BLE001  raised again where the step is waited for
            self._put(error)

    def _put(self, item: Step | BaseException) -> bool:
        while not self._enough.is_set():
            try:
                self._ready.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False
