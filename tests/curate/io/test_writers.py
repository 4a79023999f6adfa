"""Writers: the same bytes however rows arrive, and what is written can be read."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from curate.io.columnar import ParquetReader
from curate.io.jsonl import JsonlReader
from curate.io.writers import JsonlWriter, ParquetWriter
from curate.schema import DOCUMENT

ROWS = [
    {
        "id": f"i{i}",
        "text": ('é"\n\x00\u2028 ' * (i % 17)),
        "source": "s",
        "meta": f'{{"k": {i},\n "x":"\\n"}}' if i % 3 else "{}",
        "n": i or None,
    }
    for i in range(300)
]
SCHEMA = DOCUMENT.append(pa.field("n", pa.int64()))
BATCH = pa.RecordBatch.from_pylist(ROWS, schema=SCHEMA)


def write(kind: Any, folder: Path, step: int, **bounds: int) -> list[Path]:
    folder.mkdir()
    writer = kind(folder, "part", SCHEMA, {"b": "2", "a": "1"}, **bounds)
    for at in range(0, len(BATCH), step):
        writer.write(BATCH.slice(at, step))
    return list(writer.close())


@pytest.mark.parametrize("kind", [ParquetWriter, JsonlWriter])
def test_bytes_do_not_depend_on_batches(tmp_path: Path, kind: Any) -> None:
    bounds = {"group_bytes": 4000, "file_bytes": 12_000}
    expected = [p.read_bytes() for p in write(kind, tmp_path / "w", 300, **bounds)]
    assert len(expected) > 1
    for step in (1, 7, 100):
        assert [p.read_bytes() for p in write(kind, tmp_path / str(step), step, **bounds)] == expected


def test_parquet(tmp_path: Path) -> None:
    paths = write(ParquetWriter, tmp_path / "w", 7, group_bytes=4000, file_bytes=12_000)
    table = pa.concat_tables([pq.read_table(p) for p in paths])
    assert table.to_pylist() == ROWS
    assert table.schema.metadata == {b"a": b"1", b"b": b"2"}
    assert pq.ParquetFile(paths[0]).metadata.num_row_groups > 1
    reader = ParquetReader(paths=tuple(map(str, paths)), columns={"n": "int"})
    assert [row for s in reader.splits("/") for r in reader.read(s, "d") for row in r.batch.to_pylist()] == [
        {**r, "source": "d", "meta": r["meta"]} for r in _without_source(ROWS)
    ]


def _without_source(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """`source` is a field like any other to the reader, so it goes to meta beside the other fields."""
    return [{**r, "meta": json.dumps({"source": "s", "meta": r["meta"]}, ensure_ascii=False, separators=(",", ":"))} for r in rows]


def test_jsonl(tmp_path: Path) -> None:
    paths = write(JsonlWriter, tmp_path / "w", 7, group_bytes=4000)
    data = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(paths[0].read_bytes()), read_across_frames=True).read()
    rows = [json.loads(line) for line in data.split(b"\n")[:-1]]
    assert rows == [{**r, "meta": json.loads(r["meta"])} for r in ROWS]
    reader = JsonlReader(paths=(str(paths[0]),), source="source", columns={"n": "int"})
    splits = reader.splits("/", 500)
    assert len(splits) > 1
    got = [row for s in splits for r in reader.read(s, "d") for row in r.batch.to_pylist()]
    assert [(r["id"], r["text"], r["source"], r["n"]) for r in got] == [(r["id"], r["text"], r["source"], r["n"]) for r in ROWS]
    assert [json.loads(r["meta"])["meta"] for r in got] == [json.loads(r["meta"]) for r in ROWS]


def test_no_rows(tmp_path: Path) -> None:
    for kind in (ParquetWriter, JsonlWriter):
        writer = kind(tmp_path, "part", SCHEMA, {})
        writer.write(BATCH.slice(0, 0))
        assert writer.close() == [] and not list(tmp_path.iterdir())
