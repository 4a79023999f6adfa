"""ROUGE-L by bits equals the table of the definition; the search equals scoring every pair."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formats.rouge import Accepted, lcs, places, rarity, rouge_l, words

WORDS = st.lists(st.sampled_from("abcdef"), max_size=12)


def naive_lcs(a: list[str], b: list[str]) -> int:
    """By the definition."""
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1][j + 1] = table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


@settings(deadline=None)
@given(WORDS, WORDS)
def test_lcs(a: list[str], b: list[str]) -> None:
    assert lcs(places(a), len(a), b) == naive_lcs(a, b) == lcs(places(b), len(b), a)


@settings(deadline=None)
@given(st.lists(WORDS, max_size=25), st.sampled_from([0.2, 0.5, 0.6, 0.7, 0.9, 1.0]))
def test_the_search_equals_scoring_every_pair(texts: list[list[str]], threshold: float) -> None:
    accepted, kept = Accepted(threshold, rarity(texts)), []
    for text in texts:
        best = (0.0, -1)
        for number, other in enumerate(kept):
            score = rouge_l(text, other)
            if score >= threshold and score > best[0]:
                best = (score, number)
        assert accepted.nearest(text) == best
        if text and best[1] < 0:
            accepted.add(text)
            kept.append(text)


def test_words() -> None:
    assert words("Don't STOP, na\u00efve caf\u00e9_2!") == ["don", "t", "stop", "na\u00efve", "caf\u00e9", "2"]
    assert words("\u4f60\u597dworld") == ["\u4f60", "\u597d", "world"]
    assert words(" ... ") == []


def test_a_long_text_costs_little() -> None:
    text = ["x"] * 20_000
    assert lcs(places(text), len(text), text) == 20_000


@settings(deadline=None)  # the first call imports
@given(st.text("ab c.D2-\n", max_size=40), st.text("ab c.D2-\n", max_size=40))
def test_english_is_what_rouge_score_says(a: str, b: str) -> None:
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rougeL"], use_stemmer=False)
    assert rouge_l(words(a), words(b)) == pytest.approx(scorer.score(a, b)["rougeL"].fmeasure)
