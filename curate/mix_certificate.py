"""Proof of a mix: what was planned against what its order gives, stage by stage and in every 64 windows.

Computed from mix.json (and the window indexes beside it) alone: the order is laid out again and counted, so anybody can do it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.mix_layout import SPAN, UNIT
from curate.mix_order import BLOCK, Order, Places
from curate.mix_sources import balance
from curate.mix_windows import Pieces

I64 = npt.NDArray[np.int64]


def certify(mix: dict[str, Any], folder: Path, report: Callable[[float], None] = lambda share: None) -> dict[str, Any]:
    """{"windows", "worst_of_64", "worst_since_start", "unaccounted", "stages": [...]}, all distances in windows.

    Of each stage: windows, tokens, padded, worst_of_64 (runs of 64 windows that end in it), and per source its share of the tokens,
    planned and realised, and its windows.
    """
    order, pieces = Order(mix), Pieces(mix, folder)
    count = len(mix["sources"])
    stages = [_Stage(count) for _ in mix["stages"]]
    track = _Track(order, count)
    for start in range(0, len(order), BLOCK):
        report(start / len(order))
        places = order.places(np.arange(start, min(start + BLOCK, len(order))))
        tokens = pieces.tokens(places)
        of_64 = track.add(places)
        for number in np.unique(places.stage):
            mine = places.stage == number
            stages[number].add(places.source[mine], tokens[mine], float(of_64[mine].max()))
    used = [int(source["used"]) for source in mix["sources"]]
    return {
        "windows": len(order),
        "worst_of_64": max(s.worst for s in stages),
        "worst_since_start": round(track.worst, 6),
        "unaccounted": sum(abs(balance(source["ledger"])) for source in mix["sources"]) + int(np.abs(track.came - used).sum()),
        "stages": [_shown(stage, about, mix) for stage, about in zip(stages, mix["stages"], strict=True)],
    }


class _Stage:
    """Counts of a stage."""

    def __init__(self, sources: int) -> None:
        self.windows, self.tokens, self.worst = np.zeros(sources, np.int64), np.zeros(sources, np.int64), 0.0

    def add(self, source: I64, tokens: I64, worst: float) -> None:
        self.windows += np.bincount(source, minlength=len(self.windows))
        self.tokens += np.bincount(source, tokens, len(self.tokens)).astype(np.int64)
        self.worst = max(self.worst, round(worst, 6))


class _Track:
    """How far the order is from plan, over any SPAN windows and since the start, in exact integers."""

    def __init__(self, order: Order, sources: int) -> None:
        self._order, self.came, self.worst = order, np.zeros(sources, np.int64), 0.0
        self._tail = np.zeros((sources, 1), np.int64)  # placed less planned, in UNITs, after the last places

    def add(self, places: Places) -> npt.NDArray[np.float64]:
        """Largest distance from plan of any source in the SPAN windows that end at each place (0 before there are that many)."""
        start = int(self.came.sum())
        stop = start + len(places.source)
        segment = np.searchsorted(self._order.plan.ends, np.arange(start, stop), "right")
        worst = np.zeros(stop - start)
        tails = []
        for number in range(len(self.came)):
            step = (places.source == number) * np.int64(UNIT) - self._order.plan.shares[segment, number]
            off = np.concatenate([self._tail[number], self._tail[number, -1] + np.cumsum(step)])
            tails.append(off[-SPAN:])
            self.worst = max(self.worst, float(np.abs(off).max()) / UNIT)
            if len(off) > SPAN:
                inside = np.abs(off[SPAN:] - off[:-SPAN]) / UNIT
                worst[-len(inside) :] = np.maximum(worst[-len(inside) :], inside)
        self.came += np.bincount(places.source, minlength=len(self.came))
        self._tail = np.array(tails)
        return worst


def _shown(stage: _Stage, about: dict[str, Any], mix: dict[str, Any]) -> dict[str, Any]:
    planned = np.zeros(len(mix["sources"]))
    density = [s["ledger"]["in_windows"] / s["windows"] if s["windows"] else 0.0 for s in mix["sources"]]
    for windows, shares in about["segments"]:
        planned += np.array(shares, np.float64) / UNIT * windows
    expected = planned * density
    tokens, windows = int(stage.tokens.sum()), int(stage.windows.sum())
    sources = {
        source["name"]: {
            "planned": round(float(expected[i] / expected.sum()), 9),
            "realised": round(float(stage.tokens[i] / tokens), 9),
            "planned_windows": round(float(planned[i]), 3),
            "windows": int(stage.windows[i]),
        }
        for i, source in enumerate(mix["sources"])
        if planned[i] or stage.windows[i]
    }
    return {
        "windows": windows,
        "tokens": tokens,
        "padded": windows * mix["seq_len"] - tokens,
        "worst_of_64": stage.worst,
        "sources": sources,
    }
