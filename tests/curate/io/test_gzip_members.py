"""Gzip files of many members: the same lines and ids whether cut or not, wrong sizes told."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import DataError
from curate.io.gzip_members import GzipMembers, Member, Passage, find_member, member_table
from curate.io.jsonl import JsonlReader
from curate.io.streams import Broken


def bgzip(content: bytes, block: int = 3000) -> bytes:
    """As `bgzip` writes it: blocks that name their size, and an empty one at the end."""
    out = []
    for at in [*range(0, len(content), block), len(content)]:
        piece = content[at : at + block]
        packed = zlib.compress(piece, wbits=-15)
        head = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0" + struct.pack("<H", 18 + len(packed) + 8 - 1)
        out.append(head + packed + struct.pack("<II", zlib.crc32(piece), len(piece)))
    return b"".join(out)


def members(content: bytes, block: int = 5000) -> bytes:
    return b"".join(gzip.compress(content[at : at + block]) for at in range(0, len(content), block))


CONTENT = b"".join(
    json.dumps({"text": f"{i} " + zlib.crc32(b"%d" % i).to_bytes(4, "big").hex() * (i % 60)}).encode() + b"\n" for i in range(900)
)


def read(path: Path, split_bytes: int) -> tuple[int, list[dict[str, Any]]]:
    reader = JsonlReader(paths=(str(path),))
    splits = reader.splits("/", split_bytes)
    assert sum(s.size for s in splits) == path.stat().st_size
    rows = []
    for split in splits:
        for batch, unreadable in reader.read(split, "d"):
            assert not unreadable
            rows += batch.to_pylist()
    return len(splits), rows


@pytest.mark.parametrize("pack", [bgzip, members])
@pytest.mark.parametrize("split_bytes", [300, 2000, 5000])
def test_lines_of_a_cut_file(tmp_path: Path, pack: Any, split_bytes: int) -> None:
    plain, packed = tmp_path / "plain" / "a", tmp_path / "packed" / "a"
    for path, content in ((plain, CONTENT), (packed, pack(CONTENT))):
        path.parent.mkdir()
        path.write_bytes(content)
    expected = read(plain, 1 << 28)[1]
    pieces, rows = read(packed, split_bytes)
    assert rows == expected and pieces > 1


def test_one_member_is_one_split(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(gzip.compress(CONTENT))
    assert read(tmp_path / "a", 1000)[0] == 1


def test_table() -> None:
    file = io.BytesIO(members(b"x" * 12_000))
    table = member_table(file)
    assert table is not None and [m.content_at for m in table] == [0, 5000, 10_000]
    assert find_member(file, 1, 1 << 20) == table[1].start
    assert member_table(io.BytesIO(gzip.compress(b"x"))) is None
    blocks = member_table(io.BytesIO(bgzip(b"y" * 7000)))
    assert blocks is not None and [m.content_at for m in blocks] == [0, 3000, 6000, 7000]
    assert Member(0, 0) == blocks[0]


@pytest.mark.parametrize("leave", [(0, 4000), (1, 5000), (0, 6000), (2, 10_000)])
def test_a_listing_that_is_wrong_is_told(leave: tuple[int, int]) -> None:
    """leave: (number of the member, byte of the content where it should begin)."""
    packed = members(b"x" * 12_000)
    starts = [m.start for m in member_table(io.BytesIO(packed)) or []]
    number, content = leave
    passage = Passage(io.BytesIO(packed), (0, 0), (starts[number] if number else starts[1], content))
    right = leave in ((1, 5000), (2, 10_000))
    if right:
        assert b"".join(iter(lambda: passage.read(777), b"")) == b"x" * 12_000
        return
    with pytest.raises(DataError, match="names wrong sizes"):
        while passage.read(777):
            pass


def test_a_wrong_size_in_the_file_is_damage(tmp_path: Path) -> None:
    packed = bytearray(members(CONTENT))
    end = (member_table(io.BytesIO(packed)) or [])[3].start
    packed[end - 4 : end] = struct.pack("<I", 4000)
    path = tmp_path / "a"
    path.write_bytes(packed)
    reader = JsonlReader(paths=(str(path),))
    found = [u for s in reader.splits("/", 2000) for _, unreadable in reader.read(s, "d") for u in unreadable]
    assert len(found) == 1 and "length check" in found[0].error


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=2000), min_size=1, max_size=6), st.integers(0, 3), st.integers(1, 700))
def test_members_give_the_content(pieces: list[bytes], padding: int, size: int) -> None:
    packed = [gzip.compress(p) + b"\0" * padding for p in pieces]
    source = GzipMembers(io.BytesIO(b"".join(packed)))
    found: dict[int, bytes] = {}
    while piece := source.read(size):
        found[source.member] = found.get(source.member, b"") + piece
    starts = [sum(map(len, packed[:i])) for i in range(len(pieces))]
    assert found == {at: p for at, p in zip(starts, pieces, strict=True) if p}


def test_breaks() -> None:
    whole = gzip.compress(b"a" * 100_000) + gzip.compress(bytes(range(256)) * 50)
    for content, message in ((whole[:-20], "ends early"), (whole + b"junk", "other bytes follow")):
        source = GzipMembers(io.BytesIO(content))
        with pytest.raises(Broken, match=message):
            while source.read():
                pass
        with pytest.raises(Broken, match=message):
            source.read()
