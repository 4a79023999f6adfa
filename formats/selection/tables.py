"""What selections say of rows and candidates: reasons and counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from formats.selection.pool import I64, Pool
from formats.selection.ranking import CHOSEN, OUTCOMES

NO_CANDIDATES = "no_candidates"


def row_reasons(offsets: I64, outcome: Any, step: str) -> pa.StringArray:
    """Why each row is dropped: the furthest that a candidate of it came; null where it stays."""
    counts = np.diff(offsets)
    furthest = np.full(len(counts), -1, np.int64)
    filled = np.flatnonzero(counts)
    if len(filled):
        furthest[filled] = np.maximum.reduceat(outcome.astype(np.int64), offsets[:-1][filled])
    labels = np.array([f"{step}.{NO_CANDIDATES}", *(f"{step}.{n}" for n in OUTCOMES)], dtype=object)
    return pa.array(labels[furthest + 1], pa.string(), mask=furthest == CHOSEN)


def outcome_figures(batch: pa.RecordBatch, pool: Pool, outcome: Any, names: Sequence[str]) -> dict[str, dict[str, int]]:
    """Candidates by source and outcome."""
    sources = batch.column("source").fill_null("").dictionary_encode()
    known = sources.dictionary.to_pylist()
    if not len(outcome):
        return {}
    source = sources.indices.to_numpy()[pool.group]
    table = np.bincount(source * len(names) + outcome, minlength=len(known) * len(names)).reshape(len(known), len(names))
    return {
        name: {f"candidates.{names[at]}": int(n) for at, n in enumerate(counts) if n}
        for name, counts in zip(known, table, strict=True)
        if counts.any()
    }
