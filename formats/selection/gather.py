"""The node `gather`: rows of several datasets as one, such as the selections of all rounds so far."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from curate.errors import DataError
from curate.node import Node, NodeInput, NodeResult, Progress
from curate.step import Context
from formats.selection.control import table_of, with_schema
from formats.selection.pool import first_of, places

_GROUP_ROWS = 8192


class GatherNode(Node):
    """Rows of datasets one after the other, in the order in which they are named. Columns that one lacks are null there.

    A row whose turns are all equal to those of an earlier one is left out (`distinct`): the same answer selected again in a later round counts once.
    top: of one prompt at most so many rows, those with the best `select_value`, the later dataset's first where values are equal; rows without a
    value (seed rows) always stay. That is the rule of Llama 2 (section 3.2.3) from its fourth version on: the best of all rounds.
    All rows are held in memory.
    """

    kind: ClassVar[str] = "gather"
    summary: ClassVar[str] = "rows of several datasets as one: selections of all rounds so far"

    datasets: list[Annotated[str, Field(min_length=1)]] = Field(min_length=1, max_length=10_000, description="datasets, in order")
    distinct: bool = Field(default=True, description="leave out rows that repeat an earlier one")
    top: int | None = Field(default=None, ge=1, le=4096, description="most rows of one prompt; null: all")

    def inputs(self) -> tuple[str, ...]:
        """The datasets."""
        return tuple(dict.fromkeys(self.datasets))

    def run(self, inputs: Mapping[str, NodeInput], out: Path, ctx: Context, progress: Progress) -> NodeResult:
        """Write part-00000.parquet."""
        tables = [table_of(inputs[name]) for name in self.inputs()]
        schema = _joint([t.schema for t in tables], self.inputs())
        table = pa.concat_tables([with_schema(t, schema) for t in tables])
        origin = np.repeat(np.arange(len(tables)), [len(t) for t in tables])
        keep = np.ones(len(table), bool)
        if "messages" in schema.names and len(table):
            keep = self._keep(table, origin)
        made = table.filter(pa.array(keep))
        pq.write_table(made, out / "part-00000.parquet", row_group_size=_GROUP_ROWS, compression="zstd")
        rows = {
            name: {"rows": len(t), "kept": int(keep[origin == at].sum())}
            for at, (name, t) in enumerate(zip(self.inputs(), tables, strict=True))
        }
        return NodeResult(rows_out=len(made), info={"datasets": rows})

    def _keep(self, table: pa.Table, origin: Any) -> Any:
        views = table.column("text").combine_chunks().fill_null("")
        keep = np.ones(len(table), bool)
        if self.distinct:
            same = views.dictionary_encode().indices.to_numpy()
            keep = first_of([same], np.lexsort((np.arange(len(same)), same)))
        if self.top is not None and "select_value" in table.column_names:
            value = table.column("select_value").to_numpy()
            prompt = table.column("select_of").combine_chunks().fill_null("").dictionary_encode().indices.to_numpy()
            at = np.flatnonzero(keep & ~np.isnan(value))
            order = np.lexsort((-origin[at], -value[at], prompt[at]))
            keep[at[places(prompt[at], order) >= self.top]] = False
        return keep


def _joint(schemas: list[pa.Schema], names: tuple[str, ...]) -> pa.Schema:
    fields: dict[str, pa.Field] = {}
    for schema, name in zip(schemas, names, strict=True):
        for field in schema:
            if fields.setdefault(field.name, field).type != field.type:
                raise DataError(
                    f"gather: the column {field.name!r} of {name} is {field.type}, in an earlier dataset {fields[field.name].type}."
                )
    return pa.schema(list(fields.values()))
