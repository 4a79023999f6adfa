"""Empty records, to be filled: `read: {slots: {count: 5000}}` for steps that write prompts from nothing (`self_instruct`, `magpie`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pyarrow as pa
from pydantic import Field

from curate.io.reader import SPLIT_BYTES, Reader, Rows, Split, document_id
from formats.batches import to_batch
from formats.records import RECORD_COLUMNS, Record

_BATCH_ROWS = 16_384
_ROW_BYTES = 100  # what a row counts as where tasks are cut


class Slots(Reader):
    """So many records without a prompt. A step that fills fewer drops the others with its reason, so the ledger shows how many it made."""

    name: ClassVar[str] = "slots"
    summary: ClassVar[str] = "empty records for steps that write prompts from nothing"

    paths: tuple[str, ...] = Field((), max_length=0, description="not used")
    count: int = Field(ge=1, le=10**8, description="how many")

    def splits(self, base: str, split_bytes: int = SPLIT_BYTES) -> list[Split]:
        """Runs of rows. base is not used."""
        step = max(1, split_bytes // _ROW_BYTES)
        return [
            Split("slots", "slots", (min(start + step, self.count) - start) * _ROW_BYTES, "slots", start, min(start + step, self.count))
            for start in range(0, self.count, step)
        ]

    def read(self, split: Split, dataset: str) -> Iterator[Rows]:
        """Yield the empty records of a run."""
        for start in range(split.start, split.end, _BATCH_ROWS):
            numbers = range(start, min(start + _BATCH_ROWS, split.end))
            yield Rows(to_batch([Record() for _ in numbers], [document_id(dataset, "slots", n) for n in numbers], dataset))

    def extra_columns(self) -> dict[str, pa.DataType]:
        """Columns of a record beside those of every document."""
        return dict(RECORD_COLUMNS)
