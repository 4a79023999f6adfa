"""The fastText kernel: equal to fastText on made-up models and the shipped one, to its naive twin, and to itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fasttext
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curate.kernels.compiled import kernel, rw, types
from curate.kernels.fasttext_lanes import to_buckets
from curate.kernels.fasttext_model import BadModel, parse
from curate.kernels.langid import Identifier
from curate.kernels.strings import views
from curate.steps.languages import LID_176, lid_176_path
from tests.reference import langid as naive

WORDS = ["the", "</s>", "na\u00efve", "\u4e2d\u6587", "a", "\U0001f600"]
KINDS: dict[str, dict[str, Any]] = {
    "dense tree": {},
    "dense softmax": {"loss": 3},
    "quantised tree": {"quantised": True, "kept": 120},
    "quantised softmax, odd dim": {"quantised": True, "kept": 60, "dim": 7, "loss": 3},
    "nothing kept": {"quantised": True, "kept": 0},
    "single characters": {"shortest": 1, "longest": 3, "dim": 16},
    "words only": {"shortest": 0, "longest": 0},
    "two labels": {"n_labels": 2},
    "one label": {"n_labels": 1},
    "one label, softmax": {"n_labels": 1, "loss": 3},
    "negative sampling": {"loss": 2},
    "one against all": {"loss": 4, "dim": 16},
    "word pairs": {"word_ngrams": 2},
    "word 4-grams alone": {"word_ngrams": 4, "shortest": 0, "longest": 0, "loss": 3},
    "word n-grams, pruned": {"word_ngrams": 3, "quantised": True, "kept": 200},
    "quantised output": {"quantised": True, "quantised_output": True, "kept": 90},
    "quantised without norms": {"quantised": True, "quantised_output": True, "norms": False, "loss": 4},
    "version 11": {"version": 11},
    "long n-grams": {"shortest": 5, "longest": 9},
    "many dimensions": {"dim": 100, "loss": 3},
}
TEXTS = [
    "the cat", "a", "na\u00efve the \u4e2d\u6587 \U0001f600 x", "<x> >< <<", "w" * 31, "w" * 32, "w" * 33, "\u0432" * 16, "\u0432" * 17, "\u4e2d" * 300,
    "tab\tvt\vff\fcr\rnul\x00end", "__label__x the", "__label__", "__label", "__label__l1 the", "</s", "</s>x", "same same same", "\x1c\x85\u3000 odd spaces", "\x7f\x01",
]  # fmt: skip


@pytest.fixture(scope="module")
def lid() -> Identifier:
    return Identifier(parse(lid_176_path().read_bytes()))


def run(identifier: Identifier, texts: list[str]) -> list[tuple[int, float]]:
    label, score = identifier(*views(pa.array(texts, pa.large_string())))
    return list(zip(label.tolist(), score.tolist(), strict=True))


def fasttext_says(model: Any, text: str) -> tuple[str, float]:
    score, label = model.f.predict(text.replace("\n", " ") + "\n", 1, 0.0, "strict")[0]
    return label, score


def labels_of(scores: list[tuple[float, str]]) -> list[str]:
    """Labels sorted by falling score, then by name: the order among equal ones is the C++ library's."""
    return [label for _, label in sorted(scores, key=lambda pair: (-round(pair[0], 5), pair[1]))]


@pytest.mark.parametrize("kind", KINDS)
def test_best_labels_equal_fasttext(kind: str, tmp_path: Path) -> None:
    raw = naive.made_up(WORDS, **{"n_labels": 9, **KINDS[kind]})
    path = tmp_path / "model.bin"
    path.write_bytes(raw)
    public, model = fasttext.load_model(str(path)), parse(raw)
    identifier, column = Identifier(model), views(pa.array(TEXTS, pa.large_string()))
    every = identifier.probabilities(*column)
    for k in (1, 3, 20):
        labels, scores = identifier.top(*column, k)
        for text, label, score, chances in zip(TEXTS, labels.tolist(), scores.tolist(), every, strict=True):
            expected = public.f.predict(text + "\n", k, 0.0, "strict")
            named = [number for number in label if number >= 0]
            assert len(named) == len(expected) and score[len(named) :] == [0.0] * (k - len(named)), text
            assert np.allclose(score[: len(named)], [s for s, _ in expected], atol=2e-6), text
            assert list(chances[named]) == score[: len(named)] and (np.diff(score) <= 0).all()
            if k == 1:
                assert "__label__" + model.labels[named[0]] == expected[0][1]
            if k == 20:
                ours = [(s, "__label__" + model.labels[n]) for s, n in zip(score, named, strict=False)]
                assert labels_of(ours) == labels_of(expected), text


