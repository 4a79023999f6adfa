"""Whole numbers that a phase of a corpus step reports beside its records: what was compared, cut, left out.

They travel as metadata of the table that the phase returns, stand in the receipt of the task, and are summed for the
manifest; those named `largest_...` are maxima.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

import pyarrow as pa

KEY = b"curate.figures"


def with_figures(records: pa.Table, figures: Mapping[str, int]) -> pa.Table:
    """Return the records with figures attached."""
    return records.replace_schema_metadata({KEY: json.dumps(dict(figures)).encode()})


def figures_of(records: pa.Table) -> dict[str, int]:
    """Return what `with_figures` attached, {} where nothing."""
    found = (records.schema.metadata or {}).get(KEY)
    return dict(json.loads(found)) if found else {}


def add(total: dict[str, int], more: Iterable[tuple[str, int]]) -> None:
    """Add figures to a total, in place."""
    for name, value in more:
        total[name] = max(total.get(name, 0), value) if name.startswith("largest_") else total.get(name, 0) + value
