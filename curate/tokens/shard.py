"""Token shards: documents as token lists in Arrow IPC files that are read where they lie.

    part-00000.arrow   Arrow IPC file format, uncompressed; one row per document
        tokens         large_list<uint16 | uint32>; within a record batch its value buffer is the flat token stream
        n_tokens       int32
        id, source     string, and other columns of the dataset
    schema metadata    curate.tokenizer_sha256, curate.vocab_size, curate.bos_id, curate.eos_id, curate.document (such as
                       "ids eos"), and what the caller adds

Record batches and files are cut by tokens and documents alone, so the bytes don't depend on how batches came in.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.errors import DataError
from curate.schema import ROW
from curate.tokens.vocabulary import PREFIX

BATCH_TOKENS = 4 << 20  # a record batch ends with the document that reaches this
BATCH_ROWS = 1 << 16  # or with this many documents
FILE_BYTES = 1 << 30  # a file ends with the record batch that reaches this


class TokenShardWriter:
    """Writes `<stem>-00000.arrow`, `<stem>-00001.arrow` and so on, each about `file_bytes` long; at least one file.

    schema: of the batches, with `tokens`; its metadata and `metadata` go into every file, sorted by key
    """

    def __init__(
        self,
        folder: Path,
        stem: str,
        schema: pa.Schema,
        metadata: Mapping[str, str],
        *,
        batch_tokens: int = BATCH_TOKENS,
        file_bytes: int = FILE_BYTES,
    ) -> None:
        self._folder, self._stem = folder, stem
        self._batch_tokens, self._file_bytes = batch_tokens, file_bytes
        self._names = [name for name in schema.names if name != ROW]
        given = {k.decode(): v.decode() for k, v in (schema.metadata or {}).items()} | dict(metadata)
        self._schema = pa.schema([schema.field(name) for name in self._names], metadata=dict(sorted(given.items())))
        self._pending: list[pa.RecordBatch] = []
        self._tokens, self._rows = 0, 0  # pending
        self._files: list[Path] = []
        self._file: Any = None
        self._written = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Add documents."""
        batch = batch.select(self._names)
        sizes = batch.column("n_tokens").to_numpy()
        ends = np.cumsum(sizes, dtype=np.int64)
        start = 0
        while start < len(batch):
            before = int(ends[start - 1]) if start else 0
            full = int(np.searchsorted(ends, before + self._batch_tokens - self._tokens)) + 1
            stop = min(full, start + BATCH_ROWS - self._rows, len(batch))
            self._pending.append(batch.slice(start, stop - start))
            self._tokens += int(ends[stop - 1]) - before
            self._rows += stop - start
            if self._tokens >= self._batch_tokens or self._rows >= BATCH_ROWS:
                self._flush()
            start = stop

    def close(self) -> list[Path]:
        """Finish the last file; return all files in order."""
        if self._pending or not self._files:
            self._flush()
        self._close_file()
        return self._files

    def _flush(self) -> None:
        if self._file is None:
            name = f"{self._stem}-{len(self._files):05d}.arrow"
            self._files.append(self._folder / name)
            self._file = pa.ipc.new_file(self._files[-1], self._schema)
        if self._pending:
            # Through concat, never a lone slice: the same buffers wherever the documents came from.
            table = pa.Table.from_batches(self._pending).combine_chunks()
            batch = pa.record_batch([table.column(name).combine_chunks() for name in self._names], names=self._names)
            self._file.write_batch(batch.cast(self._schema))
            self._written += batch.nbytes
        self._pending, self._tokens, self._rows = [], 0, 0
        if self._written >= self._file_bytes:
            self._close_file()

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file, self._written = None, 0


class Stream(NamedTuple):
    """One record batch of a shard, zero-copy."""

    tokens: npt.NDArray[Any]  # u16 or u32[t], all documents back to back
    offsets: npt.NDArray[np.int64]  # i64[n+1]; document d is tokens[offsets[d]:offsets[d+1]]; offsets[0] = 0
    batch: pa.RecordBatch


class TokenShard:
    """A shard, memory-mapped. `starts` counts tokens before each record batch: i64[batches+1]."""

    def __init__(self, path: Path, tokenizer_sha256: str | None = None) -> None:
        try:
            self._map = pa.memory_map(str(path))
            self._reader = pa.ipc.open_file(self._map)
        except (OSError, pa.ArrowInvalid) as error:
            raise DataError(f"{path} can't be opened as a token shard: {error}") from error
        self.path = path
        self.metadata = {k.decode(): v.decode() for k, v in (self._reader.schema.metadata or {}).items()}
        found = self.metadata.get(PREFIX + "tokenizer_sha256")
        if found is None or "tokens" not in self._reader.schema.names:
            raise DataError(
                f"{path} is not a token shard: it names no tokenizer or has no column 'tokens'. Make it with the step 'tokenize'."
            )
        if tokenizer_sha256 is not None and found != tokenizer_sha256:
            raise DataError(
                f"{path} was made with another tokenizer (sha256 {found[:12]}..., expected {tokenizer_sha256[:12]}...). "
                "Tokenize both with one tokenizer."
            )
        self.batches: int = self._reader.num_record_batches
        self._streams = [_stream(self._reader.get_batch(number)) for number in range(self.batches)]
        self.starts = _running([len(s.tokens) for s in self._streams])
        self._rows = _running([len(s.batch) for s in self._streams])

    @property
    def tokens(self) -> int:
        """Tokens in the shard."""
        return int(self.starts[-1])

    def rows_before(self, number: int) -> int:
        """Documents in the record batches before `number`."""
        return int(self._rows[number])

    def stream(self, number: int) -> Stream:
        """Record batch `number` as flat arrays that lie in the mapped file."""
        return self._streams[number]

    def close(self) -> None:
        """Give the map back; arrays taken from it stay valid as long as they are held."""
        self._map.close()


def _stream(batch: pa.RecordBatch) -> Stream:
    column = batch.column("tokens")
    if not len(column):
        return Stream(np.zeros(0, np.uint16), np.zeros(1, np.int64), batch)
    offsets = np.frombuffer(column.buffers()[1], np.int64)[: len(column) + 1]
    values = column.values.buffers()[1]
    width = column.type.value_type.to_pandas_dtype()
    return Stream(np.frombuffer(values, width)[: offsets[-1]] if values is not None else np.zeros(0, width), offsets, batch)


def _running(sizes: list[int]) -> npt.NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(np.array(sizes, np.int64))])


def open_shard(path: str | Path, tokenizer_sha256: str | None = None) -> TokenShard:
    """Open a token shard. Raises DataError where it is none, or was made with another tokenizer than asked for."""
    return TokenShard(Path(path), tokenizer_sha256)