@pytest.mark.parametrize("kind", KINDS)
def test_equals_fasttext_on_any_kind_of_model(kind: str, tmp_path: Path) -> None:
    raw = naive.made_up(WORDS, **{"n_labels": 9, **KINDS[kind]})
    path = tmp_path / "model.bin"
    path.write_bytes(raw)
    public, model = fasttext.load_model(str(path)), parse(raw)
    for text, (label, score) in zip(TEXTS, run(Identifier(model), TEXTS), strict=True):
        expected, probability = fasttext_says(public, text)
        assert "__label__" + model.labels[label] == expected, text
        assert abs(score - probability) < 2e-6, text


def test_knows_the_codes_of_the_shipped_model(lid: Identifier) -> None:
    assert lid.labels == tuple(LID_176.split())


def test_exact_values_on_the_shipped_model(lid: Identifier) -> None:
    texts = [
        "This is plain English text.",
        "Dies ist ein deutscher Satz.",
        "\u3053\u308c\u306f\u65e5\u672c\u8a9e\u3067\u3059\u3002",
        "",
        " \n\t",
        "42",
    ]
    public = fasttext.load_model(str(lid_176_path()))
    for text, (label, score) in zip(texts, run(lid, texts), strict=True):
        if not text.strip():
            assert (label, score) == (-1, 0.0)
        else:
            expected, probability = fasttext_says(public, text)
            assert "__label__" + lid.labels[label] == expected and abs(score - probability) < 1e-6
    assert [lid.labels[label] for label, _ in run(lid, texts[:3])] == ["en", "de", "ja"]


def test_end_mark_is_skipped_where_fasttext_stops(lid: Identifier) -> None:
    with_mark, without = run(lid, ["This is </s> plain English text.", "This is plain English text."])
    assert with_mark == without


alphabet = st.sampled_from([*"abe <>_\n\t", "\x00", "\u00e9", "\u0436", "\u4e2d", "\U0001f600", "the", "</s>", "__label__", "w" * 30])
documents = st.lists(st.lists(alphabet, max_size=40).map("".join), max_size=6)


@settings(max_examples=60, deadline=None)
@given(documents, st.sampled_from(sorted(KINDS)))
@example(["the", "", "a"], "two labels")
def test_equals_naive_twin(texts: list[str], kind: str) -> None:
    model = parse(naive.made_up(WORDS, **{"n_labels": 9, **KINDS[kind]}))
    for text, (label, score) in zip(texts, run(Identifier(model), texts), strict=True):
        expected, probability = naive.predict(model, text)
        assert label == expected or abs(score - probability) < 3e-6
        assert abs(score - probability) < 3e-6  # a float32 sum of weights up to 8


@settings(max_examples=40, deadline=None)
@given(documents, st.integers(0, 5))
def test_memory_batches_and_slices_change_no_bit(texts: list[str], cut: int) -> None:
    model = parse(naive.made_up(WORDS, 9))
    expected = run(Identifier(model), texts)
    busy = Identifier(model, slots=2)
    assert run(busy, texts) == expected and run(busy, texts[::-1])[::-1] == expected
    warm = Identifier(model)
    run(warm, texts)
    assert run(warm, texts) == expected
    column = pa.array(texts, pa.large_string())
    parts = [warm(*views(part)) for part in (column[:cut], column[cut:])]
    assert [x for label, score in parts for x in zip(label.tolist(), score.tolist(), strict=True)] == expected


def test_hostile_texts_cost_no_more_than_their_size(lid: Identifier) -> None:
    for text in ("a" * 1_000_000, "\u4e2d" * 333_333, "a " * 500_000, "<" * 1_000_000, "\U0001f600" * 250_000):
        ((label, score),) = run(lid, [text])
        assert label >= 0 and 0 < score <= 1.0001


def test_refuses_what_it_cannot_run() -> None:
    good = naive.made_up(WORDS, 4)
    with pytest.raises(BadModel, match="magic"):
        parse(b"not a model at all")
    with pytest.raises(BadModel, match="too early"):
        parse(good[:-5])
    with pytest.raises(BadModel, match="loss 5"):
        parse(naive.made_up(WORDS, 4, loss=5))
    for cut in range(8, len(good), 997):
        with pytest.raises(BadModel):
            parse(good[:cut])


def test_padding_for_vector_lanes_changes_nothing() -> None:
    model = parse(naive.made_up(WORDS, 5, dim=13))
    assert model.weights.shape[1] == 13
    label, score = run(Identifier(model), ["the cat"])[0]
    assert (label, pytest.approx(score, abs=1e-6)) == naive.predict(model, "the cat")
    assert np.float32(score) == score


