"""Bands and rows of MinHash: what they find, and how many are needed for a promised recall. Plain arithmetic, no numba.

A pair of Jaccard similarity s shares at least one of b bands of r values with P(s) = 1 - (1 - s^r)^b (Leskovec, Rajaraman
and Ullman, "Mining of Massive Datasets", section 3.4).
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

MAX_BANDS, MAX_ROWS = 256, 64
STEPS = 200  # of the sums over similarities

# What a document costs, in units of one signature value (one pass of its shingles through one permutation).
BAND_COST = 2.0  # 16 bytes of a record written, shuffled, sorted
PAIR_COST = 60.0  # a candidate's shingle set written, shuffled and compared
# Pairs of a document by similarity, as a model: GROWTH times as many for each 0.1 less, PAIRS at the threshold.
PAIRS, GROWTH = 0.3, 3.0


class Layout(NamedTuple):
    """How a signature is cut."""

    bands: int
    rows: int


def match_probability(similarity: float, bands: int, rows: int) -> float:
    """Chance that two documents of that Jaccard similarity share a band."""
    return 1.0 - (1.0 - similarity**rows) ** bands


def mean_recall(threshold: float, bands: int, rows: int) -> float:
    """Share of pairs at or above the threshold that share a band, were all similarities from there to 1 equally frequent."""
    grid = [threshold + (1.0 - threshold) * (i + 0.5) / STEPS for i in range(STEPS)]
    return float(sum(match_probability(s, bands, rows) for s in grid) / STEPS)


def cost(threshold: float, bands: int, rows: int) -> float:
    """Work a document causes: signature values, band records, and candidates below the threshold that must be rejected."""
    width = threshold / STEPS
    grid = [(i + 0.5) * width for i in range(STEPS)]
    useless = sum(PAIRS * GROWTH ** ((threshold - s) * 10) * match_probability(s, bands, rows) for s in grid) * width * 10
    return float(bands * rows + BAND_COST * bands + PAIR_COST * useless)


@cache
def choose_layout(threshold: float, recall: float, bands_wanted: int | None = None, rows_wanted: int | None = None) -> Layout:
    """Return the cheapest bands and rows that find a pair at the threshold with at least that chance.

    bands_wanted, rows_wanted: given ones; with given bands, the most rows. ValueError where none of 256 bands by 64 rows does.
    """
    found = []
    for rows in range(1, MAX_ROWS + 1) if rows_wanted is None else (rows_wanted,):
        one = threshold**rows
        bands = 1 if one >= 1.0 else math.ceil(math.log(1.0 - recall) / math.log1p(-one))
        if bands <= (bands_wanted or MAX_BANDS) and match_probability(threshold, bands_wanted or bands, rows) >= recall:
            found.append((-rows if bands_wanted else cost(threshold, bands, rows), bands_wanted or bands, rows))
    if not found:
        raise ValueError(
            f"no {bands_wanted or MAX_BANDS} bands find pairs of similarity {threshold} with a chance of {recall}: lower recall, raise threshold or give both bands and rows"
        )
    _, bands, rows = min(found)
    return Layout(bands, rows)
