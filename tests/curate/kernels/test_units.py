"""Characters and words of other splits, lower-cased, equal naive Python."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels.minhash import BLOCK, CHARACTERS, band_hashes, band_hashes_of
from curate.kernels.shingles import WordHashes
from curate.kernels.units import character_hashes, folded_words
from curate.kernels.words import split_words


def column(values: list[str | None]) -> pa.Array:
    return pa.array(values, pa.large_string())


def parts(found: WordHashes) -> list[list[int]]:
    values = found.hash.tolist()
    return [values[a:b] for a, b in zip(found.doc[:-1].tolist(), found.doc[1:].tolist(), strict=True)]


texts = st.text(st.sampled_from("aB\u00c9 \n\t\u4e2d\u3000-\u0430"), max_size=30)


@settings(deadline=None)
@given(st.lists(texts, min_size=1, max_size=5))
def test_characters_are_lower_case_with_white_space_folded(values: list[str]) -> None:
    plain = [" ".join(v.lower().split()) for v in values]
    assert [len(p) for p in parts(character_hashes(column([*values])))] == [len(p) for p in plain]
    assert parts(character_hashes(column([*values]))) == parts(character_hashes(column([*plain])))
    code: dict[str, int] = {}
    for text, hashes in zip(plain, parts(character_hashes(column([*values]))), strict=True):
        for c, h in zip(text, hashes, strict=True):
            assert code.setdefault(c, h) == h
    assert len(set(code.values())) == len(code)


@settings(deadline=None)
@given(st.lists(texts, min_size=1, max_size=4))
def test_words_of_a_split_are_compared_in_lower_case(values: list[str]) -> None:
    text = column([*values])
    hashes = parts(folded_words(text, split_words(text, "whitespace")))
    assert [len(h) for h in hashes] == [len(v.split()) for v in values]
    code: dict[str, int] = {}
    for value, own in zip(values, hashes, strict=True):
        for word, h in zip(value.lower().split(), own, strict=True):
            assert code.setdefault(word, h) == h
    assert len(set(code.values())) == len(code)


@pytest.mark.parametrize("size", [0, 1, 3, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 5])
@pytest.mark.parametrize("blanks", [" ", " " * 50, ""])
def test_blocks_of_characters_do_not_show(size: int, blanks: str) -> None:
    text = column([blanks + blanks.join("ab\u4e2d"[i % 3] for i in range(size)) + blanks])
    expected = band_hashes_of(character_hashes(text), 7, 3, 2, 5)
    found = band_hashes(text, 7, 3, 2, 5, CHARACTERS)
    assert found.hash.tolist() == expected.hash.tolist() and found.shingles.tolist() == expected.shingles.tolist()


def test_given_units_equal_the_words_of_the_text() -> None:
    from curate.kernels.shingles import word_hashes

    text = column(["one two three four five six", "", None, "word " * 5000, "\u4e2d\u6587"])
    expected, found = band_hashes(text, 5, 4, 3, 1), band_hashes_of(word_hashes(text), 5, 4, 3, 1)
    assert found.hash.tolist() == expected.hash.tolist() and found.shingles.tolist() == expected.shingles.tolist()


def test_a_slice_keeps_its_words() -> None:
    text = column(["Left out", "Some WORDS here", "left out"])[1:2]
    assert re.findall(r"\S+", text[0].as_py()) and parts(folded_words(text, split_words(text, "whitespace"))) == parts(
        folded_words(column(["some words here"]), split_words(column(["some words here"]), "whitespace"))
    )
