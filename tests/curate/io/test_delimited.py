"""CSV: quoted newlines, places of rows, bad rows."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from curate.io.delimited import CsvReader
from curate.io.reader import Unreadable, document_id


def read(path: Path, **settings: Any) -> tuple[list[dict[str, Any]], list[Unreadable]]:
    reader = CsvReader(paths=(str(path),), **settings)
    got = [r for s in reader.splits("/") for r in reader.read(s, "data")]
    return [row for r in got for row in r.batch.to_pylist()], [u for r in got for u in r.unreadable]


def test_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    data = '\ufefftext,url,n\r\n"a\nb ""c""",u1,1\r\n\r\nd,u2,\r\n'.encode()
    for packed in (data, gzip.compress(data)):
        path.write_bytes(packed)
        rows, unreadable = read(path, columns={"n": "int"})
        assert [(r["text"], r["meta"], r["n"]) for r in rows] == [('a\nb "c"', '{"url":"u1"}', 1), ("d", '{"url":"u2"}', None)]
        assert unreadable == []
        assert rows[1]["id"] == document_id("data", "a.csv", data.index(b"d,u2"))


def test_bad_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    rows = [b"text\tn", b"good\t1", b"few", b'"open\t2', b"next\t3", b"\xff\t4", b"word\tx", b"x" * 60 + b"\t5", b'"q" z\t6', b"last\t7"]
    path.write_bytes(b"\n".join(rows))
    got, unreadable = read(path, delimiter="\t", columns={"n": "int"}, max_doc_bytes=50)
    assert [r["text"] for r in got] == ["good", "next", "last"]
    assert sorted(u.content.split(b"\n")[0] for u in unreadable) == sorted(rows[i] for i in (2, 3, 5, 6, 7, 8))
    assert all(b"\n".join(rows)[u.offset :].startswith(u.content[:4]) for u in unreadable)


def test_wrong_column_and_empty(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n3,4\n")
    assert [u.error for u in read(path)[1]] == ["no field 'text'; fields are: a, b"] * 2
    path.write_text("")
    assert read(path) == ([], [])


@given(
    st.lists(
        st.tuples(st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=8), st.text('a,"\n ', max_size=8)), max_size=6
    )
)
@settings(max_examples=100, deadline=None)
def test_what_csv_writes_is_read(tmp_path_factory: Any, rows: list[tuple[str, str]]) -> None:
    path = tmp_path_factory.getbasetemp() / "h.csv"
    out = io.StringIO()
    csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows([("text", "other"), *rows])
    path.write_bytes(out.getvalue().encode())
    got, unreadable = read(path)
    assert unreadable == []
    assert [(r["text"], json.loads(r["meta"])["other"]) for r in got] == rows
