"""Final answers of chains of thought as columns, and where reasoning stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import msgspec
import pyarrow as pa
from pydantic import Field

from curate.schema import with_columns
from curate.step import BatchFn, Context, Outcome, Step, Verdict
from formats.answers import KINDS, Kind, final_answer, normalised
from formats.batches import from_batch, to_batch
from formats.records import RECORD_COLUMNS, Message, Record
from formats.steps.prompts import READS, answer_of

REASON = "answers.none"


class Answers(Step):
    """Add the final answer of each record's last answer: `answer_final`, how it was marked (`answer_kind`), `answer_normal` for comparing.

    Looked for in the answer's content, never in its reasoning. `required: true` drops records without one.
    """

    name: ClassVar[str] = "answers"
    summary: ClassVar[str] = "final answers of solutions: \\boxed{}, ####, the letter of a choice"
    origin: ClassVar[str] = "GSM8K (####), MATH (\\boxed), multiple choice; the order of kinds is ours"

    kinds: tuple[Kind, ...] = Field(KINDS, min_length=1, description="marks that count, in order: boxed, hashes, choice, phrase")
    required: bool = Field(False, description="drop records in which no final answer is found")

    def reads(self) -> frozenset[str]:
        """Columns that must exist before this step."""
        return READS

    def adds(self) -> Mapping[str, pa.DataType]:
        """Columns that exist after it, with their types."""
        return {"answer_final": pa.string(), "answer_kind": pa.string(), "answer_normal": pa.string()}

    def drops(self) -> tuple[str, ...]:
        """One reason, where an answer is required."""
        return (REASON,) if self.required else ()

    def bind(self, ctx: Context) -> BatchFn:
        """Nothing to load."""

        def run(batch: pa.RecordBatch) -> Outcome:
            found = [final_answer(answer_of(r), self.kinds) for r in from_batch(batch)]
            columns = ([f and f[0] for f in found], [f and f[1] for f in found], [f and normalised(f[0]) for f in found])
            made = with_columns(batch, {name: pa.array(c, pa.string()) for name, c in zip(self.adds(), columns, strict=True)})
            if not self.required:
                return Outcome(made)
            reason = pa.array([None if f else REASON for f in found], pa.string())
            return Outcome(made, Verdict(reason.is_null(), reason))

        return run


class Reasoning(Step):
    """Move reasoning between its own field and the answer's content.

    `separate` takes a <think> block at the start of an answer out into the field (also one whose opening tag came from the generation prompt); `inline` writes the
    field back as such a block, for templates and formats that know no other place; `remove` deletes it.
    """

    name: ClassVar[str] = "reasoning"
    summary: ClassVar[str] = "reasoning into its own field, inline, or away"
    shorthand: ClassVar[str | None] = "to"

    to: Literal["separate", "inline", "remove"] = Field(
        "separate", description="separate: field `reasoning`; inline: <think> block; remove"
    )

    def reads(self) -> frozenset[str]:
        """Columns that must exist before this step."""
        return READS

    def bind(self, ctx: Context) -> BatchFn:
        """Nothing to load."""
        names = ("text", *RECORD_COLUMNS)

        def run(batch: pa.RecordBatch) -> Outcome:
            given = from_batch(batch)
            made = [self._record(r) for r in given]
            if all(a is b for a, b in zip(given, made, strict=True)):
                return Outcome(batch)
            columns = to_batch(made)
            return Outcome(with_columns(batch, {name: columns.column(name) for name in names}))

        return run

    def _record(self, record: Record) -> Record:
        messages = [self._turn(m) for m in record.messages]
        candidates = [msgspec.structs.replace(c, messages=[self._turn(m) for m in c.messages]) for c in record.candidates]
        if messages == record.messages and candidates == record.candidates:
            return record
        return msgspec.structs.replace(record, messages=messages, candidates=candidates)

    def _turn(self, m: Message) -> Message:
        if m.role != "assistant":
            return m
        if self.to == "separate" and m.reasoning is None and m.content and "</think>" in m.content and not m.spans:
            before, _, after = m.content.partition("</think>")
            head, opened, thought = before.rpartition("<think>")
            # Text before the opening tag is part of the answer; then nothing can be taken out without moving words.
            return (
                m
                if head.strip()
                else msgspec.structs.replace(m, reasoning=(thought if opened else before).strip("\n"), content=after.lstrip("\n"))
            )
        if self.to == "inline" and m.reasoning is not None and not m.spans:
            return msgspec.structs.replace(m, reasoning=None, content=f"<think>\n{m.reasoning}\n</think>\n\n{m.content or ''}")
        if self.to == "remove" and m.reasoning is not None:
            return msgspec.structs.replace(m, reasoning=None)
        return m
