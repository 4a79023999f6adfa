"""Writers: batches to files whose bytes depend on the rows alone, not on how they arrived.

Rows are held until a unit is full (GROUP_BYTES of text) and cut by row there, so a row group or a zstd frame is the same
for any split into batches. No time stamps, host names or paths are written. Files end after FILE_BYTES of text.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.io.json_text import json_objects
from curate.io.units import Units
from curate.kernels.strings import views

GROUP_BYTES = 32 << 20
GROUP_ROWS = 1 << 20
FILE_BYTES = 1 << 30
ZSTD_LEVEL = 1  # two thirds of the time of level 2 for 8 % more bytes; snappy has 28 % more than this
_LONG = ("id", "text", "meta")  # columns where neither a dictionary nor statistics pay


def _sizes(batch: pa.RecordBatch) -> Any:
    """Bytes that decide where units end, per row: text and meta, and one for the row."""
    total = np.ones(len(batch), np.int64)
    for name in ("text", "meta"):
        if name in batch.schema.names:
            total += pc.fill_null(pc.binary_length(batch.column(name)), 0).to_numpy(zero_copy_only=False)
    return total


class _Writer:
    """Units to numbered files."""

    suffix: ClassVar[str]

    def __init__(
        self,
        folder: Path,
        stem: str,
        schema: pa.Schema,
        metadata: Mapping[str, str],
        group_bytes: int = GROUP_BYTES,
        file_bytes: int = FILE_BYTES,
    ) -> None:
        self.folder, self.stem = folder, stem
        self.schema = schema.with_metadata({key: metadata[key] for key in sorted(metadata)} or None)
        self.file_bytes = file_bytes
        self.units = Units(group_bytes, GROUP_ROWS)
        self.paths: list[Path] = []
        self.in_file = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows. The batch has the writer's schema (metadata apart)."""
        for rows, size in self.units.add(batch.replace_schema_metadata(self.schema.metadata), _sizes(batch)):
            self._put(rows, size)

    def close(self) -> list[Path]:
        """Write what is held and return the files in order; none where no row came."""
        if self.units.rows:
            self._put(*self.units.take())
        self._end()
        return self.paths

    def abort(self) -> None:
        """Close the open file without writing what is held: for a task that failed."""
        self._end()

    def _put(self, rows: list[pa.RecordBatch], size: int) -> None:
        if not self.in_file:
            self.paths.append(self.folder / f"{self.stem}-{len(self.paths):05d}{self.suffix}")
            self._begin(self.paths[-1])
        self._unit(pa.Table.from_batches(rows, self.schema).combine_chunks())
        self.in_file += size
        if self.in_file >= self.file_bytes:
            self._end()
            self.in_file = 0

    def _begin(self, path: Path) -> None:
        raise NotImplementedError

    def _unit(self, unit: pa.Table) -> None:
        raise NotImplementedError

    def _end(self) -> None:
        raise NotImplementedError


class ParquetWriter(_Writer):
    """Parquet, zstd level 1; one row group a unit."""

    suffix = ".parquet"
    _file: pq.ParquetWriter | None = None

    def _begin(self, path: Path) -> None:
        small = [name for name in self.schema.names if name not in _LONG]
        self._file = pq.ParquetWriter(
            path, self.schema, compression="zstd", compression_level=ZSTD_LEVEL, use_dictionary=small, write_statistics=small
        )

    def _unit(self, unit: pa.Table) -> None:
        assert self._file is not None
        self._file.write_table(unit, row_group_size=max(1, len(unit)))

    def _end(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class JsonlWriter(_Writer):
    """JSON lines, zstd level 1; one frame a unit, so that big files can be read by several workers. `meta` is an object, the metadata is not written."""

    suffix = ".jsonl.zst"
    _file: BinaryIO | None = None

    def _begin(self, path: Path) -> None:
        self._file = path.open("wb")

    def _unit(self, unit: pa.Table) -> None:
        import zstandard

        assert self._file is not None
        lines = b"".join(_lines(batch) for batch in unit.to_batches())
        self._file.write(zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True).compress(lines))

    def _end(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _lines(batch: pa.RecordBatch) -> bytes:
    """One JSON object a row, each with its newline."""
    names = [name for name in batch.schema.names if name != "meta"]
    objects = json_objects(batch.select(names)).cast(pa.large_binary())
    nothing, newline = pa.scalar(b"", pa.large_binary()), pa.scalar(b"\n", pa.large_binary())
    if "meta" in batch.schema.names:
        meta = pc.fill_null(batch.column("meta").cast(pa.large_string()), "{}")
        meta = pc.replace_substring(meta, "\n", " ")  # JSON may be written over several lines; between tokens only
        key, end = pa.scalar(b',"meta":', pa.large_binary()), pa.scalar(b"}\n", pa.large_binary())
        objects = pc.binary_join_element_wise(pc.binary_slice(objects, 0, -1), key, meta.cast(pa.large_binary()), end, nothing)
    else:
        objects = pc.binary_join_element_wise(objects, newline, nothing)
    data, offsets = views(objects.cast(pa.large_string()))
    return data[offsets[0] : offsets[-1]].tobytes()


WRITERS = {"parquet": ParquetWriter, "jsonl": JsonlWriter}
