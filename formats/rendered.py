"""Records to tables of `input_ids` and `labels`: rendered, masked, fitted to a length, counted.

A row is what trl's SFTTrainer takes as it is (it leaves a given `labels` column alone), so that its defaults decide nothing: not the mask,
not the truncation. Set `max_length=None` there, or to ours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from formats.lengths import TooLong, as_json, shortened, text_plot
from formats.packing import joined, pack
from formats.records import Message, Record
from formats.templates.rendering import Refused, Renderer, Row
from formats.templates.turns import conversation_of

_IDS = pa.list_(pa.int32())
ROW = pa.schema([pa.field("id", pa.string()), pa.field("input_ids", _IDS), pa.field("labels", _IDS)])
PACKED = pa.schema([pa.field(name, _IDS) for name in ("input_ids", "labels", "position_ids", "seq_lengths")])
_EXAMPLES = 3


@dataclass
class Counts:
    """Where every record went. records = rows + dropped where no record is split into answers; `parts` = rows + dropped always."""

    records: int = 0
    parts: int = 0  # conversations after `per_answer`
    rows: int = 0
    shortened: int = 0  # rows that lost turns
    turns_cut: int = 0
    tokens: int = 0
    trained: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    lengths: list[int] = field(default_factory=list)

    def drop(self, refused: Refused, where: str) -> None:
        """Count a refusal, and keep the first few."""
        self.dropped[refused.reason] += 1
        held = self.examples.setdefault(refused.reason, [])
        if len(held) < _EXAMPLES:
            held.append(f"{where}: {refused.message}")

    def as_json(self) -> dict[str, Any]:
        """Plain JSON, in a stable order."""
        names = ("records", "parts", "rows", "shortened", "turns_cut", "tokens", "trained")
        return {
            **{name: getattr(self, name) for name in names},
            "dropped": dict(sorted(self.dropped.items())),
            "examples": dict(sorted(self.examples.items())),
            "lengths": as_json(self.lengths),
        }

    def lines(self) -> list[str]:
        """For people."""
        share = self.trained / self.tokens if self.tokens else 0.0
        made = [f"{self.records:,} records, {self.rows:,} rows, {self.tokens:,} tokens, {share:.1%} of them trained"]
        if self.shortened:
            made.append(f"{self.shortened:,} rows were too long and lost {self.turns_cut:,} turns")
        for reason, count in self.dropped.most_common():
            made += [f"  {count:>9,}  dropped: {reason}", *(f"             {text}" for text in self.examples[reason])]
        return made + text_plot(self.lengths)


def per_answer(messages: list[Message]) -> list[list[Message]]:
    """One conversation per trained answer, each ending with it; earlier answers are history (weight 0).

    For templates that strip the reasoning of earlier turns: every answer is then trained in the text that the model sees. Answers in a row (calls of tools with their results between) are one each.
    """
    made = []
    for at, m in enumerate(messages):
        if m.role == "assistant" and m.loss != 0:
            history = [msgspec.structs.replace(h, loss=0.0, spans=None) if h.role == "assistant" else h for h in messages[:at]]
            made.append([*history, m])
    return made


class Rows:
    """Rows of one renderer under one policy for lengths."""

    def __init__(self, renderer: Renderer, max_length: int | None = None, too_long: TooLong = "drop", split: bool = False) -> None:
        self.renderer, self.max_length, self.too_long, self.split = renderer, max_length, too_long, split
        self.counts = Counts()

    def of(self, records: Sequence[Record]) -> list[tuple[str, Row]]:
        """(id, row) of all records that give one."""
        return [(identity, row) for identity, row, _ in self.all(records) if isinstance(row, Row)]

    def all(self, records: Sequence[Record]) -> list[tuple[str, Row | Refused, int]]:
        """(id, row or refusal, number of the record) in order; every refusal is counted."""
        parts: list[tuple[list[Message], Record, int]] = []
        for number, record in enumerate(records):
            messages = conversation_of(record)
            split = per_answer(messages) if self.split else [messages]
            parts += [(one, record, number) for one in split or [messages]]
        counts = self.counts
        counts.records += len(records)
        counts.parts += len(parts)
        found = self.renderer.conversations([(m, r) for m, r, _ in parts])
        made: list[tuple[str, Row | Refused, int]] = []
        for row, (messages, record, number) in zip(found, parts, strict=True):
            row = self._fit(row, messages, record)
            if isinstance(row, Refused):
                counts.drop(row, record.id or f"record {counts.records - len(records) + number}")
            else:
                counts.rows += 1
                counts.tokens += len(row.ids)
                counts.trained += int(row.trained.sum())
                counts.lengths.append(len(row.ids))
            made.append((record.id, row, number))
        return made

    def _fit(self, row: Row | Refused, messages: list[Message], record: Record) -> Row | Refused:
        limit = self.max_length
        if isinstance(row, Refused) or limit is None or len(row.ids) <= limit:
            return row

        def measure(part: list[Message]) -> int | None:
            found = self.renderer.conversations([(part, record)])[0]
            return None if isinstance(found, Refused) else len(found.ids)

        kept = shortened(messages, measure, limit, self.too_long)
        if kept is None:
            return Refused("too_long", f"{len(row.ids)} tokens, {limit} are allowed")
        made = self.renderer.conversations([(kept, record)])[0]
        if isinstance(made, Row):
            made.turns_cut = len(messages) - len(kept)
            self.counts.shortened += 1
            self.counts.turns_cut += made.turns_cut
        return made


def table(rows: Sequence[tuple[str, Row]]) -> pa.RecordBatch:
    """Rows with the schema ROW."""
    columns = [pa.array([i for i, _ in rows], pa.string()), int_lists([r.ids for _, r in rows]), int_lists([r.labels() for _, r in rows])]
    return pa.RecordBatch.from_arrays(columns, schema=ROW)


def packed_table(rows: Sequence[tuple[np.ndarray, np.ndarray]], capacity: int) -> tuple[pa.RecordBatch, float]:
    """(sequences of several rows with the schema PACKED, share of them that holds tokens)."""
    done = pack([len(ids) for ids, _ in rows], capacity)
    sequences = [joined([rows[n] for n in one]) for one in done.bins]
    return pa.RecordBatch.from_arrays([int_lists([s[name] for s in sequences]) for name in PACKED.names], schema=PACKED), done.fill


def int_lists(values: Iterable[Any]) -> pa.ListArray:
    """A list column of int32 from lists or arrays."""
    arrays = [np.asarray(v, np.int32) for v in values]
    offsets = np.concatenate([[0], np.cumsum([len(a) for a in arrays])]).astype(np.int32)
    flat = np.concatenate(arrays) if arrays else np.zeros(0, np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat), type=_IDS)
