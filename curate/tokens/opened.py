"""The shards of several datasets as one stream of tokens, mapped when they are first needed, a bounded number at a time."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from curate.errors import DataError
from curate.tokens.mapped import TokenShard, open_shard

I64 = npt.NDArray[np.int64]


class Span(NamedTuple):
    """Tokens that lie together in a record batch."""

    shard: TokenShard
    batch: int
    start: int  # in the record batch
    stop: int


class OpenShards:
    """Not for use by several threads at once.

    root: folder of the datasets; datasets: as mix.json has them
    max_open: shards mapped at a time. A map needs no open file; Linux allows a process 65,530
    """

    def __init__(self, root: Path, datasets: Sequence[dict[str, Any]], tokenizer_sha256: str | None, max_open: int) -> None:
        self._root, self._datasets, self._sha256, self._max_open = root, datasets, tokenizer_sha256, max_open
        sizes = [shard["tokens"] for dataset in datasets for shard in dataset["shards"]]
        self._before = np.cumsum([0, *sizes], dtype=np.int64)
        counts = np.cumsum([0, *(len(dataset["shards"]) for dataset in datasets)])
        self.base: I64 = self._before[counts[:-1]]  # i64[datasets], first token of each dataset
        self._first_shard = counts
        self._tables, self._rows = np.zeros(len(sizes), np.int64), np.zeros(len(sizes), np.int64)
        self._open: OrderedDict[int, TokenShard] = OrderedDict()

    def __len__(self) -> int:
        """Shards that are mapped now."""
        return len(self._open)

    def copy(self, at: I64, size: I64, target: I64, out: npt.NDArray[Any]) -> None:
        """out[target[i]:target[i] + size[i]] = tokens at[i] and on of the whole stream. at, size and target are used up.

        out: u16 or u32[m], as the shards have it
        """
        from curate.kernels.gather import gather

        done, halves, words = 0, out.itemsize // 2, out.view(np.uint16)
        before, shards = self._before.ctypes.data, len(self._tables)
        while (done := gather(done, halves, at, size, target, before, shards, self._tables, self._rows, words)) < len(at):
            self._shard(int(np.searchsorted(self._before, at[done], "right")) - 1)

    def document_starts(self, at: I64, size: I64, target: I64) -> I64:
        """Where stretches begin, and documents inside of them: i64[m], in no order and perhaps twice. Arguments as in `copy`, used up."""
        from curate.kernels.gather import document_starts

        done, found, state = 0, np.empty(4 * len(at), np.int64), np.zeros(2, np.int64)
        before, shards = self._before.ctypes.data, len(self._tables)
        while (done := document_starts(done, at, size, target, before, shards, self._tables, self._rows, found, state)) < len(at):
            if state[1]:
                found = np.concatenate([found[: state[0]], np.empty(len(found) + state[1], np.int64)])
            else:
                self._shard(int(np.searchsorted(self._before, at[done], "right")) - 1)
        return found[: state[0]]

    def spans(self, at: int, size: int) -> list[Span]:
        """Where `size` tokens from `at` on of the whole stream lie, in order."""
        found = []
        while size:
            number = int(np.searchsorted(self._before, at, "right")) - 1
            shard = self._shard(number)
            inside = at - int(self._before[number])
            batch = int(np.searchsorted(shard.table[:, 0], inside, "right")) - 1
            start = inside - shard.starts[batch]
            stop = min(start + size, shard.starts[batch + 1] - shard.starts[batch])
            found.append(Span(shard, batch, start, stop))
            at, size = at + stop - start, size - (stop - start)
        return found

    def _shard(self, number: int) -> TokenShard:
        shard = self._open.get(number)
        if shard is None:
            shard = self._checked(number)
            if len(self._open) >= self._max_open:  # the one opened first: windows come in random order, so any is as good
                gone, _ = self._open.popitem(last=False)
                self._tables[gone] = 0
            self._open[number] = shard
            self._tables[number], self._rows[number] = shard.table.ctypes.data, shard.batches
        return shard

    def _checked(self, number: int) -> TokenShard:
        dataset = int(np.searchsorted(self._first_shard, number, "right")) - 1
        about = self._datasets[dataset]["shards"][number - int(self._first_shard[dataset])]
        path = self._root / self._datasets[dataset]["name"] / about["file"]
        shard = open_shard(path, self._sha256)
        if shard.tokens != about["tokens"] or os.path.getsize(path) != about["bytes"]:
            raise DataError(
                f"{path} is not the shard that the mix was made of: it has {shard.tokens} tokens in {os.path.getsize(path)} bytes, "
                f"expected {about['tokens']} in {about['bytes']}. Run the recipe again, or open the mix of this run."
            )
        return shard
