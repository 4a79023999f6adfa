"""Parquet and Arrow files: types, splits, meta, damage."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.io.columnar import ArrowReader, ParquetReader
from curate.io.reader import Unreadable, document_id

TABLE = pa.table({"text": [f"t{i}" for i in range(100)], "n": list(range(100)), "when": [datetime.date(2024, 1, 1)] * 100})


def write(path: Path, table: pa.Table, rows: int = 10) -> type:
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=rows)
        return ParquetReader
    make = pa.ipc.new_stream if path.suffix == ".stream" else pa.ipc.new_file
    with make(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=rows)
    return ArrowReader


def read(kind: type, path: Path, split_bytes: int = 1 << 30, **settings: Any) -> tuple[list[dict[str, Any]], list[Unreadable]]:
    reader = kind(paths=(str(path),), **settings)
    got = [r for s in reader.splits("/", split_bytes) for r in reader.read(s, "data")]
    return [row for r in got for row in r.batch.to_pylist()], [u for r in got for u in r.unreadable]


@pytest.fixture(params=["a.parquet", "a.arrow", "a.stream"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / request.param


def test_rows(path: Path) -> None:
    kind = write(path, TABLE)
    rows, unreadable = read(kind, path)
    assert [r["text"] for r in rows] == TABLE["text"].to_pylist() and not unreadable
    assert rows[37]["id"] == document_id("data", path.name, 37)
    assert rows[5]["meta"] == '{"n":5,"when":"2024-01-01"}'
    for split_bytes in (1, 700):
        assert read(kind, path, split_bytes) == (rows, [])
    promoted, _ = read(kind, path, meta=False, columns={"n": "int", "gone": "string"})
    assert (promoted[5]["n"], promoted[5]["gone"], promoted[5]["meta"]) == (5, None, "{}")
    if path.suffix != ".stream":
        assert len(kind(paths=(str(path),)).splits("/", 1)) == 10


@pytest.mark.parametrize("text", [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.dictionary(pa.int32(), pa.string())])
def test_text_types(tmp_path: Path, text: pa.DataType) -> None:
    array = pa.array(["a", None, "é"]).cast(text) if not pa.types.is_dictionary(text) else pa.array(["a", None, "é"]).dictionary_encode()
    table = pa.table({"text": array, "id": pa.array([1, None, 3])})
    rows, unreadable = read(write(tmp_path / "a.arrow", table), tmp_path / "a.arrow")
    assert [r["text"] for r in rows] == ["a", "", "é"] and not unreadable
    assert [r["id"] for r in rows] == ["1", document_id("data", "a.arrow", 1), "3"]


def test_bad_rows(path: Path) -> None:
    text = pa.array([b"ok", b"\xff", b"x" * 50, b"end"])
    table = pa.table({"text": text, "k": ["a", "b", "c", None]})
    kind = write(path, table)
    rows, unreadable = read(kind, path, max_doc_bytes=49)
    assert [r["text"] for r in rows] == ["ok", "end"]
    assert [(u.offset, u.error.split(":")[0], u.content) for u in unreadable] == [
        (1, "not UTF-8", b"\xff"),
        (2, "longer than max_doc_bytes = 49", b"x" * 50),
    ]
    assert [u.error for u in read(kind, path, id="k")[1]][-1] == "column 'k' is null, expected an id"


@pytest.mark.parametrize(
    "settings,error",
    [
        ({"text": "n"}, "column 'n' is int64, expected string"),
        ({"text": "content"}, "no field 'content'; fields are: text, n, when"),
        ({"columns": {"text2": "string", "when": "int"}}, "column 'when' is date32[day], expected int"),
        ({"id": "when"}, "column 'when' is date32[day], expected string or a number"),
    ],
)
def test_wrong_columns(path: Path, settings: dict[str, Any], error: str) -> None:
    rows, unreadable = read(write(path, TABLE), path, **settings)
    assert (rows, [(u.offset, u.error) for u in unreadable]) == ([], [(0, error)])


def test_truncated(path: Path) -> None:
    kind = write(path, TABLE)
    whole = path.read_bytes()
    for keep in (0, 3, len(whole) // 2):
        path.write_bytes(whole[:keep])
        rows, unreadable = read(kind, path, 100)
        assert len(unreadable) == 1 and "can't be read" in unreadable[0].error
        assert [r["text"] for r in rows] == TABLE["text"].to_pylist()[: len(rows)]
        assert unreadable[0].offset == len(rows)
        assert bool(rows) == (path.suffix == ".stream" and keep > 3)


def test_meta_of_any_type(tmp_path: Path) -> None:
    table = pa.table({"text": ["x"], "f": [float("nan")], "l": [[{"a": 'q"\n'}]], "u": pa.array([2**64 - 1], pa.uint64()), "none": [None]})
    rows, _ = read(write(tmp_path / "a.parquet", table), tmp_path / "a.parquet")
    assert json.loads(rows[0]["meta"]) == {"f": None, "l": [{"a": 'q"\n'}], "u": 2**64 - 1, "none": None}
    table = table.append_column("b", pa.array([b"\x00\xff"]))
    rows, _ = read(write(tmp_path / "b.parquet", table), tmp_path / "b.parquet")
    assert json.loads(rows[0]["meta"]) == {"f": None, "l": [{"a": 'q"\n'}], "u": 2**64 - 1, "none": None, "b": "AP8="}


def test_a_column_named_meta_is_meta(tmp_path: Path) -> None:
    table = pa.table({"id": ["a", "b"], "text": ["x", "y"], "meta": ['{"k":1}', None]})
    kind = write(tmp_path / "a.parquet", table)
    assert [r["meta"] for r in read(kind, tmp_path / "a.parquet")[0]] == ['{"k":1}', "{}"]
