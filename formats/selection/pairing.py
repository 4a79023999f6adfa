"""Which two candidates of a prompt make a preference pair. Array code; a candidate is its number in the pool."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from curate.ranges import ranges
from formats.selection.pool import F64, I64

Rule = Literal["best_worst", "best_random", "best_second", "worst_sigma", "adjacent", "right_wrong", "all"]


def pairs_of(rule: Rule, group: I64, order: I64, value: F64, random: F64, sigma: float, right: float) -> tuple[I64, I64]:
    """(better, worse): candidates in pairs, of each row in the rule's own order. Never equal values, never a candidate with itself.

    order: the candidates that count, best first within each row. worst_sigma: the worse one is the candidate nearest to the row's mean minus `sigma`
    standard deviations (arXiv 2502.16825), which at many samples is better than the very worst. right_wrong: the n-th candidate whose value is
    at least `right` with the n-th below it.
    """
    g = group[order]
    starts = np.flatnonzero(np.r_[True, g[1:] != g[:-1]]) if len(g) else np.zeros(0, np.int64)
    stops = np.r_[starts[1:], len(g)] if len(g) else starts
    v = value[order]
    size = stops - starts
    if not len(g):
        return order[:0], order[:0]
    if rule in ("adjacent", "all"):
        made = [
            (np.flatnonzero((np.arange(len(g)) + d) < np.repeat(stops, size)), d) for d in range(1, int(size.max()) if rule == "all" else 2)
        ]
        a, b = np.concatenate([m for m, _ in made] or [starts[:0]]), np.concatenate([m + d for m, d in made] or [starts[:0]])
    elif rule == "right_wrong":
        good = np.add.reduceat((v >= right).astype(np.int64), starts)
        count = np.minimum(good, size - good)
        a, b = ranges(starts, count), ranges(starts + good, count)
    else:
        a = starts
        b = _worse(rule, starts, stops, size, v, random[order], sigma)
    distinct = v[a] > v[b]
    a, b = a[distinct], b[distinct]
    back = np.lexsort((np.arange(len(a)), g[a]))
    return order[a[back]], order[b[back]]


def _worse(rule: str, starts: I64, stops: I64, size: I64, v: F64, random: F64, sigma: float) -> I64:
    """For each row's best the place of the other one; the best itself where there is none."""
    if rule == "best_worst":
        return stops - 1
    row = np.repeat(np.arange(len(starts)), size)
    lower = v < v[starts][row]
    if rule == "best_second":
        key: Any = np.arange(len(v))
    elif rule == "best_random":
        key = random
    else:
        mean = np.add.reduceat(v, starts) / size
        spread = np.sqrt(np.add.reduceat((v - mean[row]) ** 2, starts) / size)
        key = np.abs(v - (mean - sigma * spread)[row])
    order = np.lexsort((np.arange(len(v)), key, ~lower, row))
    found: I64 = order[starts]
    return np.where(lower[found], found, starts)
