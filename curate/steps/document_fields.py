"""Where else than in the text a step finds something: a column, or a key of `meta`, named `meta.KEY`."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import StepError

META = "meta."


def column_of(name: str) -> str:
    """The column that must exist for this field: itself, or `meta`."""
    return "meta" if name.startswith(META) else name


def field_text(batch: pa.RecordBatch, name: str) -> pa.LargeStringArray:
    """The field of every document as text; null where it is missing, null, or `meta` is no JSON object.

    A number in `meta` comes as its text. Raises StepError where the column is of a kind that is no text.
    """
    if not name.startswith(META):
        column = batch.column(name)
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type) or pa.types.is_null(column.type)):
            raise StepError(f"The column {name!r} must hold text, but holds {column.type}.")
        return column.cast(pa.large_string())
    import polars as pl

    key = name.removeprefix(META)
    meta = pl.Series(pc.fill_null(batch.column("meta").cast(pa.large_string()), "{}"))
    valid = meta.str.starts_with("{") & meta.str.ends_with("}")
    path = "$['" + key.replace("\\", "\\\\").replace("'", "\\'") + "']"
    found = pl.DataFrame({"meta": pl.select(pl.when(valid).then(meta).otherwise(pl.lit("{}"))).to_series()})
    return found.select(pl.col("meta").str.json_path_match(path)).to_series().to_arrow().cast(pa.large_string())


def scope_text(batch: pa.RecordBatch, name: str) -> pa.LargeStringArray:
    """The field that separates documents (`within`), of any kind, as text; a missing value is one of its own."""
    values = field_text(batch, name) if name.startswith(META) else pc.cast(batch.column(name), pa.large_string())
    return pc.fill_null(values, "\0")
