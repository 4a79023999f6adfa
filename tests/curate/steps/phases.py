"""Run a corpus step phase by phase with any number of partitions, batches and any order of records."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from curate.apply import align
from curate.context import WorkContext
from curate.schema import ROW, with_columns
from curate.step import CorpusStep


def run(step: CorpusStep, table: pa.Table, cuts: tuple[int, ...] = (), partitions: int = 1, shuffle: int | None = None) -> pa.Table:
    """Return the table as the step leaves it, with `_row`, dropped rows gone."""
    numbered = with_columns(table.combine_chunks().to_batches()[0], {ROW: pa.array(np.arange(len(table)))})
    edges = [0, *cuts, len(table)]
    batches = [numbered.slice(a, b - a) for a, b in pairwise(edges)]
    rng = np.random.default_rng(shuffle)
    sides: dict[str, pa.Table] = {}
    records = pa.table({})
    for phase in step.phases():
        function: Any = step.bind_phase(phase.name, WorkContext())
        if phase.over == "documents":
            named = {name: sides[name] for name in phase.reads}
            parts = [function(batch, {n: _of(batch, t) for n, t in named.items()}) for batch in batches]
        elif phase.over == "partition":
            place = records.column("key").to_numpy() % np.uint64(partitions)
            parts = [whole(function(records.filter(pa.array(place == p)))) for p in range(partitions)]
        else:
            parts = [whole(function(records))]
        assert all(p.schema == phase.schema for p in parts)
        records = pa.concat_tables(parts)
        if shuffle is not None:
            order = rng.permutation(len(records))
            records = pa.concat_tables([records.take(pa.array(o)) for o in np.array_split(order, 3)])
        if phase.to == "documents":
            sides[phase.name] = records.sort_by(ROW)
    done = [step.apply(batch, align(records, batch.column(ROW))) for batch in batches]
    return pa.Table.from_batches([o.batch.filter(o.verdict.keep) if o.verdict else o.batch for o in done])


def whole(result: Any) -> pa.Table:
    """The result of a phase, an iterator's tables joined."""
    return result if isinstance(result, pa.Table) else pa.concat_tables(t.replace_schema_metadata(None) for t in result)


def _of(batch: pa.RecordBatch, table: pa.Table) -> pa.Table:
    """The records about rows of this batch."""
    return table.filter(pa.array(np.isin(table.column(ROW).to_numpy(), batch.column(ROW).to_numpy())))
