"""Token shards as they lie in the page cache: memory maps, and where the tokens of each record batch are in them.

A shard holds no open file: the map stays when the descriptor is closed, so a loader can keep as many shards as the system
has maps (65,530 by default on Linux), not as many as it may have files open (often 1,024).
"""

from __future__ import annotations

from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.errors import DataError
from curate.tokens.vocabulary import PREFIX


class Stream(NamedTuple):
    """One record batch of a shard, zero-copy."""

    tokens: npt.NDArray[Any]  # u16 or u32[t], all documents back to back
    offsets: npt.NDArray[np.int64]  # i64[n+1]; document d is tokens[offsets[d]:offsets[d+1]]; offsets[0] = 0
    batch: pa.RecordBatch


class TokenShard:
    """A shard, memory-mapped.

    words: u16 or u32, the whole file; token t of record batch b is words[first[b] + t]
    starts: i64[batches+1], tokens before each record batch
    """

    def __init__(self, path: Path, tokenizer_sha256: str | None = None) -> None:
        self.path = path
        try:
            with pa.memory_map(str(path)) as file:
                self._whole = file.read_buffer()
            reader = pa.ipc.open_file(pa.BufferReader(self._whole))
        except (OSError, pa.ArrowInvalid) as error:
            raise DataError(f"{path} can't be opened as a token shard: {error}") from error
        self.metadata = {k.decode(): v.decode() for k, v in (reader.schema.metadata or {}).items()}
        self._check(reader.schema, tokenizer_sha256)
        self._offsets: dict[int, npt.NDArray[np.int64]] = {}
        self.batches: int = reader.num_record_batches
        width = np.dtype(reader.schema.field("tokens").type.value_type.to_pandas_dtype())
        self.words: npt.NDArray[Any] = np.frombuffer(self._whole, width, count=len(self._whole) // width.itemsize)
        places = [self._place(reader.get_batch(number)) for number in range(self.batches)]
        self.first: list[int] = [first for first, *_ in places]
        self.starts: list[int] = _running([tokens for _, tokens, *_ in places])
        self._rows = _running([rows for _, _, rows, _ in places])
        self._documents = [documents for *_, documents in places]

    def _check(self, schema: pa.Schema, tokenizer_sha256: str | None) -> None:
        found = self.metadata.get(PREFIX + "tokenizer_sha256")
        if found is None or "tokens" not in schema.names:
            raise DataError(
                f"{self.path} is not a token shard: it names no tokenizer or has no column 'tokens'. Make it with the step 'tokenize'."
            )
        if tokenizer_sha256 is not None and found != tokenizer_sha256:
            raise DataError(
                f"{self.path} was made with another tokenizer (sha256 {found[:12]}..., expected {tokenizer_sha256[:12]}...). "
                "Tokenize both with one tokenizer."
            )

    def _place(self, batch: pa.RecordBatch) -> tuple[int, int, int, int]:
        """(first word in the file, tokens, documents, address of where they begin) of a record batch."""
        stream, column = _stream(batch), batch.column("tokens")
        values = column.values.buffers()[1]
        at = (values.address - self._whole.address) // self.words.itemsize if values is not None and len(stream.tokens) else 0
        return at, len(stream.tokens), len(batch), column.buffers()[1].address if len(batch) else 0

    @property
    def tokens(self) -> int:
        """Tokens in the shard."""
        return self.starts[-1]

    @cached_property
    def table(self) -> npt.NDArray[np.int64]:
        """i64[batches + 1, 4], as `curate.kernels.gather` wants it: tokens, addresses of tokens and of documents' starts, documents."""
        address = self.words.__array_interface__["data"][0]
        found = np.zeros((self.batches + 1, 4), np.int64)
        found[:, 0] = self.starts
        found[:-1, 1] = np.array(self.first, np.int64) * self.words.itemsize + address
        found[:-1, 2] = self._documents
        found[:-1, 3] = np.diff(self._rows)
        return found

    def rows_before(self, number: int) -> int:
        """Documents in the record batches before `number`."""
        return self._rows[number]

    def offsets(self, number: int) -> npt.NDArray[np.int64]:
        """Where the documents of record batch `number` begin in its tokens: i64[n+1]. Kept, because windows ask again and again."""
        if number not in self._offsets:
            self._offsets[number] = self.stream(number).offsets
        return self._offsets[number]

    def stream(self, number: int) -> Stream:
        """Record batch `number` as flat arrays that lie in the mapped file."""
        return _stream(pa.ipc.open_file(pa.BufferReader(self._whole)).get_batch(number))


def _stream(batch: pa.RecordBatch) -> Stream:
    column = batch.column("tokens")
    if not len(column):
        return Stream(np.zeros(0, np.uint16), np.zeros(1, np.int64), batch)
    offsets = np.frombuffer(column.buffers()[1], np.int64)[: len(column) + 1]
    values = column.values.buffers()[1]
    width = column.type.value_type.to_pandas_dtype()
    return Stream(np.frombuffer(values, width)[: offsets[-1]] if values is not None else np.zeros(0, width), offsets, batch)


def _running(sizes: list[int]) -> list[int]:
    return list(accumulate(sizes, initial=0))


def open_shard(path: str | Path, tokenizer_sha256: str | None = None) -> TokenShard:
    """Open a token shard. Raises DataError where it is none, or was made with another tokenizer than asked for."""
    return TokenShard(Path(path), tokenizer_sha256)
