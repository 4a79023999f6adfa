"""The JSON lines reader against `json.loads`, and everything that can be wrong with a line or a file."""

from __future__ import annotations

import gzip
import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import DataError
from curate.io.jsonl import JsonlReader, slow_row
from curate.io.reader import Unreadable, document_id
from tests.reference.jsonl import Number, read_jsonl


def read(path: Path, split_bytes: int = 1 << 30, **settings: Any) -> tuple[list[dict[str, Any]], list[Unreadable]]:
    reader = JsonlReader(paths=(str(path),), **settings)
    rows, unreadable = [], []
    for split in reader.splits("/", split_bytes):
        for batch, bad in reader.read(split, "data"):
            batch.validate(full=True)
            rows += batch.to_pylist()
            unreadable += bad
    return rows, unreadable


def same_as_json(path: Path, data: bytes, split_bytes: int = 1 << 30) -> None:
    path.write_bytes(data)
    rows, unreadable = read(path, split_bytes)
    documents, bad = read_jsonl(data)
    assert [u.offset for u in unreadable] == bad
    assert [r["text"] for r in rows] == [d["text"] for d in documents]
    assert [r["id"] for r in rows] == [d["id"] if d["id"] is not None else document_id("data", path.name, d["offset"]) for d in documents]
    exact: dict[str, Any] = {"parse_float": Number, "parse_int": Number, "parse_constant": pytest.fail}
    assert [json.loads(r["meta"], **exact) for r in rows] == [d["meta"] for d in documents]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "text", "\u00e9", 'q"']), inner, max_size=3),
    max_leaves=8,
)
ROW = st.dictionaries(st.sampled_from(["text", "text", "id", "url", "n", "\u2028", "k\n"]), JSON, max_size=5)
LINE = st.one_of(
    st.builds(
        lambda row, ascii_, indent: json.dumps(row, ensure_ascii=ascii_, separators=indent).encode("utf-8", "surrogatepass"),
        ROW,
        st.booleans(),
        st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", " :\r")]),
    ),
    st.binary(max_size=12).map(lambda b: b'{"text":"' + b + b'"}'),
    st.text('{}[]",:\\u0dD8trfnael-+.eE1 \t\r', max_size=16).map(lambda s: ('{"text":"a","x":' + s + "}").encode()),
)


@given(st.lists(LINE, max_size=6), st.sampled_from([b"", b"\n", b"\r\n"]), st.integers(1, 60))
@settings(max_examples=150, deadline=None)
def test_equals_json_loads(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], end: bytes, split_bytes: int) -> None:
    path = tmp_path_factory.getbasetemp() / "h.jsonl"
    data = b"\n".join(lines) + end
    same_as_json(path, data)
    same_as_json(path, data, split_bytes)


@pytest.mark.parametrize(
    "line",
    [
        rb'{"text":"\u0000 \ud83d\ude00 \u00e9 \u2028 \/ \b\f\n\r\t\"\\"}',
        '{"text":"a\u2028b\u0085c\x7f"}'.encode(),
        b'{"text":"a","n":12345678901234567890123456789,"f":0.10,"e":1E+5,"neg":-0}',
        b'{"text":"a","n":' + b"9" * 5000 + b"}",
        b'{"text":"a","text":"b"}',
        b'{"x":1,"text":"a","x":2}',
        rb'{"te\u0078t":"a"}',
        b'{"text":null}',
        b'{"text":"a","id":17}',
        b'{"text":"a","id":null}',
        b'{"text":"a","id":[1]}',
        b'{"text":"a","x":NaN,"y":[-Infinity,"NaN"]}',
        b'{"text":"a","x":{"a":[1, 2 , {"b" : "c d"}]}}',
        b'{"text":"a"} ',
        b'{"text":"a"} x',
        b'{"text":"a",}',
        b'{"text":"a" "b":1}',
        b'{"text":"a","x":01}',
        b'{"text":"a","x":1.}',
        b'{"text":"a","x":tru}',
        b'{"text":"raw\x01"}',
        rb'{"text":"\ud800"}',
        rb'{"text":"\udc00\ud800"}',
        rb'{"text":"a","x":"\ud800"}',
        rb'{"text":"\x"}',
        rb'{"text":"\u12g4"}',
        b'{"text":"\xff"}',
        b'{"text":"a","x":"\xed\xa0\x80"}',
        b'{"text":"half',
        b'{"text":5}',
        b'{"other":"a"}',
        b'["text"]',
        b'"text"',
        b"{}",
        b'{"text":"a","x":' + b"[" * 100 + b"]" * 100 + b"}",
        b'{"text":"a","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        json.dumps({"text": "a", **{f"k{i}": i for i in range(200)}}).encode(),
        b"\xef\xbb\xbf" + b'{"text":"a"}',
        b"   ",
    ],
)
def test_odd_lines(tmp_path: Path, line: bytes) -> None:
    good = b'{"text":"good","id":"g"}'
    same_as_json(tmp_path / "a.jsonl", line)
    same_as_json(tmp_path / "a.jsonl", b"\n".join([good, line, good, b""]))


