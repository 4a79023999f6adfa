"""The step `generate`: prompts become pools of candidates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from curate.figures import with_figures
from curate.schema import ROW
from curate.step import Context, DocumentsFn, Outcome, Phase, RecordsFn
from formats.batches import candidate_column, from_batch
from formats.generation import models
from formats.generation.candidates import Merging, Provenance, add_candidates, candidates_of
from formats.generation.journal import Journal
from formats.generation.model_step import PROMPTS, Bodies, ModelStep, figures_of_journal
from formats.generation.prompts import prompt_of
from formats.records import CANDIDATE
from formats.steps.prompts import READS

_ANSWERS = pa.schema([pa.field(ROW, pa.int64()), pa.field("candidates", pa.list_(CANDIDATE))])
_BLOCK = 512  # rows whose answers are read at a time
NO_PROMPT, NO_ANSWER = "generate.no_prompt", "generate.no_answer"


class Generate(ModelStep):
    """Ask a model for `samples` answers to every prompt; they become the record's candidates, each with its seed, parameters and finish reason.

    One row in, one row out. What a record already has as answer goes to `meta.reference`, or becomes a candidate (`reference`); candidates that are
    there stay in front. Equal prompts get different samples. A row without a prompt, or without any answer, is dropped with that reason.

    Prompts travel to one task which does all the asking: one place knows concurrency, rates, caps and what was spent, however many workers there are,
    and a model in this process is loaded once and has all cores. That task waits for the network nearly all of its time. Answers are written to
    the run's own folder (`.kept/generate`) the moment they come, under the digest of model and parameters, each under
    the digest of its prompt: a killed run asks again for nothing but what was in flight, and so does a recipe with other steps, other or more
    prompts, more samples. A changed parameter, model or seed asks anew. The pool does not depend on the order of prompts or on when answers came.

    Seeds are a function of (recipe's seed, round, prompt, sample). Whether equal seeds give equal answers is the server's affair: vLLM and llama.cpp
    promise it for equal batches at best. In this process they do (docs/generation.md).
    """

    name: ClassVar[str] = "generate"
    summary: ClassVar[str] = "answers of a model to every prompt: the pool of candidates"
    origin: ClassVar[str] = (
        "rejection sampling as in Touvron et al. 2023 (Llama 2), section 3.2.3, and Dubey et al. 2024 (Llama 3), section 4.2.2"
    )
    shorthand: ClassVar[str | None] = "model"

    samples: int = Field(1, ge=1, le=4096, description="answers to each prompt")
    plain_prompts: Literal["chat", "text"] = Field(
        "chat",
        description="what a prompt is that is a bare string: a user turn, or text to be continued (base models, models without a chat template)",
    )
    round: int | None = Field(None, ge=0, le=10_000, description="round of generation; part of the seeds, stored with each candidate")
    reference: Literal["meta", "candidate", "drop"] = Field("meta", description="what becomes of an answer that the record has")

    def drops(self) -> tuple[str, ...]:
        """Every drop reason it can give."""
        return (NO_PROMPT, NO_ANSWER)

    def questions_per_row(self) -> int:
        """One for each sample."""
        return self.samples

    def phases(self) -> tuple[Phase, ...]:
        """Collect the prompts, ask."""
        return (
            Phase("prompts", over="documents", to="everything", schema=PROMPTS, columns=READS),
            Phase("ask", over="everything", to="documents", schema=_ANSWERS, note="one task", whole_machine=self.is_local()),
        )

    def bind_phase(self, phase: str, ctx: Context) -> DocumentsFn | RecordsFn:
        """Return the function of that phase."""
        return self._collect if phase == "prompts" else lambda records: self._ask(records, ctx)

    def _collect(self, batch: pa.RecordBatch, side: Mapping[str, pa.Table]) -> pa.Table:
        found = [prompt_of(record, self.system, self.plain_prompts == "chat") for record in from_batch(batch)]
        bodies = pa.array([None if p is None else p.encoded() for p in found], pa.large_binary())
        return pa.table([batch.column(ROW), bodies], schema=PROMPTS).filter(bodies.is_valid())

    def _ask(self, records: pa.Table, ctx: Context) -> Iterator[pa.Table]:
        """Ask for what is missing, then give the answers, in blocks of rows."""
        base = f"{ctx.seed}" if self.round is None else f"{ctx.seed}:{self.round}"
        bodies = Bodies(records)
        rows: list[int] = records.column(ROW).to_pylist()
        source = Provenance(models.called(self.model, ctx), self.sampling().given(), base, self.round)
        with closing(self.answered(bodies, self.samples, models.make_backend(self.model, ctx), base, ctx)) as journal:
            yield with_figures(_ANSWERS.empty_table(), figures_of_journal(journal))
            for start in range(0, len(rows), _BLOCK):
                yield self._block(rows[start : start + _BLOCK], start, journal, source)

    def _block(self, rows: list[int], start: int, journal: Journal, source: Provenance) -> pa.Table:
        made = [candidates_of(journal, row, source) for row in range(start, start + len(rows))]
        return pa.table([pa.array(rows, pa.int64()), candidate_column(made)], schema=_ANSWERS)

    def apply(self, batch: pa.RecordBatch, delivered: pa.Table) -> Outcome:
        """Add the candidates to their records."""
        column = delivered.column("candidates").combine_chunks()
        return add_candidates(batch, column, Merging(self.reference, self.plain_prompts == "chat", NO_PROMPT, NO_ANSWER))
