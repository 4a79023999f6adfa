"""Naive twins of the mix: the order of places, the permutation, the windows."""

from __future__ import annotations

import numpy as np

SPAN = 64


UNIT = 1 << 40


def interleave(segments: list[tuple[int, list[int]]], limits: list[int]) -> list[int]:
    """Source of every place, by the rules of `curate.kernels.interleave`, counted anew at every place.

    segments: (places, share of each source in UNITs); limits: how often each source comes in all
    """
    plan = [shares for places, shares in segments for _ in range(places)]
    chosen: list[int] = []
    for place, now in enumerate(plan):
        since = [sum(column) for column in zip(*plan[: place + 1], strict=True)]
        recent = [sum(column) for column in zip(*plan[max(0, place + 1 - SPAN) : place + 1], strict=True)]
        last = chosen[-(SPAN - 1) :]
        owed = [since[i] - UNIT * chosen.count(i) for i in range(len(now))]
        recently = [recent[i] - UNIT * last.count(i) for i in range(len(now))]
        open_ = [i for i in range(len(now)) if chosen.count(i) < limits[i]]
        full = place >= SPAN
        forced = [i for i in open_ if full and recently[i] >= UNIT]
        allowed = [i for i in open_ if not full or recently[i] > 0]
        changing = full and plan[place - SPAN] is not now
        late = [i for i in allowed if owed[i] > 0 and (now[i] or 2 * owed[i] >= UNIT)]
        early = [i for i in allowed if now[i] and i not in late]
        if forced:
            pick = max(forced, key=lambda i: (recently[i], -i))
        elif changing and allowed:
            pick = max(allowed, key=lambda i: (2 * recently[i] + owed[i], -i))
        elif late:
            pick = min(late, key=lambda i: ((UNIT - owed[i]) / now[i] if now[i] else -1.0, i))
        else:
            pick = max(early or open_, key=lambda i: (owed[i], -i))
        chosen.append(pick)
    return chosen


def best_fit(sizes: list[int], room: int) -> int:
    """Windows that best-fit decreasing needs: each piece, largest first, where the least room is left that still holds it."""
    left: list[int] = []
    for size in sorted(sizes, reverse=True):
        fitting = [i for i, room_left in enumerate(left) if room_left >= size]
        if not fitting:
            left.append(room)
            fitting = [len(left) - 1]
        left[min(fitting, key=lambda i: left[i])] -= size
    return len(left)


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


def worst_errors(sources: np.ndarray, segments: list[tuple[int, list[int]]]) -> tuple[float, float]:
    """Largest distance from plan, in places: since the start, and over any SPAN places in a row."""
    k = len(segments[0][1])
    plan = np.concatenate([np.tile(np.array(shares) / UNIT, (places, 1)) for places, shares in segments])
    off = np.vstack([np.zeros(k), np.cumsum(np.eye(k)[sources] - plan, axis=0)])
    return float(np.abs(off).max()), float(np.abs(off[SPAN:] - off[:-SPAN]).max(initial=0))
