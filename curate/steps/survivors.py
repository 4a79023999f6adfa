"""Which of several duplicates stays: the `keep` setting of the deduplication steps.

    first                          the first in the corpus: by sorted path, then place in the file
    longest                        the one with the most characters
    newest | newest: COLUMN        the largest value of a time, date, number or text column (text as text: ISO 8601 dates
                                   sort right); `newest` alone reads the column `date`
    highest: COLUMN                the largest value of a numeric column
    source_priority: [A, B, ...]   the one whose source stands first in the list

COLUMN may be meta.KEY: text for `newest`, a number for `highest` (what is none counts as missing). Missing values and sources that are not listed come last; ties go to the smaller id, then to the first. All but `first` and
that last tie do not depend on the order of files. Numbers are compared as 64-bit floats.
"""

from __future__ import annotations

import re
from typing import Annotated, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from curate.errors import StepError
from curate.schema import ROW
from curate.steps.document_fields import META, column_of, field_text

U64 = npt.NDArray[np.uint64]

# How strong a document's claim to stay is; travels in the records of the steps.
RANK_FIELDS = (pa.field("rank", pa.float64()), pa.field("rank_text", pa.string()))
DATE = "date"  # the column of `newest` alone

_FORM = re.compile(r"(first|longest|newest|(newest|highest):(?P<column>.+))\Z", re.DOTALL)
_LAST = np.uint64(0xFFFFFFFFFFFFFFFF)


class KeepBy(BaseModel):
    """A policy that needs a column or a list: exactly one of these."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    newest: str | None = Field(None, min_length=1, description="the column whose largest value stays: a time, a date, a number or text")
    highest: str | None = Field(None, min_length=1, description="the column whose largest number stays")
    source_priority: list[str] | None = Field(None, min_length=1, description="sources, the one to keep first")

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [value for value in (self.newest, self.highest, self.source_priority) if value is not None]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of newest, highest and source_priority, got {len(given)}")
        if self.source_priority is not None and len(set(self.source_priority)) != len(self.source_priority):
            raise ValueError("source_priority names a source twice")
        return self


def _checked(keep: str | KeepBy) -> str | KeepBy:
    if isinstance(keep, str) and not _FORM.match(keep):
        raise ValueError(
            f"must be first, longest, newest, {{newest: COLUMN}}, {{highest: COLUMN}} or {{source_priority: [SOURCE, ...]}}, got {keep!r}"
        )
    return keep


Keep = Annotated[
    str | KeepBy,
    AfterValidator(_checked),
    Field(
        description="which of several duplicates stays: first, longest, newest, {newest: COLUMN}, {highest: COLUMN} or {source_priority: [...]}"
    ),
]


class Policy(NamedTuple):
    """A `keep` setting in one form."""

    kind: str  # first | longest | newest | highest | source_priority
    column: str | None  # that it reads, beside id
    sources: tuple[str, ...] = ()


def policy(keep: str | KeepBy) -> Policy:
    """Return the policy that a setting means."""
    if isinstance(keep, KeepBy):
        if keep.source_priority is not None:
            return Policy("source_priority", "source", tuple(keep.source_priority))
        return Policy("newest", keep.newest) if keep.newest is not None else Policy("highest", keep.highest)
    kind, _, column = keep.partition(":")
    return Policy(kind, column or (DATE if kind == "newest" else None))


def keep_column(keep: str | KeepBy) -> str | None:
    """Return the column that the policy reads (`meta` for meta.KEY), or None."""
    column = policy(keep).column
    return column_of(column) if column else None


def ranks(batch: pa.RecordBatch, keep: str | KeepBy) -> list[pa.Array]:
    """Return the columns of RANK_FIELDS for each row: larger stays; null where the policy has nothing to say."""
    none = [pa.nulls(len(batch), field.type) for field in RANK_FIELDS]
    kind, column, sources = policy(keep)
    if kind == "longest":
        return [pc.cast(pc.utf8_length(pc.fill_null(batch.column("text"), "")), pa.float64()), none[1]]
    if column is None:
        return none
    if column.startswith(META):
        values = field_text(batch, column)
        values = values if kind == "newest" else _numbers(values)
    else:
        values = batch.column(column)
    if kind == "source_priority":
        place = pc.index_in(pc.cast(values, pa.string()), value_set=pa.array(sources, pa.string()))
        return [pc.negate(pc.cast(place, pa.float64())), none[1]]
    held = values.type
    if pa.types.is_null(held):
        return none
    if kind == "newest" and (pa.types.is_string(held) or pa.types.is_large_string(held)):
        return [none[0], pc.cast(values, pa.string())]
    if kind == "newest" and (pa.types.is_timestamp(held) or pa.types.is_date(held)):
        values = pc.cast(pc.cast(values, pa.timestamp("us", getattr(held, "tz", None)), safe=False), pa.int64())
    elif not (pa.types.is_integer(held) or pa.types.is_floating(held) or pa.types.is_boolean(held) or pa.types.is_decimal(held)):
        wanted = "a number, a time or text" if kind == "newest" else "a number"
        raise StepError(f"keep: {kind} needs {wanted} in column {column!r}, which holds {held}.")
    number = pc.cast(values, pa.float64(), safe=False)
    return [pc.if_else(pc.is_nan(number), pa.scalar(None, pa.float64()), number), none[1]]


def _numbers(text: pa.LargeStringArray) -> pa.DoubleArray:
    """Numbers that the texts spell, null for others."""
    import polars as pl

    return pl.Series(text).cast(pl.Float64, strict=False).to_arrow()


def claim_order(keep: str | KeepBy) -> list[tuple[str, str]]:
    """Sort keys (for pyarrow; nulls go to the end, its default) that put the document that stays first. Reads `id` and `_row` too."""
    if keep == "first":
        return [(ROW, "ascending")]
    return [("rank", "descending"), ("rank_text", "descending"), ("id", "ascending"), (ROW, "ascending")]


def claims(batch: pa.RecordBatch, keep: str | KeepBy) -> tuple[U64, U64]:
    """Return (claim u64[n], tie u64[n]), the smaller the stronger: a short form of the order, for records where room matters.

    claim: the row for `first`, else the rank: numbers whole, text by its first eight bytes; tie: a hash of the id.
    So it agrees with the order of `claim_order` but among equal claims, and depends on the order of files for `first` alone.
    """
    from curate.kernels.hashing import hash_strings
    from curate.kernels.strings import views

    if keep == "first":
        return batch.column(ROW).to_numpy().astype(np.uint64), np.zeros(len(batch), np.uint64)
    tie = np.empty(len(batch), np.uint64)
    hash_strings(*views(pc.cast(batch.column("id"), pa.large_string())), tie)
    rank, rank_text = ranks(batch, keep)
    if rank_text.null_count < len(batch):
        head = pc.binary_slice(pc.cast(rank_text, pa.binary()), 0, 8).to_pylist()
        code = np.array([0 if h is None else int.from_bytes(h.ljust(8, b"\0"), "big") for h in head], np.uint64)
        absent = rank_text.is_null().to_numpy(zero_copy_only=False)
    else:
        number = pc.fill_null(rank, 0.0).to_numpy(zero_copy_only=False) + 0.0  # -0.0 becomes 0.0
        bits = number.view(np.uint64)
        code = np.where(bits >> np.uint64(63), ~bits, bits | np.uint64(1 << 63))
        absent = rank.is_null().to_numpy(zero_copy_only=False)
    return np.where(absent, _LAST, ~code), tie
