"""How numbers of documents are spread: lengths, languages, and the number behind every bound. Exact, mergeable, small.

A number is counted in a bin that is the top 16 bits of its float64: sign, exponent and four bits of mantissa, so every
octave has 16 bins of equal width and no bin depends on the data. Bins of two tasks add up, in any order, on any CPU.
Beside a published dataset lies `distributions.json`; `curate report` draws it.
"""

from __future__ import annotations

import json
import struct
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from curate.done import Done
    from curate.step import Measured

FORMAT = 1
_SHIFT = 48  # bits below a bin's number
_MINUS_ZERO, _EXPONENT, _MANTISSA = 0x8000, 0x7FF0, 0x000F  # NaN: all bits of the exponent, and some of the mantissa

Bins = Counter[int]


def count(numbers: npt.NDArray[Any]) -> dict[int, int]:
    """How many of n numbers lie in each bin, by bin; NaN lies in none, -0.0 is 0.0."""
    if not len(numbers):
        return {}
    tops = np.ascontiguousarray(numbers, "<f8").view("<u2")[3::4]
    counts = np.bincount(tops)
    if len(counts) > _MINUS_ZERO:
        counts[0] += counts[_MINUS_ZERO]
        counts[_MINUS_ZERO] = 0
    there = np.flatnonzero(counts)
    there = there[(there & _EXPONENT != _EXPONENT) | (there & _MANTISSA == 0)]
    return dict(zip(there.tolist(), counts[there].tolist(), strict=True))


def edges(number: int) -> tuple[float, float]:
    """(low, high) of a bin: low <= x < high where the numbers are positive, low < x <= high where they are negative."""
    first, second = (struct.unpack("<d", struct.pack("<Q", (number + step) << _SHIFT))[0] for step in (0, 1))
    return (first, second) if first >= 0 and number < 1 << 15 else (second, first)


class Distributions:
    """What one task counts. Batches may come whole or in slices."""

    def __init__(self, steps: Sequence[str]) -> None:
        self._steps = tuple(steps)
        self._lengths: dict[str, Bins] = {"read": Counter(), "kept": Counter()}
        self._tokens: Bins = Counter()
        self._languages: dict[str, Counter[str]] = {"read": Counter(), "kept": Counter()}
        self._named_at: int | None = None  # the step that tells the language; -1: the documents came with it
        self._bounds: dict[tuple[int, str], tuple[float | None, float | None, Bins, Bins]] = {}

    def came_in(self, batch: pa.RecordBatch) -> None:
        """Count documents as they were read."""
        self._lengths["read"].update(_lengths(batch))
        if "lang_code" in batch.schema.names:
            self._named_at = -1

    def looked_at(self, position: int, batch: pa.RecordBatch) -> None:
        """Count languages where a step tells them, before it drops anything."""
        if self._named_at is None and "lang_code" in batch.schema.names:
            self._named_at = position
        if self._named_at == position:
            self._languages["read"].update(_languages(batch))

    def measured(self, position: int, numbers: Sequence[Measured]) -> None:
        """Count the numbers behind a step's bounds, those that survive and those that don't."""
        for reason, values, at_least, at_most in numbers:
            below = values[values < at_least] if at_least is not None else values[:0]
            above = values[values > at_most] if at_most is not None else values[:0]
            gone = count(np.concatenate([below, above]))
            _, _, kept, dropped = self._bounds.setdefault((position, reason), (at_least, at_most, Counter(), Counter()))
            kept.update({n: c - gone.get(n, 0) for n, c in count(values).items() if c > gone.get(n, 0)})
            dropped.update(gone)

    def went_out(self, batch: pa.RecordBatch) -> None:
        """Count documents that are left after all steps."""
        self._lengths["kept"].update(_lengths(batch))
        self._languages["kept"].update(_languages(batch))
        if "n_tokens" in batch.schema.names:
            self._tokens.update(count(batch.column("n_tokens").to_numpy(zero_copy_only=False)))

    def record(self) -> dict[str, Any]:
        """For the receipt: the same whatever came first."""
        bounds = [
            {"position": at, "reason": reason, "at_least": low, "at_most": high, "kept": _plain(kept), "dropped": _plain(dropped)}
            for (at, reason), (low, high, kept, dropped) in sorted(self._bounds.items(), key=lambda entry: entry[0][0])
        ]
        return {
            "lengths": {name: _plain(bins) for name, bins in self._lengths.items()},
            "tokens": _plain(self._tokens),
            "languages": {name: dict(sorted(found.items())) for name, found in self._languages.items()},
            "bounds": bounds,
        }


