"""Words and shingles equal the naive twin's, for any Unicode, slice and length."""

from __future__ import annotations

import sys
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curate.kernels.folding import STAGE1_SIZE, entry, tables, unicode_version
from curate.kernels.shingles import shingles, word_hashes
from tests.reference import shingles as reference

# Old characters only, so that the Unicode version of the running Python does not matter.
ODD = "aAzZ09_ .,-'\n\t\u0000\u00a0\u00df\u00e9\u0130\u0131\u01c5\u0307\u03a3\u03c2\u03c3\u05d0\u0e01\u1e9e\u2019\u212a\u3042\u30fb\u30a2"
ODD += "\u4e2d\u6587\uac00\uff21\ufb01\U0001d7d9\U00020000\U0001f600\u0661\u00b2\u2160\u3000\u200b"
texts = st.lists(st.text(alphabet=st.sampled_from(ODD), max_size=60), max_size=6)


def column(values: list[str]) -> pa.Array:
    return pa.array(values, pa.large_string())


def lists(found: object) -> list[list[int]]:
    doc, values = found  # type: ignore[misc]
    return [values[doc[d] : doc[d + 1]].tolist() for d in range(len(doc) - 1)]


def assert_one_to_one(pairs: list[tuple[object, int]]) -> None:
    assert len(set(pairs)) == len({p[0] for p in pairs}) == len({p[1] for p in pairs})


@settings(deadline=None)
@given(texts)
@example(["\u0130stanbul \u039f\u03a3 \u039f\u03c3", "", " ", "a-b_c\u00b2", "\u65e5\u672c\u8a9eabc\u30c6"])
def test_words_are_those_of_the_naive_twin(values: list[str]) -> None:
    found, expected = lists(word_hashes(column(values))), [reference.words(v) for v in values]
    assert [len(f) for f in found] == [len(e) for e in expected]
    assert_one_to_one([(word, code) for f, e in zip(found, expected, strict=True) for word, code in zip(e, f, strict=True)])


@settings(deadline=None)
@given(texts, st.integers(1, 7))
def test_shingles_are_those_of_the_naive_twin(values: list[str], n: int) -> None:
    words = word_hashes(column(values))
    ordered, sets = lists(shingles(words, n, unique=False)), lists(shingles(words, n))
    expected = [reference.ngrams(v, n) for v in values]
    assert [len(f) for f in ordered] == [len(e) for e in expected]
    assert_one_to_one([(gram, code) for f, e in zip(ordered, expected, strict=True) for gram, code in zip(e, f, strict=True)])
    assert sets == [sorted(set(f)) for f in ordered]


def test_lower_case_is_that_of_python() -> None:
    upper = "Stra\u00dfe \u00c9COLE \u0130ZM\u0130R \u039f\u0394\u039f\u03a3 \u212aelvin"
    assert lists(word_hashes(column([upper]))) == lists(word_hashes(column([upper.lower()])))


def test_final_sigma_counts_as_sigma() -> None:
    a, b = lists(word_hashes(column(["\u03bf\u03b4\u03bf\u03c2", "\u03bf\u03b4\u03bf\u03c3"])))
    assert a == b


@pytest.mark.skipif(unicodedata.unidata_version != unicode_version(), reason="the table was made from another Unicode version")
def test_table_is_what_python_says_of_every_code_point() -> None:
    stage1, stage2 = tables()
    codes = np.arange(sys.maxunicode + 1)
    shipped = stage2[(stage1[codes >> 8].astype(np.int64) << 8) | (codes & 255)]
    expected = np.array([0 if 0xD800 <= c < 0xE000 else entry(c) for c in range(sys.maxunicode + 1)])
    assert (shipped == expected).all()
    assert len(stage1) == STAGE1_SIZE


def test_long_sets_are_sorted_and_unique() -> None:
    rng = np.random.default_rng(0)
    text = " ".join(map(str, rng.integers(0, 300, 5000)))
    ((found),) = lists(shingles(word_hashes(column([text])), 2))
    assert found == sorted(set(found))
    assert len(found) == len(set(reference.ngrams(text, 2)))


@pytest.mark.parametrize("size", [47, 48, 49, 50])
def test_either_way_to_sort_gives_a_sorted_set(size: int) -> None:
    text = " ".join(f"w{i * 7919 % 101}" for i in range(size))
    (found,) = lists(shingles(word_hashes(column([text])), 1))
    assert found == sorted(set(found)) and len(found) == size


def test_slices_nulls_chunks_and_other_string_types_give_the_same() -> None:
    values = ["one two three", None, "", "four five six seven", "\u4e2d\u6587 eight"]
    whole = lists(shingles(word_hashes(pa.array(values, pa.large_string())), 2))
    assert whole[1] == whole[2] == []
    assert lists(shingles(word_hashes(pa.array(values, pa.large_string())[2:5]), 2)) == whole[2:5]
    assert lists(shingles(word_hashes(pa.chunked_array([values[:1], values[1:]], pa.large_string())), 2)) == whole
    assert lists(shingles(word_hashes(pa.array(values, pa.string())), 2)) == whole
    assert lists(shingles(word_hashes(pa.array([], pa.large_string())), 2)) == []


@pytest.mark.parametrize(
    ("text", "count"), [("a" * 10**6, 1), ("a " * 10**6, 1), ("!?" * 10**6, 0), ("\u4e2d" * 10**6, 1), ("\u0130" * 10**6, 1)]
)
def test_hostile_text_is_read_to_its_end(text: str, count: int) -> None:
    (found,) = lists(shingles(word_hashes(column([text])), 5))
    assert len(found) == count


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=12), max_size=4))
def test_broken_utf8_reads_nothing_outside_the_document(values: list[bytes]) -> None:
    offsets = np.cumsum([0, *(len(v) for v in values)]).astype(np.int64)
    data = b"".join(values)
    broken = pa.LargeStringArray.from_buffers(len(values), pa.py_buffer(offsets), pa.py_buffer(data))
    alone = [pa.LargeStringArray.from_buffers(1, pa.py_buffer(np.array([0, len(v)])), pa.py_buffer(v)) for v in values]
    assert lists(word_hashes(broken)) == [lists(word_hashes(a))[0] for a in alone]
