"""Figures of pools: pass@k, the best of n, what a selection costs in divergence, agreement of scores, and intervals of paired gains."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from formats.selection.pool import F64, I64

_STUDENT_95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262, 10: 2.228}


def pass_at_k(count: I64, passed: I64, k: int) -> float | None:
    """Mean over prompts of the chance that one of k samples passes, without bias: 1 - C(n - c, k) / C(n, k).

    Chen et al. 2021 (Codex), section 2.1. Prompts with fewer than k scored samples are left out; None where all are.
    """
    known = count >= k
    if not known.any():
        return None
    n, c = count[known].astype(np.float64), passed[known].astype(np.float64)
    missed = np.ones(len(n))
    for i in range(k):
        missed *= np.clip((n - c - i) / (n - i), 0, 1)
    return float(1 - missed.mean())


def best_of_n(group: I64, score: F64, n: int) -> float | None:
    """Mean over prompts of the expected best score of n samples drawn without replacement; None where no prompt has n scored ones.

    Without bias: the i-th lowest of m scores is the best of n with chance C(i - 1, n - 1) / C(m, n).
    """
    known = ~np.isnan(score)
    g, s = group[known], score[known]
    order = np.lexsort((s, g))
    g, s = g[order], s[order]
    starts = np.flatnonzero(np.r_[True, g[1:] != g[:-1]]) if len(g) else np.zeros(0, np.int64)
    size = np.diff(np.r_[starts, len(g)])
    if not (size >= n).any():
        return None
    place = np.arange(len(g)) - np.repeat(starts, size)
    m = np.repeat(size, size)
    logs = np.array([math.lgamma(i + 1) for i in range(int(size.max()) + 1)])
    able = (place >= n - 1) & (m >= n)
    weight = np.zeros(len(g))
    p, q = place[able], m[able]
    weight[able] = np.exp(logs[p] - logs[n - 1] - logs[p - n + 1] - (logs[q] - logs[n] - logs[q - n]))
    return float((weight * s).sum() / (size >= n).sum())


def divergence_bound(n: int) -> float:
    """Upper bound in nats of the divergence between the best of n and the policy: ln n - (n - 1) / n (Stiennon et al. 2020, appendix G.3)."""
    return math.log(n) - (n - 1) / n


def correlation(a: F64, b: F64) -> float | None:
    """Pearson's correlation over pairs that are both known; None for fewer than two, or where one does not vary."""
    known = ~(np.isnan(a) | np.isnan(b))
    if known.sum() < 2 or np.ptp(a[known]) == 0 or np.ptp(b[known]) == 0:
        return None
    return float(np.corrcoef(a[known], b[known])[0, 1])


def agreement(group: I64, a: F64, b: F64) -> float | None:
    """Share of pairs of one prompt that both scores order, and order the same way; None where there is none. All pairs within a prompt."""
    same = total = 0
    known = np.flatnonzero(~(np.isnan(a) | np.isnan(b)))
    g = group[known]
    starts = np.flatnonzero(np.r_[True, g[1:] != g[:-1]]) if len(g) else np.zeros(0, np.int64)
    size = np.diff(np.r_[starts, len(g)])
    for distance in range(1, int(size.max()) if len(size) else 0):
        first = np.flatnonzero(np.arange(len(g)) + distance < np.repeat(np.r_[starts[1:], len(g)], size))
        x = np.sign(a[known[first]] - a[known[first + distance]])
        y = np.sign(b[known[first]] - b[known[first + distance]])
        both = (x != 0) & (y != 0)
        total += int(both.sum())
        same += int((both & (x == y)).sum())
    return same / total if total else None


def paired_gain(better: Sequence[F64], worse: Sequence[F64], draws: int = 2000, seed: int = 0) -> dict[str, float]:
    """Mean gain of one arm over another on the same problems, with 95 % intervals.

    better, worse: for each seed the results on its problems, in one order. problems: percentiles of means over problems drawn anew within each seed
    (bootstrap). seeds: Student's interval over the means of the seeds; left out for a single one.
    """
    gaps = [b - w for b, w in zip(better, worse, strict=True)]
    make = np.random.default_rng(seed)
    drawn = np.mean([gap[make.integers(0, len(gap), (draws, len(gap)))].mean(1) for gap in gaps], axis=0)
    means = np.array([gap.mean() for gap in gaps])
    found = {"mean": float(means.mean()), "low": float(np.quantile(drawn, 0.025)), "high": float(np.quantile(drawn, 0.975))}
    if len(means) > 1:
        half = _STUDENT_95.get(len(means) - 1, 1.96) * float(means.std(ddof=1)) / math.sqrt(len(means))
        found |= {"seeds_low": float(means.mean() - half), "seeds_high": float(means.mean() + half)}
    return found
