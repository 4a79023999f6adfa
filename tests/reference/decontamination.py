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


def common_runs(text: Sequence[str], item: Sequence[str]) -> list[tuple[int, int, int]]:
    """(place in text, place in item, words) of every longest run of words that both have."""
    found = []
    for i in range(len(text)):
        for k in range(len(item)):
            if text[i] != item[k] or (i and k and text[i - 1] == item[k - 1]):
                continue
            size = 0
            while i + size < len(text) and k + size < len(item) and text[i + size] == item[k + size]:
                size += 1
            found.append((i, k, size))
    return found


def continued(text: Sequence[str], item: Sequence[str], run: tuple[int, int, int]) -> list[tuple[int, int, int]]:
    """The run and what follows it on both sides over one edited word at a time, two equal words or more each."""
    pieces = [run]
    for to in (1, -1):
        x, y = (run[0] + run[2], run[1] + run[2]) if to == 1 else (run[0] - 1, run[1] - 1)
        going = True
        while going:
            going = False
            for skip_text, skip_item in ((1, 1), (1, 0), (0, 1)):
                u, v, size = x + to * skip_text, y + to * skip_item, 0
                while 0 <= u < len(text) and 0 <= v < len(item) and text[u] == item[v]:
                    u, v, size = u + to, v + to, size + 1
                if size >= 2:
                    pieces.append((u - size, v - size, size) if to == 1 else (u + 1, v + 1, size))
                    x, y, going = u, v, True
                    break
    return pieces


def coverage(text: str, item: str) -> int:
    """Most words of the item in runs that begin within one place of the text; every seed is taken for telling."""
    tokens, wanted = words(text), words(item)
    pieces = [p for run in common_runs(tokens, wanted) if run[2] >= 5 for p in continued(tokens, wanted, run)]
    reach = len(wanted) + len(wanted) // 2
    best = 0
    for start in {p[0] for p in pieces}:
        inside = [p for p in pieces if start <= p[0] and p[0] + 5 <= start + reach]
        best = max(best, len({k for _, at, size in inside for k in range(at, at + size)}))
    return best
