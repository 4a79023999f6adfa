"""Crawl archives: bodies, charsets, filters, splits, and every kind of damage."""

from __future__ import annotations

import gzip
import io
import json
import random
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("fastwarc")
pytest.importorskip("resiliparse")

from curate.io.archives import ArchiveReader, ArcReader, WarcReader, WetReader
from curate.io.reader import Unreadable
from curate.io.streams import decompressed, fill
from tests.curate.io.archive_files import arc_record, http, warc_record

Found = tuple[list[dict[str, Any]], list[Unreadable], Counter[str]]


def read(path: Path, split_bytes: int = 1 << 28, kind: type[ArchiveReader] = WarcReader, **settings: Any) -> Found:
    """Documents, damage and what was passed over, of all splits."""
    reader = kind(paths=(str(path),), **settings)
    rows: list[dict[str, Any]] = []
    damage: list[Unreadable] = []
    skipped: Counter[str] = Counter()
    for split in reader.splits("/", split_bytes):
        for found in reader.read(split, "d"):
            rows += found.batch.to_pylist()
            damage += found.unreadable
            skipped.update(found.skipped)
    return rows, damage, skipped


def one(tmp_path: Path, content: bytes, **settings: Any) -> Found:
    path = tmp_path / "a.warc"
    path.write_bytes(content)
    return read(path, **settings)


def chunked(body: bytes, size: int = 7) -> bytes:
    pieces = [body[i : i + size] for i in range(0, len(body), size)]
    return b"".join(b"%x;ext=1\r\n%b\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"


PAGE = "<html><body><p>d\u00e9j\u00e0 vu \u4f60\u597d</p></body></html>"
RAW = PAGE.encode()


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (RAW, {}),
        (chunked(RAW), {"Transfer-Encoding": "chunked"}),
        (RAW, {"Transfer-Encoding": "chunked"}),  # the crawler undid the chunks and left the header
        (gzip.compress(RAW, mtime=0), {"Content-Encoding": "gzip"}),
        (RAW, {"Content-Encoding": "gzip"}),
        (chunked(gzip.compress(RAW, mtime=0)), {"Content-Encoding": "GZip", "Transfer-Encoding": "Chunked"}),
        (zlib.compress(RAW), {"Content-Encoding": "deflate"}),
        (zlib.compress(RAW, wbits=-15), {"Content-Encoding": "deflate"}),
        (zstandard.compress(RAW), {"Content-Encoding": "zstd"}),
        (gzip.compress(zlib.compress(RAW), mtime=0), {"Content-Encoding": "deflate, gzip"}),
        (b"\xef\xbb\xbf" + RAW, {}),
        (RAW, {"Content-Encoding": "br"}),
        (RAW, {"Content-Encoding": "no-such-thing"}),
    ],
)
def test_bodies(tmp_path: Path, body: bytes, headers: dict[str, str]) -> None:
    rows, damage, _ = one(tmp_path, warc_record("response", http(body, headers), "http://example.org/"))
    assert [r["text"] for r in rows] == [PAGE] and not damage
    assert "truncated" not in json.loads(rows[0]["meta"])


def test_brotli(tmp_path: Path) -> None:
    from fastwarc.stream_io import BrotliWriter

    packed = tmp_path / "body.br"
    with open(packed, "wb") as file:
        writer = BrotliWriter(file)
        writer.write(RAW)
        writer.close()
    rows, damage, _ = one(tmp_path, warc_record("response", http(packed.read_bytes(), {"Content-Encoding": "br"}), "http://e.org/"))
    assert [r["text"] for r in rows] == [PAGE] and not damage


