"""A records task: one partition of an exchange (or all of it) through a phase of a corpus step."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, cast

import pyarrow as pa

from curate.context import WorkContext
from curate.errors import CurateError, StepError
from curate.exchange import ExchangeWriter, read_partition
from curate.figures import add, figures_of
from curate.schema import ROW
from curate.step import CorpusStep, RecordsFn
from curate.store import StageFolder
from curate.worker.documents import make_step


def run_records(job: dict[str, Any], stages: Path, index: int, scratch: Path, ctx: WorkContext) -> dict[str, Any]:
    """Do one task and return its receipt (without files)."""
    step = make_step(job["step"])
    assert isinstance(step, CorpusStep)
    phases = list(step.phases())
    at = next(i for i, p in enumerate(phases) if p.name == job["phase"])
    phase, before = phases[at], phases[at - 1]
    sender = StageFolder(stages / job["from"])
    entries = [(sender.task(s), (sender.receipt(s) or {})["records"]) for s in range(job["senders"])]
    started = time.perf_counter()
    records = read_partition(entries, index, before.schema)
    by = phase.key if phase.to == "key" else ROW if phase.to == "documents" else None
    writer = ExchangeWriter(scratch, phase.schema, job["partitions"], by)
    figures: dict[str, int] = {}
    try:
        result = cast(RecordsFn, step.bind_phase(phase.name, ctx))(records)
        for table in [result] if isinstance(result, pa.Table) else result:
            add(figures, figures_of(table).items())
            for batch in table.combine_chunks().to_batches(max_chunksize=1 << 20):
                writer.write(pa.Table.from_batches([batch]))
    except CurateError:
        raise
    except Exception as error:
        raise StepError(
            f"Step {step.name}, phase {phase.name}, failed on {len(records)} records: {type(error).__name__}: {error}"
        ) from error
    entry = writer.close()
    return {"records": entry, "figures": figures, "seconds": {f"{step.name}.{phase.name}": time.perf_counter() - started}}
