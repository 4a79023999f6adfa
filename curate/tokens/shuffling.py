"""The `shuffle` node: the documents of token datasets in one global random order, long ones cut.

    web_shuffled: {shuffle: {data: web_tokens, max_tokens: 65536}}

Piece i of N goes to place p(i), a permutation of 0..N-1 keyed by the seed, so the order depends on the inputs and the seed alone.
Pieces are spread over buckets of neighbouring places on disk, then each bucket is put in order in memory: every token is
read twice and written twice, in sequence, and memory is a few buckets whatever the size of the data.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from curate.errors import DataError
from curate.node import Node, NodeInput, NodeResult, Progress
from curate.step import Context
from curate.tokens.mapped import Stream, TokenShard, open_shard
from curate.tokens.shard import FILE_BYTES, TokenShardWriter
from curate.tokens.vocabulary import PREFIX

BUCKET_BYTES = 64 << 20
MAX_BUCKETS = 512  # files open at a time; above 32 GiB of tokens buckets grow
HELD_BYTES = 96 << 20  # rows waiting to be written to buckets
PLACE = "_place"
PIECES = pa.schema([("piece", pa.int32()), ("pieces", pa.int32())])
NOT_SHUFFLED = ("curate.dataset", "curate.key")  # metadata that is of the input
Name = Annotated[str, Field(min_length=1)]
I64 = npt.NDArray[np.int64]


class ShuffleNode(Node):
    """Documents of tokenized datasets in one random order. Same inputs and seed, same bytes.

    A document longer than `max_tokens` becomes the fewest pieces that are not, of equal length to within one token; they are rows of
    their own, with `piece` and `pieces`. Nothing is added at a cut: BOS stays on the first piece, EOS on the last.
    """

    kind: ClassVar[str] = "shuffle"
    summary: ClassVar[str] = "the documents of token datasets in one random order, long ones cut"

    data: Name | Annotated[list[Name], Field(min_length=1)] = Field(description="tokenized dataset, or list of them")
    seed: int | None = Field(default=None, ge=0, le=2**63 - 1, description="order; null: the recipe's seed")
    max_tokens: int | None = Field(default=None, ge=1, le=1 << 31, description="longer documents are cut into equal pieces; null: none are")
    file_bytes: int = Field(default=FILE_BYTES, ge=1 << 16, le=1 << 40, description="a shard ends when it reaches this")

    def inputs(self) -> tuple[str, ...]:
        return (self.data,) if isinstance(self.data, str) else tuple(dict.fromkeys(self.data))

    def forecast(self, inputs: Mapping[str, NodeInput], exact: bool) -> list[str]:
        known = [inputs[name] for name in self.inputs() if name in inputs]
        mark = "" if exact and len(known) == len(self.inputs()) else "~"
        return [f"{mark}{sum(i.tokens for i in known):,} tokens of {mark}{sum(i.rows for i in known):,} documents, written twice"]

    def run(self, inputs: Mapping[str, NodeInput], out: Path, ctx: Context, progress: Progress) -> NodeResult:
        shards = [open_shard(part) for name in self.inputs() for part in sorted(inputs[name].parts)]
        _refuse_mixed(shards)
        seed = ctx.seed if self.seed is None else self.seed
        total = sum(len(cut.row) for cut in self._cuts(shards))
        size = sum(shard.tokens * shard.words.itemsize for shard in shards)
        buckets = _Buckets(out / ".buckets", min(MAX_BUCKETS, max(1, -(-size // BUCKET_BYTES))), total)
        documents = 0
        for number, cut in enumerate(self._cuts(shards)):
            progress(0.5 * number / max(1, sum(s.batches for s in shards)), "spreading documents")
            buckets.add(_rows(cut, self.max_tokens is not None), seed)
            documents += len(cut.stream.offsets) - 1
        writer = self._writer(out, shards[0], seed)
        for number, batch in enumerate(buckets.in_order()):
            progress(0.5 + 0.5 * number / buckets.count, "writing shards")
            writer.write(batch)
        files = writer.close()
        tokens = sum(shard.tokens for shard in shards)
        info = {"seed": seed, "documents": documents, "pieces": total, "shards": len(files), "buckets": buckets.count}
        return NodeResult(rows_out=total, tokens=tokens, info=info)

    def _cuts(self, shards: list[TokenShard]) -> Iterator[_Cut]:
        for shard in shards:
            for number in range(shard.batches):
                yield _cut(shard.stream(number), self.max_tokens)

    def _writer(self, out: Path, first: TokenShard, seed: int) -> TokenShardWriter:
        schema = _rows(_cut(first.stream(0), self.max_tokens) if first.batches else _nothing(first), self.max_tokens is not None).schema
        metadata = {k: v for k, v in first.metadata.items() if k not in NOT_SHUFFLED} | {PREFIX + "shuffle_seed": str(seed)}
        if self.max_tokens is not None:
            metadata[PREFIX + "max_tokens"] = str(self.max_tokens)
        return TokenShardWriter(out, "part", schema.remove_metadata(), metadata, file_bytes=self.file_bytes)


class _Cut(NamedTuple):
    """The pieces of a record batch, in order."""

    stream: Stream
    row: I64  # i64[p], its document
    start: I64  # i64[p], tokens from the start of the batch
    size: I64
    piece: I64
    pieces: I64


def _cut(stream: Stream, max_tokens: int | None) -> _Cut:
    sizes = np.diff(stream.offsets)
    parts = np.ones(len(sizes), np.int64) if max_tokens is None else np.maximum(1, -(-sizes // max_tokens))
    row = np.repeat(np.arange(len(sizes)), parts)
    piece = np.arange(len(row)) - np.repeat(np.cumsum(parts) - parts, parts)
    begin, end = sizes[row] * piece // parts[row], sizes[row] * (piece + 1) // parts[row]
    return _Cut(stream, row, stream.offsets[:-1][row] + begin, end - begin, piece, parts[row])


def _nothing(shard: TokenShard) -> _Cut:
    none = np.zeros(0, np.int64)
    with pa.ipc.open_file(pa.memory_map(str(shard.path))) as file:
        batch = pa.RecordBatch.from_pylist([], schema=file.schema)
    return _Cut(Stream(np.zeros(0, shard.words.dtype), np.zeros(1, np.int64), batch), none, none, none, none, none)


def _rows(cut: _Cut, numbered: bool) -> pa.RecordBatch:
    """The pieces as a batch of their own."""
    batch = cut.stream.batch
    names = [name for name in batch.schema.names if name not in ("tokens", "n_tokens", *(PIECES.names if numbered else []))]
    rest = batch.select(names)
    if numbered:
        rest = rest.take(pa.array(cut.row))
    columns = {name: rest.column(name) for name in names}
    columns["tokens"] = token_lists(cut.stream.tokens, cut.start, cut.size)
    columns["n_tokens"] = pa.array(cut.size.astype(np.int32))
    if numbered:
        columns["piece"], columns["pieces"] = pa.array(cut.piece.astype(np.int32)), pa.array(cut.pieces.astype(np.int32))
    return pa.record_batch(columns)


def token_lists(tokens: npt.NDArray[Any], start: I64, size: I64) -> pa.LargeListArray:
    """Lists of tokens[start:start + size], copied. tokens: u16 or u32[t]; start, size: i64[n]."""
    from curate.kernels.token_rows import copy_rows

    ends = np.zeros(len(size) + 1, np.int64)
    np.cumsum(size, out=ends[1:])
    out = np.empty(int(ends[-1]), tokens.dtype)
    halves = tokens.dtype.itemsize // 2
    copy_rows(np.ascontiguousarray(tokens).view(np.uint16), start * halves, size * halves, out.view(np.uint16))
    return pa.LargeListArray.from_arrays(pa.array(ends), pa.array(out))


class _Buckets:
    """Rows by the places they will have: bucket b holds places from b * total / count on."""

    def __init__(self, folder: Path, count: int, total: int) -> None:
        self._folder, self.count, self._total = folder, count, total
        folder.mkdir()
        self._files: dict[int, Any] = {}
        self._held: list[list[pa.RecordBatch]] = [[] for _ in range(count)]
        self._bytes = self._seen = 0

    def add(self, batch: pa.RecordBatch, seed: int) -> None:
        from curate.kernels.permutation import permuted, round_keys

        place = permuted(np.arange(self._seen, self._seen + len(batch)), self._total, round_keys("shuffle", seed))
        self._seen += len(batch)
        bucket = place * self.count // self._total
        order = np.argsort(bucket, kind="stable")
        edges = np.searchsorted(bucket[order], np.arange(self.count + 1))
        for number in np.flatnonzero(np.diff(edges)).tolist():
            rows = order[edges[number] : edges[number + 1]]
            self._held[number].append(_taken(batch, rows).append_column(PLACE, pa.array(place[rows])))
        self._bytes += batch.nbytes
        if self._bytes >= HELD_BYTES:
            self._spill()

    def in_order(self) -> Iterator[pa.RecordBatch]:
        """The rows of each bucket, in the order of their places."""
        if self._files:
            self._spill()
        for file in self._files.values():
            file.close()
        for number in range(self.count):
            rows = [*self._spilt(number), *self._held[number]]
            self._held[number] = []
            if rows:
                whole = pa.concat_batches(rows)
                del rows
                yield _taken(whole, np.argsort(whole.column(PLACE).to_numpy())).drop_columns([PLACE])
        shutil.rmtree(self._folder)

    def _spill(self) -> None:
        for number, rows in enumerate(self._held):
            if rows:
                whole = pa.concat_batches(rows)
                if number not in self._files:
                    self._files[number] = pa.ipc.new_stream(str(self._folder / str(number)), whole.schema)
                self._files[number].write_batch(whole)
                self._held[number] = []
        self._bytes = 0

    def _spilt(self, number: int) -> list[pa.RecordBatch]:
        path = self._folder / str(number)
        if number not in self._files:
            return []
        with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as reader:
            found = list(reader)
        path.unlink()
        return found


def _taken(batch: pa.RecordBatch, rows: I64) -> pa.RecordBatch:
    """The rows of a batch in another order; Arrow's `take` copies lists token by token, at a tenth of the speed."""
    column = batch.column("tokens")
    offsets = np.frombuffer(column.buffers()[1], np.int64)[column.offset : column.offset + len(column) + 1]
    lists = token_lists(column.values.to_numpy(), offsets[:-1][rows], np.diff(offsets)[rows])
    at = batch.schema.get_field_index("tokens")
    return batch.drop_columns(["tokens"]).take(pa.array(rows)).add_column(at, "tokens", lists)


def _refuse_mixed(shards: list[TokenShard]) -> None:
    from curate.tokens.export import tokenizer_of

    tokenizer_of(shards)
    for shard in shards[1:]:
        columns, first = (_nothing(s).stream.batch.schema for s in (shard, shards[0]))
        if columns.remove_metadata() != first.remove_metadata():
            differ = sorted(set(map(str, columns)) ^ set(map(str, first))) or ["their order"]
            raise DataError(
                f"{shard.path} and {shards[0].path} have other columns ({', '.join(differ)}). Give the datasets the same steps."
            )
