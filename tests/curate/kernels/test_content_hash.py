"""Equal hashes exactly where texts, or normalised texts, are equal."""

from __future__ import annotations

import unicodedata

import numpy as np
import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curate.kernels.content_hash import FOLDS, ZEROS, content_hashes
from tests.curate.kernels.test_shingles import ODD
from tests.reference.folding import folded as folded_text
from tests.reference.shingles import normalized

texts = st.lists(st.text(alphabet=st.sampled_from(ODD), max_size=20), max_size=8)


def codes(values: list[str | None], folded: bool) -> list[tuple[int, ...]]:
    return [tuple(row) for row in content_hashes(pa.array(values, pa.large_string()), folded).tolist()]


@settings(deadline=None)
@given(texts)
@example(["", "a", "a\0", "aaaaaaaa", "aaaaaaaa\0", "\0" * 8, "\0" * 16, "b" * 17])
def test_bytes(values: list[str]) -> None:
    found = codes([*values], False)
    assert len(set(zip(values, found, strict=True))) == len(set(values)) == len(set(found))


@settings(deadline=None)
@given(texts)
@example(["A  b", " a\u3000B\n", "ab", "a b ", "\u0130", "i\u0307", "i", " ", "", "\u039f\u03a3", "\u03bf\u03c2"])
def test_normalized(values: list[str]) -> None:
    found, expected = codes([*values], True), [normalized(v) for v in values]
    assert len(set(zip(expected, found, strict=True))) == len(set(expected)) == len(set(found))


@settings(deadline=None)
@given(texts, st.sets(st.sampled_from(FOLDS)))
@example(["a1", "a22", "a 2", "A-2", "\u0663x", "0x", "1 2", "12", "1,2", "\u0130"], {*FOLDS})
def test_folds(values: list[str], fold: set[str]) -> None:
    found = [tuple(row) for row in content_hashes(pa.array(values, pa.large_string()), fold=fold).tolist()]
    expected = [folded_text(v, fold) for v in values]
    assert len(set(zip(expected, found, strict=True))) == len(set(expected)) == len(set(found))


def test_digits_are_those_of_unicode() -> None:
    assert all([unicodedata.decimal(chr(zero + i)) for i in range(10)] == list(range(10)) for zero in ZEROS)


def test_each_half_tells_texts_apart() -> None:
    for folded in (False, True):
        found = content_hashes(pa.array([f"text number {i} of many" for i in range(10**4)], pa.large_string()), folded)
        assert len(np.unique(found[:, 0])) == len(np.unique(found[:, 1])) == 10**4


def test_slices_and_nulls() -> None:
    values = ["same text", None, "other", "", "same text"]
    whole = codes([*values], False)
    assert whole[0] == whole[4] and whole[1] == whole[3]
    assert [tuple(r) for r in content_hashes(pa.array(values, pa.large_string())[3:5]).tolist()] == whole[3:5]
