"""Which format a file has: told by many rows, with the evidence shown.

Every row of a sample votes for the most demanding format that it looks like. One format must have nearly all votes; a
file of several formats is an error that names them, with the first row of each.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from curate.errors import DataError
from formats.catalog import FORMATS, adapter

ROWS = 2_000  # of a file are looked at
SHARE = 0.98  # of them must agree


@dataclass(frozen=True)
class Detected:
    """A format and why: how many rows of how many spoke for it, and what they had."""

    format: str
    rows: int
    votes: int
    evidence: str
    others: dict[str, int]  # votes for other formats, "nothing known" among them

    def __str__(self) -> str:
        rest = "".join(f"; {n} like {name}" for name, n in self.others.items())
        return f"{self.format}: {self.votes} of {self.rows} rows have {self.evidence}{rest}"


def detect(rows: Iterable[Any], where: str) -> Detected:
    """Look at up to ROWS rows (dicts). where: the file, for messages. Raises DataError where no format has SHARE of the votes."""
    adapters = {name: adapter(name) for name in FORMATS}
    votes: dict[str, int] = {}
    evidence: dict[str, str] = {}
    first: dict[str, int] = {}
    seen = 0
    for seen, row in enumerate(rows, 1):
        name, why = "nothing known", ""
        if isinstance(row, dict):
            name, why = next(((n, found) for n, a in adapters.items() if (found := a.evidence(row))), (name, why))
        votes[name] = votes.get(name, 0) + 1
        evidence.setdefault(name, why)
        first.setdefault(name, seen)
        if seen >= ROWS:
            break
    if not seen:
        raise DataError(f"{where}: no readable row, so its format can't be told. Name it with --from FORMAT.")
    best = max(votes, key=lambda name: votes[name])
    if best == "nothing known" or votes[best] < SHARE * seen:
        told = ", ".join(f"{n} rows like {name} (the first is row {first[name]})" for name, n in votes.items())
        raise DataError(
            f"{where}: the format can't be told from {seen} rows: {told}. Name it with --from; there are: {', '.join(sorted(FORMATS))}."
        )
    return Detected(best, seen, votes[best], evidence[best], {n: v for n, v in votes.items() if n != best})