@pytest.mark.parametrize(
    ("body", "headers", "problem"),
    [
        (gzip.compress(RAW * 50, mtime=0)[:-9], {"Content-Encoding": "gzip"}, "ends early"),
        (chunked(RAW * 50)[:-40], {"Transfer-Encoding": "chunked"}, "chunk is missing"),
        (chunked(RAW * 50)[:-9], {"Transfer-Encoding": "chunked"}, "cut short"),
        (chunked(RAW * 50)[:-5], {"Transfer-Encoding": "chunked"}, "chunk is missing"),
    ],
)
def test_a_body_cut_short_keeps_what_is_there_and_says_so(tmp_path: Path, body: bytes, headers: dict[str, str], problem: str) -> None:
    rows, damage, _ = one(tmp_path, warc_record("response", http(body, headers), "http://example.org/"))
    assert rows[0]["text"].startswith(PAGE) and not damage
    assert problem in json.loads(rows[0]["meta"])["truncated"]


def test_a_body_that_can_not_be_decoded_is_quarantined(tmp_path: Path) -> None:
    broken = b"\x1f\x8b\x08\x00" + bytes(range(60))
    rows, damage, _ = one(tmp_path, warc_record("response", http(broken, {"Content-Encoding": "gzip"}), "http://example.org/"))
    assert not rows
    assert len(damage) == 1 and "damaged" in damage[0].error and damage[0].offset == 0


def test_a_bomb_stays_small(tmp_path: Path) -> None:
    bomb = gzip.compress(b"a" * 50_000_000)
    rows, damage, _ = one(
        tmp_path, warc_record("response", http(bomb, {"Content-Encoding": "gzip"}), "http://e.org/"), max_doc_bytes=100_000
    )
    assert not rows and damage[0].error == "longer than max_doc_bytes = 100000"


@pytest.mark.parametrize(
    ("body", "mime", "text", "charset"),
    [
        ("caf\u00e9".encode("latin-1"), "text/html; charset=iso-8859-1", "caf\u00e9", "cp1252"),
        (b"\x93quoted\x94", "text/html; charset=ISO-8859-1", "\u201cquoted\u201d", "cp1252"),
        ("caf\u00e9".encode(), "text/html; charset=iso-8859-1", "caf\u00e9", "utf-8"),  # bytes that are UTF-8 are believed
        ("\u65e5\u672c\u8a9e".encode("shift_jis"), "text/html; charset=Shift_JIS", "\u65e5\u672c\u8a9e", "cp932"),
        ("\u65e5\u672c\u8a9e".encode("iso2022_jp"), "text/html; charset=iso-2022-jp", "\u65e5\u672c\u8a9e", "iso2022_jp"),
        (b'<meta charset="windows-1251">' + "\u041f\u0440\u0438\u0432\u0435\u0442".encode("cp1251"), "text/html",
         '<meta charset="windows-1251">\u041f\u0440\u0438\u0432\u0435\u0442', "cp1251"),
        ("\ufeffwide".encode("utf-16-le"), "text/html", "wide", "utf-16-le"),
        ("wide \u4f60".encode("utf-16-be"), "text/html; charset=utf-16be", "wide \u4f60", "utf-16-be"),
        (b"plain", "text/html; charset=nonsense", "plain", "utf-8"),
        (b"plain", "text/html; charset=base64", "plain", "utf-8"),
    ],
)  # fmt: skip
def test_charsets(tmp_path: Path, body: bytes, mime: str, text: str, charset: str) -> None:
    rows, _, _ = one(tmp_path, warc_record("response", http(body, mime=mime), "http://example.org/"))
    assert rows[0]["text"] == text
    assert json.loads(rows[0]["meta"])["charset"] == charset


def test_detected_charset_and_replacements(tmp_path: Path) -> None:
    russian = "\u043f\u0440\u0438\u0432\u0435\u0442, \u043a\u0430\u043a \u0434\u0435\u043b\u0430? " * 5
    rows, _, _ = one(tmp_path, warc_record("response", http(russian.encode("cp1251"), mime="text/html"), "http://e.org/"))
    assert rows[0]["text"] == russian
    rows, _, _ = one(tmp_path, warc_record("response", http(RAW * 30 + b"\xff", mime="text/html; charset=utf-8"), "http://e.org/"))
    assert rows[0]["text"] == PAGE * 30 + "\ufffd" and json.loads(rows[0]["meta"])["replaced"] == "1"


