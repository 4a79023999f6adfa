"""The step `convert`: policies for odd conversations, and a check that every record can be expressed in a format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import pyarrow as pa
from pydantic import Field, model_validator

from curate.errors import RecipeError
from curate.schema import with_columns
from curate.step import BatchFn, Context, Outcome, Step, Verdict, counted
from formats import policies
from formats.adapters.adapter import REASONS, Adapter, Unholdable, lost_fields
from formats.batches import from_batch, is_record, to_batch
from formats.catalog import adapter
from formats.policies import Policies
from formats.records import RECORD_COLUMNS, Record

_COLUMNS = ("text", *RECORD_COLUMNS)


class Convert(Step):
    """Make conversations fit a format: apply policies to odd ones, drop what the format can't express.

    Reads and keeps the columns of a record; documents without them are raw text. The result depends on the record alone.
    The manifest counts, by source, every odd case (`odd.NAME`, whatever its policy) and every field that the format can't
    hold (`lost.FIELD`). About 100,000 conversations of two turns a second and core. `write: {format: NAME}` adds this
    step by itself.
    """

    name: ClassVar[str] = "convert"
    summary: ClassVar[str] = "policies for odd conversations; drops what a format can't express"
    shorthand: ClassVar[str | None] = "to"

    to: str = Field("messages", description="format that every record must fit")
    settings: Mapping[str, Any] = Field({}, description="settings of the format, such as pairs: all for preference")
    policies: Policies = Field(default=Policies(), description="what to do with odd conversations")

    @model_validator(mode="after")
    def _known(self) -> Self:
        try:
            adapter(self.to, **self.settings)
        except RecipeError as error:
            raise ValueError(str(error)) from error
        return self

    def adds(self) -> Mapping[str, pa.DataType]:
        return dict(RECORD_COLUMNS)

    def drops(self) -> tuple[str, ...]:
        return tuple(f"convert.{reason}" for reason in dict.fromkeys((*policies.REASONS, *REASONS)))

    def bind(self, ctx: Context) -> BatchFn:
        target = adapter(self.to, **self.settings)
        return lambda batch: _convert(batch, target, self.policies)


def _convert(batch: pa.RecordBatch, target: Adapter, rules: Policies) -> Outcome:
    whole = is_record(batch.schema)
    given = from_batch(batch) if whole else [Record(text=text or "", plain=True) for text in batch.column("text").to_pylist()]
    made: list[Record] = []
    reasons: list[str | None] = []
    figures: dict[str, int] = {}
    found: list[tuple[int, int]] = []
    for row, record in enumerate(given):
        record, reason, names = _one(record, target, rules)
        made.append(record)
        reasons.append(reason)
        found += [(row, figures.setdefault(name, len(figures))) for name in names]
    if not whole or any(new is not old for new, old in zip(made, given, strict=True)):
        columns = to_batch(made)
        batch = with_columns(batch, {name: columns.column(name) for name in _COLUMNS})
    verdict = Verdict(pa.array([r is None for r in reasons], pa.bool_()), pa.array(reasons, pa.string()))
    return Outcome(batch, verdict, counted(batch.column("source"), list(figures), found))


def _one(record: Record, target: Adapter, rules: Policies) -> tuple[Record, str | None, list[str]]:
    """(the record after the policies, why it is dropped, what is counted)."""
    odd: Counter[str] = Counter()
    lost: set[str] = set()
    reason = None
    try:
        if not policies.is_usual(record):
            record = rules.apply(record, odd)
            lost = lost_fields(record, target.holds)
        target.write(record, lost)
    except Unholdable as error:
        reason, lost = f"convert.{error.reason}", set()
    return record, reason, [*(f"odd.{name}" for name in odd), *(f"lost.{name}" for name in sorted(lost))]
