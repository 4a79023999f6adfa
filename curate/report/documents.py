"""Find documents by id in published parts, and read single rows of them: only columns and row groups that are needed."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


class Place(NamedTuple):
    """One row of a data file."""

    file: Path
    row: int  # from the file's beginning
    id: str


def find(files: Iterable[Path], ids: Iterable[str], column: str = "id") -> list[Place]:
    """Every row whose `column` is one of `ids`, in order of files and rows."""
    wanted = pa.array(sorted(set(ids)), pa.string())

    import pyarrow.compute as pc

    def rows_of(file: Path) -> list[Place]:
        values = read_column(file, column)
        rows = np.flatnonzero(pc.is_in(values, value_set=wanted).to_numpy(zero_copy_only=False))
        return [Place(file, int(row), values[int(row)].as_py()) for row in rows]

    if not len(wanted):
        return []
    with ThreadPoolExecutor(max(1, min(8, os.cpu_count() or 1))) as pool:  # Arrow lets go of the interpreter while it reads
        return [place for places in pool.map(rows_of, files) for place in places]


def read_column(file: Path, column: str) -> pa.ChunkedArray:
    """One column of a part as strings; all null where the part has no such column."""
    if file.suffix == ".parquet":
        parquet = pq.ParquetFile(file, memory_map=True)
        if column not in parquet.schema_arrow.names:
            return pa.chunked_array([pa.nulls(parquet.metadata.num_rows, pa.string())])
        return parquet.read([column], use_threads=False).column(0).cast(pa.string())
    if file.suffix == ".arrow":
        return _arrow_column(file, column)
    rows = [json.loads(line) for line in _lines(file)]
    return pa.chunked_array([pa.array([None if row.get(column) is None else str(row[column]) for row in rows], pa.string())])


def _arrow_column(file: Path, column: str) -> pa.ChunkedArray:
    shard = pa.ipc.open_file(pa.memory_map(str(file)))
    if column not in shard.schema.names:
        return pa.chunked_array([pa.nulls(sum(len(shard.get_batch(k)) for k in range(shard.num_record_batches)), pa.string())])
    chunks = [shard.get_batch(k).column(column).cast(pa.string()) for k in range(shard.num_record_batches)]
    return pa.chunked_array(chunks, pa.string())


def rows_at(places: Sequence[Place], columns: Sequence[str] | None = None) -> dict[Place, dict[str, Any]]:
    """The rows at these places; columns that a file does not have are left out."""
    by_file: dict[Path, list[Place]] = defaultdict(list)
    for place in places:
        by_file[place.file].append(place)
    found: dict[Place, dict[str, Any]] = {}
    for file, mine in by_file.items():
        read = _parquet_rows if file.suffix == ".parquet" else _arrow_rows if file.suffix == ".arrow" else _json_rows
        found.update(zip(mine, read(file, [p.row for p in mine], columns), strict=True))
    return found


def _parquet_rows(file: Path, rows: Sequence[int], columns: Sequence[str] | None) -> list[dict[str, Any]]:
    parquet = pq.ParquetFile(file, memory_map=True)
    names = [n for n in parquet.schema_arrow.names if columns is None or n in columns]
    sizes = [parquet.metadata.row_group(k).num_rows for k in range(parquet.metadata.num_row_groups)]
    starts = np.cumsum([0, *sizes])
    groups = np.searchsorted(starts, rows, "right") - 1
    made: dict[int, dict[str, Any]] = {}
    for group in np.unique(groups):
        table = parquet.read_row_group(int(group), names, use_threads=False)
        for at in np.flatnonzero(groups == group).tolist():
            made[at] = table.slice(rows[at] - int(starts[group]), 1).to_pylist()[0]
    return [made[at] for at in range(len(rows))]


def _arrow_rows(file: Path, rows: Sequence[int], columns: Sequence[str] | None) -> list[dict[str, Any]]:
    shard = pa.ipc.open_file(pa.memory_map(str(file)))
    names = [n for n in shard.schema.names if n != "tokens" and (columns is None or n in columns)]
    batches = [shard.get_batch(k) for k in range(shard.num_record_batches)]
    table = pa.Table.from_batches([b.select(names) for b in batches])
    return [table.slice(row, 1).to_pylist()[0] for row in rows]


def _json_rows(file: Path, rows: Sequence[int], columns: Sequence[str] | None) -> list[dict[str, Any]]:
    lines = _lines(file)
    every = [json.loads(lines[row]) for row in rows]
    return [{k: v for k, v in row.items() if columns is None or k in columns} for row in every]


def _lines(file: Path) -> list[bytes]:
    """Lines of a file, .gz and .zst too."""
    with pa.input_stream(str(file), compression="detect") as stream:
        return [line for line in stream.read().split(b"\n") if line]


def containing(files: Iterable[Path], column: str, needle: str, limit: int) -> list[Place]:
    """The first rows whose `column` holds a string, row group by row group: memory stays that of one."""
    import pyarrow.compute as pc

    found: list[Place] = []
    for file in files:
        start = 0
        for chunk in _chunks(file, column):
            hits = np.flatnonzero(pc.match_substring(chunk, needle).fill_null(False).to_numpy(zero_copy_only=False))
            found += [Place(file, start + int(row), "") for row in hits[: limit - len(found)]]
            start += len(chunk)
            if len(found) >= limit:
                return found
    return found


def _chunks(file: Path, column: str) -> Iterable[pa.Array]:
    if file.suffix != ".parquet":
        yield from read_column(file, column).chunks
        return
    parquet = pq.ParquetFile(file, memory_map=True)
    if column in parquet.schema_arrow.names:
        for group in range(parquet.metadata.num_row_groups):
            yield parquet.read_row_group(group, [column], use_threads=False).column(0).combine_chunks().cast(pa.large_string())