def test_record_headers_are_columns(tmp_path: Path) -> None:
    record = warc_record("response", RAW, "http://Example.org:8080/a b", {"WARC-IP-Address": "10.0.0.1", "WARC-Truncated": "length"})
    rows, _, _ = one(tmp_path, record, columns={"url": "string", "status": "int", "date": "timestamp", "host": "string", "ip": "string"})
    (row,) = rows
    assert (row["url"], row["status"], row["host"], row["ip"]) == ("http://Example.org:8080/a b", 200, "example.org", "10.0.0.1")
    assert row["date"].isoformat() == "2024-05-18T01:58:10+00:00"
    assert row["id"].startswith("<urn:uuid:")
    meta = json.loads(row["meta"])
    assert meta["url"] == row["url"] and meta["mime"] == "text/html" and meta["truncated"] == "length"
    assert one(tmp_path, record, source="host", id="ip")[0][0]["source"] == "example.org"
    assert one(tmp_path, record, meta=False)[0][0]["meta"] == "{}"
    with pytest.raises(ValueError, match="no field 'uri'"):
        WarcReader(paths=("a",), columns={"uri": "string"})


def test_filters_count_what_they_pass_over(tmp_path: Path) -> None:
    records = [
        warc_record("warcinfo", "software: x", "http://e.org/"),
        warc_record("request", "GET / HTTP/1.1\r\n\r\n", "http://e.org/"),
        warc_record("revisit", http(b""), "http://e.org/"),
        warc_record("response", http(RAW, status=404), "http://e.org/404"),
        warc_record("response", http(b"\x89PNG", mime="image/png"), "http://e.org/png"),
        warc_record("response", http(RAW, mime=""), "http://e.org/sniffed"),
        warc_record("response", http(b"no markup", mime=""), "http://e.org/unknown"),
        warc_record("response", http(b"%PDF", mime="text/html"), "http://e.org/pdf", {"WARC-Identified-Payload-Type": "application/pdf"}),
        warc_record("resource", RAW, "http://e.org/resource"),
        warc_record("response", http(RAW, mime="TEXT/HTML ; charset=utf-8"), "http://e.org/ok"),
    ]
    rows, damage, skipped = one(tmp_path, b"".join(records))
    assert [r["url"].rpartition("/")[2] for r in rows] == ["sniffed", "resource", "ok"] and not damage
    assert skipped == {
        "type warcinfo": 1, "type request": 1, "type revisit": 1, "status 404": 1, "mime image/png": 1, "mime (none)": 1,
        "mime application/pdf": 1,
    }  # fmt: skip
    everything, damage, skipped = one(tmp_path, b"".join(records), mime=None, status=None)
    assert len(everything) == 7 and not damage and skipped.total() == 3
    assert len(one(tmp_path, b"".join(records), mime="image/*")[0]) == 1
    assert len(one(tmp_path, b"".join(records), status=[404])[0]) == 2  # and the resource, which has none


def archive(count: int = 60) -> list[bytes]:
    rng = random.Random(3)
    return [warc_record("response", f"<p>{rng.randbytes(rng.randrange(5, 900)).hex()}</p>", f"http://e.org/{i}") for i in range(count)]


@pytest.mark.parametrize("form", ["plain", "members", "one member", "zstd", "zstd frames", "arc", "arc members", "odd members"])
def test_any_compression_and_split_gives_the_same_documents(tmp_path: Path, form: str) -> None:
    records = archive()
    if form.startswith("arc"):
        records = [arc_record(r.partition(b"\r\n\r\n")[2].partition(b"\r\n\r\n")[2], f"http://e.org/{i}") for i, r in enumerate(records)]
    whole = b"".join(records)
    content = {
        "members": b"".join(gzip.compress(r) for r in records),
        "arc members": b"".join(gzip.compress(r) for r in records),
        "one member": gzip.compress(whole),
        "zstd": zstandard.compress(whole),
        "zstd frames": b"".join(zstandard.compress(r) for r in records),
        "odd members": b"".join(gzip.compress(whole[i : i + 777]) + b"\0" * (i % 3) for i in range(0, len(whole), 777)),
    }.get(form, whole)
    path = tmp_path / "archive"
    path.write_bytes(content)
    kind: type[ArchiveReader] = ArcReader if form.startswith("arc") else WarcReader
    expected, damage, _ = read(path, kind=kind)
    assert len(expected) == len({r["id"] for r in expected}) == 60 and not damage
    pieces = len(kind(paths=(str(path),)).splits("/", 4000))
    assert (pieces > 5) == (form in ("plain", "members", "arc members") or form == "arc")
    for split_bytes in (500, 4000, 30_000):
        assert read(path, split_bytes, kind) == (expected, [], Counter())


