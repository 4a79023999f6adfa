"""Naive twin of `decontaminate`: n-grams as tuples of words in sets."""

from __future__ import annotations

from collections.abc import Sequence

from tests.reference.shingles import words

NUMBERS = frozenset(str(i) for i in range(1000))


def grams(tokens: Sequence[str], n: int) -> set[tuple[str, ...]]:
    return {tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)}


def best_match(text: str, items: Sequence[str], ngram: int, least: int) -> tuple[int, float]:
    """(item, share) with the largest share, the first of equals; (-1, 0.0) where no item is found."""
    tokens = words(text)
    mine = grams(tokens, ngram)
    best, share = -1, 0.0
    for number, item in enumerate(items):
        wanted = words(item)
        if len(wanted) >= ngram:
            theirs = {g for g in grams(wanted, ngram) if not NUMBERS.issuperset(g)}
            here = len(mine & theirs) / len(theirs) if theirs else 0.0
        else:
            here = 1.0 if len(wanted) >= least and tuple(wanted) in grams(tokens, len(wanted)) else 0.0
        if here > share:
            best, share = number, here
    return best, share
