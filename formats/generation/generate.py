"""The step `generate`: prompts become pools of candidates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal, Self

import pyarrow as pa
from pydantic import Field, model_validator

from curate.figures import with_figures
from curate.schema import ROW
from curate.step import Asset, Context, CorpusStep, DocumentsFn, Incoming, Outcome, Phase, RecordsFn
from formats.batches import candidate_column, from_batch
from formats.generation import models
from formats.generation.backend import Sampling
from formats.generation.candidates import Merging, Provenance, add_candidates, candidates_of
from formats.generation.journal import Journal
from formats.generation.models import ModelSettings
from formats.generation.spending import CHARACTERS_PER_TOKEN, Price, short
from formats.records import CANDIDATE
from formats.steps.prompts import READS

_PROMPTS = pa.schema([pa.field(ROW, pa.int64()), pa.field("prompt", pa.large_binary())])
_ANSWERS = pa.schema([pa.field(ROW, pa.int64()), pa.field("candidates", pa.list_(CANDIDATE))])
_BLOCK = 512  # rows whose answers are read at a time
NO_PROMPT, NO_ANSWER = "generate.no_prompt", "generate.no_answer"
FOLDER = "generate"


class Generate(CorpusStep):
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

    model: ModelSettings = Field(
        description="a model of the recipe, a folder, {server, name}, {batch, ...}, {plugin}, {recorded}",
        json_schema_extra={"path": "optional"},
    )
    samples: int = Field(1, ge=1, le=4096, description="answers to each prompt")
    temperature: float | None = Field(1.0, ge=0, le=10, description="0: the likeliest token each time; null: the model's own")
    top_p: float | None = Field(None, gt=0, le=1, description="smallest set of tokens with this probability")
    top_k: int | None = Field(None, ge=1, le=1_000_000, description="the likeliest so many tokens; not in OpenAI's own API")
    min_p: float | None = Field(
        None, ge=0, le=1, description="tokens with this share of the likeliest one's probability; not in OpenAI's own API"
    )
    repetition_penalty: float | None = Field(None, gt=0, le=10, description="above 1: against repeating; not in OpenAI's own API")
    presence_penalty: float | None = Field(None, ge=-2, le=2, description="against tokens that were there")
    frequency_penalty: float | None = Field(None, ge=-2, le=2, description="against tokens by how often they were there")
    max_tokens: int | None = Field(1024, ge=1, le=1 << 24, description="most tokens of one answer; null: the model's own bound")
    stop: tuple[str, ...] = Field((), max_length=64, description="texts that end an answer")
    system: str | None = Field(
        None, min_length=1, max_length=100_000, description="system turn before every prompt; not stored in the record"
    )
    plain_prompts: Literal["chat", "text"] = Field(
        "chat",
        description="what a prompt is that is a bare string: a user turn, or text to be continued (base models, models without a chat template)",
    )
    round: int | None = Field(None, ge=0, le=10_000, description="round of generation; part of the seeds, stored with each candidate")
    reference: Literal["meta", "candidate", "drop"] = Field("meta", description="what becomes of an answer that the record has")
    price: Price | None = Field(None, description="price of a million tokens: {input, output}")
    max_cost: float | None = Field(None, gt=0, le=1e9, description="most money, over all attempts; needs price")
    max_total_tokens: int | None = Field(
        None, ge=1, le=10**13, description="most tokens of prompts and answers together, over all attempts"
    )
    at_cap: Literal["stop", "finish"] = Field("stop", description="at a cap: stop the run, or go on with the answers that are there")
    max_failed: float = Field(0.0, ge=0, le=1, description="share of answers that may fail for good; more stop the run")
    ask: bool = Field(True, description="false: ask for nothing, take the answers that are there")

    @model_validator(mode="after")
    def _priced(self) -> Self:
        if self.max_cost is not None and self.price is None:
            raise ValueError("max_cost needs price: {input, output}, the price of a million tokens")
        return self

    def reads(self) -> frozenset[str]:
        """Columns that must exist before this step."""
        return READS

    def drops(self) -> tuple[str, ...]:
        """Every drop reason it can give."""
        return (NO_PROMPT, NO_ANSWER)

    def assets(self) -> tuple[Asset, ...]:
        """Files of a model in a folder, of a plugin, of a recording."""
        return models.assets(self.model)

    def models(self) -> tuple[str, ...]:
        """The model, where it is one of the recipe."""
        return models.node_names(self.model)

    def sampling(self) -> Sampling:
        """The parameters that are sent."""
        return Sampling(**{name: getattr(self, name) for name in Sampling.model_fields})

    def phases(self) -> tuple[Phase, ...]:
        """Collect the prompts, ask."""
        local = models.local(self.model) is not None
        return (
            Phase("prompts", over="documents", to="everything", schema=_PROMPTS, columns=READS),
            Phase("ask", over="everything", to="documents", schema=_ANSWERS, note="one task", whole_machine=local),
        )

    def bind_phase(self, phase: str, ctx: Context) -> DocumentsFn | RecordsFn:
        """Return the function of that phase."""
        return self._collect if phase == "prompts" else lambda records: self._ask(records, ctx)

    def _collect(self, batch: pa.RecordBatch, side: Mapping[str, pa.Table]) -> pa.Table:
        from formats.generation.prompts import prompt_of

        found = [prompt_of(record, self.system, self.plain_prompts == "chat") for record in from_batch(batch)]
        bodies = pa.array([None if p is None else p.encoded() for p in found], pa.large_binary())
        table = pa.table([batch.column(ROW), bodies], schema=_PROMPTS)
        return table.filter(bodies.is_valid())

    def _base(self, seed: int) -> str:
        return f"{seed}" if self.round is None else f"{seed}:{self.round}"

    def _ask(self, records: pa.Table, ctx: Context) -> Iterator[pa.Table]:
        """Ask for what is missing, then give the answers, in blocks of rows."""
        from formats.generation.asking import Limits, ask_missing, folder_of, open_journal

        column = records.column("prompt").combine_chunks()
        column = column if isinstance(column, pa.Array) else pa.concat_arrays(column.chunks)
        bodies: list[bytes] = column.to_pylist()
        backend = models.make_backend(self.model, ctx)
        sampling, base = self.sampling(), self._base(ctx.seed)
        limits = Limits(self.max_total_tokens, self.max_cost, self.price, self.max_failed, self.at_cap == "finish")
        with open_journal(folder_of(ctx.kept(FOLDER), backend, sampling, base), bodies, self.samples) as journal:
            if self.ask:
                ask_missing(journal, bodies.__getitem__, backend, sampling, base, limits, ctx.say)
            figures = {
                "answers": journal.answered, "questions": len(journal.questions), "tokens_in": journal.tokens_in, "tokens_out": journal.tokens_out,
                **{f"finish.{reason}": count for reason, count in sorted(journal.finish.items())},
            }  # fmt: skip
            yield with_figures(_ANSWERS.empty_table(), figures)
            rows = records.column(ROW).to_pylist()
            source = Provenance(models.called(self.model, ctx), sampling.given(), base, self.round)
            for start in range(0, len(rows), _BLOCK):
                yield self._block(rows[start : start + _BLOCK], start, journal, source)

    def _block(self, rows: list[int], start: int, journal: Journal, source: Provenance) -> pa.Table:
        made = [candidates_of(journal, row, source) for row in range(start, start + len(rows))]
        return pa.table([pa.array(rows, pa.int64()), candidate_column(made)], schema=_ANSWERS)

    def apply(self, batch: pa.RecordBatch, delivered: pa.Table) -> Outcome:
        """Add the candidates to their records."""
        column = delivered.column("candidates").combine_chunks()
        return add_candidates(batch, column, Merging(self.reference, self.plain_prompts == "chat", NO_PROMPT, NO_ANSWER))

    def findings(self, figures: Mapping[str, int]) -> dict[str, Any]:
        """Answers, tokens, finish reasons, cost."""
        found: dict[str, Any] = {k: v for k, v in sorted(figures.items()) if "." not in k}
        found["finish"] = {k.partition(".")[2]: v for k, v in sorted(figures.items()) if k.startswith("finish.")}
        if self.price is not None:
            found["cost"] = round(self.price.of(figures.get("tokens_in", 0), figures.get("tokens_out", 0)), 6)
        warnings = []
        missing = figures.get("questions", 0) - figures.get("answers", 0)
        if missing:
            warnings.append(f"generate: {missing:,} of {figures['questions']:,} answers are missing")
        cut = figures.get("finish.length", 0)
        if cut > 0.1 * max(1, figures.get("answers", 0)):
            warnings.append(f"generate: {cut:,} of {figures['answers']:,} answers were cut off at max_tokens")
        return found | ({"warnings": warnings} if warnings else {})

    def forecast(self, incoming: Incoming, seed: int) -> list[str]:
        """Answers to ask for, tokens and money: at most, and as answers so far let expect."""
        from formats.generation.asking import mean_answer

        about = "" if incoming.exact else "about "
        questions = incoming.rows * self.samples
        lines = [f"generate: {about}{incoming.rows:,} prompts x {self.samples} samples = {questions:,} answers"]
        tokens_in = int(incoming.bytes / CHARACTERS_PER_TOKEN) * self.samples
        most = None if self.max_tokens is None else questions * self.max_tokens
        bound = (
            "no bound on answers (max_tokens is null)"
            if most is None
            else f"at most {short(most)} of answers{self._money(tokens_in, most)}"
        )
        lines.append(f"  about {short(tokens_in)} tokens of prompts, {bound}")
        seen = mean_answer(incoming.kept / FOLDER) if incoming.kept is not None else None
        if seen is not None:
            count, mean_in, mean_out = seen
            expected = (int(questions * mean_in), int(questions * mean_out))
            lines.append(
                f"  by the {count:,} answers of earlier runs here: {short(expected[0])} and {short(expected[1])} tokens{self._money(*expected)}; "
                "those that fit are not asked for again"
            )
        caps = [f"cost {self.max_cost:,.2f}"] if self.max_cost is not None else []
        caps += [f"{short(self.max_total_tokens)} tokens"] if self.max_total_tokens is not None else []
        return [*lines, f"  {self.at_cap}s at {' or '.join(caps)}"] if caps else lines

    def _money(self, tokens_in: int, tokens_out: int) -> str:
        return "" if self.price is None else f", cost {self.price.of(tokens_in, tokens_out):,.2f}"
