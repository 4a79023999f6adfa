"""Training data by number: windows of a mix as numpy arrays, and the documents they are made of. Needs no torch.

    mix = open_mix("runs/web_to_chat/pretrain_mix")
    mix.window(0)                # uint16[seq_len]
    mix.windows(range(512))      # uint16[512, seq_len]
    mix.trace(0)                 # [Piece(id="...", source="web_tokens", start=0, stop=611, ...), ...]
    mix[0]                       # {"input_ids": int64[seq_len], "labels": ...}: a map-style dataset for torch and HF Trainer

    for step, tokens in Batches(mix, 512, rank=3, world_size=8, start=1000, prefetch=2):   # curate.batches
        ...

Window k is a pure function of the run's shards, `mix.json` and k: any process may ask for any window in any order, so
resuming, or another number of GPUs, changes nothing. State to keep in a checkpoint: k.
"""

from __future__ import annotations

import json
import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from curate.errors import DataError
from curate.mix_order import Order
from curate.mixing import FILE, FORMAT
from curate.tokens.mapped import TokenShard, open_shard

Tokens = npt.NDArray[Any]  # u16 or u32
FEW = 3  # windows of one shard in a call
MAX_OPEN = 32_768  # shards mapped at a time: half of what Linux allows a process; a map needs no open file


class Place(NamedTuple):
    """Where a window comes from."""

    stage: int
    source: str
    epoch: int  # how often the source has been read before
    window: int  # tokens window * seq_len and on of the source's stream


class Piece(NamedTuple):
    """A part of a document in a window."""

    id: str
    source: str  # of the document, as its dataset had it
    start: int  # in the window
    stop: int
    first: int  # token of the document that stands at `start`
    dataset: str  # name of the mix's source
    file: str
    row: int  # in the file


