"""Words, rows, random numbers and gradient steps of fastText training against a naive twin."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.classifiers.training import Corpus, Settings, shuffled, train_model
from curate.errors import DataError
from curate.kernels.fasttext_model import word_hash
from curate.kernels.fasttext_train import random_start, rows_of_words
from tests.reference import fasttext_training as naive

TEXTS = [
    "the river  runs\tto the sea",
    "größe 中文 the </s> __label__x end",
    "",
    "a\nb\x00c\x0bd",
    "to the sea to the sea",
    "x" * 70 + " the",
]

UNHURRIED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure


def corpus_of(documents: list[tuple[str, int]], labels: int = 2) -> Corpus:
    corpus = Corpus(tuple(f"l{i}" for i in range(labels)))
    for text, label in documents:
        corpus.add(pa.array([text], pa.large_string()), label)
    return corpus


@given(st.lists(st.text(alphabet=" \n\0\tab中ä</s>_lbe", max_size=40), max_size=12), st.integers(0, 12))
@UNHURRIED
def test_words_are_numbered_as_they_come(texts: list[str], cut: int) -> None:
    corpus = Corpus(("a", "b"))
    for part in (texts[:cut], texts[cut:]):
        corpus.add(pa.array(["before", *part], pa.large_string()).slice(1), 0)
    words, expected = {naive.END: 0}, []
    for text in texts:
        expected += [words.setdefault(w, len(words)) for w in naive.words_of(text)]
    spelled, starts, hashes, counts = corpus.table()
    assert np.concatenate(corpus.tokens).tolist() == expected
    assert [bytes(spelled[starts[i] : starts[i + 1]]) for i in range(len(words))] == list(words)
    assert hashes.tolist() == [word_hash(w) for w in words]
    assert counts.tolist() == [len(texts), *(expected.count(i) for i in range(1, len(words)))]


def test_table_grows() -> None:
    texts = [" ".join(f"w{i}" for i in range(start, start + 9_000)) for start in (0, 9_000, 20_000, 60_000)] * 2 + ["y" * 3_000_000]
    corpus = Corpus(("a", "b"))
    corpus.add(pa.array(texts, pa.large_string()), 1)
    _, _, hashes, counts = corpus.table()
    assert len(hashes) == 36_002 and counts[1:-1].tolist() == [2] * 36_000 and counts[-1] == 1
    assert corpus.sizes[0].tolist() == [9_000] * 8 + [1]


@pytest.mark.parametrize(("shortest", "longest"), [(1, 3), (2, 2), (3, 6), (0, 1)])
def test_rows_of_words(shortest: int, longest: int) -> None:
    corpus = corpus_of([(t, 0) for t in TEXTS])
    spelled, starts, _, counts = corpus.table()
    n = len(counts)
    row_of = np.where(np.arange(n) % 3 == 1, -1, np.arange(n)).astype(np.int64)
    row_starts, rows = np.zeros(n + 1, np.int64), np.zeros(10_000, np.int64)
    needed = rows_of_words(spelled, starts, row_of, shortest, longest, n, 50, row_starts, rows)
    for w in range(n):
        word = bytes(spelled[starts[w] : starts[w + 1]])
        grams = [] if w == 0 else naive.character_grams(word, max(1, shortest), longest)
        expected = ([int(row_of[w])] if row_of[w] >= 0 else []) + [n + word_hash(g) % 50 for g in grams]
        assert rows[row_starts[w] : row_starts[w + 1]].tolist() == expected, word
    assert needed == row_starts[-1]
    few = np.zeros(3, np.int64)
    assert rows_of_words(spelled, starts, row_of, shortest, longest, n, 50, row_starts, few) == needed
    assert few.tolist() == rows[:3].tolist()


def test_random_start_is_that_of_libstdcxx() -> None:
    for seed in (0, 1, 17, 2147483646):
        made = np.zeros(50, np.float32)
        random_start(made, 40, 0.25, seed)
        assert made.tolist() == [*map(float, naive.uniform(40, 0.25, seed)), *[0.0] * 10]
    assert abs(made).max() <= 0.25


@pytest.mark.parametrize(
    "given_",
    [
        {},
        {"word_ngrams": 3, "buckets": 40},
        {"min_chars": 2, "max_chars": 4, "buckets": 60, "min_count": 2},
        {"word_ngrams": 2, "min_chars": 1, "max_chars": 2, "buckets": 30, "min_count": 3, "seed": 5, "dim": 3, "lr": 1.0},
    ],
)
def test_training_equals_the_twin(given_: dict[str, int]) -> None:
    documents = [(t, i % 3) for i, t in enumerate([*TEXTS, *TEXTS, "sea sea", "中文 größe größe"])]
    chosen = Settings(**{"dim": 6, "epochs": 4, "lr": 0.4} | given_)  # type: ignore[arg-type]
    model = train_model(corpus_of(documents, 3), chosen)
    place = {label: i for i, label in enumerate(model.labels)}
    documents = [(t, place[f"l{label}"]) for t, label in documents]
    names = ("lr", "epochs", "dim", "min_count", "word_ngrams", "min_chars", "max_chars", "buckets", "seed")
    words, weights, output = naive.train(
        documents, 3, shuffled(len(documents), chosen.seed).tolist(), **{name: getattr(chosen, name) for name in names}
    )
    assert list(model.words) == words
    assert model.weights.shape == weights.shape
    np.testing.assert_allclose(model.weights, weights, atol=2e-6)
    np.testing.assert_allclose(model.output, output, atol=2e-6)
    assert abs(model.weights - weights).max() < abs(weights).max() * 1e-4


def test_a_seed_decides_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    documents = [(f"{t} {i}", i % 2) for i, t in enumerate(TEXTS * 4)]
    first = train_model(corpus_of(documents), Settings(dim=4, seed=3))
    again = train_model(corpus_of(documents), Settings(dim=4, seed=3))
    other = train_model(corpus_of(documents), Settings(dim=4, seed=4))
    monkeypatch.setattr("curate.classifiers.training.CHUNK_TOKENS", 10)
    chunked = train_model(corpus_of(documents), Settings(dim=4, seed=3))
    for made in (again, chunked):
        assert made.weights.tobytes() == first.weights.tobytes() and made.output.tobytes() == first.output.tobytes()
    assert other.weights.tobytes() != first.weights.tobytes()


def test_shuffle_is_a_permutation_for_ever() -> None:
    assert sorted(shuffled(1000, 1).tolist()) == list(range(1000))
    assert shuffled(10, 0).tolist() != shuffled(10, 1).tolist()
    assert shuffled(6, 42).tolist() == [2, 5, 1, 3, 4, 0]


def test_refuses_what_can_not_be_learnt() -> None:
    with pytest.raises(DataError, match="there are none of l1"):
        train_model(corpus_of([("a b", 0)]), Settings())
    with pytest.raises(DataError, match="occurs 9 times"):
        train_model(corpus_of([("a b", 0), ("c", 1)]), Settings(min_count=9))