def test_a_page_that_holds_an_archive_makes_no_split_and_no_documents(tmp_path: Path) -> None:
    inner = b"".join(archive(20))
    records = [warc_record("response", http(inner), f"http://e.org/{i}") for i in range(6)]
    path = tmp_path / "a.warc"
    path.write_bytes(b"".join(records))
    expected = read(path)
    assert len(expected[0]) == 6
    assert read(path, 5000) == expected


def test_every_split_is_read_after_damage_in_the_middle(tmp_path: Path) -> None:
    members = [gzip.compress(r) for r in archive()]
    broken = bytearray(members[30])
    broken[40:60] = b"\0" * 20
    members[30] = bytes(broken)
    path = tmp_path / "a.warc.gz"
    path.write_bytes(b"".join(members))
    rows, damage, _ = read(path)
    assert len(rows) == 59
    assert [d.offset for d in damage] == [sum(map(len, members[:30]))]
    assert "damaged" in damage[0].error
    assert read(path, 6000)[0] == rows


@pytest.mark.parametrize("packed", [False, True])
def test_truncated_anywhere(tmp_path: Path, packed: bool) -> None:
    records = archive(4)
    pieces = [gzip.compress(r) for r in records] if packed else records
    content = b"".join(pieces)
    path = tmp_path / "a"
    borders = [sum(map(len, pieces[:i])) for i in range(5)]
    for size in [*range(borders[2] + 1, borders[3], 97), borders[3] - 9, borders[3] - 5]:
        path.write_bytes(content[:size])
        rows, damage, _ = read(path)
        assert [len(rows), len(damage)] in ([2, 1], [3, 1], [3, 0]), size
        assert all(d.offset == borders[2] for d in damage) or len(rows) == 3
        words = ("truncated", "ends", "without an end", "not the start")
        assert not damage or any(word in damage[0].error for word in words)


@pytest.mark.parametrize(
    ("change", "error", "kept"),
    [
        (lambda r: r.replace(b"Content-Length: ", b"Content-Length: x", 1), "bad Content-Length", 2),
        (lambda r: r.replace(b"Content-Length", b"Content-Lenght", 1), "no Content-Length", 2),
        (lambda r: r.replace(b"Content-Length: ", b"Content-Length: -", 1), "bad Content-Length", 2),
        (lambda r: r.replace(b"Content-Length: ", b"Content-Length: 9", 1), "runs into the next record", 2),
        (lambda r: r.replace(b"Content-Length: 1", b"Content-Length: ", 1), "belong to no record", 3),
        (lambda r: r.replace(b"WARC/1.0", b"WARK/1.0", 1), "not the start", 2),
        (lambda r: b"\0garbage \xff" * 40 + r, "not the start", 3),
    ],
)  # fmt: skip
def test_bad_headers_cost_one_record(tmp_path: Path, change: Any, error: str, kept: int) -> None:
    records = [warc_record("response", http(b"<p>" + b"x" * 1200), f"http://e.org/{i}") for i in range(3)]
    rows, damage, _ = one(tmp_path, records[0] + change(records[1]) + records[2])
    assert len(rows) == kept and rows[-1]["url"] == "http://e.org/2"
    assert len(damage) == 1 and error in damage[0].error and damage[0].offset >= len(records[0])
    assert damage[0].content


