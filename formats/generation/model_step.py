"""What steps that ask a model share: which model, how answers are drawn, what may be spent.

`AskStep` is the base of steps with one question for each row (evolved prompts, personas, back-translation): a subclass says what is asked and what
becomes of the answer; drops, resuming, caps and seeds are the same as those of `generate`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from typing import Any, ClassVar, Literal, Self, overload

import msgspec
import pyarrow as pa
from pydantic import Field, model_validator

from curate.figures import with_figures
from curate.schema import ROW, with_columns
from curate.step import Asset, Context, CorpusStep, DocumentsFn, Incoming, Outcome, Phase, RecordsFn, Verdict
from formats.batches import from_batch, to_batch
from formats.generation import models
from formats.generation.asking import Limits, ask_missing, folder_of, mean_answer, open_journal
from formats.generation.backend import Backend, Sampling
from formats.generation.journal import Answer, Journal
from formats.generation.models import ModelSettings
from formats.generation.prompts import Prompt, digest
from formats.generation.spending import CHARACTERS_PER_TOKEN, Price, short
from formats.json_text import encode
from formats.records import Record
from formats.steps.prompts import READS

PROMPTS = pa.schema([pa.field(ROW, pa.int64()), pa.field("prompt", pa.large_binary())])
SAID = pa.schema([pa.field(ROW, pa.int64()), pa.field("answer", pa.large_binary())])
_BLOCK = 512  # rows whose answers are read at a time
_CHANGED = ("text", "messages", "candidates", "plain", "meta", "tools")
_answer = msgspec.json.Decoder(Answer).decode


class ModelStep(CorpusStep):
    """Base of all steps that ask a model."""

    own_models: ClassVar[bool] = True

    model: ModelSettings = Field(
        description="a model of the recipe, a folder, {server, name}, {batch, ...}, {plugin}, {recorded}",
        json_schema_extra={"path": "optional"},
    )
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

    def assets(self) -> tuple[Asset, ...]:
        """Files of a model in a folder, of a plugin, of a recording."""
        return models.assets(self.model)

    def models(self) -> tuple[str, ...]:
        """The model, where it is one of the recipe."""
        return models.node_names(self.model)

    def sampling(self) -> Sampling:
        """The parameters that are sent."""
        return Sampling(**{name: getattr(self, name) for name in Sampling.model_fields})

    def limits(self) -> Limits:
        """Caps."""
        return Limits(self.max_total_tokens, self.max_cost, self.price, self.max_failed, self.at_cap == "finish")

    def is_local(self) -> bool:
        """Whether the model runs in the task's own process."""
        return models.local(self.model) is not None

    def answered(self, bodies: Sequence[bytes], samples: int, backend: Backend, base: str, ctx: Context) -> Journal:
        """A journal with the answers to these prompts, asked for where they were missing. To be closed."""
        sampling = self.sampling()
        journal = open_journal(folder_of(ctx.kept(self.name), backend, sampling, base), bodies, samples)
        with ExitStack() as opened:
            opened.enter_context(journal)
            if self.ask:
                ask_missing(journal, bodies.__getitem__, backend, sampling, base, self.limits(), ctx.say)
            opened.pop_all()
        return journal

    def findings(self, figures: Mapping[str, int]) -> dict[str, Any]:
        """Answers, tokens, finish reasons, cost."""
        found: dict[str, Any] = {k: v for k, v in sorted(figures.items()) if "." not in k}
        found["finish"] = {k.partition(".")[2]: v for k, v in sorted(figures.items()) if k.startswith("finish.")}
        if self.price is not None:
            found["cost"] = round(self.price.of(figures.get("tokens_in", 0), figures.get("tokens_out", 0)), 6)
        warnings = []
        missing = figures.get("questions", 0) - figures.get("answers", 0)
        if missing:
            warnings.append(f"{missing:,} of {figures['questions']:,} answers are missing")
        cut = figures.get("finish.length", 0)
        if cut > 0.1 * max(1, figures.get("answers", 0)):
            warnings.append(f"{cut:,} of {figures['answers']:,} answers were cut off at max_tokens")
        return found | ({"warnings": warnings} if warnings else {})

    def questions_per_row(self) -> int:
        """For forecasts."""
        return 1

    def forecast(self, incoming: Incoming, seed: int) -> list[str]:
        """Answers to ask for, tokens and money: at most, and as answers so far let expect."""
        about = "" if incoming.exact else "about "
        samples = self.questions_per_row()
        questions = incoming.rows * samples
        lines = [f"{self.name}: {about}{incoming.rows:,} prompts x {samples} = {questions:,} answers"]
        tokens_in = int(incoming.bytes / CHARACTERS_PER_TOKEN) * samples
        most = None if self.max_tokens is None else questions * self.max_tokens
        bound = (
            "no bound on answers (max_tokens is null)"
            if most is None
            else f"at most {short(most)} of answers{self._money(tokens_in, most)}"
        )
        lines.append(f"  about {short(tokens_in)} tokens of prompts, {bound}")
        seen = mean_answer(incoming.kept / self.name) if incoming.kept is not None else None
        if seen is not None:
            count, mean_in, mean_out = seen
            expected = (int(questions * mean_in), int(questions * mean_out))
            lines.append(
                f"  by the {count:,} answers of earlier runs here: {short(expected[0])} and {short(expected[1])} tokens{self._money(*expected)}; "
                "those that fit are not asked for again"
            )
        caps = [f"cost {self.max_cost:,.2f}"] if self.max_cost is not None else []
        caps += [f"{short(self.max_total_tokens)} tokens"] if self.max_total_tokens is not None else []
        how = "stops" if self.at_cap == "stop" else "finishes with what is there"
        return [*lines, f"  {how} at {' or '.join(caps)}"] if caps else lines

    def _money(self, tokens_in: int, tokens_out: int) -> str:
        return "" if self.price is None else f", cost {self.price.of(tokens_in, tokens_out):,.2f}"


