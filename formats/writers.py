"""`write: {format: messages}`: the final dataset as rows of a format, in JSON lines (zstd) or Parquet.

Each format is a writer. A recipe that names one gets the step `convert` with the same format as its last step, so that
records the format can't express are dropped there, with their reasons in the ledger; a writer itself drops nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from curate.errors import RecipeError, StepError
from formats.adapters.adapter import Unholdable
from formats.batches import from_batch
from formats.catalog import FORMATS, adapter
from formats.outputs import Output
from formats.records import RECORD_COLUMNS, Record, text_view

FORMS = ("jsonl.zst", "jsonl", "jsonl.gz", "parquet")
FILE_ROWS = 1 << 20  # rows of records in one file


class RecordWriter:
    """Batches of records to numbered files of rows."""

    format: ClassVar[str]

    def __init__(
        self,
        folder: Path,
        stem: str,
        schema: pa.Schema,
        metadata: Mapping[str, str],
        into: str = "jsonl.zst",
        ids: bool = False,
        **settings: Any,
    ) -> None:
        if into not in FORMS:
            raise RecipeError(f"write.into must be one of {', '.join(FORMS)}, got {into!r}.")
        missing = [name for name in RECORD_COLUMNS if name not in schema.names]
        if missing:
            raise RecipeError(f"write {self.format}: the documents have no column {missing[0]!r}. Give their reader a `format`.")
        self.folder, self.stem, self.into, self.ids = folder, stem, into, ids
        self.target = adapter(self.format, **settings)
        self.paths: list[Path] = []
        self._out: Output | None = None
        self._records = 0

    @classmethod
    def step(cls, settings: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """The step that a recipe with this writer ends with: name and settings."""
        rest = {key: value for key, value in settings.items() if key not in ("into", "ids")}
        return "convert", {"to": cls.format, **({"settings": rest} if rest else {})}

    def write(self, batch: pa.RecordBatch) -> None:
        """Add the records of a batch. Raises StepError where a step edited the text, which is only a view of the turns."""
        views = batch.column("text").to_pylist()
        for record, text in zip(from_batch(batch), views, strict=True):
            if text_view(record) != (text or ""):
                raise StepError(
                    f"write {self.format}: a step edited the text of {record.id!r}, which is only a view of its turns: the edit would be lost. "
                    "Clean conversations before they are read, or leave that step out."
                )
            if self._out is None:
                self._begin()
            assert self._out is not None
            self._out.write(self._rows(record))
            self._records += 1
            if self._records >= FILE_ROWS:
                self._end()

    def close(self) -> list[Path]:
        """Finish and return the files; none where no record came."""
        self._end()
        return self.paths

    def abort(self) -> None:
        """Leave no open file behind."""
        if self._out is not None:
            self._out.__exit__(StepError, None, None)

    def _rows(self, record: Record) -> list[dict[str, Any]]:
        try:
            rows = self.target.write(record, set())
        except Unholdable as error:
            raise StepError(
                f"write {self.format}: {record.id!r} can't be expressed: {error}. Put `convert: {self.format}` before it."
            ) from error
        if self.ids:
            for row in rows:
                row.setdefault("id", record.id)
        return rows

    def _begin(self) -> None:
        self.paths.append(self.folder / f"{self.stem}-{len(self.paths):05d}.{self.into}")
        self._out = Output(self.paths[-1]).__enter__()
        self._records = 0

    def _end(self) -> None:
        if self._out is not None:
            self._out.__exit__(None, None, None)
            self._out = None


def _writer(name: str) -> type[RecordWriter]:
    return type(f"{name.title().replace('_', '')}Writer", (RecordWriter,), {"format": name, "__doc__": f"Rows of the format {name}."})


WRITERS = {name: _writer(name) for name in FORMATS}


def __getattr__(name: str) -> type[RecordWriter]:
    """The writer of a format, as entry points name it: `formats.writers:messages`."""
    if name in WRITERS:
        return WRITERS[name]
    raise AttributeError(name)
