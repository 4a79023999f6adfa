"""A documents task: read batches, apply what corpus steps delivered, run the fused steps, emit records, write.

One flow per batch:  source -> deliveries -> steps -> (emit records) -> (shard | dataset parts)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa

from curate import registry
from curate.context import WorkContext
from curate.errors import CurateError, DataError, StepError
from curate.exchange import ExchangeWriter
from curate.figures import add, figures_of
from curate.io.reader import Unreadable
from curate.schema import ROW, ROW_COPY_SHIFT, ROW_TASK_SHIFT, concat, with_columns
from curate.step import CorpusStep, DocumentsFn, Outcome, Step, Verdict
from curate.store import StageFolder, begin_flush
from curate.worker.clock import Clock
from curate.worker.ledger import Ledger, text_bytes
from curate.worker.marks import Marks
from curate.worker.sinks import open_sink
from curate.worker.source import Delivery, empty_batch, read_source

Report = Callable[[int, int], None]
StageFn = Callable[[pa.RecordBatch], Outcome]


def make_step(spec: dict[str, Any]) -> Step:
    """The step that a job names: {name, settings}."""
    step: Step = registry.load("steps", spec["name"])(**spec["settings"])
    return step


def run_documents(job: dict[str, Any], folder: StageFolder, index: int, scratch: Path, ctx: WorkContext, report: Report) -> dict[str, Any]:
    """Do one task and return its receipt (without files)."""
    stages = folder.path.parent
    marks = Marks(folder.marker(index))
    if marks.stuck():
        raise DataError(
            f"Task {index} of {job['label']} killed its process {marks.deaths} times in one place without getting further "
            f"(batch {marks.batch}). Look at memory limits and at the inputs of this task in {folder.job}."
        )
    clock = Clock()
    with clock("bind"):
        names, functions = _functions(job, stages, index, ctx)
        ledger = Ledger(scratch, names, job["keep_dropped"])
        chain = Chain(names, functions, ledger, ctx)
        schema = chain.schema_after(empty_batch(job, stages, index))
        emit = Emit(job["emit"], stages, index, scratch, ctx) if job.get("emit") else None
        sink = open_sink(job, index, scratch, schema) if job["sink"] else None
    for number, rows in enumerate(clock.over("read", read_source(job, stages, index))):
        ledger.quarantine(rows.unreadable)
        ledger.skip(rows.skipped)
        ledger.came_in(rows.batch)
        pieces = []
        for start, stop, deaths in marks.slices(number, len(rows.batch)):
            marks.flying(number, start, stop, deaths)
            piece = chain(rows.batch.slice(start, stop - start))
            if emit is not None:
                with clock("emit"):
                    emit(piece)
            pieces.append(piece)
        ledger.quarantine(chain.take_unreadable(rows.path), counted=True)
        for row in marks.poisoned(number):
            ledger.quarantine([_poison(job, rows.batch, rows.path, row)], counted=True)
        with clock("ledger"):
            ledger.batch_done()
        marks.flying(-1, 0, 0)
        done = concat(pieces) if pieces else rows.batch.slice(0, 0)
        ledger.went_out(done)
        if sink is not None and len(done):
            with clock("write"):
                sink.write(done)
        begin_flush(scratch)
        report(len(rows.batch), text_bytes(rows.batch))
    receipt: dict[str, Any] = {"ledger": ledger.close(sink_rows=True), "distributions": ledger.distributions.record()}
    if emit is not None:
        with clock("emit"):
            receipt |= {"records": emit.close(), "figures": emit.figures}
    if sink is not None:
        with clock("write"):
            sink.close()
    return {**receipt, "seconds": {**ledger.seconds(), **clock.spent}}


class Chain:
    """The deliveries and steps of a stage, applied in order to one batch, with every verdict booked."""

    def __init__(self, names: list[str], functions: list[StageFn], ledger: Ledger, ctx: WorkContext) -> None:
        self._names, self._functions, self._ledger, self._ctx = names, functions, ledger, ctx
        self._unreadable: list[tuple[int, Unreadable]] = []

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        for position, function in enumerate(self._functions):
            started = time.perf_counter()
            outcome = self._call(position, function, batch)
            outcome = self._without_unreadable(position, batch, outcome)
            batch = outcome.batch
            self._ledger.distributions.looked_at(position, batch)
            if outcome.counts:
                self._ledger.count(position, outcome.counts)
            if outcome.evidence:
                self._ledger.evidence(position, outcome.evidence)
            if outcome.verdict is not None:
                self._ledger.distributions.measured(position, outcome.verdict.measured)
                left = self._ledger.drop(position, batch, outcome.verdict)
                if len(left) < len(batch):
                    self._ctx.rows_stay(batch, left, outcome.verdict.keep)
                batch = left
            if outcome.expanded is not None:
                batch = self._expanded(position, batch, outcome)
            self._ledger.passed(position, batch, time.perf_counter() - started)
        return batch

    def _expanded(self, position: int, kept: pa.RecordBatch, outcome: Outcome) -> pa.RecordBatch:
        """The rows that the kept rows became, each with a name of its own."""
        assert outcome.expanded is not None
        made, parents = outcome.expanded.batch, outcome.expanded.parents.to_numpy()
        alive = (
            np.arange(len(outcome.batch))
            if outcome.verdict is None
            else np.flatnonzero(outcome.verdict.keep.to_numpy(zero_copy_only=False))
        )
        if len(made) != len(parents) or (np.diff(parents) < 0).any() or not np.array_equal(np.unique(parents), alive):
            raise StepError(
                f"Step {self._names[position]} must make at least one row of each kept row, in order, and none of a dropped one."
            )
        self._ledger.created += len(made) - len(kept)
        return with_columns(made, {ROW: pa.array(copies_of(outcome.batch.column(ROW).to_numpy()[parents]))})

    def _without_unreadable(self, position: int, before: pa.RecordBatch, outcome: Outcome) -> Outcome:
        """Take out the rows that the step could not process, and remember them for the quarantine."""
        if not outcome.unreadable:
            return outcome
        keep = np.ones(len(before), bool)
        keep[list(outcome.unreadable)] = False
        for row, error in outcome.unreadable.items():
            document = before.slice(row, 1)
            number = document.column(ROW)[0].as_py()
            message = f"{error} (step {self._names[position]}, document {document.column('id')[0].as_py()!r})"
            self._unreadable.append((number, Unreadable("", number & ((1 << ROW_TASK_SHIFT) - 1), message, _text_head(document))))
        mask = pa.array(keep)
        verdict = outcome.verdict
        if verdict is not None:
            value, partner = (None if v is None else v.filter(mask) for v in (verdict.value, verdict.partner))
            measured = [m._replace(numbers=m.numbers[keep]) for m in verdict.measured]
            verdict = Verdict(verdict.keep.filter(mask), verdict.reason.filter(mask), value, partner, measured)
        return outcome._replace(batch=outcome.batch.filter(mask), verdict=verdict, unreadable={})

    def take_unreadable(self, path: str) -> list[Unreadable]:
        """What the steps could not process since the last call, in the order of the rows. path: where the batch came from."""
        rows, self._unreadable = sorted(self._unreadable, key=lambda entry: entry[0]), []
        return [row._replace(path=path) for _, row in rows]

    def schema_after(self, empty: pa.RecordBatch) -> pa.Schema:
        """Columns after all steps, learnt from a batch without rows."""
        for position, function in enumerate(self._functions):
            outcome = self._call(position, function, empty)
            empty = outcome.batch if outcome.expanded is None else outcome.expanded.batch
        return empty.schema

    def _call(self, position: int, function: StageFn, batch: pa.RecordBatch) -> Outcome:
        name = self._names[position]
        try:
            outcome = function(batch)
        except CurateError:
            raise
        except MemoryError as error:
            raise StepError(f"Step {name} ran out of memory on a batch of {len(batch)} documents, {text_bytes(batch)} bytes.") from error
        except Exception as error:
            raise StepError(f"Step {name} failed: {type(error).__name__}: {error}. {_first_id(batch)}") from error
        if not isinstance(outcome, Outcome) or len(outcome.batch) != len(batch):
            got = len(outcome.batch) if isinstance(outcome, Outcome) else type(outcome).__name__
            raise StepError(f"Step {name} must return an Outcome with {len(batch)} rows, got {got}.")
        verdict = outcome.verdict
        if verdict is not None and (len(verdict.keep) != len(batch) or verdict.keep.null_count or len(verdict.reason) != len(batch)):
            raise StepError(f"Step {name} must decide on each of {len(batch)} rows, keep without nulls; got {len(verdict.keep)} decisions.")
        return outcome


def copies_of(rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Names of rows that came from rows: (task, ordinal, how many of the same row were before it). rows: ascending."""
    first = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]]) if len(rows) else np.zeros(0, np.int64)
    copy = np.arange(len(rows)) - np.repeat(first, np.diff(np.r_[first, len(rows)]))
    ordinal = rows & ((1 << ROW_TASK_SHIFT) - 1)
    if len(rows) and (int(copy.max()) >> ROW_COPY_SHIFT or int(ordinal.max()) >> (ROW_TASK_SHIFT - ROW_COPY_SHIFT)):
        raise StepError(
            "A row became more than 4,096 rows, or rows of rows were expanded again. Put the second selection into a dataset of its own."
        )
    return (rows >> ROW_TASK_SHIFT << ROW_TASK_SHIFT) + (ordinal << ROW_COPY_SHIFT) + copy


