"""Windows over chosen documents: an index of pieces, written by a mix and read by the loader where it lies.

A source whose documents are all trained on, back to back, needs no index: its window w is tokens w * seq_len and on of its
dataset's stream. Any other choice (packing, documents left out, repeated, held out, split by language) is three arrays beside mix.json:

    windows-0000.first.npy   i64[W + 1]   pieces of window w are first[w] .. first[w + 1]
    windows-0000.at.npy      i64[p]       first token of a piece in its dataset's stream (documents in shard order, back to back)
    windows-0000.size.npy    i32[p]       its tokens; the pieces of a window add up to seq_len, or less: the rest is padding
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from curate.errors import DataError
from curate.mix_order import Places, distinct, where

I64 = npt.NDArray[np.int64]
BLOCK_PIECES = 1 << 20  # pieces that best-fit packing sees at once: about 60 MB
ARRAYS = {"first": "<i8", "at": "<i8", "size": "<i4"}


class WindowIndex(NamedTuple):
    """An opened index, memory-mapped."""

    first: I64
    at: I64
    size: npt.NDArray[np.int32]

    @classmethod
    def open(cls, folder: Path, name: str) -> WindowIndex:
        """Raises DataError where a file is missing or is none."""
        try:
            arrays = [np.load(folder / f"{name}.{array}.npy", mmap_mode="r", allow_pickle=False) for array in ARRAYS]
        except (OSError, ValueError) as error:
            raise DataError(f"{folder / name}: the mix's window index can't be read: {error}. Run the recipe again.") from error
        return cls(*(np.asarray(array) for array in arrays))

    def pieces(self, windows: I64) -> tuple[I64, I64, I64]:
        """(pieces of each window i64[n], at, size of all pieces in order)."""
        begin = self.first[windows]
        counts = self.first[windows + 1] - begin
        ends = np.cumsum(counts)
        which = np.arange(ends[-1] if len(ends) else 0) + np.repeat(begin - ends + counts, counts)
        return counts, self.at[which], self.size[which].astype(np.int64)


class Pieces:
    """Where the tokens of a mix's windows lie in the streams of its datasets."""

    def __init__(self, mix: dict[str, Any], folder: Path, held_out: bool = False) -> None:
        self._seq_len: int = mix["seq_len"]
        named = [
            source["held_out"]["index"] if held_out and source["held_out"]["by"] == "documents" else source["index"]
            for source in mix["sources"]
        ]
        self._indexes = [WindowIndex.open(folder, name) if name else None for name in named]
        self.padded = mix["packing"] == "best_fit"

    def plain(self, source: int) -> bool:
        """Whether the windows of a source are its dataset's stream cut up."""
        return self._indexes[source] is None

    def of(self, source: int, windows: I64) -> tuple[I64, I64, I64]:
        """(pieces of each window i64[n], at, size of all pieces in order): at counts from the start of the dataset's stream."""
        index = self._indexes[source]
        if index is not None:
            return index.pieces(windows)
        return np.ones(len(windows), np.int64), windows * self._seq_len, np.full(len(windows), self._seq_len, np.int64)

    def holding(self, source: int, first: int, stop: int) -> I64:
        """Windows of a source that hold any of tokens first..stop-1 of its dataset's stream, rising."""
        index = self._indexes[source]
        if index is None:
            return np.arange(first // self._seq_len, -(-stop // self._seq_len)) if stop > first else np.zeros(0, np.int64)
        found = []
        for start in range(0, len(index.at), BLOCK_PIECES):
            at, size = index.at[start : start + BLOCK_PIECES], index.size[start : start + BLOCK_PIECES]
            found.append(start + np.flatnonzero((at < stop) & (at + size > first)))
        pieces = np.concatenate([np.zeros(0, np.int64), *found])
        return np.unique(np.searchsorted(index.first, pieces, "right") - 1)

    def tokens(self, places: Places) -> I64:
        """Tokens in each window that are not padding: i64[n]."""
        found = np.full(len(places.window), self._seq_len, np.int64)
        if self.padded:
            for source in distinct(places.source):
                mine = where(places.source, source)
                counts, _, size = self.of(source, places.window[mine])
                found[mine] = np.add.reduceat(size, np.cumsum(counts) - counts)
        return found


class IndexWriter:
    """Appends windows to the three arrays; no file stays open, because a mix may have a thousand sources."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name, self.windows, self.tokens = folder, name, 0, 0
        self._rows = dict.fromkeys(ARRAYS, 0)
        self._append("first", np.zeros(1, np.int64))

    def append(self, counts: I64, at: I64, size: I64) -> None:
        """Add windows of `counts` pieces each."""
        self._append("first", self._rows["at"] + np.cumsum(counts))
        self._append("at", at)
        self._append("size", size)
        self.windows, self.tokens = self.windows + len(counts), self.tokens + int(size.sum())

    def _append(self, array: str, values: npt.NDArray[Any]) -> None:
        path, kind = self.folder / f"{self.name}.{array}.npy", ARRAYS[array]
        fresh = not self._rows[array]
        self._rows[array] += len(values)
        with open(path, "wb" if fresh else "r+b") as file:
            # numpy leaves room in the header for the first axis to grow, so that it can be written again in place.
            np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": (self._rows[array],)})
            file.seek(0, 2)
            file.write(np.ascontiguousarray(values, kind).data)


class Concat:
    """Documents back to back, cut into windows of seq_len. What does not fill the last window is its tail."""

    def __init__(self, seq_len: int, out: IndexWriter) -> None:
        self._seq_len, self.out = seq_len, out
        self._at = self._size = np.zeros(0, np.int64)
        self.waiting = self.cropped = self.too_long = 0

    @property
    def tail(self) -> int:
        """Tokens that fill no window."""
        return int(self._size.sum())

    def add(self, at: I64, size: I64) -> None:
        """Add documents: at, size: i64[n]."""
        at, size = np.concatenate([self._at, at[size > 0]]), np.concatenate([self._size, size[size > 0]])
        if not len(at):
            return
        begins = np.flatnonzero(np.concatenate([[True], at[1:] != at[:-1] + size[:-1]]))  # neighbours in the stream are one piece
        at, size = at[begins], np.add.reduceat(size, begins)
        ends = np.cumsum(size)
        windows = int(ends[-1]) // self._seq_len
        borders = np.union1d(ends, np.arange(1, windows + 1) * self._seq_len)
        starts = np.concatenate([[0], borders[:-1]])
        piece = np.searchsorted(ends, starts, "right")
        at, size, window = at[piece] + starts - (ends - size)[piece], borders - starts, starts // self._seq_len
        whole = window < windows
        if windows:
            self.out.append(np.bincount(window[whole], minlength=windows), at[whole], size[whole])
        self._at, self._size = at[~whole], size[~whole]

    def flush(self) -> None:
        """Nothing waits but the tail, less than a window."""


class BestFit:
    """Documents packed into windows without cutting them, the largest first, among about 2^20 neighbouring ones.

    over_long: documents of more than seq_len tokens. split: windows of their own, the rest is packed; crop: the rest is left out;
    drop: left out whole. In a window documents stand in the order of the dataset.
    """

    tail = 0

    def __init__(self, seq_len: int, out: IndexWriter, over_long: Literal["split", "crop", "drop"]) -> None:
        self._seq_len, self.out, self._over_long = seq_len, out, over_long
        self._waiting: list[tuple[I64, I64]] = []
        self.waiting = self.cropped = self.too_long = 0

    def add(self, at: I64, size: I64) -> None:
        """Add documents: at, size: i64[n]."""
        at, size = at[size > 0], size[size > 0]
        long = size > self._seq_len
        if long.any():
            at, size = self._shortened(at, size, long)
        while len(at):  # blocks are the same however documents come in
            room = BLOCK_PIECES - self.waiting
            self._waiting.append((at[:room], size[:room]))
            self.waiting += len(at[:room])
            at, size = at[room:], size[room:]
            if self.waiting == BLOCK_PIECES:
                self.flush()

    def _shortened(self, at: I64, size: I64, long: npt.NDArray[np.bool_]) -> tuple[I64, I64]:
        room = self._seq_len
        if self._over_long == "drop":
            self.too_long += int(size[long].sum())
            return at[~long], size[~long]
        if self._over_long == "crop":
            self.cropped += int((size[long] - room).sum())
            return at, np.minimum(size, room)
        parts = -(-size // room)
        ends = np.cumsum(parts)
        place = np.arange(ends[-1]) - np.repeat(ends - parts, parts)
        return np.repeat(at, parts) + place * room, np.minimum(np.repeat(size, parts) - place * room, room)

    def flush(self) -> None:
        """Pack what waits."""
        from curate.kernels.packing import best_fit

        if not self._waiting:
            return
        at, size = (np.concatenate(column) for column in zip(*self._waiting, strict=True))
        window, windows = best_fit(size, self._seq_len)
        turn = np.argsort(window, kind="stable")
        self.out.append(np.bincount(window, minlength=windows), at[turn], size[turn])
        self._waiting, self.waiting = [], 0
