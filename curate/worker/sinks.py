"""Where a stage's documents go: an intermediate shard, or the final parts of a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from curate import registry
from curate.schema import ROW
from curate.worker.source import SHARD


class Sink(Protocol):
    """Takes batches of one schema."""

    def write(self, batch: pa.RecordBatch) -> None: ...

    def close(self) -> None: ...


class ShardSink:
    """An intermediate shard: the batches as they come, one Arrow file."""

    def __init__(self, scratch: Path, schema: pa.Schema) -> None:
        self._file = pa.ipc.new_file(scratch / SHARD, schema, options=pa.ipc.IpcWriteOptions(compression="lz4"))

    def write(self, batch: pa.RecordBatch) -> None:
        self._file.write_batch(batch)

    def close(self) -> None:
        self._file.close()


class DatasetSink:
    """The final parts of a dataset, without the engine's own column: token shards where there are tokens, else what `write` says."""

    def __init__(self, job: dict[str, Any], index: int, scratch: Path, schema: pa.Schema) -> None:
        self._names = [name for name in schema.names if name != ROW]
        self._schema = pa.schema([schema.field(name) for name in self._names], metadata=schema.metadata)
        self._empty_part = scratch / "part-00000.parquet" if index == 0 and job["write"]["format"] == "parquet" else None
        if "tokens" in self._names:
            from curate.tokens.shard import TokenShardWriter

            self._writer: Any = TokenShardWriter(scratch, "part-00000", self._schema, job["metadata"])
            self._empty_part = None
        else:
            make = registry.load("writers", job["write"]["format"])
            self._writer = make(scratch, "part", self._schema, job["metadata"], **job["write"]["settings"])

    def write(self, batch: pa.RecordBatch) -> None:
        self._writer.write(batch.select(self._names))

    def close(self) -> None:
        """Finish the files. The first task writes one even if it is empty: a dataset always has a part that shows its columns."""
        if not self._writer.close() and self._empty_part is not None:
            pq.write_table(self._schema.remove_metadata().empty_table(), self._empty_part)


def open_sink(job: dict[str, Any], index: int, scratch: Path, schema: pa.Schema) -> Sink:
    """What this stage writes to."""
    return ShardSink(scratch, schema) if job["sink"] == "shards" else DatasetSink(job, index, scratch, schema)
