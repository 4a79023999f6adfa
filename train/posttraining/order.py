"""Which row stands where in a run: a function of (rows, seed, place), whatever the number of processes.

Place p is row permuted(p mod n) of pass p // n, each pass with a permutation of its own. All passes are one sequence, so a
run has no epochs to go wrong on resume: step k reads places k * batch .. (k + 1) * batch, and the last step is filled up
from the next pass instead of being short on one process and long on another.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

_BLOCK = 1 << 15


def places_to_rows(places: npt.NDArray[np.int64], rows: int, seed: int | None) -> npt.NDArray[np.int64]:
    """i64[n]: the row at each place (>= 0, in any order). seed None: rows as they lie in every pass."""
    if seed is None:
        return np.asarray(places, np.int64) % rows
    from curate.kernels.permutation import permuted, round_keys

    passes, positions = np.divmod(np.asarray(places, np.int64), rows)
    found = np.empty(len(passes), np.int64)
    for number in np.unique(passes):
        mine = passes == number
        found[mine] = permuted(np.ascontiguousarray(positions[mine]), rows, round_keys("rows", seed, int(number)))
    return found


class Order:
    """A sampler over all places of a run. torch's DataLoader wants its length and its iterator, nothing else."""

    def __init__(self, rows: int, places: int, seed: int | None) -> None:
        self.rows, self.places, self.seed = rows, places, seed

    def __len__(self) -> int:
        return self.places

    def __iter__(self) -> Iterator[int]:
        for start in range(0, self.places, _BLOCK):
            places = np.arange(start, min(start + _BLOCK, self.places))
            yield from places_to_rows(places, self.rows, self.seed).tolist()


class GroupedOrder:
    """Places of prompts for trainers that draw several answers to each.

    A block is `prompts` prompts; each stands `answers` times in a row, and the block is given `repeats` times: the trainer
    generates at the first and reads the rest of the answers at the others (trl's RepeatSampler, whose order depends on
    how often it was asked; ours on the block's number alone).
    """

    def __init__(self, rows: int, blocks: int, prompts: int, answers: int, repeats: int, seed: int | None) -> None:
        self.rows, self.blocks, self.prompts, self.answers, self.repeats, self.seed = rows, blocks, prompts, answers, repeats, seed

    def __len__(self) -> int:
        return self.blocks * self.prompts * self.answers * self.repeats

    def __iter__(self) -> Iterator[int]:
        for block in range(self.blocks):
            places = np.arange(block * self.prompts, (block + 1) * self.prompts)
            one = np.repeat(places_to_rows(places, self.rows, self.seed), self.answers).tolist()
            for _ in range(self.repeats):
                yield from one


def batching(batch: int, micro: int | None, rows: int, processes: int, largest: int = 8) -> tuple[int, int, int]:
    """(rows of a step, rows at a time in a process, how many of those make a step).

    A set smaller than a batch makes batches of the whole set. micro None: the largest divisor of a process's share up to `largest`.
    Raises ValueError where the numbers don't divide.
    """
    if rows < batch:
        batch = max(processes, rows - rows % processes)
    if batch % processes:
        raise ValueError(f"batch_size ({batch}) must be a multiple of the {processes} processes")
    share = batch // processes
    if micro is None:
        micro = max(n for n in range(1, min(share, largest) + 1) if share % n == 0)
    micro = min(micro, share)
    if share % micro:
        raise ValueError(f"micro_batch_size ({micro}) must divide the {share} rows that a process has of a batch of {batch}")
    return batch, micro, share // micro