def test_meta_is_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        rb'{"b" : 1.50, "text":"x", "a": {"k" : [1, 2]}, "\u0061b": "\u00e9 y", "n": NaN}'
        + b"\n"
        + b'{"b" : 1.50, "text":"x", "a": {"k" : [1, 2]}}'
    )
    rows, _ = read(path)
    assert [r["meta"] for r in rows] == [r'{"b":1.50,"a":{"k":[1,2]},"\u0061b":"\u00e9 y","n":null}', '{"b":1.50,"a":{"k":[1,2]}}']
    assert [r["meta"] for r in read(path, meta=False)[0]] == ["{}", "{}"]


@given(LINE)
@settings(max_examples=150, deadline=None)
def test_kernel_equals_slow_path(tmp_path_factory: pytest.TempPathFactory, line: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "k.jsonl"
    path.write_bytes(line)
    rows, _ = read(path, source="url")
    if rows and b"\n" not in line:
        slow = slow_row(line.removeprefix(b"\xef\xbb\xbf"), ["text", "id", "url"], True)
        assert (rows[0]["text"], rows[0]["meta"]) == (slow.text, slow.meta)


def test_columns_and_source(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"text":"a","s":"x\\ty","i":-7,"f":1e3,"b":true,"t":"2024-05-01T10:00:00Z","src":"one"}\n'
        '{"text":"b","s":null,"f":2,"t":"2024-05-01","src":null}\n'
        '{"text":"c","i":1.5}\n{"text":"d","i":9223372036854775808}\n{"text":"e","b":"true"}\n{"text":"f","s":1}\n{"text":"g","t":"noon"}\n'
    )
    columns = {"s": "string", "i": "int", "f": "float", "b": "bool", "t": "timestamp"}
    rows, unreadable = read(path, columns=columns, source="src")
    assert [(r["s"], r["i"], r["f"], r["b"], r["source"], r["meta"]) for r in rows] == [
        ("x\ty", -7, 1000.0, True, "one", "{}"),
        (None, None, 2.0, None, "data", "{}"),
    ]
    assert [str(r["t"]) for r in rows] == ["2024-05-01 10:00:00+00:00", "2024-05-01 00:00:00+00:00"]
    assert [u.error.split(",")[0] for u in unreadable] == [
        "field 'i' is a number (1.5)",
        "field 'i' is a number (9223372036854775808)",
        "field 'b' is text (\"true\")",
        "field 's' is a number (1)",
        "field 't' is 'noon'",
    ]


def test_wrong_names(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text":"a","id":"x"}\n{"text":"b","id":null}\n')
    rows, unreadable = read(path, text="content")
    assert (rows, [u.error for u in unreadable]) == ([], ["no field 'content'; fields are: text, id"] * 2)
    rows, unreadable = read(path, id="doc_id")
    assert (rows, [u.error for u in unreadable]) == ([], ["no field 'doc_id'; fields are: text, id"] * 2)
    rows, unreadable = read(path, id="id")
    assert [r["text"] for r in rows] == ["a"] and unreadable[0].error == "field 'id' is null (null), expected text or a number"


def test_duplicate_ids_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text":"a","id":"x"}\n' * 3)
    assert [r["id"] for r in read(path)[0]] == ["x"] * 3


LINES = b"".join(b'{"text":"%s %d"}\n' % (b"w" * (i % 90), i) for i in range(400))
PACK = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.ZstdCompressor(write_checksum=True).compress}


