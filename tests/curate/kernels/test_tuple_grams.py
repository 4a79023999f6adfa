"""The readings of DCLM, dolma and NeMo equal their naive twins to the last bit, and known documents differ as documented."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curate.kernels import segments as kernel
from curate.kernels.strings import views
from curate.kernels.tuple_grams import characters_of_words, counted_words, tuple_shares
from curate.kernels.words import split_words
from tests.reference import repetition as reference

READINGS = {"dclm": kernel.DCLM, "dolma": kernel.DOLMA, "nemo": kernel.NEMO}


def measure(column: pa.LargeStringArray, semantics: str, split: str = "unicode") -> list[list[float]]:
    data, offsets = views(column)
    n = len(column)
    words = counted_words(split_words(column, split), data, READINGS[semantics])
    shares, segments, chars = np.zeros((n, 13)), np.zeros((n, 4)), np.zeros(n, np.int64)
    kernel.segment_shares(data, offsets, READINGS[semantics], characters_of_words(words), segments, chars)
    tuple_shares(data, offsets, words, READINGS[semantics], chars, shares)
    shares[:, :4] = segments
    return shares.tolist()


def expected(column: pa.LargeStringArray, semantics: str, split: str = "unicode") -> list[list[float]]:
    data, _ = views(column)
    words = split_words(column, split)
    result = []
    for d, text in enumerate(column.to_pylist()):
        spans = [(words.start[w], words.size[w]) for w in range(words.doc[d], words.doc[d + 1])]
        result.append(reference.READINGS[semantics](text, [data[a : a + size].tobytes().decode() for a, size in spans]))
    return result


@pytest.mark.parametrize("semantics", READINGS)
@pytest.mark.parametrize("alphabet", ["ab \n", "a \n", "a\u00e9\u4e2d .\n\u3000", "ab1_\u0301\u0663\u2160 -'"])
def test_shares_equal_the_twin(semantics: str, alphabet: str) -> None:
    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.text(alphabet=alphabet, max_size=150), min_size=1, max_size=8))
    @example(["", "\n", "\n\n\n", " \n\n ", "a\n\na\n\n", "\na\na\n", "\n\n\n\na\n\n\n\n\na\n\n \n", "a b\n\n\na b"])
    def check(texts: list[str]) -> None:
        for split in ("unicode", "whitespace"):
            column = pa.array(texts, pa.large_string())
            assert measure(column, semantics, split) == expected(column, semantics, split)

    check()


TEN = "one two three four five six seven eight nine ten"  # 39 letters in ten words, 48 characters


def test_a_block_repeated_twice_is_half_repeated_for_datatrove_and_wholly_for_dclm() -> None:
    text = f"{TEN}\n\n{TEN}"
    column = pa.array([text], pa.large_string())
    datatrove = reference.shares(text, text.split())
    dclm, dolma, nemo = (measure(column, semantics, "whitespace")[0] for semantics in READINGS)
    # paragraphs and lines: one of two is a repeat, or both are
    assert [shares[0] for shares in (datatrove, dclm, dolma, nemo)] == [0.5, 1.0, 0.0, 0.5]
    assert [shares[2] for shares in (datatrove, dclm, dolma, nemo)] == [0.5, 1.0, 1.0, 0.5]
    # characters in them: of the text (98), of the pieces (96), of the words (78), of the pieces
    assert [shares[1] for shares in (datatrove, dclm, dolma, nemo)] == [48 / 98, 96 / 96, 0.0, 48 / 96]
    assert [shares[3] for shares in (datatrove, dclm, dolma, nemo)] == [48 / 98, 96 / 96, 96 / 78, 48 / 96]
    # top 2-grams occur twice each: the first ("one two", 7 characters, 6 letters), the longest ("three four", "seven eight")
    assert [shares[4] for shares in (datatrove, dclm, dolma, nemo)] == [2 * 7 / 98, 2 * 10 / 78, 2 * 6 / 78, 2 * 7 / 98]
    # 5-grams: copies after the first without spaces; every word; 6 of 16 n-grams twice; the second copy with 9 spaces
    per_copy = sum(len("".join(TEN.split()[i : i + 5])) for i in range(6))
    crossing = sum(len("".join(text.split()[i : i + 5])) for i in range(6, 10))
    assert [shares[7] for shares in (datatrove, dclm, dolma)] == [39 / 98, 78 / 78, 2 * per_copy / (2 * per_copy + crossing)]
    assert nemo[7] == (39 + 4 + 5) / 98  # four spaces in the first n-gram, then one with every word


def test_short_and_lonely_texts() -> None:
    column = pa.array(["three words only", "a a a a"], pa.large_string())
    assert measure(column, "nemo")[0][4:] == [len("three words") / 16, 1.0, *[1.0] * 7]
    assert measure(column, "dclm")[0] == [0.0] * 13  # one line, nothing twice
    assert measure(column, "dolma")[0][4:7] == [10 / 14, 14 / 14, 0.0]  # a frequency of 1 counts
    # overlapping copies: dclm counts three 2-grams of two letters, NeMo takes "a a" out twice
    assert measure(column, "dclm")[1][4] == 6 / 4
    assert measure(column, "nemo")[1][4] == 6 / 7


def test_only_words_that_begin_with_a_letter_or_number_count_for_dclm() -> None:
    column = pa.array(["--- a ... b --- a ... b"], pa.large_string())
    assert measure(column, "dclm")[0][4] == 2 * 2 / 4
    assert measure(column, "dolma")[0][4] == 2 * 4 / 16


HOSTILE = ["a" * 300_000, "a " * 150_000, "\n" * 300_000, "a\n" * 150_000, "a\n\n" * 100_000, "\u4e2d" * 100_000, ("a" * 5000 + " ") * 40]


@pytest.mark.parametrize("semantics", READINGS)
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_and_slices(semantics: str, text: str) -> None:
    column = pa.array(["before", text, "after after"], pa.large_string())
    whole = measure(column, semantics)
    assert whole == expected(column, semantics)
    assert measure(column.slice(1, 2), semantics) == whole[1:]
