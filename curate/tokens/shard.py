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
from typing import Any

import pyarrow as pa

from curate.io.units import Units
from curate.schema import ROW

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
        self._file_bytes = file_bytes
        self._names = [name for name in schema.names if name != ROW]
        given = {k.decode(): v.decode() for k, v in (schema.metadata or {}).items()} | dict(metadata)
        self._schema = pa.schema([schema.field(name) for name in self._names], metadata=dict(sorted(given.items())))
        self._units = Units(batch_tokens, BATCH_ROWS)
        self._files: list[Path] = []
        self._file: Any = None
        self._written = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Add documents."""
        batch = batch.select(self._names)
        for rows, _ in self._units.add(batch, batch.column("n_tokens").to_numpy()):
            self._flush(rows)

    def close(self) -> list[Path]:
        """Finish the last file; return all files in order."""
        if self._units.rows or not self._files:
            self._flush(self._units.take()[0])
        self._close_file()
        return self._files

    def _flush(self, rows: list[pa.RecordBatch]) -> None:
        if self._file is None:
            name = f"{self._stem}-{len(self._files):05d}.arrow"
            self._files.append(self._folder / name)
            self._file = pa.ipc.new_file(self._files[-1], self._schema)
        if rows:
            # Through concat, never a lone slice: the same buffers wherever the documents came from.
            batch = pa.concat_batches(rows)
            self._file.write_batch(batch.cast(self._schema))
            self._written += batch.nbytes
        if self._written >= self._file_bytes:
            self._close_file()

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file, self._written = None, 0