def _plain(bins: Bins) -> dict[str, int]:
    return {str(number): bins[number] for number in sorted(bins)}


def _lengths(batch: pa.RecordBatch) -> dict[int, int]:
    """Bytes of UTF-8 of every text."""
    at = batch.schema.get_field_index("text")
    if at < 0 or not len(batch):
        return {}
    return count(pc.fill_null(pc.binary_length(batch.column(at)), 0).to_numpy(zero_copy_only=False))


def _languages(batch: pa.RecordBatch) -> dict[str, int]:
    at = batch.schema.get_field_index("lang_code")
    if at < 0 or not len(batch) or not pa.types.is_string(batch.column(at).type):
        return {}
    counted = pc.value_counts(batch.column(at).fill_null("und"))
    return dict(zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True))


def merged(stages: Sequence[Done]) -> bytes:
    """Content of a dataset's distributions.json. stages: those that wrote documents, in order; b"" where none counted."""
    records = [[r["distributions"] for r in stage.receipts if "distributions" in r] for stage in stages]
    if not any(records):
        return b""
    read = _sum([r["lengths"]["read"] for r in records[0]])
    found: dict[str, Any] = {
        "format": FORMAT,
        "lengths": {"read": _listed(read), "kept": _listed(_sum([r["lengths"]["kept"] for r in records[-1]]))},
        "tokens": _listed(_sum([r["tokens"] for r in records[-1]])),
        "languages": {
            "read": dict(sorted(_sum([r["languages"]["read"] for stage in records for r in stage]).items())),
            "kept": dict(sorted(_sum([r["languages"]["kept"] for r in records[-1]]).items())),
        },
        "bounds": [],
    }
    line = 1  # of the funnel; the first one is what was read
    for stage, counted in zip(stages, records, strict=True):
        steps = [entry["step"] for entry in stage.receipts[0]["ledger"]["steps"]]
        found["bounds"] += [bound | {"step": steps[bound["at"]], "line": line + bound.pop("at")} for bound in _bounds(counted)]
        line += len(steps)
    return json.dumps(found, ensure_ascii=False).encode() + b"\n"


def _bounds(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Bounds of one stage, summed over its tasks, in the order in which they are tested."""
    order: dict[tuple[int, str], list[Mapping[str, Any]]] = {}
    for record in records:
        for bound in record["bounds"]:
            order.setdefault((bound["position"], bound["reason"]), []).append(bound)
    made = []
    for (at, reason), same in sorted(order.items(), key=lambda entry: entry[0][0]):
        kept, dropped = (_sum([b[side] for b in same]) for side in ("kept", "dropped"))
        bins = [[*edges(n), kept.get(str(n), 0), dropped.get(str(n), 0)] for n in _in_order({*kept, *dropped})]
        made.append({"at": at, "reason": reason, "at_least": same[0]["at_least"], "at_most": same[0]["at_most"], "bins": bins})
    return made


def _sum(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return total


def _in_order(numbers: Iterable[str]) -> list[int]:
    """Bins from the smallest number to the largest."""
    return sorted((int(n) for n in numbers), key=lambda n: edges(n)[0])


def _listed(bins: Mapping[str, int]) -> list[list[float]]:
    return [[*edges(n), bins[str(n)]] for n in _in_order(bins)]
