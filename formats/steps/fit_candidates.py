"""The step `fit_candidates`: prompts with candidates within a number of tokens, before a trainer cuts them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Self

import pyarrow as pa
from pydantic import Field, model_validator

from curate.schema import with_columns
from curate.step import Asset, BatchFn, Context, Outcome, Step, Verdict, counted
from formats.batches import from_batch, to_batch
from formats.candidate_lengths import Conversations, Fitted, Limits, LongAnswer, LongPrompt, fit
from formats.steps.prompts import READS
from formats.steps.render import tokenizer_files
from formats.templates.rendering import REASONS, Refused

_COLUMNS = ("fit_prompt_tokens", "fit_answer_tokens", "fit_turns_cut", "fit_answers_cut")
_OWN = ("no_candidates", "too_long", "prompt_too_long", "answer_too_long", "identical")


class FitCandidates(Step):
    """Fit preference pairs, ranked lists and labelled answers into a number of tokens, all candidates of a prompt alike.

    Lengths are those of the rendered conversation, template and stop token included. `long_prompt: keep_end` leaves the oldest exchanges of
    the prompt out, for all candidates; `long_answer: cut` ends an answer at the end of a sentence or line outside of code, where the
    template then writes its stop token, and marks it `finish_reason: length`. The prompt is shortened first. A record goes where that is
    not enough, where two neighbours in its list became equal, or where the template refuses it. Adds `fit_prompt_tokens`,
    `fit_answer_tokens` (the longest), `fit_turns_cut` and `fit_answers_cut`; the manifest counts records shortened either way, by source.
    """

    name: ClassVar[str] = "fit_candidates"
    summary: ClassVar[str] = "preference pairs within a number of tokens: prompt cut at turns, answers at sentences, or dropped"
    shorthand: ClassVar[str | None] = "tokenizer"

    tokenizer: str = Field(min_length=1, description="folder with tokenizer.json, or the file", json_schema_extra={"path": True})
    template: str | None = Field(
        None, min_length=1, description="as for render; null: the tokenizer's own", json_schema_extra={"path": "optional"}
    )
    max_tokens: int | None = Field(None, ge=1, le=1 << 24, description="most tokens of the prompt with the longest answer")
    max_prompt_tokens: int | None = Field(None, ge=1, le=1 << 24, description="most tokens of the prompt")
    max_answer_tokens: int | None = Field(None, ge=1, le=1 << 24, description="most tokens of an answer")
    long_prompt: LongPrompt = Field("drop", description="drop the record; keep_end: the oldest exchanges go")
    long_answer: LongAnswer = Field("drop", description="drop the record; cut: the answer ends at an earlier sentence or line")
    stop: str | None = Field(None, min_length=1, description="token that ends an answer; null: found by rendering")
    date: str | None = Field(None, pattern=r"^\d{4}-\d\d-\d\d$", description="date for templates that write one, YYYY-MM-DD")

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.max_tokens is None and self.max_prompt_tokens is None and self.max_answer_tokens is None:
            raise ValueError("needs one of max_tokens, max_prompt_tokens and max_answer_tokens")
        return self

    def reads(self) -> frozenset[str]:
        """Columns that must exist before this step."""
        return READS

    def adds(self) -> Mapping[str, pa.DataType]:
        """Columns that exist after it, with their types."""
        return dict.fromkeys(_COLUMNS, pa.int64())

    def drops(self) -> tuple[str, ...]:
        """Every drop reason it can give."""
        return tuple(f"{self.name}.{reason}" for reason in dict.fromkeys((*_OWN, *REASONS)))

    def assets(self) -> tuple[Asset, ...]:
        """The tokenizer's files, and the template's."""
        return tuple(Asset(str(file), "tokenizer") for file in tokenizer_files(Path(self.tokenizer), self.template))

    def bind(self, ctx: Context) -> BatchFn:
        """Load and probe the tokenizer and its template."""
        from formats.templates.probe import check
        from formats.templates.rendering import Renderer, Settings
        from formats.templates.tokenizer import load

        chat = load(self.tokenizer, self.template, self.stop, self.date)
        check(chat)
        renderer = Renderer(chat, Settings("completion"))
        limits = Limits(self.max_tokens, self.max_prompt_tokens, self.max_answer_tokens, self.long_prompt, self.long_answer)
        return lambda batch: self._run(batch, renderer, limits)

    def _run(self, batch: pa.RecordBatch, renderer: Conversations, limits: Limits) -> Outcome:
        given = from_batch(batch)
        made = [fit(renderer, record, limits) for record in given]
        good = [m if isinstance(m, Fitted) else None for m in made]
        columns = {name: pa.array(list(map(figure, good)), pa.int64()) for name, figure in zip(_COLUMNS, _FIGURES, strict=True)}
        if any(m is not None and (m.turns_cut or m.answers_cut) for m in good):
            whole = to_batch([r if m is None else m.record for r, m in zip(given, good, strict=True)])
            columns |= {name: whole.column(name) for name in ("text", "messages", "candidates")}
        reason = pa.array([f"{self.name}.{m.reason}" if isinstance(m, Refused) else None for m in made], pa.string())
        figures = [(row, kind) for row, m in enumerate(good) if m for kind, cut in enumerate((m.turns_cut, m.answers_cut)) if cut]
        counts = counted(batch.column("source"), ("prompts_shortened", "answers_cut"), figures)
        return Outcome(with_columns(batch, columns), Verdict(reason.is_null(), reason), counts)


_FIGURES = (
    lambda m: 0 if m is None else max(len(p) for p, _ in m.sides),
    lambda m: 0 if m is None else max(len(a) for _, a in m.sides),
    lambda m: 0 if m is None else m.turns_cut,
    lambda m: 0 if m is None else m.answers_cut,
)
