"""Repeated runs of tokens in slow, obvious Python: every run of n tokens in a dict."""

from __future__ import annotations

import re
from collections.abc import Sequence


def covered(documents: Sequence[Sequence[object]], n: int, keep_first: bool) -> list[list[bool]]:
    """Whether each token is in a run of n that stands in an earlier place (or anywhere else)."""
    places: dict[tuple[object, ...], list[tuple[int, int]]] = {}
    for d, tokens in enumerate(documents):
        for i in range(len(tokens) - n + 1):
            places.setdefault(tuple(tokens[i : i + n]), []).append((d, i))
    goes = [[False] * len(tokens) for tokens in documents]
    for found in places.values():
        for d, i in found[1:] if keep_first else found if len(found) > 1 else []:
            goes[d][i : i + n] = [True] * n
    return goes


def without_words(texts: list[str], n: int, keep_first: bool) -> list[str]:
    """Every text without repeated runs of n words and the white space behind them."""
    parts = [re.findall(r"\S+\s*", text) for text in texts]
    done = []
    for text, words, goes in zip(texts, parts, covered([[w.strip() for w in p] for p in parts], n, keep_first), strict=True):
        head = text[: len(text) - len(text.lstrip())]
        left = head + "".join(w for w, gone in zip(words, goes, strict=True) if not gone)
        done.append(left.rstrip() if goes and goes[-1] else left)
    return done


def without_bytes(texts: list[str], n: int, keep_first: bool) -> list[str]:
    """Every text without the characters that are wholly in repeated runs of n bytes."""
    done = []
    for text, goes in zip(texts, covered([list(text.encode()) for text in texts], n, keep_first), strict=True):
        left, at = "", 0
        for char in text:
            size = len(char.encode())
            left += "" if all(goes[at : at + size]) else char
            at += size
        ends = bool(text) and all(goes[at - len(text[-1].encode()) :])
        done.append(left.rstrip() if ends else left)
    return done
