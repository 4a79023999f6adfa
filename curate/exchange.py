"""Records on their way between phases: one Arrow file per sending task, one partition per record batch.

A sender writes `records.arrow` (IPC file format) whose record batches each belong to one partition; its receipt lists
[partition, batch number, rows]. A receiver of partition p opens every sender's file in task order and takes the batches
of p. What is flushed when depends on the data alone, so files are the same for any number of workers.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.schema import ROW, ROW_TASK_SHIFT

FILE = "records.arrow"
FLUSH_BYTES = 32 << 20


class ExchangeWriter:
    """Splits tables of records by partition and appends them to one file."""

    def __init__(self, folder: Path, schema: pa.Schema, partitions: int, by: str | None) -> None:
        """by: column that names the partition: an unsigned key (its high bits count), ROW (its task), None (all to 0)."""
        self.path = folder / FILE
        self.index: list[list[int]] = []
        self.rows = 0
        self._schema, self._partitions, self._by = schema, partitions, by
        self._held: list[pa.Table] = []
        self._held_bytes = 0
        self._file: pa.ipc.RecordBatchFileWriter | None = None

    def write(self, records: pa.Table) -> None:
        """Take records; they reach the disk when enough are held."""
        if not len(records):
            return
        records = records.select(self._schema.names).cast(self._schema)
        self._held.append(records)
        self._held_bytes += records.nbytes
        if self._held_bytes >= FLUSH_BYTES:
            self._flush()

    def close(self) -> dict[str, Any]:
        """Finish the file and return what the receipt says of it."""
        self._flush()
        if self._file is None:
            self._file = pa.ipc.new_file(self.path, self._schema)
        self._file.close()
        return {"rows": self.rows, "bytes": self.path.stat().st_size, "index": self.index}

    def _flush(self) -> None:
        if not self._held:
            return
        table = pa.concat_tables(self._held).combine_chunks()
        self._held, self._held_bytes = [], 0
        target = self._targets(table)
        order = np.argsort(target, kind="stable")
        table = table.take(pa.array(order)).combine_chunks()
        found, starts = np.unique(target[order], return_index=True)
        ends = [*starts[1:].tolist(), len(table)]
        if self._file is None:
            self._file = pa.ipc.new_file(self.path, self._schema)
        for partition, start, end in zip(found.tolist(), starts.tolist(), ends, strict=True):
            for batch in table.slice(start, end - start).combine_chunks().to_batches():
                self._file.write_batch(batch)
                self.index.append([partition, len(self.index), len(batch)])
        self.rows += len(table)

    def _targets(self, table: pa.Table) -> np.ndarray[Any, Any]:
        if self._by is None:
            return np.zeros(len(table), np.int64)
        column: np.ndarray[Any, Any] = table.column(self._by).to_numpy()
        if self._by == ROW:
            return np.asarray(column >> ROW_TASK_SHIFT, np.int64)
        high = column.astype(np.uint64) >> np.uint64(32)
        return np.asarray((high * np.uint64(self._partitions)) >> np.uint64(32), np.int64)


def read_partition(senders: Iterable[tuple[Path, dict[str, Any]]], partition: int, schema: pa.Schema) -> pa.Table:
    """All records of one partition, in sender order. senders: (task folder, its receipt's entry from `close`)."""
    batches: list[pa.RecordBatch] = []
    for folder, entry in senders:
        wanted = [number for p, number, _ in entry["index"] if p == partition]
        if wanted:
            reader = pa.ipc.open_file(pa.memory_map(str(folder / FILE)))
            batches.extend(reader.get_batch(number) for number in wanted)
    return pa.Table.from_batches(batches, schema=schema)


def sorted_by_row(records: pa.Table) -> pa.Table:
    """Records in the order of the documents they name."""
    return records.take(pc.sort_indices(records, sort_keys=[(ROW, "ascending")])).combine_chunks() if len(records) else records
