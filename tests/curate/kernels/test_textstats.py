from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.strings import views
from curate.kernels.textstats import line_counts, newline_counts, word_counts
from curate.kernels.words import split_words
from tests.reference import textstats as naive
from tests.reference import words as naive_words

TRICKY = "ab.#-\u2022\u2026!? \n\n\n\r\t\v\x1c\x1f\x85\u00a0\u2028\u3002\u4e2d\u00e9\U0001f600"
PIECES = ["...", "- ", "the ", "of ", "same line.\n", "\u2022 x\n", "....", "\r\n", " \u2026 \n", "\u2026", "\n"]
text = st.lists(st.sampled_from(PIECES) | st.sampled_from(TRICKY), max_size=40).map("".join)
texts = st.lists(text | st.text(max_size=20), max_size=5)


def column(given_: list[str]) -> pa.LargeStringArray:
    return pa.array(given_, pa.large_string())


@given(texts, st.lists(st.sampled_from(["the", "of", "a", "b", "same", "-", "\u00e9", "absent"]), max_size=8))
def test_word_counts(given_: list[str], listed: list[str]) -> None:
    for split in ("unicode", "whitespace"):
        counts = word_counts(split_words(column(given_), split), tuple(listed))
        expected = [naive.word_counts(naive_words.split(t, split), tuple(listed)) for t in given_]
        assert list(zip(*(c.tolist() for c in counts), strict=True)) == expected


@given(texts, st.booleans(), st.booleans())
def test_listed_words_by_occurrence_and_case(given_: list[str], distinct: bool, upper: bool) -> None:
    listed = ("the", "of", "a", "same", "\u00e9", "\u00c9", "longer-than-eight-bytes")
    given_ = [t.upper() if upper else t for t in [*given_, "A longer-THAN-eight-bytes a A \u00c9 \u00e9"]]
    data, _ = views(column(given_))
    words = split_words(column(given_), "whitespace")
    split = [naive_words.split(t, "whitespace") for t in given_]
    counts = word_counts(words, listed, distinct, data)
    assert list(zip(*(c.tolist() for c in counts), strict=True)) == [naive.word_counts(w, listed, distinct, True) for w in split]
    assert word_counts(words, listed, distinct).listed.tolist() == [naive.word_counts(w, listed, distinct)[4] for w in split]


@given(texts)
def test_line_counts(given_: list[str]) -> None:
    counts = line_counts(column(given_))
    assert list(zip(*(c.tolist() for c in counts), strict=True)) == [naive.line_counts(t) for t in given_]


@given(texts, st.integers(0, 12))
def test_newline_counts(given_: list[str], short: int) -> None:
    counts = newline_counts(column(given_), short)
    assert list(zip(*(c.tolist() for c in counts), strict=True)) == [naive.newline_counts(t, short) for t in given_]


@given(texts, st.integers(0, 4))
def test_slices(given_: list[str], skip: int) -> None:
    part = column(given_).slice(skip)
    assert line_counts(part).ellipses.tolist() == [naive.line_counts(t)[1] for t in given_[skip:]]
    assert newline_counts(part, 5).duplicate_chars.tolist() == [naive.newline_counts(t, 5)[3] for t in given_[skip:]]


@pytest.mark.parametrize("unit", ["a", " ", "\n", ".", "-\n", "\u3000", "\r\n", "\u2028 "])
def test_long_uniform_documents(unit: str) -> None:
    long = unit * (600_000 // len(unit))
    assert tuple(int(c[0]) for c in line_counts(column([long]))) == naive.line_counts(long)
    counts = newline_counts(column([long, "x"]), 30)
    assert counts.chars.tolist() == [len(long), 1]
    assert counts.newlines.tolist() == [long.count("\n"), 0]


def test_many_listed_words() -> None:
    listed = tuple(f"w{i}" for i in range(1000))
    words = split_words(column([" ".join(listed[:700]), "w1 w1 w2 other", ""]), "whitespace")
    assert word_counts(words, listed).listed.tolist() == [700, 2, 0]
    assert word_counts(words, ()).listed.tolist() == [0, 0, 0]
