from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels import tables
from curate.kernels import unicode_words as module
from curate.kernels.strings import views
from curate.kernels.words import ALL_SYMBOLS, HAS_LETTER, Words, split_words
from tests.reference import words as naive

SPLITS = ("unicode", "whitespace")
TRICKY = "ab Z9_'\u2019-. ..\n\r\t\x1c\x85\u00a0\u3000\u2028\u200b\u200d#\u2026\u00e9\u0301\u4e2d\u3042\u30fc\uac00\u0e01\u0e34\u0e51\u1780\u17d2\u1019\u1031\u0ea5\U0001f600\U00020000\x00"
texts = st.lists(st.text(st.sampled_from(TRICKY), max_size=40) | st.text(max_size=30), max_size=6)


def column(given_: list[str] | list[str | None]) -> pa.LargeStringArray:
    return pa.array(given_, pa.large_string())


def spelled(words: Words, text: pa.LargeStringArray) -> list[list[str]]:
    data, _ = views(text)
    every = [bytes(data[s : s + n]).decode() for s, n in zip(words.start, words.size, strict=True)]
    return [every[a:b] for a, b in zip(words.doc[:-1], words.doc[1:], strict=True)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't stop-- it's 3.14", ["Don't", "stop", "--", "it's", "3.14"]),
        (
            "well-known e.g. a--b 'quoted' rock\u2019n\u2019roll",
            ["well-known", "e.g", ".", "a", "--", "b", "'", "quoted", "'", "rock\u2019n\u2019roll"],
        ),
        ("\u6f22\u5b57abc\u304b", ["\u6f22", "\u5b57", "abc", "\u304b"]),
        ("\u6f22-\u5b57 a-\u6f22", ["\u6f22", "-", "\u5b57", "a", "-", "\u6f22"]),
        (
            "\u0e17\u0e35\u0e48\u0e19\u0e35\u0e48a\u0e01-b 1\u0e51",
            ["\u0e17\u0e35\u0e48", "\u0e19\u0e35\u0e48", "a", "\u0e01", "-", "b", "1\u0e51"],
        ),
        ("_x_ $5,000.00!?", ["_x_", "$", "5", ",", "000.00", "!?"]),
        ("a.", ["a", "."]),
        (".a", [".", "a"]),
        ("cafe\u0301\u00a0na\u00efve\u3000\U0001f600\U0001f600", ["cafe\u0301", "na\u00efve", "\U0001f600\U0001f600"]),
        ("", []),
        (" \n\t\u2028", []),
    ],
)
def test_unicode_split(text: str, expected: list[str]) -> None:
    assert spelled(split_words(column([text]), "unicode"), column([text])) == [expected]
    assert naive.split(text, "unicode") == expected


@given(texts)
def test_words_are_the_naive_ones(given_: list[str]) -> None:
    text = column(given_)
    for split in SPLITS:
        words = split_words(text, split)
        expected = [naive.split(t, split) for t in given_]
        assert spelled(words, text) == expected
        flat = [w for doc in expected for w in doc]
        assert words.raw.tolist() == [naive.hash_bytes(w.encode()) for w in flat]
        assert words.chars.tolist() == [len(w) for w in flat]
        assert words.flags.tolist() == [naive.flags(w) for w in flat]


def test_scripts_without_spaces() -> None:
    """Every code point of the blocks of Thai, Lao, Burmese, Khmer and their neighbours, between letters and doubled."""
    every = [*range(0x0E00, 0x1B00), *range(0xA900, 0xAB00), *range(0x11700, 0x11760)]
    text = " ".join(f"x{chr(c)}y {chr(c)}{chr(c)} \u0e01{chr(c)} {chr(c)}-{chr(c)}" for c in every)
    assert spelled(split_words(column([text]), "unicode"), column([text])) == [naive.split(text, "unicode")]


def test_flags() -> None:
    assert split_words(column(["abc 12 ... #1 a-b _ \u20ac"]), "whitespace").flags.tolist() == [
        HAS_LETTER, 0, ALL_SYMBOLS, 0, HAS_LETTER, ALL_SYMBOLS, 0,
    ]  # fmt: skip


