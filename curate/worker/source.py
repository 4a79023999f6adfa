"""Where a documents task gets its batches: splits of input files, or the shards of an earlier stage.

Every batch comes with `_row` = (task << 40) | ordinal of the row among the readable rows of the task's source, so a row
keeps its name through all stages of a dataset.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate import registry
from curate.apply import align
from curate.errors import DataError
from curate.exchange import read_partition, sorted_by_row
from curate.io.reader import Reader, Rows, Split, Unreadable
from curate.schema import DOCUMENT, ROW, ROW_TASK_SHIFT, with_columns
from curate.store import StageFolder

SHARD = "shard.arrow"
PARQUET_BATCH_ROWS = 16_384


def make_reader(spec: dict[str, Any]) -> Reader:
    """The reader that a job names."""
    reader: Reader = registry.load("readers", spec["reader"])(**spec["settings"])
    return reader


class Numbered(NamedTuple):
    """A batch with `_row`, what was unreadable before it, and the file it came from."""

    batch: pa.RecordBatch
    unreadable: tuple[Unreadable, ...]
    path: str
    skipped: Mapping[str, int] = MappingProxyType({})  # passed over before it, by reason


def read_source(job: dict[str, Any], stages: Path, index: int) -> Iterator[Numbered]:
    """Batches of one task. stages: the folder that holds all stage folders."""
    source = job["source"]
    if source["kind"] == "shards":
        for batch in _read_shard(stages / source["stage"], index):
            yield Numbered(batch, (), source["stage"])
        return
    batches = _read_splits(job, source, index) if source["kind"] == "reader" else _read_dataset(stages / source["stage"], index)
    ordinal = index << ROW_TASK_SHIFT
    for path, rows in batches:
        number = pa.array(np.arange(ordinal, ordinal + len(rows.batch), dtype=np.int64))
        ordinal += len(rows.batch)
        yield Numbered(with_columns(rows.batch, {ROW: number}), rows.unreadable, path, rows.skipped)


def empty_batch(job: dict[str, Any], stages: Path, index: int) -> pa.RecordBatch:
    """A batch without rows that has the source's columns: tells every later schema before a row is read."""
    source = job["source"]
    if source["kind"] == "reader":
        extra = [pa.field(name, kind) for name, kind in make_reader(source).extra_columns().items()]
        schema = pa.schema([*DOCUMENT, *extra, pa.field(ROW, pa.int64())])
    elif source["kind"] == "shards":
        schema = pa.ipc.open_file(pa.memory_map(str(StageFolder(stages / source["stage"]).task(index) / SHARD))).schema
    else:
        schema = _dataset_schema(stages / source["stage"]).append(pa.field(ROW, pa.int64()))
    return pa.RecordBatch.from_arrays([pa.array([], f.type) for f in schema], schema=schema)


def _read_splits(job: dict[str, Any], source: dict[str, Any], index: int) -> Iterator[tuple[str, Rows]]:
    reader = make_reader(source)
    limit = source.get("limit_rows")
    for entry in source["tasks"][index]:
        split, left = Split(**entry), limit
        try:
            for rows in reader.read(split, job["dataset"]):
                if left is None:
                    yield split.path, rows
                    continue
                yield split.path, Rows(rows.batch.slice(0, left), rows.unreadable, rows.skipped)
                left -= len(rows.batch)
                if left <= 0:
                    break
        except FileNotFoundError as error:
            raise DataError(
                f"{split.uri} was there when the run began and is gone now. Put it back, or run again to read what is there."
            ) from error


def _read_shard(stage: Path, index: int) -> Iterator[pa.RecordBatch]:
    file = pa.ipc.open_file(pa.memory_map(str(StageFolder(stage).task(index) / SHARD)))
    for number in range(file.num_record_batches):
        yield file.get_batch(number)


def _open_arrow(path: Path) -> pa.ipc.RecordBatchFileReader:
    return pa.ipc.open_file(pa.memory_map(str(path)))


def part_paths(stage: Path, index: int) -> list[Path]:
    """Data files that a task of a final stage wrote, in order."""
    folder = StageFolder(stage)
    receipt = folder.receipt(index) or {"files": []}
    return [folder.task(index) / f["name"] for f in receipt["files"] if f["name"].startswith("part-")]


def _dataset_schema(stage: Path) -> pa.Schema:
    """Schema of a stage's parquet parts; tasks without rows have none, so look until one has."""
    index = 0
    folder = StageFolder(stage)
    while (receipt := folder.receipt(index)) is not None:
        parts = part_paths(stage, index)
        if parts:
            if parts[0].suffix == ".arrow":
                return _open_arrow(parts[0]).schema  # its metadata names the tokenizer
            return pq.read_schema(parts[0]).remove_metadata()
        if receipt.get("schema"):
            break
        index += 1
    raise DataError(f"{stage.name} has no part to read. Delete the folder and run again.")


def _read_dataset(stage: Path, index: int) -> Iterator[tuple[str, Rows]]:
    for path in part_paths(stage, index):
        if path.suffix == ".arrow":
            shard = _open_arrow(path)
            for number in range(shard.num_record_batches):
                yield path.name, Rows(shard.get_batch(number))
            continue
        file = pq.ParquetFile(path, memory_map=True)
        for batch in file.iter_batches(batch_size=PARQUET_BATCH_ROWS):
            yield path.name, Rows(batch.replace_schema_metadata(None))


class Delivery:
    """Records of a corpus step's last phase for the documents of one task, aligned batch by batch."""

    def __init__(self, spec: dict[str, Any], stages: Path, index: int, schema: pa.Schema) -> None:
        """spec: {stage, senders}: the stage folder that sent the records and how many tasks it has."""
        sender = StageFolder(stages / spec["stage"])
        entries = [(sender.task(s), (sender.receipt(s) or {})["records"]) for s in range(spec["senders"])]
        self.records = sorted_by_row(read_partition(entries, index, schema))

    def aligned(self, batch: pa.RecordBatch) -> pa.Table:
        """One record per row of the batch, null where the step said nothing."""
        return align(self.records, batch.column(ROW))
