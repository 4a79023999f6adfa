"""Token shards in the files of other tools: Megatron's .bin and .idx, datatrove's .ds, Parquet.

Each form is a writer that takes record batches in order and is closed at the end. Rows are documents, in the order of the
shards; boundaries come from the shard's offsets and are written as each format has them, never from an EOS token.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from curate.errors import DataError
from curate.tokens.mapped import Stream

CHUNK = 1 << 20
FILE_TOKENS = 1 << 29  # a Parquet file ends with the record batch that reaches this
MAGIC = b"MMIDIDX\x00\x00"
MEGATRON_CODES = {2: 8, 4: 4}  # bytes a token -> uint16, int32
I64 = npt.NDArray[np.int64]


class Form(Protocol):
    """A writer of one form."""

    files: ExitStack  # what is open; closed whatever happens

    def begin(self, part: str, metadata: Mapping[str, str]) -> None:
        """A shard begins. part: its file name."""
        ...

    def write(self, stream: Stream) -> None: ...

    def close(self) -> None: ...


class Megatron:
    """<name>.bin: the tokens of all documents; <name>.idx: lengths, byte offsets, documents.

    Layout of Megatron-Core's indexed_dataset (class _IndexWriter): magic, u64 version 1, u8 type of a token (8 uint16, 4 int32), u64
    sequences, u64 documents + 1, i32 length and i64 byte offset of every sequence, i64 first sequence of every document and
    their count. A sequence is a document.
    """

    suffix: ClassVar[str] = ".bin, .idx"

    def __init__(self, folder: Path, name: str, width: int) -> None:
        self._index, self._width = folder / f"{name}.idx", width
        self.files = ExitStack()
        self._tokens = self.files.enter_context((folder / f"{name}.bin").open("wb"))
        self._lengths_path = folder / f".{name}.lengths"  # 4 bytes a document; the index needs their number first
        self._lengths = self.files.enter_context(self._lengths_path.open("wb"))
        self._count = 0

    def begin(self, part: str, metadata: Mapping[str, str]) -> None: ...

    def write(self, stream: Stream) -> None:
        if self._width == 4 and len(stream.tokens) and int(stream.tokens.max()) >= 1 << 31:
            raise DataError(f"Megatron holds ids below 2^31, got {int(stream.tokens.max())}.")
        self._tokens.write(np.ascontiguousarray(stream.tokens).data)
        self._lengths.write(np.diff(stream.offsets).astype("<i4").data)
        self._count += len(stream.offsets) - 1

    def close(self) -> None:
        self.files.close()
        with self._index.open("wb") as file:
            file.write(MAGIC + struct.pack("<QBQQ", 1, MEGATRON_CODES[self._width], self._count, self._count + 1))
            for lengths in self._chunks():
                file.write(lengths.data)
            at = 0
            for lengths in self._chunks():
                ends = at + np.cumsum(lengths, dtype=np.int64) * self._width
                file.write(np.concatenate([[at], ends[:-1]]).astype("<i8").data)
                at = int(ends[-1])
            for start in range(0, self._count + 1, CHUNK):
                file.write(np.arange(start, min(start + CHUNK, self._count + 1), dtype="<i8").data)
        self._lengths_path.unlink()

    def _chunks(self) -> Iterator[npt.NDArray[np.int32]]:
        with self._lengths_path.open("rb") as file:
            while content := file.read(4 * CHUNK):
                yield np.frombuffer(content, "<i4")


class Datatrove:
    """<shard>.ds: tokens, little-endian; .ds.index: u64 end of every document, in tokens; .ds.metadata: tokenizer|bytes a token, tokens.

    As datatrove 0.10.1 writes them (pipeline/tokens/tokenizer.py, TokenizedFile). One file a shard.
    """

    suffix: ClassVar[str] = ".ds, .ds.index, .ds.metadata"

    def __init__(self, folder: Path, name: str, width: int) -> None:
        self._folder, self._width, self._number = folder, width, 0
        self.files = ExitStack()
        self._tokens: Any = None
        self._index: Any = None
        self._about = ""
        self._written = 0

    def begin(self, part: str, metadata: Mapping[str, str]) -> None:
        self._finish()
        path = self._folder / f"{self._number:05d}.ds"
        self._tokens = self.files.enter_context(path.open("wb"))
        self._index = self.files.enter_context(path.with_name(f"{path.name}.index").open("wb"))
        self._about = f"sha256:{metadata['curate.tokenizer_sha256']}|{self._width}"
        self._number, self._written = self._number + 1, 0

    def write(self, stream: Stream) -> None:
        self._tokens.write(np.ascontiguousarray(stream.tokens).data)
        self._index.write((stream.offsets[1:] + self._written).astype("<u8").data)
        self._written += len(stream.tokens)

    def close(self) -> None:
        self._finish()

    def _finish(self) -> None:
        if self._tokens is None:
            return
        self.files.close()
        Path(f"{self._tokens.name}.metadata").write_text(f"{self._about}\n{self._written}\n{_spoken(self._written)} tokens", "utf-8")
        self._tokens = None


class Parquet:
    """<name>-00000.parquet and on: `id`, `source`, `n_tokens` and the token lists, zstd, a row group for each record batch."""

    suffix: ClassVar[str] = ".parquet"

    def __init__(self, folder: Path, name: str, width: int, column: str = "tokens") -> None:
        self._folder, self._name, self._column = folder, name, column
        self.files = ExitStack()
        self._file: Any = None
        self._number = self._tokens = 0
        self._metadata: dict[str, str] = {}

    def begin(self, part: str, metadata: Mapping[str, str]) -> None:
        self._metadata = dict(metadata)

    def write(self, stream: Stream) -> None:
        names = [self._column if name == "tokens" else name for name in stream.batch.schema.names]
        batch = stream.batch.rename_columns(names).replace_schema_metadata(self._metadata)
        if self._file is None:
            path = self._folder / f"{self._name}-{self._number:05d}.parquet"
            small = [name for name in names if name not in ("id", self._column)]
            file = pq.ParquetWriter(path, batch.schema, compression="zstd", use_dictionary=small, write_statistics=small)
            self._file = self.files.enter_context(file)
            self._number += 1
        self._file.write_batch(batch, row_group_size=max(1, len(batch)))
        self._tokens += len(stream.tokens)
        if self._tokens >= FILE_TOKENS:
            self.close()

    def close(self) -> None:
        if self._file is not None:
            self.files.close()
            self._file, self._tokens = None, 0


def _spoken(count: int) -> str:
    for size, letter in ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.3g} {letter}"
    return str(count)