class Emit:
    """The first or a later documents phase of a corpus step: records out of every batch."""

    def __init__(self, spec: dict[str, Any], stages: Path, index: int, scratch: Path, ctx: WorkContext) -> None:
        step = make_step(spec["step"])
        assert isinstance(step, CorpusStep)
        phases = {p.name: p for p in step.phases()}
        phase = phases[spec["phase"]]
        self._columns = [*sorted(phase.columns), ROW]
        self._function = cast(DocumentsFn, _once(ctx, f"emit.{phase.name}", lambda: step.bind_phase(phase.name, ctx)))
        self._sides = {s["phase"]: Delivery(s, stages, index, phases[s["phase"]].schema).records for s in spec["sides"]}
        by = phase.key if phase.to == "key" else ROW if phase.to == "documents" else None
        self._writer = ExchangeWriter(scratch, phase.schema, spec["partitions"], by)
        self.figures: dict[str, int] = {}

    def __call__(self, batch: pa.RecordBatch) -> None:
        if len(batch):
            records = self._function(batch.select(self._columns), self._sides)
            add(self.figures, figures_of(records).items())
            self._writer.write(records)

    def close(self) -> dict[str, Any]:
        return self._writer.close()


def _functions(job: dict[str, Any], stages: Path, index: int, ctx: WorkContext) -> tuple[list[str], list[StageFn]]:
    names: list[str] = []
    functions: list[StageFn] = []
    for spec in job["deliveries"]:
        step = make_step(spec["step"])
        assert isinstance(step, CorpusStep)
        delivery = Delivery(spec, stages, index, next(p for p in step.phases() if p.name == step.decides()).schema)
        names.append(step.name)
        functions.append(_apply_delivery(step, delivery))
    for position, spec in enumerate(job["steps"]):
        names.append(spec["name"])
        functions.append(_once(ctx, f"step.{position}", partial(_bind, spec, ctx)))
    return names, functions


