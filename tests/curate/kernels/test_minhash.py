"""Band hashes equal the naive twin's to the last bit, and find pairs as often as theory says."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels.lsh import match_probability
from curate.kernels.minhash import BLOCK, band_hashes, permutations, splitmix64, spread
from curate.kernels.shingles import shingles, word_hashes
from tests.reference import minhash as reference
from tests.reference.shingles import jaccard, ngrams


def column(values: list[str | None]) -> pa.Array:
    return pa.array(values, pa.large_string())


def naive(text: pa.Array, ngram: int, bands: int, rows: int, seed: int) -> list[list[int]]:
    doc, values = shingles(word_hashes(text), ngram, unique=False)
    return [reference.band_hashes(values[doc[d] : doc[d + 1]].tolist(), bands, rows, seed) for d in range(len(text))]


@settings(deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(["a", "bb", "\u4e2d", "\u00c9t\u00e9", "-", "x1"]), max_size=30).map(" ".join), max_size=5),
    *(st.integers(1, 6), st.integers(1, 5), st.integers(1, 4), st.integers(0, 2**63 - 1)),
)
def test_band_hashes_are_those_of_the_naive_twin(values: list[str], ngram: int, bands: int, rows: int, seed: int) -> None:
    text = column([*values])
    found = band_hashes(text, ngram, bands, rows, seed)
    assert found.hash.tolist() == naive(text, ngram, bands, rows, seed)
    assert found.shingles.tolist() == [len(ngrams(v, ngram)) for v in values]


@pytest.mark.parametrize("words", [1, 4, 5, 6, BLOCK - 1, BLOCK, BLOCK + 1, BLOCK + 4, BLOCK + 5, 2 * BLOCK, 2 * BLOCK + 3])
def test_documents_longer_than_a_block_are_hashed_whole(words: int) -> None:
    for unit in ("w{} ", "\u4e2d{}\u6587"):
        text = column(["".join(unit.format(i) for i in range(words))])
        assert band_hashes(text, 5, 2, 2, 9).hash.tolist() == naive(text, 5, 2, 2, 9)


def test_more_words_in_a_shingle_than_in_the_document() -> None:
    text = column(["one two", "one two three"])
    assert band_hashes(text, 64, 3, 2, 1).hash.tolist() == naive(text, 64, 3, 2, 1)


def test_documents_without_words_have_no_shingles() -> None:
    found = band_hashes(column(["", None, "?! ...", "word"]), 5, 2, 3, 1)
    assert found.shingles.tolist() == [0, 0, 0, 1]
    assert not found.hash[:3].any() and found.hash[3].all()


def test_slices_and_batches_do_not_matter() -> None:
    values = [f"document {i} of many with {i % 3} words" for i in range(40)]
    whole = band_hashes(column([*values]), 3, 4, 2, 5).hash
    assert (band_hashes(column([*values])[7:9], 3, 4, 2, 5).hash == whole[7:9]).all()
    assert (band_hashes(column([*values[30:]]), 3, 4, 2, 5).hash == whole[30:]).all()


def test_generator_is_splitmix64() -> None:
    # Published outputs for seed 1234567, as in Vigna's splitmix64.c.
    assert splitmix64(1234567, 3).tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert splitmix64(2**63 - 1, 50).tolist() == reference.splitmix64(2**63 - 1, 50)


def test_permutations_are_bijections_and_differ_by_seed() -> None:
    a, b = permutations(7, 112)
    assert a.dtype == b.dtype == np.uint32 and (a & 1).all()
    assert len(np.unique(a)) == 112
    assert (permutations(8, 112)[0] != a).any()
    assert (permutations(7, 20)[1] == b[:20]).all()


def test_spread_is_one_to_one() -> None:
    assert len(np.unique(spread(np.arange(10**5)))) == 10**5


def test_same_minima_in_two_bands_are_two_keys() -> None:
    # One shingle and one row: bands would be equal wherever permutations agree, were the band's number not mixed in.
    found = band_hashes(column(["word"]), 1, 256, 1, 3).hash
    assert len(np.unique(found)) == 256


@pytest.mark.parametrize(("similarity", "expected"), [(0.7, 0.565), (0.75, 0.772), (0.8, 0.924), (0.85, 0.988)])
def test_match_probability_of_the_default(similarity: float, expected: float) -> None:
    assert match_probability(similarity, 14, 8) == pytest.approx(expected, abs=0.001)


@pytest.mark.parametrize("length", [25, 80, 400])
def test_recall_is_near_theory(length: int) -> None:
    rng = np.random.default_rng(length)
    pairs: list[str] = []
    for _ in range(300):
        words = rng.integers(0, 5000, length)
        edited = words.copy()
        edited[rng.random(length) < rng.choice([0.005, 0.01, 0.02, 0.04, 0.08])] = rng.integers(0, 5000)
        pairs += [" ".join(map(str, words)), " ".join(map(str, edited))]
    found = band_hashes(column([*pairs]), 5, 14, 8, 1).hash
    grams = [set(ngrams(p, 5)) for p in pairs]
    theory = np.array([match_probability(jaccard(a, b), 14, 8) for a, b in zip(grams[::2], grams[1::2], strict=True)])  # type: ignore[arg-type]
    met = (found[::2] == found[1::2]).any(axis=1)
    spread_of_mean = np.sqrt((theory * (1 - theory)).sum()) / len(met)
    assert abs(met.mean() - theory.mean()) < 4 * spread_of_mean + 1e-9
    assert 0.2 < theory.mean() < 0.99
