"""Training data by number: window k of a mix as a numpy array, and the documents it is made of. Needs no torch.

    mix = open_mix("runs/web_to_chat/pretrain_mix")
    mix.window(0)          # uint16[seq_len]
    mix.trace(0)           # [Piece(id="...", source="web_tokens", start=0, stop=611, ...), ...]

Window k is a pure function of the run's shards, `mix.json` and k: any process may ask for any window in any order, so
resuming, or another number of GPUs, changes nothing. State to keep in a checkpoint: k.
"""

from __future__ import annotations

import json
import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from curate.errors import DataError
from curate.mixing import FILE, FORMAT
from curate.tokens.shard import TokenShard, open_shard

Tokens = npt.NDArray[Any]  # u16 or u32
MAX_OPEN = 256  # shards mapped at a time


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


@dataclass(frozen=True)
class _Segment:
    start: int  # first window
    stage: int
    counts: npt.NDArray[np.int64]
    used: npt.NDArray[np.int64]  # windows of each source before it


class Mix:
    """An opened mix. Not for use by several threads at once."""

    def __init__(self, folder: Path, mix: dict[str, Any], root: Path, max_open: int = MAX_OPEN) -> None:
        self.seq_len: int = mix["seq_len"]
        self.seed: int = mix["seed"]
        self.tokenizer: dict[str, str] = mix["tokenizer"]
        self.sources: list[dict[str, Any]] = mix["sources"]
        self.folder, self._root, self._max_open = folder, root, max_open
        self._before = [list(accumulate((s["tokens"] for s in source["shards"]), initial=0)) for source in self.sources]
        self._segments = _segments(mix["stages"], len(self.sources))
        self._starts = [s.start for s in self._segments]
        self._windows: int = sum(stage["windows"] for stage in mix["stages"])
        self._open: OrderedDict[tuple[int, int], TokenShard] = OrderedDict()
        self._laid_out = lru_cache(maxsize=2)(self._lay_out)
        self._keys = lru_cache(maxsize=1024)(self._round_keys)

    def __len__(self) -> int:
        """Windows in the mix."""
        return self._windows

    def __iter__(self) -> Iterator[Tokens]:
        return (self.window(k) for k in range(len(self)))

    def place(self, k: int) -> Place:
        """Stage, source, epoch and window of the source that stand at k."""
        source, stage, epoch, window = self._find(k)
        return Place(stage, self.sources[source]["name"], epoch, window)

    def window(self, k: int) -> Tokens:
        """Tokens of window k: a fresh array of `seq_len`."""
        source, _, _, window = self._find(k)
        parts = [shard.stream(number).tokens[start:stop] for shard, number, start, stop in self._spans(source, window)]
        return np.concatenate(parts) if len(parts) > 1 else parts[0].copy()

    def trace(self, k: int) -> list[Piece]:
        """The documents in window k, in order. A document without tokens is in no window."""
        source, _, _, window = self._find(k)
        pieces: list[Piece] = []
        at = 0
        for shard, number, start, stop in self._spans(source, window):
            stream = shard.stream(number)
            row = int(np.searchsorted(stream.offsets, start, "right")) - 1
            while start < stop:
                first, end = int(stream.offsets[row]), min(int(stream.offsets[row + 1]), stop)
                if end > start:
                    ids, names = stream.batch.column("id"), stream.batch.column("source")
                    before = shard.rows_before(number)
                    name = self.sources[source]["name"]
                    pieces.append(
                        Piece(
                            ids[row].as_py(), names[row].as_py(), at, at + end - start, start - first, name, shard.path.name, before + row
                        )
                    )
                    at, start = at + end - start, end
                row += 1
        return pieces

    def _find(self, k: int) -> tuple[int, int, int, int]:
        """(source, stage, epoch, window of the source) at k."""
        if not 0 <= k < self._windows:
            raise IndexError(f"window {k} of a mix with {self._windows}")
        from curate.kernels.permutation import permuted

        number = bisect_right(self._starts, k) - 1
        segment = self._segments[number]
        sources, ordinals = self._laid_out(number)
        source = int(sources[k - segment.start])
        use = int(segment.used[source]) + int(ordinals[k - segment.start])
        windows = self.sources[source]["windows"]
        epoch, position = divmod(use, windows)
        window = permuted(np.array([position], np.int64), windows, self._keys(source, epoch))
        return source, segment.stage, epoch, int(window[0])

    def _spans(self, source: int, window: int) -> Iterator[tuple[TokenShard, int, int, int]]:
        """Where a window lies: (shard, record batch, start, stop) in order."""
        at, end = window * self.seq_len, (window + 1) * self.seq_len
        before = self._before[source]
        while at < end:
            number = bisect_right(before, at) - 1
            shard = self._shard(source, number)
            inside = at - before[number]
            batch = int(np.searchsorted(shard.starts, inside, "right")) - 1
            start = inside - int(shard.starts[batch])
            stop = min(start + end - at, int(shard.starts[batch + 1] - shard.starts[batch]))
            yield shard, batch, start, stop
            at += stop - start

    def _lay_out(self, number: int) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.int64]]:
        from curate.kernels.interleave import interleave

        return interleave(self._segments[number].counts)

    def _round_keys(self, source: int, epoch: int) -> npt.NDArray[np.uint64]:
        from curate.kernels.permutation import round_keys

        return round_keys("mix", self.seed, self.sources[source]["name"], epoch)

    def _shard(self, source: int, number: int) -> TokenShard:
        key = (source, number)
        if key in self._open:
            self._open.move_to_end(key)
            return self._open[key]
        about = self.sources[source]["shards"][number]
        path = self._root / self.sources[source]["name"] / about["file"]
        shard = open_shard(path, self.tokenizer.get("curate.tokenizer_sha256"))
        if shard.tokens != about["tokens"] or os.path.getsize(path) != about["bytes"]:
            raise DataError(
                f"{path} is not the shard that the mix was made of: it has {shard.tokens} tokens in {os.path.getsize(path)} bytes, "
                f"expected {about['tokens']} in {about['bytes']}. Run the recipe again, or open the mix of this run."
            )
        self._open[key] = shard
        if len(self._open) > self._max_open:
            self._open.popitem(last=False)
        return shard


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


def _segments(stages: list[dict[str, Any]], sources: int) -> list[_Segment]:
    found: list[_Segment] = []
    start, used = 0, np.zeros(sources, np.int64)
    for number, stage in enumerate(stages):
        for counts in stage["segments"]:
            row = np.array(counts, np.int64)
            found.append(_Segment(start, number, row, used))
            start, used = start + int(row.sum()), used + row
    return found
