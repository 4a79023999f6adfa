"""The step `score`: a number for every candidate of every record, beside those that are there."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from curate.errors import DataError, RecipeError
from curate.figures import with_figures
from curate.schema import ROW, with_columns
from curate.step import Asset, BatchFn, Context, CorpusStep, DocumentsFn, Outcome, Phase, RecordsFn, counted
from formats.batches import candidate_column, from_batch
from formats.generation import models as generation_models
from formats.generation.models import ModelSettings
from formats.records import CANDIDATE, Candidate, Record, text_of
from formats.scoring.verifier import Verifier, text_field, verifier
from formats.steps.prompts import READS, prompt_of

Name = Annotated[str, Field(min_length=1, max_length=200)]
Scored = list[list[float | None]]  # of each record, one number a candidate
_QUESTIONS = pa.schema([pa.field(ROW, pa.int64()), pa.field("prompts", pa.list_(pa.large_binary()))])
_REPLIES = pa.schema([pa.field(ROW, pa.int64()), pa.field("replies", pa.list_(pa.large_string()))])
_BLOCK = 512


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class Judge(_Settings):
    """A language model that marks answers, or compares two."""

    model: ModelSettings = Field(description="who judges: as `model` of generate")
    mode: Literal["pointwise", "pairwise"] = Field(default="pointwise", description="marks, or win rates over comparisons in both orders")
    low: float = Field(default=1, ge=-1e6, le=1e6, description="worst mark")
    high: float = Field(default=10, ge=-1e6, le=1e6, description="best mark")
    criteria: str = Field(default="", max_length=20_000, description="what to look at, in the judge's prompt")
    reference: Name | None = Field(default=None, description="field of the row with a reference answer, shown to the judge")
    samples: int = Field(default=1, ge=1, le=64, description="replies to each question; marks are averaged")
    temperature: float | None = Field(default=0.0, ge=0, le=10, description="of the judge")
    max_tokens: int | None = Field(default=1024, ge=1, le=1 << 24, description="most tokens of a reply")
    max_pairs: int | None = Field(default=None, ge=1, le=100_000, description="comparisons of a record; null: every two candidates")
    max_failed: float = Field(default=0.0, ge=0, le=1, description="share of replies that may fail for good")

    @model_validator(mode="after")
    def _scale(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low ({self.low:g}) must be below high ({self.high:g})")
        return self


class Majority(_Settings):
    """Agreement with the group's most frequent final answer."""

    extract: Literal["final", "marked", "whole"] = Field(default="final", description="as of the verifier math")
    pattern: str | None = Field(default=None, min_length=1, description="as of the verifier math")
    min_share: float = Field(default=0.0, ge=0, le=1, description="votes that the winner needs, as a share of the candidates")


