"""What steps on instruction sets look at: the prompt and the answer of a record as text."""

from __future__ import annotations

from typing import Literal

import pyarrow as pa

from formats.batches import from_batch
from formats.records import RECORD_COLUMNS, Record, split_answer, text_of
from formats.templates.turns import conversation_of

READS = frozenset({"id", "text", "source", "meta", *RECORD_COLUMNS})
Which = Literal["first", "last", "all"]


def prompt_of(record: Record, which: Which = "first") -> str:
    """User turns of a record: the first, the last, or all before the answer, joined by a blank line. '' where there are none."""
    turns = [text_of(m) for m in split_answer(conversation_of(record) if not record.candidates else record.messages)[0] if m.role == "user"]
    if not turns:
        return ""
    return turns[0] if which == "first" else turns[-1] if which == "last" else "\n\n".join(turns)


def answer_of(record: Record) -> str:
    """The last assistant turn's content, of the best candidate where there are several; '' where there is none."""
    turns = conversation_of(record)
    return text_of(turns[-1]) if turns and turns[-1].role == "assistant" else ""


def prompts(batch: pa.RecordBatch, which: Which = "first") -> pa.LargeStringArray:
    """The prompts of a batch of records."""
    return pa.array([prompt_of(r, which) for r in from_batch(batch)], pa.large_string())