def test_bad_arc_lengths(tmp_path: Path) -> None:
    path = tmp_path / "a.arc"
    path.write_bytes(b"".join(arc_record("<p>x", f"http://e.org/{i}", length) for i, length in enumerate([None, -1, "abc", None])))
    rows, damage, _ = read(path, kind=ArcReader)
    assert [r["url"] for r in rows] == ["http://e.org/0", "http://e.org/3"]
    assert ["bad length" in d.error for d in damage] == [True, True]
    assert rows[0]["date"].isoformat() == "2008-04-30T20:48:26+00:00"


def test_wet(tmp_path: Path) -> None:
    path = tmp_path / "a.wet"
    path.write_bytes(
        warc_record("warcinfo", "x", "http://e.org/")
        + warc_record("conversion", "Text of a page\n", "http://e.org/1", {"WARC-Identified-Content-Language": "deu,eng"})
    )
    rows, damage, skipped = read(path, kind=WetReader)
    assert [(r["text"], r["language"], r["url"]) for r in rows] == [("Text of a page\n", "deu,eng", "http://e.org/1")]
    assert not damage and skipped == {"type warcinfo": 1}


def test_too_long_records_are_not_held(tmp_path: Path) -> None:
    records = [warc_record("response", http(b"<p>" + b"x" * 300_000), "http://e.org/1"), *archive(2)]
    rows, damage, _ = one(tmp_path, b"".join(records), max_doc_bytes=10_000)
    assert len(rows) == 2 and [d.error for d in damage] == ["longer than max_doc_bytes = 10000"]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_bytes_hang_or_raise(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    content = bytearray(b"".join(gzip.compress(r) if data.draw(st.booleans()) else r for r in archive(3)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        piece = data.draw(st.binary(max_size=12))
        content[at : at + data.draw(st.integers(0, 40))] = piece
        if not content:
            return
    path = tmp_path_factory.mktemp("a") / "a.warc"
    path.write_bytes(content)
    rows, damage, _ = read(path)
    assert len(rows) <= 3 and (damage or rows or not content)
    assert all(d.error and len(d.content) <= 4096 for d in damage)


@pytest.mark.parametrize("packed", [False, True])
def test_zstd_with_a_dictionary_at_the_start(tmp_path: Path, packed: bool) -> None:
    """The zstd WARC files of IIPC's proposal: a skippable frame with the dictionary, then a frame for each record."""
    records = [warc_record("response", f"<p>{i} {'word ' * i}", f"http://e.org/{i}") for i in range(60)]
    trained = zstandard.train_dictionary(4096, [*records] * 20)
    packer = zstandard.ZstdCompressor(dict_data=trained)
    held = zstandard.compress(trained.as_bytes()) if packed else trained.as_bytes()
    frame = b"\x5d\x2a\x4d\x18" + len(held).to_bytes(4, "little") + held
    body = b"".join(packer.compress(record) for record in records)
    (tmp_path / "a.warc.zst").write_bytes(frame + body)
    (tmp_path / "b.warc.gz").write_bytes(b"".join(map(gzip.compress, records)))
    assert [r["text"] for r in read(tmp_path / "a.warc.zst")[0]] == [r["text"] for r in read(tmp_path / "b.warc.gz")[0]]
    (tmp_path / "a.warc.zst").write_bytes(frame[: len(frame) // 2])
    assert "dictionary ends early" in read(tmp_path / "a.warc.zst")[1][0].error
    (tmp_path / "a.warc.zst").write_bytes(body)
    assert "zstd stream is damaged" in read(tmp_path / "a.warc.zst")[1][0].error


def test_zstd_lines_with_a_dictionary_from_the_middle() -> None:
    """Reading may start at any frame; the dictionary is at the start of the file."""
    lines = [b'{"text": "%d some words"}\n' % i for i in range(2000)]
    trained = zstandard.train_dictionary(1024, [*lines])
    frames = [zstandard.ZstdCompressor(dict_data=trained).compress(line) for line in lines]
    file = io.BytesIO(b"\x5d\x2a\x4d\x18" + len(trained.as_bytes()).to_bytes(4, "little") + trained.as_bytes() + b"".join(frames))
    at = sum(map(len, lines[:1500])) + 3
    assert fill(decompressed(file, at), 1 << 20)[0] == b"".join(lines)[at:]