class Score(CorpusStep):
    """Add one score to every candidate, by a verifier, a reward model, a judge, or the majority of the group.

    verifier: a name, or a name with its settings: `verifier: {math: {method: symbolic}}`. reward_model: a model of the recipe, a folder, a name on the
    hub; a list makes one score each. judge: {model, mode, ...}; questions go to one task that asks, and replies are kept as those of `generate`.
    majority: true, or its settings.

    A score that can't be given is null: no reference in the row, an answer that is too long for the model, a reply that can't be read. Nulls are
    counted (`NAME.null`), never replaced; selection never prefers them. Scores of other names stay. Rows without candidates are left as they are.
    """

    name: ClassVar[str] = "score"
    summary: ClassVar[str] = "a score for every candidate: verifier, reward model, judge, majority"
    origin: ClassVar[str] = "formats.scoring; judge: Zheng et al. 2023 (MT-bench), section 3, with both orders"
    shorthand: ClassVar[str | None] = "verifier"

    verifier: Name | dict[str, dict[str, Any]] | None = Field(None, description="name of a verifier, or {name: settings}")
    reward_model: Name | list[Name] | None = Field(
        None, description="sequence classifier with one output, or several", json_schema_extra={"path": "optional"}
    )
    judge: Judge | None = Field(None, description="a language model that marks or compares")
    majority: bool | Majority | None = Field(None, description="1 for the group's most frequent final answer")
    score_name: Name | None = Field(None, description="name of the score; else the verifier's, the model's, judge, majority")
    batch_tokens: int = Field(16_384, ge=16, le=1 << 26, description="padded tokens in a batch of the reward model")
    max_length: int = Field(4096, ge=8, le=1 << 24, description="longer rows get no score by the reward model")

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [n for n in ("verifier", "reward_model", "judge", "majority") if getattr(self, n) not in (None, False)]
        if len(given) != 1:
            raise ValueError(f"give exactly one of verifier, reward_model, judge, majority; got {', '.join(given) or 'none'}")
        if isinstance(self.verifier, dict) and len(self.verifier) != 1:
            raise ValueError("verifier is one name with its settings; add a step for each score")
        if isinstance(self.reward_model, list) and (not self.reward_model or self.score_name is not None):
            raise ValueError("a list of reward models is not empty, and its scores have the models' names: score_name can't be set")
        if self.verifier is not None:
            self._verifier()
        return self

    def _verifier(self) -> Verifier:
        name, settings = next(iter(self.verifier.items())) if isinstance(self.verifier, dict) else (str(self.verifier), {})
        try:
            return verifier(name, settings)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise ValueError(f"verifier {name}: {'.'.join(map(str, first['loc'])) or 'settings'}: {first['msg']}") from error
        except RecipeError as error:
            raise ValueError(str(error)) from error

    def names(self) -> tuple[str, ...]:
        """Names of the scores that it adds."""
        if isinstance(self.reward_model, list):
            return tuple(_short(m) for m in self.reward_model)
        if self.score_name is not None:
            return (self.score_name,)
        if isinstance(self.reward_model, str):
            return (_short(self.reward_model),)
        if self.verifier is not None:
            return (next(iter(self.verifier)) if isinstance(self.verifier, dict) else self.verifier,)
        return ("judge",) if self.judge is not None else ("majority",)

    def reads(self) -> frozenset[str]:
        """Columns that must exist before this step."""
        return READS

    def adds(self) -> Mapping[str, pa.DataType]:
        """Candidates with one score more."""
        return {"candidates": pa.list_(CANDIDATE)}

    def models(self) -> tuple[str, ...]:
        """Reward models and judges that are models of the recipe."""
        if self.judge is not None:
            return generation_models.node_names(self.judge.model)
        found = [self.reward_model] if isinstance(self.reward_model, str) else self.reward_model or []
        return tuple(found)

    def assets(self) -> tuple[Asset, ...]:
        """Files of models in folders."""
        return generation_models.assets(self.judge.model) if self.judge is not None else ()

    def phases(self) -> tuple[Phase, ...]:
        """None, unless a judge is asked."""
        if self.judge is None:
            return ()
        local = generation_models.local(self.judge.model) is not None
        return (
            Phase("questions", over="documents", to="everything", schema=_QUESTIONS, columns=READS),
            Phase("ask", over="everything", to="documents", schema=_REPLIES, note="one task", whole_machine=local),
        )

    def bind(self, ctx: Context) -> BatchFn:
        """Load the verifier or the model."""
        scorer = self._scorer(ctx)
        return lambda batch: self._added(batch, scorer(from_batch(batch)))

    def _scorer(self, ctx: Context) -> Callable[[Sequence[Record]], list[Scored]]:
        """A function from records to scores: for each name, for each record, for each candidate."""
        if self.verifier is not None:
            found = self._verifier()
            found.prepare()
            return lambda records: [[_verified(found, record) for record in records]]
        if self.reward_model is not None:
            from formats.scoring.reward_models import RewardModel

            names = [self.reward_model] if isinstance(self.reward_model, str) else self.reward_model
            models = [RewardModel(name, ctx, self.batch_tokens, self.max_length) for name in names]
            return lambda records: [_grouped(model.scores([(r, c) for r in records for c in r.candidates]), records) for model in models]
        from formats.scoring.answer_checks import Math
        from formats.scoring.majority import majority_scores

        given = self.majority if isinstance(self.majority, Majority) else Majority()
        math_ = Math(extract=given.extract, pattern=given.pattern)
        return lambda records: [[majority_scores([answer_of(c) for c in r.candidates], math_, given.min_share) for r in records]]

    def _added(self, batch: pa.RecordBatch, scored: list[Scored]) -> Outcome:
        records = from_batch(batch)
        figures: dict[str, int] = {}
        found: list[tuple[int, int]] = []
        for row, record in enumerate(records):
            for name, scores in zip(self.names(), scored, strict=True):
                for candidate, value in zip(record.candidates, scores[row], strict=True):
                    value = None if value is None or math.isnan(value) else float(value)
                    candidate.scores = {**(candidate.scores or {}), name: value}
                    label = "null" if value is None else "one" if value == 1 else "zero" if value == 0 else "other"
                    found.append((row, figures.setdefault(f"{name}.{label}", len(figures))))
        made = with_columns(batch, {"candidates": candidate_column([r.candidates for r in records])})
        return Outcome(made, None, counted(batch.column("source"), list(figures), found))

    # A judge is asked in one place

    def bind_phase(self, phase: str, ctx: Context) -> DocumentsFn | RecordsFn:
        """Return the function of that phase."""
        return self._questions if phase == "questions" else lambda records: self._ask(records, ctx)

    def _questions(self, batch: pa.RecordBatch, side: Mapping[str, pa.Table]) -> pa.Table:
        from formats.generation.prompts import user_prompt

        made = [[user_prompt(text).encoded() for text in self._texts(record)] for record in from_batch(batch)]
        return pa.table([batch.column(ROW), pa.array(made, pa.list_(pa.large_binary()))], schema=_QUESTIONS)

    def _texts(self, record: Record) -> list[str]:
        """Questions about a record, in a fixed order: one a candidate, or two a pair."""
        from formats.scoring.judges import comparisons, pairwise_prompt, pointwise_prompt

        judge = self.judge
        assert judge is not None
        question = "\n\n".join(text_of(m) for m in record.messages) or prompt_of(record)
        reference = text_field(record.meta, judge.reference) if judge.reference else None
        answers = [answer_of(c) for c in record.candidates]
        if judge.mode == "pointwise":
            return [pointwise_prompt(question, a, reference, judge.low, judge.high, judge.criteria) for a in answers]
        pairs = comparisons(len(answers), judge.max_pairs)
        both = [(answers[x], answers[y]) for a, b in pairs for x, y in ((a, b), (b, a))]
        return [pairwise_prompt(question, first, second, reference, judge.criteria) for first, second in both]

    def _ask(self, records: pa.Table, ctx: Context) -> Iterator[pa.Table]:
        from formats.generation.asking import Limits, ask
        from formats.generation.backend import Sampling
        from formats.generation.prompts import prompt_of_bytes

        judge = self.judge
        assert judge is not None
        lists = records.column("prompts").to_pylist()
        prompts = [prompt_of_bytes(body) for bodies in lists for body in bodies]
        sampling = Sampling(temperature=judge.temperature, max_tokens=judge.max_tokens)
        backend = generation_models.make_backend(judge.model, ctx)
        replies = ask(
            prompts, backend, sampling, ctx.kept("judge"), base=str(ctx.seed), samples=judge.samples,
            limits=Limits(max_failed=judge.max_failed), say=ctx.say,
        )  # fmt: skip
        yield with_figures(_REPLIES.empty_table(), {"questions": len(prompts) * judge.samples})
        rows, at = records.column(ROW).to_pylist(), 0
        for start in range(0, len(rows), _BLOCK):
            made = []
            for bodies in lists[start : start + _BLOCK]:
                made.append([reply for group in replies[at : at + len(bodies)] for reply in group])
                at += len(bodies)
            yield pa.table(
                [pa.array(rows[start : start + _BLOCK], pa.int64()), pa.array(made, pa.list_(pa.large_string()))], schema=_REPLIES
            )

    def apply(self, batch: pa.RecordBatch, delivered: pa.Table) -> Outcome:
        """Read the replies and add the scores."""
        replies = [r or [] for r in delivered.column("replies").to_pylist()]
        scored = [self._judged(len(r.candidates), given) for r, given in zip(from_batch(batch), replies, strict=True)]
        return self._added(batch, [scored])

    def _judged(self, count: int, replies: Sequence[str | None]) -> list[float | None]:
        from formats.scoring.judges import comparisons, pair_outcome, read_rating, read_verdict, win_rates

        judge = self.judge
        assert judge is not None
        groups = [replies[at : at + judge.samples] for at in range(0, len(replies), judge.samples)]
        if judge.mode == "pointwise":
            marks = [[m for m in (read_rating(reply, judge.low, judge.high) for reply in group) if m is not None] for group in groups]
            return [sum(m) / len(m) if m else None for m in marks] if groups else [None] * count
        pairs = comparisons(count, judge.max_pairs)
        played, points = [], []
        for pair, straight, swapped in zip(pairs, groups[::2], groups[1::2], strict=False):
            for one, two in zip(straight, swapped, strict=True):
                played.append(pair)
                points.append(pair_outcome(read_verdict(one), read_verdict(two)))
        return win_rates(count, played, points)


def answer_of(candidate: Candidate) -> str:
    """The text of an answer, without its reasoning."""
    return "\n".join(text_of(m) for m in candidate.messages)


def _verified(found: Verifier, record: Record) -> list[float | None]:
    prompt = prompt_of(record)
    try:
        return [found.check(prompt, answer_of(c), record.meta) for c in record.candidates]
    except DataError as error:
        raise DataError(f"score by {found.name}: record {record.id!r}: {error}") from error


def _grouped(flat: list[float | None], records: Sequence[Record]) -> Scored:
    made, at = [], 0
    for record in records:
        made.append(flat[at : at + len(record.candidates)])
        at += len(record.candidates)
    return made


def _short(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2]
