"""Run one step on a table in memory: what `curate.steps.NAME(table)` does, and what the contract tests use.

The engine runs the same bound functions on batches from disk; here the whole table is the corpus.
"""

from __future__ import annotations

import warnings
from typing import Any, cast

import numpy as np
import pyarrow as pa

from curate.context import WorkContext
from curate.errors import StepError
from curate.schema import ROW, with_columns
from curate.step import CorpusStep, DocumentsFn, Outcome, RecordsFn, Step


def outcomes(step: Step, batches: list[pa.RecordBatch], ctx: WorkContext | None = None) -> list[Outcome]:
    """Run a step over batches that together are the corpus; one Outcome per batch. Adds `_row` for corpus steps."""
    ctx = ctx or WorkContext()
    if isinstance(step, CorpusStep) and step.phases():
        return _corpus_outcomes(step, batches, ctx)
    function = step.bind(ctx)
    return [function(batch) for batch in batches]


def run_step(step: Step, table: pa.Table, ctx: WorkContext | None = None) -> pa.Table:
    """Return the table as the step leaves it: dropped rows gone, new columns there."""
    done = outcomes(step, _batches(table), ctx)
    kept = [_kept(step, o) for o in done]
    result = pa.Table.from_batches(kept)
    return result.drop_columns([ROW]) if ROW in result.column_names and ROW not in table.column_names else result


def _kept(step: Step, outcome: Outcome) -> pa.RecordBatch:
    """The rows that stay; a warning tells of those that the step could not process."""
    keep = np.ones(len(outcome.batch), bool) if outcome.verdict is None else outcome.verdict.keep.to_numpy(zero_copy_only=False).copy()
    if outcome.unreadable:
        keep[list(outcome.unreadable)] = False
        row, error = next(iter(outcome.unreadable.items()))
        warnings.warn(
            f"{step.name} could not process {len(outcome.unreadable)} documents, the first one is row {row}: {error}", stacklevel=4
        )
    if outcome.expanded is not None:
        return outcome.expanded.batch
    return outcome.batch if keep.all() else outcome.batch.filter(pa.array(keep))


def _batches(table: pa.Table) -> list[pa.RecordBatch]:
    at = table.schema.get_field_index("text")
    if at >= 0 and table.schema.field(at).type != pa.large_string():
        table = table.set_column(at, "text", table.column(at).cast(pa.large_string()))
    batches = table.combine_chunks().to_batches()
    return batches or [pa.RecordBatch.from_pylist([], schema=table.schema)]


def _corpus_outcomes(step: CorpusStep, batches: list[pa.RecordBatch], ctx: WorkContext) -> list[Outcome]:
    numbered, start = [], 0
    for batch in batches:
        numbered.append(with_columns(batch, {ROW: pa.array(np.arange(start, start + len(batch)))}))
        start += len(batch)
    sides: dict[str, pa.Table] = {}
    records: pa.Table | None = None
    for phase in step.phases():
        function = step.bind_phase(phase.name, ctx)
        if phase.over == "documents":
            side = {name: sides[name] for name in phase.reads}
            parts = [cast(DocumentsFn, function)(batch, side) for batch in numbered]
            records = pa.concat_tables([p.cast(phase.schema) for p in parts])
        else:
            assert records is not None, f"{step.name}: the first phase must be over documents"
            made = cast(RecordsFn, function)(records)
            records = (made if isinstance(made, pa.Table) else pa.concat_tables(t.cast(phase.schema) for t in made)).cast(phase.schema)
        if phase.to == "documents":
            sides[phase.name] = records.sort_by(ROW)
    return [step.apply(batch, align(sides[step.decides()], batch.column(ROW))) for batch in numbered]


def align(records: pa.Table, rows: pa.Int64Array) -> pa.Table:
    """Return one record per row of `rows`, in that order; all null where there is none.

    records: at most one per `_row`, in any order. Raises StepError where a row is named twice.
    """
    names = records.column(ROW).to_numpy()
    order = np.argsort(names, kind="stable")
    ordered = names[order]
    if len(ordered) > 1 and bool((ordered[1:] == ordered[:-1]).any()):
        raise StepError("A corpus step gave two records for one document. Its last phase must name each row once.")
    wanted = rows.to_numpy()
    at = np.searchsorted(ordered, wanted)
    inside = at < len(ordered)
    found = np.zeros(len(wanted), bool)
    found[inside] = ordered[at[inside]] == wanted[inside]
    take = pa.array(order[at[found]] if found.any() else np.zeros(0, np.int64))
    positions = np.zeros(len(wanted), np.int64)
    positions[found] = np.arange(int(found.sum()))
    picked = records.take(take).combine_chunks()
    return picked.take(pa.array(positions, mask=~found))


def to_arrow(table: Any) -> pa.Table:
    """Take a pyarrow, polars or pandas table; return it as pyarrow."""
    if isinstance(table, pa.Table):
        return table
    if isinstance(table, pa.RecordBatch):
        return pa.Table.from_batches([table])
    if hasattr(table, "to_arrow"):
        return table.to_arrow()
    if hasattr(table, "__arrow_c_stream__"):
        return pa.table(table)
    if hasattr(table, "columns") and hasattr(table, "iloc"):
        return pa.Table.from_pandas(table, preserve_index=False)
    raise TypeError(f"expected a pyarrow, polars or pandas table, got {type(table).__name__}")


def like(result: pa.Table, given: Any) -> Any:
    """Return `result` as the kind of table that `given` was."""
    kind = type(given).__module__.partition(".")[0]
    if kind == "polars":
        import polars as pl

        return pl.from_arrow(result)
    if kind == "pandas":
        return result.to_pandas()
    return result


def step_function(step_class: type[Step]) -> Any:
    """The step as a plain function: `gopher_quality(table, min_words=20)`."""

    def call(table: Any, value: Any = None, /, **settings: Any) -> Any:
        if value is not None:
            if step_class.shorthand is None:
                raise TypeError(f"{step_class.name} takes its settings by name")
            settings[step_class.shorthand] = value
        return like(run_step(step_class(**settings), to_arrow(table)), table)

    call.__name__ = call.__qualname__ = step_class.name
    call.__doc__ = step_class.__doc__
    return call
