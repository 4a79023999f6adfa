"""From bits of every document under every model to a plain sentence, never from means alone.

A difference is decided where its interval leaves zero out *and* all seeds agree. The interval resamples documents and seeds together
(paired: the same document, the same seed on both sides); three seeds are few, so agreement of the seeds is asked for as well.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from train.evaluation.bootstrap import LEVEL, Interval

Floats = npt.NDArray[np.float64]
DRAWS = 4000
Z_LEVEL, Z_POWER = 1.959963985, 0.841621234  # two-sided 95 %, power 80 %
MOST_SEEDS = 10_000


@dataclass(frozen=True)
class Difference:
    """One pair in one domain: bits per byte of `than` minus those of `better`, so above zero says that it is better."""

    better: str
    than: str
    domain: str
    gain: Interval
    by_seed: tuple[float, ...]
    seeds_needed: int | None  # for 80 % power at this effect and spread; None where the effect is 0 or it would be over 10,000

    @property
    def verdict(self) -> str:
        """better, worse or undecided."""
        if self.gain.low > 0 and min(self.by_seed) > 0:
            return "better"
        if self.gain.high < 0 and max(self.by_seed) < 0:
            return "worse"
        return "undecided"

    def sentence(self) -> str:
        """In words."""
        g = self.gain
        wins = sum(x > 0 for x in self.by_seed)
        figures = f"{g.value:+.4f} bits per byte, 95 % from {g.low:+.4f} to {g.high:+.4f}, better with {wins} of {len(self.by_seed)} seeds"
        if self.verdict != "undecided":
            return f"{self.better} is {self.verdict} than {self.than} on {self.domain} ({figures})."
        more = (
            f"about {self.seeds_needed:,} seeds would be needed" if self.seeds_needed else "no number of seeds up to 10,000 would be enough"
        )
        return f"{self.better} against {self.than} on {self.domain}: undecided ({figures}; for 80 % power {more})."


def differences(
    bits: Mapping[str, Floats], sizes: Floats, domains: Sequence[str], pairs: Sequence[tuple[str, str]], seed: int = 0
) -> list[Difference]:
    """Every pair in every domain.

    bits: by variant f64[seeds, documents], the same seeds and documents for all
    sizes: f64[documents], bytes
    """
    names = np.array(domains)
    found = []
    for better, than in pairs:
        for domain in sorted(set(domains)):
            mine = np.flatnonzero(names == domain)
            gains = bits[than][:, mine] - bits[better][:, mine]
            by_seed = gains.sum(1) / sizes[mine].sum()
            interval = _interval(gains, sizes[mine], seed)
            found.append(Difference(better, than, domain, interval, tuple(float(x) for x in by_seed), seeds_needed(by_seed)))
    return found


def _interval(gains: Floats, sizes: Floats, seed: int) -> Interval:
    """Percentiles of the pooled gain over resampled documents and seeds."""
    seeds, documents = gains.shape
    chance = np.random.Generator(np.random.PCG64(seed))
    drawn = np.empty(DRAWS)
    for at in range(DRAWS):
        of_documents = np.bincount(chance.integers(0, documents, documents), minlength=documents)
        of_seeds = np.bincount(chance.integers(0, seeds, seeds), minlength=seeds) / seeds
        drawn[at] = of_seeds @ (gains @ of_documents) / (sizes @ of_documents)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(gains.mean(0).sum() / sizes.sum()), float(low), float(high))


def seeds_needed(by_seed: Sequence[float] | Floats) -> int | None:
    """Seeds for 80 % power of a two-sided test at 5 %, from the mean and spread seen: ((z + z) * sd / mean)^2, at least 2 (Cohen 1988).

    The spread over few seeds is itself uncertain: read it as an order of magnitude.
    """
    values = np.asarray(by_seed, np.float64)
    mean, sd = abs(float(values.mean())), float(values.std(ddof=1))
    if mean == 0:
        return None
    needed = math.ceil(((Z_LEVEL + Z_POWER) * sd / mean) ** 2)
    return None if needed > MOST_SEEDS else max(2, needed)


def overall(found: Sequence[Difference], better: str, than: str) -> str:
    """One sentence for a pair over all domains."""
    mine = [d for d in found if (d.better, d.than) == (better, than)]
    by_verdict = {v: [d.domain for d in mine if d.verdict == v] for v in ("better", "worse", "undecided")}
    if len(by_verdict["better"]) == len(mine):
        return f"{better} is better than {than} on every domain ({', '.join(by_verdict['better'])})."
    if len(by_verdict["worse"]) == len(mine):
        return f"{better} is worse than {than} on every domain ({', '.join(by_verdict['worse'])})."
    if len(by_verdict["undecided"]) == len(mine):
        return f"{better} against {than}: undecided on every domain. Do not choose between them by this."
    parts = [f"{verdict} on {', '.join(where)}" for verdict, where in by_verdict.items() if where]
    return f"{better} against {than}: {'; '.join(parts)}."
