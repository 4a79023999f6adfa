"""Keep documents by a condition on their columns, written in SQL."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator

from curate.errors import StepError
from curate.schema import ROW, with_columns
from curate.step import BatchFn, Context, Outcome, Step, Verdict

# Nodes of a polars expression whose value for a row depends on other rows of the batch.
_ACROSS_ROWS = frozenset(
    {"Agg", "Over", "Window", "Rolling", "Len", "Explode", "Sort", "SortBy", "Gather", "Slice", "Filter", "Rank", "Shift", "Range", "Random", "Reverse",
     "Unique", "IsUnique", "IsDuplicated", "IsFirstDistinct", "IsLastDistinct", "CumSum", "CumCount", "CumMin", "CumMax", "CumProd", "Diff", "Quantile"}
)  # fmt: skip
_CLOCK = re.compile(r"\b(current_date|current_time|current_timestamp|localtime|localtimestamp|now|today)\b", re.IGNORECASE)
_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"")


class Filter(Step):
    """Keep documents for which a condition is true; drop those for which it is false or null.

    Reads the columns that the condition names and nothing else. The condition is one SQL expression of polars
    (comparison, AND OR NOT, IN, BETWEEN, LIKE, IS NULL, CASE, arithmetic, string and date functions). It runs no code and
    sees one row at a time: aggregates, window functions and the clock are refused, because the result would depend on
    how documents fall into batches, or on the day. Names with other than letters, digits and _ go in double quotes.

    A null makes most conditions null, and such a document is dropped: write `... OR x IS NULL` to keep it. NaN is larger
    than every number, as in polars. Depends on nothing but the document. Some 60 million documents a second
    per core for one comparison of numbers.
    """

    name: ClassVar[str] = "filter"
    summary: ClassVar[str] = "keep documents for which a SQL expression over their columns is true"
    origin: ClassVar[str] = "polars SQL expressions (pl.sql_expr)"
    shorthand: ClassVar[str | None] = "where"

    where: str = Field(min_length=1, max_length=10_000, description='condition, such as "lang_score >= 0.65 and gopher_words >= 50"')
    mode: Literal["drop", "annotate"] = Field("drop", description="annotate: add filter_keep and filter_reason, drop nothing")

    @field_validator("where")
    @classmethod
    def _valid(cls, where: str) -> str:
        _parse(where)
        return where

    def reads(self) -> frozenset[str]:
        """The columns that the condition names."""
        return frozenset(_parse(self.where).meta.root_names())

    def adds(self) -> Mapping[str, pa.DataType]:
        """In annotate mode the decision."""
        return {"filter_keep": pa.bool_(), "filter_reason": pa.string()} if self.mode == "annotate" else {}

    def drops(self) -> tuple[str, ...]:
        """One reason: the condition is false or null."""
        return ("filter.false",) if self.mode == "drop" else ()

    def bind(self, ctx: Context) -> BatchFn:
        """Parse the condition once."""
        import polars as pl

        expression, columns = _parse(self.where).alias("keep"), sorted(self.reads())

        def run(batch: pa.RecordBatch) -> Outcome:
            frame = pl.from_arrow(pa.table({name: batch.column(name) for name in columns}))
            assert isinstance(frame, pl.DataFrame)
            try:
                result = frame.select(expression).to_series()
            except pl.exceptions.PolarsError as error:
                raise StepError(f"filter: {self.where!r} can't be computed: {str(error).splitlines()[0]}") from error
            if result.dtype != pl.Boolean or len(result) != len(batch):
                raise StepError(
                    f"filter: {self.where!r} must be true or false for each document, got {len(result)} values of {result.dtype}"
                )
            keep = pc.fill_null(result.to_arrow(), False)
            reason = pc.if_else(keep, pa.scalar(None, pa.string()), "filter.false")
            if self.mode == "annotate":
                return Outcome(with_columns(batch, {"filter_keep": keep, "filter_reason": reason}))
            return Outcome(batch, Verdict(keep, reason))

        return run


def _parse(where: str) -> Any:
    """The polars expression of a condition. ValueError where it is none, or looks beyond its row."""
    import polars as pl

    try:
        expression = pl.sql_expr(where)
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"no SQL expression: {str(error).splitlines()[0]}") from error
    clock = _CLOCK.search(_QUOTED.sub("''", where))
    if clock:
        raise ValueError(f"{clock[0]} would make the result depend on when it runs; write the date, as in DATE '2025-01-31'")
    names = set(expression.meta.root_names())
    if not names:
        raise ValueError("the condition names no column")
    if ROW in names:
        raise ValueError(f"{ROW} is the engine's own column and depends on how the input was split")
    across = next((name for name in _nodes(json.loads(expression.meta.serialize(format="json"))) if name in _ACROSS_ROWS), None)
    if across is not None:
        raise ValueError(f"{across} looks at other documents than the row's own; a condition may only use the row's own columns")
    return expression


def _nodes(tree: Any) -> Iterator[str]:
    """Names of all nodes and functions in an expression's JSON, without names and values given by the user."""
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, dict):
        for key, inner in tree.items():
            yield key
            if key not in ("Column", "Literal", "Alias", "FieldByName"):
                yield from _nodes(inner)
            elif key == "Alias":
                yield from _nodes(inner[0])
    elif isinstance(tree, list):
        for inner in tree:
            yield from _nodes(inner)
