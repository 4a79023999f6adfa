"""Shares of repetition equal the naive twin's, to the last bit, and hostile text costs no more than its size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curate.kernels import segments as segment_kernel
from curate.kernels.repetition import ngram_shares
from curate.kernels.strings import views
from curate.kernels.words import split_words
from tests.reference import repetition as reference

Array = npt.NDArray[np.float64]


def measure(column: pa.LargeStringArray, bounds: Array | None = None, everything: bool = True) -> Array:
    data, offsets = views(column)
    n = len(column)
    shares, segments, chars = np.zeros((n, 13)), np.zeros((n, 4)), np.zeros(n, np.int64)
    segment_kernel.segment_shares(data, offsets, segment_kernel.DATATROVE, chars, segments, chars)
    shares[:, :4] = segments
    words = split_words(column, "unicode")
    limits = np.full(13, np.inf) if bounds is None else bounds
    ngram_shares(data, words.doc, words.start, words.size, words.raw, words.chars, chars, np.zeros(n, np.uint8), limits, everything, shares)
    return shares


def expected(column: pa.LargeStringArray) -> list[list[float]]:
    data, _ = views(column)
    words = split_words(column, "unicode")
    result = []
    for d, text in enumerate(column.to_pylist()):
        spans = [(words.start[w], words.size[w]) for w in range(words.doc[d], words.doc[d + 1])]
        result.append(reference.shares(text, [data[a : a + size].tobytes().decode() for a, size in spans]))
    return result


def texts_of(alphabet: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.text(alphabet=alphabet, max_size=150), min_size=1, max_size=8)


@pytest.mark.parametrize("alphabet", ["ab \n", "a \n", "a\u00e9\u4e2d .\n\u3000", "ab\x00 -'"])
def test_shares_equal_the_twin(alphabet: str) -> None:
    @settings(max_examples=80, deadline=None)
    @given(texts_of(alphabet))
    @example(["", "\n", "\n\n\n", " \n\n ", "a\n\na\n\n", "\na\na\n"])
    def check(texts: list[str]) -> None:
        column = pa.array(texts, pa.large_string())
        assert measure(column).tolist() == expected(column)

    check()


def test_known_shares() -> None:
    column = pa.array(["one two\none two\n\none two", "ab c d e f g  x  a bc d e f g"], pa.large_string())
    first, second = measure(column).tolist()
    # 3 lines, 2 of them copies of 7 characters; 24 characters; 2 paragraphs, none repeated
    assert first[:4] == [0.0, 0.0, 2 / 3, 14 / 24]
    assert first[4] == 3 * len("one two") / 24
    # datatrove joins without spaces: "ab c d e f" and "a bc d e f" are the same 5-gram of 6 characters
    assert second[7:9] == [6 / 29, 7 / 29]


def test_the_first_of_equally_frequent_ngrams_is_the_top_one() -> None:
    column = pa.array(["aa bb cc d e aa bb d e", "longest bigram x y"], pa.large_string())
    shares = measure(column)
    assert shares[0, 4] == 2 * len("aa bb") / 22
    assert shares[1, 4] == len("longest bigram") / 18  # a frequency of 1 counts


@pytest.mark.parametrize("stem", ["", "abcdefghi", "\u4e2d\u6587", "abcdefghijklmnopqrstuvw", "k" * 33])
def test_ngrams_that_part_late_are_told_apart(stem: str) -> None:
    """Every length of word up to 30 bytes, the copy equal up to its nth byte: prefixes and hashes see each position."""
    texts = []
    for cut in range(31):
        words = [f"{stem}{i}{'x' * (i * cut % 7)}" for i in range(12)]
        joined = " ".join(words)
        at = min(len(joined) - 1, 3 * cut)
        texts.append(f"{joined} {joined[:at]}Q{joined[at + 1 :]} {joined[cut:]}")
    column = pa.array(texts, pa.large_string())
    assert measure(column).tolist() == expected(column)


def test_slices_measure_like_the_whole() -> None:
    column = pa.array([f"w{i} " * i + "\n\nx y z\n\nx y z" for i in range(20)], pa.large_string())
    whole = measure(column)
    for start, size in ((0, 5), (7, 1), (13, 7)):
        assert measure(column.slice(start, size)).tolist() == whole[start : start + size].tolist()


def test_a_bound_stops_the_work_without_changing_what_was_measured() -> None:
    column = pa.array(["spam eggs " * 40, " ".join(f"w{i}" for i in range(200))], pa.large_string())
    bounds = np.array([np.inf] * 4 + [0.2, 0.18, 0.16, 0.15, 0.14, 0.13, 0.12, 0.11, 0.1])
    full, stopped = measure(column), measure(column, bounds, everything=False)
    assert stopped[0, 4] == full[0, 4] and not stopped[0, 5:].any()
    assert stopped[1].tolist() == full[1].tolist()


HOSTILE: Sequence[str] = (
    "a" * 300_000,
    "a " * 150_000,
    "\n" * 300_000,
    "a\n" * 150_000,
    "a\n\n" * 100_000,
    "\u4e2d" * 100_000,
    "!?" * 150_000,
    " ".join(str(i) for i in range(50_000)),
)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_measured_like_any_other(text: str) -> None:
    column = pa.array(["before", text, "after"], pa.large_string())
    assert measure(column).tolist() == expected(column)
