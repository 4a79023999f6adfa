"""Text files as documents and as lines."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
import zstandard

from curate.io.reader import Unreadable, document_id
from curate.io.text import TextReader


def read(path: Path, split_bytes: int = 1 << 30, **settings: Any) -> tuple[list[dict[str, Any]], list[Unreadable]]:
    reader = TextReader(paths=(str(path),), **settings)
    got = [r for s in reader.splits("/", split_bytes) for r in reader.read(s, "data")]
    return [row for r in got for row in r.batch.to_pylist()], [u for r in got for u in r.unreadable]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.ZstdCompressor().compress])
def test_document(tmp_path: Path, pack: Any) -> None:
    (tmp_path / "a.txt").write_bytes(pack("\ufeffone\r\ntwo\u2028é\x00\n".encode()))
    rows, unreadable = read(tmp_path)
    assert [(r["text"], r["id"], r["source"], r["meta"]) for r in rows] == [
        ("one\r\ntwo\u2028é\x00\n", document_id("data", "a.txt", 0), "data", "{}")
    ]
    assert unreadable == []


def test_document_bounds(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"x" * 10)
    assert len(read(tmp_path, max_doc_bytes=10)[0]) == 1
    assert [u.error for u in read(tmp_path, max_doc_bytes=9)[1]] == ["longer than max_doc_bytes = 9"]
    (tmp_path / "a.txt").write_bytes(b"a\xff")
    assert [(u.offset, u.content) for u in read(tmp_path)[1]] == [(0, b"a\xff")]
    (tmp_path / "a.txt").write_bytes(b"")
    assert read(tmp_path) == ([], [])
    (tmp_path / "a.txt").write_bytes(gzip.compress(b"abc" * 1000)[:-9])
    rows, unreadable = read(tmp_path)
    assert rows == [] and len(unreadable) == 1 and "ends early" in unreadable[0].error


@pytest.mark.parametrize("split_bytes", [1, 5, 1000])
def test_lines(tmp_path: Path, split_bytes: int) -> None:
    data = b"\xef\xbb\xbfone\r\n\n  \ntw\xc3\xa9\nbad\xff\n" + b"y" * 30 + b"\nlast"
    (tmp_path / "a.txt").write_bytes(data)
    rows, unreadable = read(tmp_path, split_bytes, per="line", max_doc_bytes=20)
    assert [r["text"] for r in rows] == ["one", "twé", "last"]
    assert rows[1]["id"] == document_id("data", "a.txt", data.index(b"tw"))
    assert [(u.offset, u.error[:9]) for u in unreadable] == [(data.index(b"bad"), "not UTF-8"), (data.index(b"yyy"), "longer th")]