class Mix:
    """An opened mix. Not for use by several threads at once."""

    def __init__(self, folder: Path, mix: dict[str, Any], root: Path, max_open: int = MAX_OPEN) -> None:
        self.seq_len: int = mix["seq_len"]
        self.seed: int = mix["seed"]
        self.tokenizer: dict[str, str] = mix["tokenizer"]
        self.sources: list[dict[str, Any]] = mix["sources"]
        self.folder, self._mix, self._root, self._max_open = folder, mix, root, max_open
        self.order = Order(mix)
        self.dtype: npt.DTypeLike = np.uint32 if int(self.tokenizer.get("curate.vocab_size", 1 << 16)) > 1 << 16 else np.uint16
        self._before = [list(accumulate((s["tokens"] for s in source["shards"]), initial=0)) for source in self.sources]
        self._open: OrderedDict[tuple[int, int], TokenShard] = OrderedDict()

    def __len__(self) -> int:
        """Windows in the mix."""
        return len(self.order)

    def __iter__(self) -> Iterator[Tokens]:
        return (self.window(k) for k in range(len(self)))

    def __getitem__(self, k: int) -> dict[str, npt.NDArray[np.int64]]:
        """Window k as the row of a map-style dataset. labels are the ids: trainers shift them."""
        ids = self.window(int(k)).astype(np.int64)
        return {"input_ids": ids, "labels": ids.copy()}

    def again(self) -> Mix:
        """The same mix opened once more, for another thread."""
        return Mix(self.folder, self._mix, self._root, self._max_open)

    def place(self, k: int) -> Place:
        """Stage, source, epoch and window of the source that stand at k."""
        stage, source, epoch, window = (int(column[0]) for column in self.order.places([k]))
        return Place(stage, self.sources[source]["name"], epoch, window)

    def window(self, k: int) -> Tokens:
        """Tokens of window k: a fresh array of `seq_len`."""
        window: Tokens = self.windows([k])[0]
        return window

    def windows(self, ks: npt.ArrayLike, out: Tokens | None = None) -> Tokens:
        """Tokens of windows ks: u16 or u32[n, seq_len] (the type is the mix's, the same for all windows).

        out: where to put them, of that shape and type, C-contiguous; a fresh array where it is None
        """
        places = self.order.places(ks)
        if out is None:
            out = np.empty((len(places.window), self.seq_len), self.dtype)
        whole: dict[TokenShard, tuple[list[int], list[int]]] = {}  # first words and rows of windows that lie in one piece
        size = self.seq_len
        for row, (source, window) in enumerate(zip(places.source.tolist(), places.window.tolist(), strict=True)):
            shard, _, first, stop = self._span(source, window * size, size)
            if stop - first == size:
                firsts, rows = whole.get(shard) or whole.setdefault(shard, ([], []))
                firsts.append(first)
                rows.append(row)
            else:
                np.concatenate([s.words[a:b] for s, _, a, b in self._spans(source, window)], out=out[row])
        for shard, (firsts, rows) in whole.items():
            _copy(shard.words, firsts, rows, out)
        return out

    def document_starts(self, k: int) -> npt.NDArray[np.int32]:
        """Where documents begin and end in window k: i32[d+1], from 0 to seq_len, as `cu_seqlens` of an attention that keeps them apart."""
        _, source, _, window = (int(column[0]) for column in self.order.places([k]))
        found, at = [np.zeros(1, np.int64)], 0
        for shard, number, first, stop in self._spans(source, window):
            offsets = shard.offsets(number)
            start, end = first - shard.first[number], stop - shard.first[number]
            inner = offsets[np.searchsorted(offsets, start, "right") : np.searchsorted(offsets, end, "left")]
            found += [inner + (at - start), np.full(1, at + end - start)]
            at += end - start
        return np.unique(np.concatenate(found)).astype(np.int32)

    def documents(self, k: int) -> Iterator[tuple[TokenShard, int, npt.NDArray[np.int64]]]:
        """(shard, record batch, rows in it) of the documents in window k, in order: one row for each piece that `document_starts` tells apart."""
        _, source, _, window = (int(column[0]) for column in self.order.places([k]))
        for shard, number, first, stop in self._spans(source, window):
            offsets = shard.offsets(number)
            start, end = first - shard.first[number], stop - shard.first[number]
            rows = np.arange(np.searchsorted(offsets, start, "right") - 1, np.searchsorted(offsets, end, "left"))
            yield shard, number, rows[offsets[rows + 1] > offsets[rows]]

    def trace(self, k: int) -> list[Piece]:
        """The documents in window k, in order. A document without tokens is in no window."""
        _, source, _, window = (int(column[0]) for column in self.order.places([k]))
        name = self.sources[source]["name"]
        pieces: list[Piece] = []
        for shard, number, word, end in self._spans(source, window):
            stream = shard.stream(number)
            at, stop = word - shard.first[number], end - shard.first[number]
            row = int(np.searchsorted(stream.offsets, at, "right")) - 1
            ids, names = stream.batch.column("id"), stream.batch.column("source")
            while at < stop:
                first, last = int(stream.offsets[row]), min(int(stream.offsets[row + 1]), stop)
                if last > at:
                    place = pieces[-1].stop if pieces else 0
                    line = shard.rows_before(number) + row
                    pieces.append(
                        Piece(ids[row].as_py(), names[row].as_py(), place, place + last - at, at - first, name, shard.path.name, line)
                    )
                    at = last
                row += 1
        return pieces

    def _spans(self, source: int, window: int) -> Iterator[tuple[TokenShard, int, int, int]]:
        """Where a window lies, in order; see _span."""
        at, end = window * self.seq_len, (window + 1) * self.seq_len
        while at < end:
            span = self._span(source, at, end - at)
            yield span
            at += span[3] - span[2]

    def _span(self, source: int, at: int, size: int) -> tuple[TokenShard, int, int, int]:
        """(shard, record batch, start, stop) in the shard's words: `size` tokens of the source's stream, or what the record batch has of them."""
        before = self._before[source]
        number = bisect_right(before, at) - 1
        shard = self._open.get((source, number)) or self._shard(source, number)
        inside = at - before[number]
        batch = bisect_right(shard.starts, inside) - 1
        first = shard.first[batch] + inside - shard.starts[batch]
        left = shard.starts[batch + 1] - inside
        return shard, batch, first, first + (size if size < left else left)

    def _shard(self, source: int, number: int) -> TokenShard:
        about = self.sources[source]["shards"][number]
        path = self._root / self.sources[source]["name"] / about["file"]
        shard = open_shard(path, self.tokenizer.get("curate.tokenizer_sha256"))
        if shard.tokens != about["tokens"] or os.path.getsize(path) != about["bytes"]:
            raise DataError(
                f"{path} is not the shard that the mix was made of: it has {shard.tokens} tokens in {os.path.getsize(path)} bytes, "
                f"expected {about['tokens']} in {about['bytes']}. Run the recipe again, or open the mix of this run."
            )
        self._open[source, number] = shard
        if len(self._open) > self._max_open:  # the one opened first: windows come in random order, so any is as good
            self._open.popitem(last=False)
        return shard


def _copy(words: Tokens, firsts: list[int], rows: list[int], out: Tokens) -> None:
    """out[rows[i]] = the window at words[firsts[i]]"""
    if len(rows) <= FEW:  # a kernel's call costs more than the copies
        for first, row in zip(firsts, rows, strict=True):
            out[row] = words[first : first + out.shape[1]]
        return
    from curate.kernels.gather import copy_windows

    halves = words.itemsize // 2
    copy_windows(words.view(np.uint16), np.array(firsts, np.int64) * halves, np.array(rows, np.int64), out.view(np.uint16))


def open_mix(path: str | os.PathLike[str], max_open: int = MAX_OPEN) -> Mix:
    """Open a mix: its folder in a run, or its mix.json. The datasets it reads must lie in the same run folder.

    max_open: shards that are mapped at a time
    """
    file = Path(path)
    file = file / FILE if file.is_dir() else file
    try:
        mix = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{file} can't be read as a mix: {error}") from error
    if mix.get("format") != FORMAT:
        raise DataError(f"{file} has format {mix.get('format')!r}, this version of curate reads {FORMAT}. Run the recipe again.")
    return Mix(file.parent, mix, _run_folder(file, mix), max_open)


def _run_folder(file: Path, mix: dict[str, Any]) -> Path:
    """The folder above the mix that holds its datasets."""
    wanted = [Path(source["name"]) / shard["file"] for source in mix["sources"] for shard in source["shards"][:1]]
    for above in dict.fromkeys([*file.absolute().parents, *file.resolve().parents]):
        if all((above / name).exists() for name in wanted):
            return above
    raise DataError(
        f"The datasets of {file} ({', '.join(s['name'] for s in mix['sources'])}) are not beside it. Open the mix inside its run folder."
    )