class Bodies(Sequence[bytes]):
    """The encoded prompts of a table of records, read from Arrow one at a time."""

    def __init__(self, records: pa.Table) -> None:
        column = records.column("prompt").combine_chunks()
        self._column = column if isinstance(column, pa.Array) else pa.concat_arrays(column.chunks)

    def __len__(self) -> int:
        return len(self._column)

    @overload
    def __getitem__(self, at: int) -> bytes: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[bytes]: ...

    def __getitem__(self, at: int | slice) -> bytes | Sequence[bytes]:
        found: bytes | Sequence[bytes] = self._column[at].to_pylist() if isinstance(at, slice) else self._column[at].as_py()
        return found


def figures_of_journal(journal: Journal) -> dict[str, int]:
    """What the manifest says of answers."""
    return {
        "answers": journal.answered, "questions": len(journal.questions), "tokens_in": journal.tokens_in, "tokens_out": journal.tokens_out,
        **{f"finish.{reason}": count for reason, count in sorted(journal.finish.items())},
    }  # fmt: skip


class AskStep(ModelStep):
    """Base of steps with one question for each row."""

    no_prompt: ClassVar[str] = "no_prompt"
    no_answer: ClassVar[str] = "no_answer"

    def question(self, record: Record, dice: int) -> Prompt | None:
        """What is asked for a record; None where there is nothing to ask. dice: 64 bits that depend on seed and record alone."""
        raise NotImplementedError

    def take(self, record: Record, answer: Answer, dice: int) -> Record | str:
        """The record that the answer makes, or the slug of a drop reason."""
        raise NotImplementedError

    def reasons(self) -> tuple[str, ...]:
        """Slugs that `take` may give."""
        return ()

    def drops(self) -> tuple[str, ...]:
        """Every drop reason it can give."""
        return tuple(f"{self.name}.{slug}" for slug in (self.no_prompt, self.no_answer, *self.reasons()))

    def phases(self) -> tuple[Phase, ...]:
        """Collect the prompts, ask."""
        return (
            Phase("prompts", over="documents", to="everything", schema=PROMPTS, columns=self.reads()),
            Phase("ask", over="everything", to="documents", schema=SAID, note="one task", whole_machine=self.is_local()),
        )

    def bind_phase(self, phase: str, ctx: Context) -> DocumentsFn | RecordsFn:
        """Return the function of that phase."""
        if phase == "ask":
            return lambda records: self._ask(records, ctx)

        def collect(batch: pa.RecordBatch, side: Mapping[str, pa.Table]) -> pa.Table:
            found = [self.question(record, dice_of(record)) for record in from_batch(batch)]
            bodies = pa.array([None if p is None else p.encoded() for p in found], pa.large_binary())
            return pa.table([batch.column(ROW), bodies], schema=PROMPTS).filter(bodies.is_valid())

        return collect

    def _ask(self, records: pa.Table, ctx: Context) -> Iterator[pa.Table]:
        bodies = Bodies(records)
        rows: list[int] = records.column(ROW).to_pylist()
        with closing(self.answered(bodies, 1, models.make_backend(self.model, ctx), str(ctx.seed), ctx)) as journal:
            yield with_figures(SAID.empty_table(), figures_of_journal(journal))
            for start in range(0, len(rows), _BLOCK):
                some = range(start, min(start + _BLOCK, len(rows)))
                answers = [journal.get(question) for question in some]
                said = [b"" if a is None else encode(a) for a in answers]
                yield pa.table([pa.array([rows[at] for at in some], pa.int64()), pa.array(said, pa.large_binary())], schema=SAID)

    def apply(self, batch: pa.RecordBatch, delivered: pa.Table) -> Outcome:
        """Put the answers to use."""
        made: list[Record] = []
        reasons: list[str | None] = []
        for record, said in zip(from_batch(batch), delivered.column("answer").to_pylist(), strict=True):
            found = self.no_prompt if said is None else self.no_answer if not said else self.take(record, _answer(said), dice_of(record))
            made.append(record if isinstance(found, str) else found)
            reasons.append(f"{self.name}.{found}" if isinstance(found, str) else None)
        columns = to_batch(made)
        reason = pa.array(reasons, pa.string())
        return Outcome(with_columns(batch, {name: columns.column(name) for name in _CHANGED}), Verdict(reason.is_null(), reason))


def dice_of(record: Record) -> int:
    """64 bits that depend on a record's content, not on its place."""
    body = encode([record.messages, record.text])
    return int.from_bytes(digest(body)[:8], "little")
