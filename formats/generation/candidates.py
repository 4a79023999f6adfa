"""From answers to candidates of records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import pyarrow as pa

from curate.schema import with_columns
from curate.step import Outcome, Verdict, counted
from formats.batches import from_batch, read_candidates, to_batch
from formats.generation.journal import Answer, Journal
from formats.generation.prompts import seed_of
from formats.json_text import dumps
from formats.records import Candidate, Message, Record, ToolCall, split_answer, text_of

REFERENCE = "reference"  # key of `meta`, and the model's name of a candidate that was given with the prompt
_CHANGED = ("text", "messages", "candidates", "plain", "meta")


class Provenance(NamedTuple):
    """Where candidates come from, beside their own seed and number."""

    model: str
    sampling: dict[str, Any]
    base: str  # of seeds
    round: int | None


def candidates_of(journal: Journal, row: int, source: Provenance) -> list[Candidate]:
    """The answers to a row's prompt, in order of samples; those that are missing are left out."""
    made = []
    samples = journal.questions.samples
    for question in range(row * samples, (row + 1) * samples):
        answer = journal.get(question)
        if answer is not None:
            prompt, sample = journal.questions.name(question)
            made.append(_candidate(answer, sample, seed_of(source.base, prompt, sample), source))
    return made


def _candidate(answer: Answer, sample: int, seed: int, source: Provenance) -> Candidate:
    calls = [_call(call) for call in answer.calls] if answer.calls else None
    content = answer.text if answer.text is not None or calls else ""
    return Candidate(
        [Message("assistant", content, reasoning=answer.reasoning, tool_calls=calls)],
        model=answer.model or source.model,
        finish_reason=answer.finish,
        extra={"sampling": source.sampling} if source.sampling else None,
        sample=sample,
        seed=seed,
        round=source.round,
        tokens=answer.tokens_out or None,
    )


def _call(call: Any) -> ToolCall:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        return ToolCall("", dumps(call))
    given = function.get("arguments")
    return ToolCall(
        str(function.get("name") or ""), given if isinstance(given, str) else dumps(given), str(call["id"]) if call.get("id") else None
    )


class Merging(NamedTuple):
    """How candidates come into a record."""

    reference: Literal["meta", "candidate", "drop"]  # where an answer goes that the record has
    as_chat: bool  # whether a bare string was sent as a user turn, and is one from now on
    no_prompt: str  # drop reasons
    no_answer: str


def add_candidates(batch: pa.RecordBatch, asked: pa.ListArray, how: Merging) -> Outcome:
    """The batch with new candidates behind those that are there. asked: null for rows without a prompt, [] where no answer came."""
    if not len(batch):
        return Outcome(batch, Verdict(pa.array([], pa.bool_()), pa.array([], pa.string())), {})
    valid = asked.is_valid().to_pylist()
    found = read_candidates(asked)
    made = [_merged(record, new, how) if new else record for record, new in zip(from_batch(batch), found, strict=True)]
    reasons = [None if new else how.no_answer if was_asked else how.no_prompt for new, was_asked in zip(found, valid, strict=True)]
    columns = to_batch(made)
    reason = pa.array(reasons, pa.string())
    counts = _finishes(batch, found)
    return Outcome(with_columns(batch, {name: columns.column(name) for name in _CHANGED}), Verdict(reason.is_null(), reason), counts)


def _merged(record: Record, new: list[Candidate], how: Merging) -> Record:
    messages, candidates, meta, plain = record.messages, record.candidates, record.meta, record.plain
    if record.text is not None:
        messages, plain = [Message("user", record.text)], True
    plain = plain and not how.as_chat
    if not candidates:
        messages, answer = split_answer(messages)
        if answer and how.reference == "candidate":
            candidates = [Candidate(answer, model=REFERENCE, finish_reason="stop")]
        elif answer and how.reference == "meta" and REFERENCE not in meta:
            meta = {**meta, REFERENCE: "\n\n".join(text_of(m) for m in answer)}
    return Record(messages, [*candidates, *new], record.tools, None, plain, record.id, record.source, meta)


def _finishes(batch: pa.RecordBatch, found: Sequence[Sequence[Candidate]]) -> dict[str, dict[str, int]]:
    """Finish reasons by source."""
    names: dict[str, int] = {}
    figures = [(row, names.setdefault(c.finish_reason or "", len(names))) for row, new in enumerate(found) for c in new]
    return counted(batch.column("source"), list(names), figures)
