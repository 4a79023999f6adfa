"""Records between phases: everything arrives once, in its partition, and bytes don't depend on how tables were cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curate import exchange
from curate.exchange import ExchangeWriter, read_partition, sorted_by_row
from curate.schema import ROW, ROW_TASK_SHIFT

SCHEMA = pa.schema([("key", pa.uint64()), (ROW, pa.int64()), ("id", pa.string())])


def records(count: int, seed: int = 0) -> pa.Table:
    draw = np.random.default_rng(seed)
    rows = (draw.integers(0, 5, count) << ROW_TASK_SHIFT) | np.arange(count)
    return pa.table(
        {"key": draw.integers(0, 2**64, count, dtype=np.uint64), ROW: rows, "id": [f"d{i}" for i in range(count)]}, schema=SCHEMA
    )


def write(folder: Path, tables: list[pa.Table], partitions: int, by: str | None) -> tuple[Path, dict[str, object]]:
    folder.mkdir()
    writer = ExchangeWriter(folder, SCHEMA, partitions, by)
    for table in tables:
        writer.write(table)
    return folder, writer.close()


@pytest.mark.parametrize(("by", "partitions"), [("key", 7), (ROW, 5), (None, 1)])
def test_every_record_arrives_once_in_its_partition(
    tmp_path: Path, by: str | None, partitions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "FLUSH_BYTES", 2000)
    table = records(500)
    senders = [write(tmp_path / str(i), [table.slice(i * 250, 250)], partitions, by) for i in range(2)]
    parts = [read_partition(senders, p, SCHEMA) for p in range(partitions)]
    together = pa.concat_tables(parts)
    assert sorted(together.column("id").to_pylist()) == sorted(table.column("id").to_pylist())
    for number, part in enumerate(parts):
        if by == "key":
            assert all(key * partitions >> 64 == number for key in part.column("key").to_pylist())
        if by == ROW:
            assert all(row >> ROW_TASK_SHIFT == number for row in part.column(ROW).to_pylist())


def test_empty_exchange_has_a_schema(tmp_path: Path) -> None:
    sender = write(tmp_path / "a", [], 3, "key")
    assert sender[1]["rows"] == 0
    assert read_partition([sender], 2, SCHEMA).equals(SCHEMA.empty_table())


def test_sorted_by_row_is_in_document_order() -> None:
    table = records(50)
    shuffled = table.take(pa.array(np.random.default_rng(1).permutation(50)))
    ordered = sorted_by_row(shuffled)
    assert ordered.column(ROW).to_pylist() == sorted(table.column(ROW).to_pylist())
