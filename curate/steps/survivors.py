"""Which of several duplicates stays: the `keep` setting of the deduplication steps.

    first            the first in the corpus: by path, then place in the file
    longest          the one with the most characters
    newest:COLUMN    the largest value of a time, date, number or text column (text as text: ISO 8601 dates sort right)
    highest:COLUMN   the largest value of a numeric column

Missing values come last; ties go to the smaller id, then to the first. All but `first` and that last tie do not depend on
the order of files. Numbers are compared as 64-bit floats.
"""

from __future__ import annotations

import re
from typing import Annotated

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AfterValidator, Field

from curate.errors import StepError
from curate.schema import ROW

# How strong a document's claim to stay is; travels in the records of the steps.
RANK_FIELDS = (pa.field("rank", pa.float64()), pa.field("rank_text", pa.string()))

_FORM = re.compile(r"(first|longest|(newest|highest):(?P<column>.+))\Z", re.DOTALL)


def _checked(keep: str) -> str:
    if not _FORM.match(keep):
        raise ValueError(f"must be first, longest, newest:COLUMN or highest:COLUMN, got {keep!r}")
    return keep


Keep = Annotated[
    str,
    AfterValidator(_checked),
    Field(description="which of several duplicates stays: first, longest, newest:COLUMN or highest:COLUMN"),
]


def keep_column(keep: str) -> str | None:
    """Return the column that the policy reads, or None."""
    found = _FORM.match(keep)
    return found["column"] if found else None


def ranks(batch: pa.RecordBatch, keep: str) -> list[pa.Array]:
    """Return the columns of RANK_FIELDS for each row: larger stays; null where the policy has nothing to say."""
    none = [pa.nulls(len(batch), field.type) for field in RANK_FIELDS]
    column = keep_column(keep)
    if keep == "longest":
        return [pc.cast(pc.utf8_length(pc.fill_null(batch.column("text"), "")), pa.float64()), none[1]]
    if column is None:
        return none
    values = batch.column(column)
    kind = values.type
    if pa.types.is_null(kind):
        return none
    if keep.startswith("newest:") and (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return [none[0], pc.cast(values, pa.string())]
    if keep.startswith("newest:") and (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        values = pc.cast(pc.cast(values, pa.timestamp("us", getattr(kind, "tz", None)), safe=False), pa.int64())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind) or pa.types.is_decimal(kind)):
        wanted = "a number, a time or text" if keep.startswith("newest:") else "a number"
        raise StepError(f"keep: {keep} needs {wanted} in column {column!r}, which holds {kind}.")
    number = pc.cast(values, pa.float64(), safe=False)
    return [pc.if_else(pc.is_nan(number), pa.scalar(None, pa.float64()), number), none[1]]


def claim_order(keep: str) -> list[tuple[str, str]]:
    """Sort keys (for pyarrow; nulls go to the end, its default) that put the document that stays first. Reads `id` and `_row` too."""
    if keep == "first":
        return [(ROW, "ascending")]
    return [("rank", "descending"), ("rank_text", "descending"), ("id", "ascending"), (ROW, "ascending")]
