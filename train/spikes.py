"""Jumps of the loss: when one is one, and which documents made it.

A loss is a spike when it lies more than `above` robust deviations (1.4826 times the median absolute deviation, at least 0.02 nats)
above the median of the last `window` losses. The report names the documents with the highest loss of the step, with the place of each
in the shards; its ids can be given back as `exclude:`, in the same order of windows.
"""

from __future__ import annotations

import json
import math
from collections import deque
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from curate.errors import DataError
from curate.loader import Mix
from train.batches import Rows

SMALLEST = 0.02  # nats
REPORT, EXCLUDE = "spikes.jsonl", "exclude.jsonl"


class Watch:
    """Looks at the loss of every step."""

    def __init__(self, above: float, window: int, history: list[float] | None = None, bad: int = 0) -> None:
        self._above, self._window = above, window
        self.history: deque[float] = deque(history or [], maxlen=window)
        self.bad = bad  # steps in a row without a usable loss or gradient

    def judge(self, loss: float, norm: float) -> str | None:
        """'nan', 'spike' or None, for the loss and gradient norm of a step. A spike does not become part of the history."""
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self.bad += 1
            return "nan"
        self.bad = 0
        if len(self.history) >= max(8, self._window // 4) and loss > self.bound():
            return "spike"
        self.history.append(loss)
        return None

    def bound(self) -> float:
        """The highest loss that is no spike."""
        middle = median(self.history)
        spread = 1.4826 * median(abs(x - middle) for x in self.history)
        return middle + self._above * max(spread, SMALLEST)


def worst_documents(mix: Mix, rows: Rows, sums: np.ndarray, count: int) -> list[dict[str, Any]]:
    """The documents of a micro-batch with the highest mean loss; one that is no number comes first. sums: f64[pieces]"""
    mean = np.where(rows.learnt > 0, sums / np.maximum(rows.learnt, 1), -np.inf)
    order = np.argsort(np.where(np.isnan(mean), np.inf, mean))[::-1][:count]
    by_place = {int(rows.pieces[at]): int(at) for at in order if rows.learnt[at] > 0}
    found = []
    for row, k in enumerate(rows.windows):
        for piece in mix.trace(k):
            at = by_place.get(row * mix.seq_len + piece.start)
            if at is not None:
                about = {"id": piece.id, "source": piece.source, "dataset": piece.dataset, "file": piece.file, "row": piece.row}
                found.append({"loss": float(mean[at]), "tokens": int(rows.learnt[at]), **about, "first": piece.first, "window": k})
    return ranked(found, count)


def ranked(documents: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """The worst of several lists; a loss that is no number first."""
    return sorted(documents, key=lambda d: (math.isfinite(d["loss"]), -d["loss"] if math.isfinite(d["loss"]) else 0.0, d["id"]))[:count]


def report(folder: Path, kind: str, step: int, loss: float, bound: float | None, documents: list[dict[str, Any]], skipped: bool) -> None:
    """Add a line to spikes.jsonl, and the documents to exclude.jsonl."""
    line = {
        "step": step,
        "kind": kind,
        "loss": _plain(loss),
        "bound": bound,
        "skipped": skipped,
        "documents": [_finite(d) for d in documents],
    }
    with open(folder / REPORT, "a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
    with open(folder / EXCLUDE, "a", encoding="utf-8") as file:
        for d in documents:
            file.write(
                json.dumps({"id": d["id"], "source": d["source"], "step": step, "loss": _plain(d["loss"])}, ensure_ascii=False) + "\n"
            )


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _finite(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "loss": _plain(document["loss"])}


def read_excluded(path: str | None) -> frozenset[str]:
    """Ids of a JSONL file of objects with `id`, or of plain strings. Raises DataError with the line that is neither."""
    if path is None:
        return frozenset()
    found = set()
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    value = json.loads(line)
                    found.add(str(value["id"] if isinstance(value, dict) else value))
                except (ValueError, KeyError) as error:
                    raise DataError(f"{path}:{number}: expected an object with 'id', got {line.strip()[:60]!r}.") from error
    return frozenset(found)
