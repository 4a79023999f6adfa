"""Selection, candidate by candidate: the specification of `formats.selection` in obvious Python."""

from __future__ import annotations

import math
from typing import Any

OUTCOMES = ("unscored", "truncated", "empty", "failed", "below", "duplicate", "outranked", "chosen")


def best(
    rows: list[list[dict[str, Any]]], by: str, require: dict[str, float], min_score: float | None, top: int | None, ties: str
) -> list[list[str]]:
    """The outcome of every candidate: {text, scores, cut}, without budget, share or lengths."""
    return [_row(row, by, require, min_score, top, ties) for row in rows]


def _row(row: list[dict[str, Any]], by: str, require: dict[str, float], min_score: float | None, top: int | None, ties: str) -> list[str]:
    found = ["chosen"] * len(row)
    for n, candidate in enumerate(row):
        needed = [candidate["scores"].get(name) for name in (by, *require)]
        if any(v is None or math.isnan(v) for v in needed):
            found[n] = "unscored"
        elif candidate["cut"]:
            found[n] = "truncated"
        elif not candidate["text"].strip():
            found[n] = "empty"
        elif any(candidate["scores"][name] < bound for name, bound in require.items()):
            found[n] = "failed"
        elif min_score is not None and candidate["scores"][by] < min_score:
            found[n] = "below"
    usable = [n for n in range(len(row)) if found[n] == "chosen"]
    times = {n: sum(row[m]["text"] == row[n]["text"] for m in usable) for n in usable}
    tie = {"first": lambda n: 0, "frequent": lambda n: -times[n], "shortest": lambda n: len(row[n]["text"])}[ties]
    seen: set[str] = set()
    taken = 0
    for n in sorted(usable, key=lambda n: (-row[n]["scores"][by], tie(n), n)):
        if row[n]["text"] in seen:
            found[n] = "duplicate"
        elif top is not None and taken >= top:
            found[n] = "outranked"
        else:
            taken += 1
        seen.add(row[n]["text"])
    return found
