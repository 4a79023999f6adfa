"""What a reader is: settings, a listing of splits, and batches of documents with a report of what can't be read.

A split is a piece of one file that one worker reads alone. Splits depend on the files only, never on how many workers
there are. `read` yields batches of about BATCH_BYTES of text with the columns of `curate.schema.DOCUMENT` (without
`_row`) and then the promoted `columns`, always the same batches for the same split.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Self

import pyarrow as pa
import xxhash
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from curate.schema import DOCUMENT, ROW

BATCH_BYTES = 8 << 20
BATCH_ROWS = 65_536
SPLIT_BYTES = 256 << 20


@dataclass(frozen=True)
class Split:
    """A piece of a file: [start, end) in units of the reader (bytes, row groups, lines); end < 0 means to the end."""

    uri: str  # what to open: an absolute path or an fsspec URL
    path: str  # relative to the data set's root, '/' separated: goes into ids, ledger and quarantine
    size: int  # bytes on disk of this piece, for balancing
    fingerprint: str  # of the whole file: "size:mtime_ns", an ETag, a version
    start: int = 0
    end: int = -1
    # Where decompression of a gzip file of many members may begin and must end: (byte of the file, byte of the content).
    enter: tuple[int, int] = (0, 0)
    leave: tuple[int, int] = (-1, -1)


class Unreadable(NamedTuple):
    """A row (or the rest of a file) that could not be read."""

    path: str  # as Split.path
    offset: int  # absolute decompressed byte offset, or row number where offsets don't exist
    error: str  # what is wrong: got, expected
    content: bytes  # the first bytes of it, at most 4 KiB


class _Rows(NamedTuple):
    batch: pa.RecordBatch
    unreadable: tuple[Unreadable, ...] = ()


class Rows(_Rows):
    """A pair: a batch of readable documents, and what was unreadable since the last one. Beside it what was passed over.

    skipped: entries of the input that are no documents by the reader's settings (a request in a crawl archive, a vendored
    file of a source tree), by reason. They are counted in the manifest beside the ledger and are not rows of it.
    """

    skipped: Mapping[str, int] = MappingProxyType({})

    def __new__(cls, batch: pa.RecordBatch, unreadable: tuple[Unreadable, ...] = (), skipped: Mapping[str, int] | None = None) -> Self:
        """skipped: counts by reason."""
        made = super().__new__(cls, batch, unreadable)
        if skipped:
            made.skipped = skipped
        return made


class Reader(BaseModel):
    """Base of all readers. Fields are the keys of `read:` in a recipe; `paths` is what stands behind the reader's name."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    name: ClassVar[str]
    version: ClassVar[int] = 1
    summary: ClassVar[str] = ""

    paths: tuple[str, ...] = Field(description="files, globs or folders; relative ones start at the recipe's folder")
    text: str = Field("text", description="field that holds the text")
    id: str | None = Field(
        None, description="field that holds the id; default: the field 'id' where there is one, else derived from path and offset"
    )
    source: str | None = Field(None, description="field that names the source; default: the data set's name")
    columns: Mapping[str, str] = Field({}, description="fields to keep as typed columns: name -> string, int, float, bool or timestamp")
    meta: bool = Field(True, description="keep all other fields as JSON text in the column 'meta'")
    max_doc_bytes: int = Field(16 << 20, gt=0, description="longer rows are quarantined, so that memory stays bounded")

    @field_validator("paths", mode="before")
    @classmethod
    def _one_path(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else () if value is None else value

    @field_validator("columns")
    @classmethod
    def _known_columns(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        for column, kind in value.items():
            if kind not in COLUMN_TYPES:
                raise ValueError(f"columns.{column} must be one of {', '.join(COLUMN_TYPES)}, got {kind!r}")
            if column in (*DOCUMENT.names, ROW):
                raise ValueError(f"columns.{column}: every document has a column of this name; it can't be one of its fields")
        return value

    @model_validator(mode="after")
    def _one_use_each(self) -> Self:
        used = [self.text, *filter(None, [self.id, self.source]), *self.columns]
        twice = sorted({name for name in used if used.count(name) > 1})
        if twice:
            raise ValueError(f"field {twice[0]!r} is named twice among text, id, source and columns")
        return self

    def splits(self, base: str, split_bytes: int = SPLIT_BYTES) -> list[Split]:
        """List the pieces to read, sorted by path then start. base: folder that relative paths start from.

        Raises DataError where nothing matches.
        """
        raise NotImplementedError

    def read(self, split: Split, dataset: str) -> Iterator[Rows]:
        """Yield the documents of a split in order. Never raises for bad rows or a truncated file: it reports them."""
        raise NotImplementedError

    def pinned(self, base: str) -> Self:
        """The reader with what may change outside of the run fixed (a revision of a data set): it stands in the lock file."""
        return self

    def extra_columns(self) -> dict[str, pa.DataType]:
        """Types of the promoted columns, in order."""
        return {name: COLUMN_TYPES[kind] for name, kind in self.columns.items()}


COLUMN_TYPES: dict[str, pa.DataType] = {
    "string": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}


def document_id(dataset: str, path: str, offset: int) -> str:
    """Derive an id that does not depend on splits or on where the data set lies."""
    return xxhash.xxh3_128_hexdigest(f"{dataset}\0{path}\0{offset}".encode())