@pytest.mark.parametrize("size", [1, 7, 8, 9, 15, 16, 17, 23, 24, 25, 31, 32, 33])
def test_words_that_end_with_the_buffer(size: int) -> None:
    """Eight bytes are read at once only where eight are left; what lies behind the text must not matter."""
    model = parse(naive.made_up(["w" * 8, "w" * 16, "w" * 24], 5))
    text = "w" * size
    expected = run(Identifier(model), [text + " "])
    room = np.frombuffer((text + "zzzzzzzzzzzz").encode(), np.uint8)
    for data in (room[:size].copy(), room[:size], room):
        label, score = Identifier(model)(data, np.array([0, size], np.int64))
        assert [(int(label[0]), float(score[0]))] == expected


@pytest.mark.parametrize("kind", ["dense tree", "single characters", "long n-grams", "words only", "word pairs"])
def test_words_of_any_length(kind: str) -> None:
    """Characters of missed words are hashed 1,024 at a time: words around that, and many words of a few characters."""
    model = parse(naive.made_up(WORDS, 4, **KINDS[kind]))
    random = np.random.default_rng(0)

    def word(first: str, n: int) -> str:
        return "".join(map(chr, (ord(first) + random.integers(0, 26, n)).tolist()))

    texts = [word("a", n) for n in (1020, 1021, 1022, 1023, 1024, 1025, 1400, 2048, 3000)]
    texts += [word("\u0430", n) for n in (1021, 1022, 1023, 2047)] + [word("\U0001f600", 1022)]
    texts += ["x " + word("a", 1020), "x " + word("a", 1017) + " z", " ".join(word("a", 1 + i % 30) for i in range(300))]
    identifier = Identifier(model)
    sums, counts = identifier._sums(*views(pa.array(texts, pa.large_string())))
    for text, total, count in zip(texts, sums.reshape(len(texts), -1), counts.tolist(), strict=True):
        rows = naive.rows_of(model, text)
        assert count == len(rows), len(text)
        exact = model.weights[rows].astype(np.float64).sum(0)
        assert np.allclose(total[: len(exact)], exact, rtol=0, atol=0.02), len(text)


@pytest.mark.parametrize("kind", ["dense tree", "single characters", "long n-grams", "word pairs"])
def test_words_anywhere_in_a_block(kind: str) -> None:
    """White space is looked for in 64 bytes at a time; missed words of ASCII are laid out before the others, up to 32 bytes at once."""
    known = ["the", "w" * 31, "w" * 32, "w" * 33, "na\u00efve"]
    model = parse(naive.made_up(known, 4, **KINDS[kind]))
    words = [
        *known,
        "a",
        "wwwwwwww",
        "\u0436\u0436",
        "\u4e2d\u6587",
        "x\u00e9y",
        "b" * 15 + "\U0001f600",
        "q" * 63,
        "q" * 64,
        "q" * 65,
        "</s>",
    ]
    random = np.random.default_rng(0)
    texts = [" " * pad + " ".join(words) for pad in range(66)]
    texts += [" \n\t "[: 1 + k % 4].join(random.choice(words, k).tolist()) for k in (1, 2, 30, 61, 62, 63, 64, 65, 124, 125, 126, 300)]
    texts += ["", " ", "</s>", "q" * 64, " " * 64, "q" * 64 + " "]
    sums, counts = Identifier(model)._sums(*views(pa.array(texts, pa.large_string())))
    for text, total, count in zip(texts, sums.reshape(len(texts), -1), counts.tolist(), strict=True):
        rows = naive.rows_of(model, text)
        rows = rows if text.split() else []
        assert count == len(rows), text
        exact = model.weights[rows].astype(np.float64).sum(0)
        assert np.allclose(total[: len(exact)], exact, rtol=1e-5, atol=0.02), text


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, (1 << 32) - 1), min_size=8, max_size=8), st.sampled_from([1, 2, 3, 1 << 16, 2_000_000, (1 << 31) - 1]))
@example([0, 1, (1 << 32) - 1, (1 << 31) - 1, 1 << 31, 65535, 65536, 2], (1 << 31) - 1)
def test_buckets_are_hashes_modulo_their_number(hashes: list[int], buckets: int) -> None:
    planes = np.array([*hashes, *range(8)], np.uint32)
    buckets_of(planes, buckets)
    assert planes[:8].tolist() == [h % buckets if left >= 3 else 7777 for left, h in enumerate(hashes)]


@kernel(types.void(rw(types.uint32), types.uint64), allocates=False)
def buckets_of(planes: Any, buckets: Any) -> None:
    """Eight hashes become buckets where at least three characters are left."""
    to_buckets(planes, np.uint64(0), np.uint64(8), np.uint64(3), np.uint64((1 << 32) - 1) // buckets, buckets, np.uint64(7777))