def _bind(spec: dict[str, Any], ctx: WorkContext) -> StageFn:
    return make_step(spec).bind(ctx)


def _once(ctx: WorkContext, place: str, bind: Callable[[], Any]) -> Any:
    """Bind a step for the first task of a stage that this process does, and keep it for the others: models load once."""
    if place not in ctx.bound:
        ctx.bound[place] = bind()
    return ctx.bound[place]


def _apply_delivery(step: CorpusStep, delivery: Delivery) -> StageFn:
    return lambda batch: step.apply(batch, delivery.aligned(batch))


def _poison(job: dict[str, Any], batch: pa.RecordBatch, path: str, row: int) -> Unreadable:
    ordinal = batch.column(ROW)[row].as_py() & ((1 << ROW_TASK_SHIFT) - 1)
    identity = batch.column("id")[row].as_py()
    steps = ", ".join(s["name"] for s in [*(d["step"] for d in job["deliveries"]), *job["steps"]])
    error = f"killed its worker process: document {identity!r}, row {ordinal} of its task; steps of this stage: {steps}"
    return Unreadable(path, ordinal, error, _text_head(batch.slice(row, 1)))


def _text_head(document: pa.RecordBatch) -> bytes:
    """The first bytes of the text of one document."""
    text = (document.column("text")[0].as_py() or "") if "text" in document.schema.names else ""
    return text[:4096].encode()[:4096]


def _first_id(batch: pa.RecordBatch) -> str:
    if not len(batch) or "id" not in batch.schema.names:
        return "The batch was empty."
    return f"The batch had {len(batch)} documents, the first one {batch.column('id')[0].as_py()!r}."
