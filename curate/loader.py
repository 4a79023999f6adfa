"""Training data by number: windows of a mix as numpy arrays, and the documents they are made of. Needs no torch.

    mix = open_mix("runs/web_to_chat/pretrain_mix")
    mix.window(0)                # uint16[seq_len]
    mix.windows(range(512))      # uint16[512, seq_len]
    mix.trace(0)                 # [Piece(id="...", source="web_tokens", start=0, stop=611, ...), ...]
    mix[0]                       # {"input_ids": int64[seq_len], "labels": ...}: a map-style dataset for torch, HF Trainer, Lightning
    held = open_mix("runs/web_to_chat/pretrain_mix", held_out=True)   # its validation windows, each once

    for batch in Batches(mix, 512, rank=3, world_size=8, start=1000, prefetch=2):   # curate.batches
        ...

Window k is a pure function of the run's shards, `mix.json` and k: any process may ask for any window in any order, so
resuming, or another number of GPUs, changes nothing. State to keep in a checkpoint: k.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from curate.errors import DataError
from curate.mix_order import BLOCK, FILE, FORMAT, HeldOut, Order, Places, distinct, where
from curate.mix_windows import Pieces
from curate.tokens.mapped import TokenShard
from curate.tokens.opened import OpenShards, Span

Tokens = npt.NDArray[Any]  # u16 or u32
I64 = npt.NDArray[np.int64]
MAX_OPEN = 32_768  # shards mapped at a time: half of what Linux allows a process; a map needs no open file
IGNORED = -100  # label of a token that is not learnt


class Place(NamedTuple):
    """Where a window comes from."""

    stage: int
    source: str
    epoch: int  # how often the source has been read before
    window: int  # of the source; without packing and choice of documents, tokens window * seq_len and on of its stream


class Piece(NamedTuple):
    """A part of a document in a window."""

    id: str
    source: str  # of the document, as its dataset had it
    start: int  # in the window
    stop: int
    first: int  # token of the document that stands at `start`
    dataset: str  # dataset of the run that has it
    file: str
    row: int  # in the file


class Mix:
    """An opened mix. Not for use by several threads at once; may be pickled, and is opened anew.

    isolated: rows of `mix[k]` keep documents apart: they have `position_ids` that start anew in each, and the first token of a
        document is no label
    """

    def __init__(
        self, folder: Path, mix: dict[str, Any], root: Path, max_open: int = MAX_OPEN, held_out: bool = False, isolated: bool | None = None
    ) -> None:
        self.seq_len: int = mix["seq_len"]
        self.seed: int = mix["seed"]
        self.packing: str = mix["packing"]
        self.pad_id: int = mix["pad_id"]
        self.tokenizer: dict[str, str] = mix["tokenizer"]
        self.sources: list[dict[str, Any]] = mix["sources"]
        self.isolated = self.packing != "concat" if isolated is None else isolated
        self.folder, self.description = folder, mix
        self._opened = (folder, mix, root, max_open, held_out, self.isolated)
        self.order: Order | HeldOut = HeldOut(mix) if held_out else Order(mix)
        self.dtype: npt.DTypeLike = np.uint32 if int(self.tokenizer.get("curate.vocab_size", 1 << 16)) > 1 << 16 else np.uint16
        self._pieces = Pieces(mix, folder, held_out)
        self._shards = OpenShards(root, mix["datasets"], self.tokenizer.get("curate.tokenizer_sha256"), max_open)
        numbers = {dataset["name"]: number for number, dataset in enumerate(mix["datasets"])}
        self._base = self._shards.base[[numbers[source["dataset"]] for source in self.sources]]

    def __len__(self) -> int:
        """Windows in the mix."""
        return len(self.order)

    def __iter__(self) -> Iterator[Tokens]:
        return (self.window(k) for k in range(len(self)))

    def __reduce__(self) -> tuple[Any, ...]:
        return Mix, self._opened

    def __getitem__(self, k: int) -> dict[str, npt.NDArray[np.int64]]:
        """Window k as the row of a map-style dataset. labels are the ids (trainers shift them), IGNORED where nothing is learnt."""
        ids = self.window(int(k)).astype(np.int64)
        labels = ids.copy()
        labels[int(self.sizes([k])[0]) :] = IGNORED
        if not self.isolated:
            return {"input_ids": ids, "labels": labels}
        starts = self.document_starts(k)
        labels[starts[:-1]] = IGNORED
        positions = np.arange(self.seq_len) - np.repeat(starts[:-1], np.diff(starts))
        return {"input_ids": ids, "labels": labels, "position_ids": positions}

    def again(self) -> Mix:
        """The same mix opened once more, for another thread."""
        return Mix(*self._opened)

    def place(self, k: int) -> Place:
        """Stage, source, epoch and window of the source that stand at k."""
        stage, source, epoch, window = (int(column[0]) for column in self.order.places([k]))
        return Place(stage, self.sources[source]["name"], epoch, window)

    def sizes(self, ks: npt.ArrayLike) -> I64:
        """Tokens of windows ks that are not padding: i64[n]."""
        return self._pieces.tokens(self.order.places(ks))

    def window(self, k: int) -> Tokens:
        """Tokens of window k: a fresh array of `seq_len`."""
        window: Tokens = self.windows([k])[0]
        return window

    def windows(self, ks: npt.ArrayLike, out: Tokens | None = None) -> Tokens:
        """Tokens of windows ks: u16 or u32[n, seq_len] (the type is the mix's, the same for all windows), filled up with `pad_id`.

        out: where to put them, of that shape and type, C-contiguous; a fresh array where it is None
        """
        return self._copied(self._stretches(self.order.places(ks)), np.size(ks), out)

    def windows_and_borders(self, ks: npt.ArrayLike, out: Tokens | None = None) -> tuple[Tokens, I64]:
        """`windows(ks)` and `borders(ks)`, with one look at where they lie."""
        stretches = self._stretches(self.order.places(ks))
        at, size, target = stretches
        borders = self._borders((at.copy(), size.copy(), target.copy()), np.size(ks))
        return self._copied(stretches, np.size(ks), out), borders

    def borders(self, ks: npt.ArrayLike) -> I64:
        """Every place where a document, a window or padding begins in windows ks laid end to end, then n * seq_len: i64[p+1]."""
        return self._borders(self._stretches(self.order.places(ks)), np.size(ks))

    def _copied(self, stretches: tuple[I64, I64, I64], count: int, out: Tokens | None) -> Tokens:
        """Tokens of `count` windows; the stretches are used up."""
        at, size, target = stretches
        if out is None:
            out = np.empty((count, self.seq_len), self.dtype)
        if self._pieces.padded:
            sizes = self._sizes(size, target, count)
            short = np.flatnonzero(sizes < self.seq_len)
            if len(short):
                out[short, int(sizes[short].min()) :] = self.pad_id
        self._shards.copy(at, size, target, out.reshape(-1))
        return out

    def _borders(self, stretches: tuple[I64, I64, I64], count: int) -> I64:
        """Borders of `count` windows; the stretches are used up."""
        at, size, target = stretches
        windows = np.arange(count + 1) * self.seq_len
        if self._pieces.padded:  # a piece is a document, or a part of one
            found = np.concatenate([target, windows, windows[:-1] + self._sizes(size, target, count)])
        else:
            found = np.concatenate([self._shards.document_starts(at, size, target), windows])
        found.sort()
        fresh = np.ones(len(found), bool)
        np.not_equal(found[1:], found[:-1], out=fresh[1:])
        borders: I64 = found[fresh]
        return borders

    def _sizes(self, size: I64, target: I64, count: int) -> I64:
        """Tokens of each window that are not padding, from its stretches."""
        return np.bincount(target // self.seq_len, size, count).astype(np.int64)

    def _stretches(self, places: Places) -> tuple[I64, I64, I64]:
        """(first token of all shards' stream, tokens, place in the flat windows) of every piece of the windows."""
        rows = np.arange(len(places.window))
        parts = []
        for source in distinct(places.source):
            mine = where(places.source, source)
            counts, at, size = self._pieces.of(source, places.window[mine])
            target = np.repeat(rows[mine] * self.seq_len, counts)
            if not self._pieces.plain(source):
                inside = np.cumsum(size) - size
                target += inside - np.repeat(inside[np.cumsum(counts) - counts], counts)
            parts.append((at + self._base[source], size, target))
        if not parts:
            return rows, rows, rows
        at, size, target = (np.concatenate(column) for column in zip(*parts, strict=True))
        return at, size, target

    def _spans(self, k: int) -> Iterator[tuple[Span, int]]:
        """(span, its place in the window) of window k, in order. A span of a packed window lies in one document."""
        at, size, target = self._stretches(self.order.places([k]))
        for first, count, place in zip(at.tolist(), size.tolist(), target.tolist(), strict=True):
            for span in self._shards.spans(first, count):
                yield span, place
                place += span.stop - span.start

    def document_starts(self, k: int) -> npt.NDArray[np.int32]:
        """Where documents begin and end in window k: i32[d+1], from 0 to seq_len, as `cu_seqlens` of an attention that keeps them apart.

        Padding is a piece of its own, the last one: it begins at `sizes([k])[0]`.
        """
        return self.borders([k]).astype(np.int32)

    def layout(self, ks: npt.ArrayLike) -> tuple[I64, list[tuple[TokenShard, int, I64, I64]]]:
        """`borders(ks)`, and which documents begin there.

        Returns (borders; stretches: shard, record batch, rows i64[m] in it, place of each row in the windows i64[m]). Padding has no row.
        """
        stretches = []
        for first, count, place in zip(*(column.tolist() for column in self._stretches(self.order.places(ks))), strict=True):
            for span in self._shards.spans(first, count):
                rows, offsets = _rows(span), span.shard.offsets(span.batch)
                stretches.append((span.shard, span.batch, rows, np.maximum(offsets[rows], span.start) + (place - span.start)))
                place += span.stop - span.start
        return self.borders(ks), stretches

    def holding(self, dataset: str, file: str, start: int, count: int) -> I64:
        """All k whose windows hold any of `count` tokens from `start` on of a dataset's shard, rising. Looks at every window's place."""
        shards: list[dict[str, Any]] = next((d["shards"] for d in self.description["datasets"] if d["name"] == dataset), [])
        names = [shard["file"] for shard in shards]
        if file not in names:
            return np.zeros(0, np.int64)
        first = start + sum(shard["tokens"] for shard in shards[: names.index(file)])
        wanted = {
            number: self._pieces.holding(number, first, first + count)
            for number, source in enumerate(self.sources)
            if source["dataset"] == dataset
        }
        found = []
        for begin in range(0, len(self), BLOCK):
            places = self.order.places(np.arange(begin, min(begin + BLOCK, len(self))))
            mine = np.zeros(len(places.source), bool)
            for number, windows in wanted.items():
                mine |= (places.source == number) & np.isin(places.window, windows)
            found.append(begin + np.flatnonzero(mine))
        return np.concatenate([np.zeros(0, np.int64), *found])

    def trace(self, k: int) -> list[Piece]:
        """The documents in window k, in order. A document without tokens is in no window."""
        dataset = self.sources[int(self.order.places([k]).source[0])]["dataset"]
        pieces: list[Piece] = []
        for span, place in self._spans(k):
            offsets = span.shard.offsets(span.batch)
            ids, names = (span.shard.stream(span.batch).batch.column(name) for name in ("id", "source"))
            for row in _rows(span).tolist():
                begin, end = max(int(offsets[row]), span.start), min(int(offsets[row + 1]), span.stop)
                start, line = place + begin - span.start, span.shard.rows_before(span.batch) + row
                pieces.append(
                    Piece(
                        ids[row].as_py(),
                        names[row].as_py(),
                        start,
                        start + end - begin,
                        begin - int(offsets[row]),
                        dataset,
                        span.shard.path.name,
                        line,
                    )
                )
        return pieces


def _rows(span: Span) -> I64:
    """Rows of the record batch that have tokens in a span."""
    offsets = span.shard.offsets(span.batch)
    rows = np.arange(np.searchsorted(offsets, span.start, "right") - 1, np.searchsorted(offsets, span.stop, "left"))
    return rows[offsets[rows + 1] > offsets[rows]]


def open_mix(path: str | os.PathLike[str], max_open: int = MAX_OPEN, *, held_out: bool = False, isolated: bool | None = None) -> Mix:
    """Open a mix: its folder in a run, or its mix.json. The datasets it reads must lie in the same run folder.

    max_open: shards that are mapped at a time
    held_out: the validation windows instead of those that are trained on
    isolated: rows keep documents apart (see Mix); where documents are packed unless it says otherwise
    """
    file = Path(path)
    file = file / FILE if file.is_dir() else file
    mix = read_mix(file)
    return Mix(file.parent, mix, _run_folder(file, mix), max_open, held_out, isolated)


def read_mix(file: Path) -> dict[str, Any]:
    """What mix.json holds. Raises DataError where it is none, or of another version."""
    try:
        mix: dict[str, Any] = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{file} can't be read as a mix: {error}") from error
    if mix.get("format") != FORMAT:
        raise DataError(f"{file} has format {mix.get('format')!r}, this version of curate reads {FORMAT}. Run the recipe again.")
    return mix


def _run_folder(file: Path, mix: dict[str, Any]) -> Path:
    """The folder above the mix that holds its datasets."""
    wanted = [Path(dataset["name"]) / shard["file"] for dataset in mix["datasets"] for shard in dataset["shards"][:1]]
    for above in dict.fromkeys([*file.absolute().parents, *file.resolve().parents]):
        if all((above / name).exists() for name in wanted):
            return above
    raise DataError(
        f"The datasets of {file} ({', '.join(d['name'] for d in mix['datasets'])}) are not beside it. Open the mix inside its run folder."
    )
