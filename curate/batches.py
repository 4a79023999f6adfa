"""Batches of a mix in training order, for one process or one of many, with the next ones read in the background.

    batches = Batches(open_mix("runs/web/pretrain_mix"), 512, rank=rank, world_size=world, start=state["window"])
    for batch in batches:
        loss = train_on(batch.tokens)          # u16, u32, or what `dtype` says: [512 / world, seq_len]
        state = {"window": batch.end}          # all that a checkpoint must keep
    loader = torch.utils.data.DataLoader(mix, batch_sampler=batches.parts, num_workers=4)   # the same rows, by torch's workers

Batch i holds windows start + i * size and on; rank r of w takes the r-th of w equal parts of each. So the global order
depends on nothing but the mix: not on ranks, prefetching, micro-batches or interruptions, and the size may change at a restart.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from curate.errors import CurateError
from curate.loader import Mix


class Batch(NamedTuple):
    """One rank's part of a batch."""

    start: int  # first window of the whole batch
    end: int  # window after the last of the whole batch: where to start again
    windows: range  # the windows of this part
    tokens: Any  # numpy [len(windows), seq_len]; a torch tensor with torch=True
    sizes: Any  # i64[len(windows)], tokens of each window that are not padding
    cu_seqlens: Any = None  # i32[d + 1], with documents=True: where documents begin and end in the windows laid end to end


class Parts:
    """The windows of every batch that are this rank's, as lists: a batch sampler for torch."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[list[int]]:
        return (list(self._batches.part(number)) for number in range(len(self)))


class Batches:
    """Iterate over a rank's part of every batch from window `start` on.

    size: windows in a whole batch, a multiple of world_size
    stop: window to stop before; the end of the mix where it is None. What is left there and fills no batch is not given out
    (`left_over` counts it), because ranks with parts of different sizes would wait for each other for ever.
    prefetch: batches read ahead in a thread of their own; 0 reads when asked
    dtype: numpy type to convert to, such as np.int64; the mix's own where it is None
    torch: give tensors (needs torch; int64 unless dtype says otherwise)
    documents: find the borders of documents too (`Batch.cu_seqlens`); padding is a piece of its own, the last of its window
    """

    def __init__(
        self,
        mix: Mix,
        size: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        start: int = 0,
        stop: int | None = None,
        prefetch: int = 2,
        dtype: npt.DTypeLike | None = None,
        torch: bool = False,
        documents: bool = False,
    ) -> None:
        stop = len(mix) if stop is None else stop
        _check(size, rank, world_size, start, stop, prefetch, len(mix))
        self._mix, self.size, self.start, self.stop = mix, size, start, stop
        self.rank, self.world_size, self.prefetch = rank, world_size, prefetch
        self._torch, self._documents = torch, documents
        self._dtype = np.dtype(np.int64) if torch and dtype is None else np.dtype(dtype or mix.dtype)

    def __len__(self) -> int:
        """Batches."""
        return (self.stop - self.start) // self.size

    @property
    def left_over(self) -> int:
        """Windows before `stop` that fill no batch."""
        return (self.stop - self.start) % self.size

    @property
    def parts(self) -> Parts:
        """For `torch.utils.data.DataLoader(mix, batch_sampler=batches.parts)`."""
        return Parts(self)

    def part(self, number: int) -> range:
        """The windows of batch `number` that are this rank's."""
        share = self.size // self.world_size
        first = self.start + number * self.size + self.rank * share
        return range(first, first + share)

    def read(self, number: int, mix: Mix | None = None) -> Batch:
        """Batch `number`."""
        windows, mix = self.part(number), mix or self._mix
        ks = np.arange(windows.start, windows.stop)
        tokens: Any
        borders: Any = None
        if self._documents:
            tokens, borders = mix.windows_and_borders(ks)
            borders = borders.astype(np.int32)
        else:
            tokens = mix.windows(ks)
        sizes: Any = mix.sizes(ks)
        if tokens.dtype != self._dtype:
            tokens = tokens.astype(self._dtype)
        if self._torch:
            tensor = import_module("torch").from_numpy
            tokens, sizes, borders = tensor(tokens), tensor(sizes), None if borders is None else tensor(borders)
        first = self.start + number * self.size
        return Batch(first, first + self.size, windows, tokens, sizes, borders)

    def __iter__(self) -> Iterator[Batch]:
        if not self.prefetch:
            return (self.read(number) for number in range(len(self)))
        return self._ahead()

    def _ahead(self) -> Iterator[Batch]:
        """Batches from a thread with an opened mix of its own; it ends when the iteration does."""
        ready: queue.Queue[Batch | BaseException | None] = queue.Queue(self.prefetch)
        enough = threading.Event()
        thread = threading.Thread(target=self._fill, args=(ready, enough), name="curate-batches", daemon=True)
        thread.start()
        try:
            while (item := ready.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            enough.set()
            thread.join()

    def _fill(self, ready: queue.Queue[Batch | BaseException | None], enough: threading.Event) -> None:
        try:
            mix = self._mix.again()
            for number in range(len(self)):
                if not _put(ready, self.read(number, mix), enough):
                    return
            _put(ready, None, enough)
        except BaseException as error:  # noqa: BLE001  raised again where the batch is waited for
            _put(ready, error, enough)


def _put(ready: queue.Queue[Any], item: Any, enough: threading.Event) -> bool:
    """Wait for room; False where nobody wants more."""
    while not enough.is_set():
        try:
            ready.put(item, timeout=0.1)
        except queue.Full:
            continue
        return True
    return False


def _check(size: int, rank: int, world_size: int, start: int, stop: int, prefetch: int, length: int) -> None:
    if world_size < 1 or not 0 <= rank < world_size:
        raise CurateError(f"rank must be in 0..{world_size - 1} of a world of {world_size}, got {rank}.")
    if size < 1 or size % world_size:
        near = max(world_size, size - size % world_size)
        raise CurateError(f"A batch of {size} windows can't be shared out evenly to {world_size} ranks. Take {near}, or another multiple.")
    if not 0 <= start <= stop <= length:
        raise CurateError(f"start and stop must be windows of the mix, 0 <= start <= stop <= {length}, got {start} and {stop}.")
    if prefetch < 0:
        raise CurateError(f"prefetch must be 0 or more batches, got {prefetch}.")
