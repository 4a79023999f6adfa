"""The n-gram index against sets of tuples."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels.ngram_index import build
from curate.kernels.ngrams import match
from curate.kernels.shingles import word_hashes
from tests.reference.decontamination import best_match, coverage

WORDS = st.lists(st.sampled_from(["a", "b", "C", "7", "\u4e2d", "d-e", "\u00e9", "12", "1000"]), max_size=14).map(" ".join)


def ours(texts: list[str], items: list[str], ngram: int, least: int) -> list[tuple[int, float]]:
    index = build(word_hashes(pa.array(items, pa.large_string())), ngram, least)
    found = match(word_hashes(pa.array(["left out", *texts], pa.large_string()).slice(1)), index)
    return list(zip(found.item.tolist(), found.share.tolist(), strict=True))


@settings(max_examples=300, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=5), st.lists(WORDS, min_size=1, max_size=6), st.sampled_from([(3, 3), (4, 2), (5, 3)]))
def test_same_matches_as_sets_of_tuples(texts: list[str], items: list[str], sizes: tuple[int, int]) -> None:
    assert ours(texts, items, *sizes) == [best_match(t, items, *sizes) for t in texts]


def test_share_counts_distinct_ngrams() -> None:
    item = "one two three four five six"  # four 3-grams
    assert ours(["one two three", "x one two three four one two three", item, ""], [item], 3, 3) == [
        (0, 0.25),
        (0, 0.5),
        (0, 1.0),
        (-1, 0.0),
    ]


def test_first_of_equal_items_wins() -> None:
    assert ours(["a b c d"], ["x y z", "a b c d", "a b c d"], 3, 3) == [(1, 1.0)]


def test_short_items_match_as_a_whole() -> None:
    items = ["a b c", "a b c d", "q r"]
    assert ours(["a b c e", "x a b c d y", "a b", "q r", "a b c"], items, 5, 3) == [(0, 1.0), (0, 1.0), (-1, 0.0), (-1, 0.0), (0, 1.0)]


def test_ngrams_of_numbers_alone_do_not_count() -> None:
    assert ours(["1 2 3 4", "1 2 three"], ["1 2 3 4 three 1 2", "1 2 three 4"], 3, 3) == [(-1, 0.0), (1, 0.5)]


def test_documents_do_not_run_into_each_other() -> None:
    assert ours(["a b", "c d"], ["a b c d"], 3, 3) == [(-1, 0.0), (-1, 0.0)]


@pytest.mark.parametrize("unit", ["a ", "ab", "\u4e2d", "-", "a b c d e "])
def test_long_documents(unit: str) -> None:
    text = unit * 200_000
    assert ours([text, text + " a b c x"], ["a b c x y z"], 3, 3)[1] == (0, 0.5)


def test_many_items() -> None:
    """Enough entries for several words of the filter and a table that is more than half full."""
    items = [f"item number {i} has these words {i * 7} in it" for i in range(20_000)]
    texts = [f"see {items[i]}" for i in range(0, 20_000, 997)]
    found = ours(texts, items, 5, 5)
    assert found == [(i, 1.0) for i in range(0, 20_000, 997)]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from("abcdefgh"), max_size=60).map(" ".join),
    st.lists(st.sampled_from("abcdefgh"), min_size=15, max_size=24).map(" ".join),
    st.data(),
)
def test_coverage_is_that_of_the_naive_twin(text: str, item: str, data: st.DataObject) -> None:
    tokens = item.split()
    for _ in range(data.draw(st.integers(0, 3))):
        tokens[data.draw(st.integers(0, len(tokens) - 1))] = data.draw(st.sampled_from("abxyz"))
    document = f"{text} {' '.join(tokens)} {text}"
    index = build(word_hashes(pa.array([item], pa.large_string())), 100, 8, near=0.3)
    found = match(word_hashes(pa.array([document], pa.large_string())), index)
    want = coverage(document, item)
    need = max(9, -(-3 * len(tokens) // 10))
    assert found.passes.tolist() == [want >= need]
    if want >= need:
        assert found.rows[0, 7] == want
        assert found.share[0] == want / len(tokens)


def test_spans_are_the_places_that_pass() -> None:
    item = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
    document = f"x y {item} {'z ' * 30}" + item.replace("seven", "edited")
    index = build(word_hashes(pa.array([item], pa.large_string())), 13, 8, near=0.6)
    found = match(word_hashes(pa.array(["", document], pa.large_string())), index)
    assert found.spans.tolist() == [[1, 2, 16], [1, 46, 60]]


def test_an_item_that_shares_common_pieces_only_is_found_whole() -> None:
    """More places of a seed than are followed: the rest of the item leads to it."""
    items = [f"what is the best way to reach town {i} by the old road from here and back" for i in range(200)]
    assert ours([f"x {items[150]} y"], items, 13, 8) == [(150, 1.0)]
    index = build(word_hashes(pa.array(items, pa.large_string())), 13, 8)
    assert int((index.postings < 0).sum()) == len(index.slots[index.slots > 0])


@pytest.mark.parametrize("room", [1, 2, 7])
def test_a_table_of_runs_that_is_too_small_grows(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The document that does not fit is searched again, from the start."""
    items = [f"one two three four {i} five six seven eight nine ten" for i in range(6)]
    index = build(word_hashes(pa.array(items, pa.large_string())), 4, 4, near=0.3)
    texts = word_hashes(pa.array([items[2], "", f"{items[1]} x {items[4]}", "one two three four five"], pa.large_string()))
    want = match(texts, index)
    assert want.item.tolist() == [2, -1, 1, 0]
    monkeypatch.setattr("curate.kernels.ngrams._RUNS", room)
    for found, expected in zip(match(texts, index), want, strict=True):
        assert found.tolist() == expected.tolist()