@given(texts, st.integers(0, 5))
def test_slices_nulls_and_read_only_buffers(given_: list[str], skip: int) -> None:
    whole = split_words(column(given_), "unicode")
    part = column(given_).slice(skip)
    words = split_words(part, "unicode")
    first = whole.doc[min(skip, len(given_))]
    assert words.doc.tolist() == (whole.doc[min(skip, len(given_)) :] - first).tolist()
    assert words.raw.tolist() == whole.raw[first:].tolist()
    assert spelled(words, part) == [naive.split(t, "unicode") for t in given_[skip:]]
    with_null = split_words(column([*given_, None, "x"]), "unicode")
    assert with_null.doc.tolist() == [*whole.doc.tolist(), whole.doc[-1], whole.doc[-1] + 1]
    mapped = pa.ipc.open_stream(_stream(column(given_))).read_all().column("text")
    assert split_words(mapped.combine_chunks(), "unicode").raw.tolist() == whole.raw.tolist()


def _stream(text: pa.LargeStringArray) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    batch = pa.record_batch({"text": text})
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def test_room_grows_for_words_of_one_byte() -> None:
    # "a!" is two words in two bytes: four times the room of ordinary text, more than once.
    given_ = ["plain text " * 5, "a!" * 3000, "b?" * 50_000, "end"]
    words = split_words(column(given_), "unicode")
    assert np.diff(words.doc).tolist() == [10, 6000, 100_000, 1]
    assert words.raw.tolist() == [naive.hash_bytes(w.encode()) for t in given_ for w in naive.split(t, "unicode")]


@pytest.mark.parametrize(
    "text", ["a" * 1_000_000, " " * 1_000_000, "." * 1_000_000, "\u6f22" * 300_000, "a." * 500_000, "\U0001f600" * 250_000]
)
def test_long_uniform_documents(text: str) -> None:
    for split in SPLITS:
        words = split_words(column([text, text]), split)
        assert words.doc.tolist() == [0, len(naive.split(text, split)), 2 * len(naive.split(text, split))]


def test_damaged_utf8_stays_inside_the_document() -> None:
    # Readers refuse such text; a kernel must still not read past the end.
    stage1, stage2 = tables.classes()
    for raw in (b"ab\xe4\xb8", b"\xf0\x9f", b"\xff\xfe\xfd", b"\xf7\xbf\xbf\xbf", b"\x80\x80a"):
        data, offsets = np.frombuffer(raw, np.uint8), np.array([0, len(raw)])
        doc = np.zeros(2, np.int64)
        rest = [np.zeros(len(raw), t) for t in (np.int64, np.int32, np.uint64, np.int32, np.uint8)]
        assert module._split(data, offsets, stage1, stage2, 0, doc, *rest) == 1
        assert rest[1][: doc[1]].sum() == len(raw)


def test_result_is_shared_and_so_read_only() -> None:
    assert not any(array.flags.writeable for array in split_words(column(["a b"]), "unicode"))


def test_unknown_split() -> None:
    with pytest.raises(ValueError, match="split must be 'unicode' or 'spacy_en' or 'whitespace', got 'spacy'"):
        split_words(column(["a"]), "spacy")


@pytest.mark.parametrize("pad", [0, 1, 31, 60, 61, 62, 63, 64])
def test_characters_at_every_place_of_a_block(pad: int) -> None:
    """Letters of Western languages are found as bitmaps, CJK characters by three bytes; both at the ends of blocks and buffers."""
    pieces = [*map(chr, range(0xC0, 0x100)), *"\u0100\u02ff\u2019\u3007\u3042\u4e2d\u9fff\uac00\uff0c\U00020000", "\u4e2d\u6587", "\u6f22,"]
    for behind in ("", "b", " c" * 40):
        given_ = ["a" * pad + piece + behind for piece in pieces]
        assert spelled(split_words(column(given_), "unicode"), column(given_)) == [naive.split(t, "unicode") for t in given_]
    alone = [split_words(column(["a" * pad + piece]), "unicode") for piece in pieces]
    followed = split_words(column(["a" * pad + piece + " " * 80 for piece in pieces]), "unicode")
    for name in ("size", "raw", "chars", "flags"):
        assert np.concatenate([getattr(words, name) for words in alone]).tolist() == getattr(followed, name).tolist()


@given(st.lists(st.text(st.sampled_from(TRICKY + "\u00fc\u00df\u00f7\u6587 "), min_size=60, max_size=200), min_size=1, max_size=4))
def test_longer_texts_are_split_like_short_ones(given_: list[str]) -> None:
    text = column(given_)
    for split in SPLITS:
        assert spelled(split_words(text, split), text) == [naive.split(t, split) for t in given_]
