"""Merges recovered from a vocabulary that gives only pieces and their ranks, as SentencePiece and tiktoken files do.

In both libraries any two neighbours whose join is a piece may be merged, the best rank first, the leftmost of equals. A
piece longer than one unit is therefore always made of the same two parts: the last two when its own text is merged alone
(what stands around it can't change that: a merge across its edge would have destroyed it). So one merge a piece says the
same as the file.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T", str, bytes)


def recovered_merges(ranks: Mapping[T, float]) -> list[tuple[T, T]]:
    """Return (left, right) of every piece that merges can make, best first.

    ranks: pieces with their rank, smaller is better; units (characters or single bytes) among them
    A piece that no merge reaches is left out: its own library never gives it either.
    """
    found = []
    for piece, rank in ranks.items():
        if len(piece) > 1:
            parts = _parts(piece, ranks)
            if parts is not None:
                found.append((rank, parts))
    found.sort(key=lambda entry: entry[0])  # stable: equal ranks stay in the file's order
    return [parts for _, parts in found]


def _parts(piece: T, ranks: Mapping[T, float]) -> tuple[T, T] | None:
    """The two parts whose merge makes the piece; None where there is none."""
    splits = [(piece[:at], piece[at:]) for at in range(1, len(piece)) if piece[:at] in ranks and piece[at:] in ranks]
    if len(splits) < 2:  # neighbours that make a piece are merged in any case, so the only split can't be wrong
        return splits[0] if splits else None
    parts = [piece[at : at + 1] for at in range(len(piece))]
    while len(parts) > 2:
        joined = [ranks.get(left + right, math.inf) for left, right in itertools.pairwise(parts)]
        best = min(joined)
        if best == math.inf:
            return None
        at = joined.index(best)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return (parts[0], parts[1]) if (parts[0], parts[1]) in splits else None