@pytest.mark.parametrize("name", PACK)
def test_compression_is_told_by_content(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.jsonl"  # the name says plain
    path.write_bytes(PACK[name](LINES))
    rows, unreadable = read(path)
    assert (len(rows), unreadable) == (400, [])
    assert rows[7]["id"] == document_id("data", "a.jsonl", LINES.index(b" 7") - 16)


@pytest.mark.parametrize("split_bytes", [17, 100, 1000, 5000])
def test_any_split_gives_the_same_documents(tmp_path: Path, split_bytes: int) -> None:
    whole = tmp_path / "a.jsonl"
    whole.write_bytes(LINES)
    expected = read(whole)
    assert read(whole, split_bytes) == expected
    frames = [zstandard.ZstdCompressor().compress(LINES[i : i + 777]) for i in range(0, len(LINES), 777)]
    skippable = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc"
    whole.write_bytes(skippable + skippable.join(frames) + skippable)
    assert read(whole, split_bytes) == expected
    if split_bytes <= 1000:
        assert len(JsonlReader(paths=(str(whole),)).splits("/", split_bytes)) > 5


def test_members_of_gzip_and_padding(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(b"".join(gzip.compress(LINES[i : i + 777]) for i in range(0, len(LINES), 777)) + b"\0" * 70_000)
    assert len(read(path)[0]) == 400 and read(path)[1] == []
    path.write_bytes(gzip.compress(LINES) + b"junk")
    rows, unreadable = read(path)
    assert len(rows) == 400 and [u.error for u in unreadable] == ["other bytes follow the gzip stream"]


@pytest.mark.parametrize("name", [".gz", ".zst"])
@pytest.mark.parametrize("missing", [1, 5, 300, 1500])
def test_truncated(tmp_path: Path, name: str, missing: int) -> None:
    noise = b"".join(b'{"text":"%s"}\n' % os.urandom(400).hex().encode() for _ in range(2000))
    packed = PACK[name](noise)
    path = tmp_path / ("a.jsonl" + name)
    path.write_bytes(packed[:-missing])
    rows, unreadable = read(path)
    assert len(unreadable) == 1 and "ends early" in unreadable[0].error
    assert unreadable[0].offset == noise.index(rows[-1]["text"].encode()) + 803
    assert noise[unreadable[0].offset :].startswith(unreadable[0].content)
    assert len(rows) > (1990 if name == ".gz" else 1800)
    whole = noise[: unreadable[0].offset]
    assert len(rows) == whole.count(b"\n")


@pytest.mark.parametrize("name", [".gz", ".zst"])
def test_damaged_in_the_middle(tmp_path: Path, name: str) -> None:
    noise = b"".join(b'{"text":"%s"}\n' % os.urandom(400).hex().encode() for _ in range(2000))
    packed = bytearray(PACK[name](noise))
    packed[len(packed) // 2 : len(packed) // 2 + 2000] = b"\xff" * 2000
    path = tmp_path / "a.jsonl"
    path.write_bytes(packed)
    rows, unreadable = read(path)
    assert "damaged" in unreadable[-1].error or "early" in unreadable[-1].error
    assert len(rows) > 700  # zstd may lose 128 KiB before the break


def test_bombs_and_long_lines_stay_in_bounds(tmp_path: Path) -> None:
    line = b'{"text":"' + b"a" * 60_000_000 + b'"}\n'
    for name in PACK:
        path = tmp_path / f"bomb{name}"
        path.write_bytes(PACK[name](b'{"text":"before"}\n' + line + b'{"text":"after"}\n'))
        tracemalloc.start()
        rows, unreadable = read(path, max_doc_bytes=1 << 20)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert [r["text"] for r in rows] == ["before", "after"]
        assert [(u.offset, len(u.content), u.error) for u in unreadable] == [(18, 4096, "longer than max_doc_bytes = 1048576")]
        assert peak < 50_000_000


@pytest.mark.parametrize("size,kept", [(29, True), (30, True), (31, False)])
def test_max_doc_bytes(tmp_path: Path, size: int, kept: bool) -> None:
    path = tmp_path / "a.jsonl"
    line = b'{"text":"' + b"a" * (size - 11) + b'"}'
    for data in (line, line + b"\n", line + b'\n{"text":""}\n'):
        path.write_bytes(data)
        rows, unreadable = read(path, max_doc_bytes=30)
        assert (bool(rows) and rows[0]["text"] != "") == kept
        assert len(unreadable) == (not kept)


def test_empty_file_and_other_formats(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    for data in (b"", b"\n\n", gzip.compress(b""), zstandard.compress(b"")):
        path.write_bytes(data)
        assert read(path) == ([], [])
    path.write_bytes(b"BZh91AY")
    assert [u.error for u in read(path)[1]] == ["bzip2 files are not read; compress with gzip or zstd"]


def test_vanished_and_changed(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(LINES)
    reader = JsonlReader(paths=(str(path),))
    (split,) = reader.splits("/")
    path.write_bytes(LINES + LINES)
    with pytest.raises(DataError, match="changed"):
        list(reader.read(split, "d"))
    path.unlink()
    with pytest.raises(DataError, match=r"a\.jsonl"):
        list(reader.read(split, "d"))
    path.mkdir()
    with pytest.raises(DataError, match=r"a\.jsonl"):
        list(reader.read(split, "d"))
    with pytest.raises(DataError, match="nothing to read"):
        reader.splits("/")


def test_settings() -> None:
    for wrong in ({"columns": {"a": "number"}}, {"columns": {"text": "string"}}, {"id": "text"}, {"max_doc_bytes": 0}):
        with pytest.raises(ValueError, match=r"text|columns|max_doc_bytes"):
            JsonlReader(paths=("a",), **wrong)
    assert JsonlReader(paths="a").paths == ("a",)
    assert JsonlReader(paths=("a",), columns={"n": "int"}).extra_columns() == {"n": pa.int64()}


def test_real_text(real_data: Path) -> None:
    import io

    for name in ("french_law", "ko_movie_reviews", "tldr_pages"):
        path = real_data / "text" / f"{name}.jsonl.zst"
        data = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(path.read_bytes())).read()
        rows, unreadable = read(path)
        documents, bad = read_jsonl(data)
        assert unreadable == [] and bad == []
        assert [r["text"] for r in rows] == [d["text"] for d in documents]
