"""Naive twins of the mix: the order of places, the permutation, the windows."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

SPAN = 64


def interleave(counts: list[int]) -> list[tuple[int, int]]:
    """(source, ordinal) of every place, by the two rules of `curate.kernels.interleave`, in plain lists."""
    total = sum(counts)
    placed = [0] * len(counts)
    chosen: list[int] = []
    for place in range(total):
        last = chosen[-(SPAN - 1) :] if place >= SPAN else []
        open_ = [i for i, count in enumerate(counts) if placed[i] < count]
        if place >= SPAN:
            gone = chosen[-SPAN]
            if last.count(gone) < counts[gone] * SPAN // total and gone in open_:
                placed[gone] += 1
                chosen.append(gone)
                continue
            allowed = [i for i in open_ if last.count(i) < -(-counts[i] * SPAN // total)]
        else:
            allowed = open_
        behind = {i: Fraction(counts[i] * (place + 1), total) - placed[i] for i in open_}
        late = [i for i in allowed if behind[i] > 0]
        if late:
            # in doubles, as the kernel divides
            pick = min(late, key=lambda i: ((total - (counts[i] * (place + 1) - total * placed[i])) / counts[i], i))
        else:
            pick = max(allowed or open_, key=lambda i: (behind[i], -i))
        placed[pick] += 1
        chosen.append(pick)
    seen = [0] * len(counts)
    made = []
    for source in chosen:
        made.append((source, seen[source]))
        seen[source] += 1
    return made


def permuted(position: int, n: int, keys: list[int]) -> int:
    """The Feistel network with cycle walking, in unbounded integers cut to 64 bits."""
    half = max(1, (max(n - 1, 0).bit_length() + 1) // 2)
    word, mask = (1 << 64) - 1, (1 << half) - 1
    value = position
    while True:
        left, right = value >> half, value & mask
        for key in keys:
            mixed = ((right + key) & word) * 0x9E3779B97F4A7C15 & word
            mixed ^= mixed >> 29
            mixed = mixed * 0xBF58476D1CE4E5B9 & word
            left, right = right, left ^ (mixed >> 32 & mask)
        value = left << half | right
        if value < n:
            return value


def windows(documents: list[list[int]], seq_len: int) -> list[list[int]]:
    """All whole windows of the documents put back to back."""
    flat = [token for document in documents for token in document]
    return [flat[i : i + seq_len] for i in range(0, len(flat) - seq_len + 1, seq_len)]


def worst_errors(sources: np.ndarray, counts: list[int]) -> tuple[float, float, float]:
    """Largest distance from plan, in places: since the start, over any SPAN places in a row, and over those before the last 2 * SPAN."""
    total, k = len(sources), len(counts)
    had = np.vstack([np.zeros(k), np.cumsum(np.eye(k)[sources], axis=0)])
    off = had - np.outer(np.arange(total + 1), counts) / total
    inside = np.abs(off[SPAN:] - off[:-SPAN])
    return float(np.abs(off).max()), float(inside.max(initial=0)), float(inside[: -2 * SPAN].max(initial=0))
