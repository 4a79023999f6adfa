"""The node `control`: what a selection is compared with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, model_validator

from curate.errors import DataError
from curate.node import Node, NodeInput, NodeResult, Progress
from curate.schema import ROW
from curate.step import Context
from formats.selection.best import SelectBest
from formats.selection.pool import places, pool_of
from formats.selection.ranking import CHOSEN, OUTRANKED, Ranking, arrays, drop_duplicates
from formats.selection.rows import answered

_GROUP_ROWS = 8192


class ControlNode(Node):
    """As many rows as `like` has, drawn at random from `pool`; with `draw: none`, no row.

    random: any candidates, at most `top` of a prompt. same_prompts: for every row of `like` a random candidate of the same prompt. Candidates that
    were cut off, are empty or repeat another one of their prompt are not drawn, as they are not selected; scores are not looked at. Where the
    pool has too few the node takes them all and says so. Same seed, same rows.
    """

    kind: ClassVar[str] = "control"
    version: ClassVar[int] = 2
    summary: ClassVar[str] = "a random selection of the same size as another one, or none: what a gain is compared with"

    pool: str | None = Field(default=None, min_length=1, description="dataset with candidates; not needed with draw: none")
    like: str = Field(min_length=1, description="dataset whose number of rows counts: the selection that is to be shown")
    draw: Literal["random", "same_prompts", "none"] = Field(default="random", description="what is drawn")
    top: int = Field(default=1, ge=1, le=4096, description="most rows of one prompt")

    @model_validator(mode="after")
    def _needs_pool(self) -> Self:
        if self.draw != "none" and self.pool is None:
            raise ValueError("a random selection needs 'pool', the dataset that it is drawn from")
        return self

    def inputs(self) -> tuple[str, ...]:
        """The selection, and the pool where something is drawn from it."""
        return (self.like,) if self.draw == "none" or self.pool is None else (self.pool, self.like)

    def run(self, inputs: Mapping[str, NodeInput], out: Path, ctx: Context, progress: Progress) -> NodeResult:
        """Write part-00000.parquet with the columns of `like`."""
        like = table_of(inputs[self.like])
        made = like.slice(0, 0) if self.draw == "none" or self.pool is None else self._drawn(table_of(inputs[self.pool]), like, ctx)
        pq.write_table(made, out / "part-00000.parquet", row_group_size=_GROUP_ROWS, compression="zstd")
        missing = len(like) - len(made) if self.draw != "none" else 0
        warnings = [f"control: the pool has {len(made):,} answers to draw, {len(like):,} were wanted"] if missing else []
        return NodeResult(
            rows_out=len(made), info={"wanted": len(like), "drawn": len(made), **({"warnings": warnings} if warnings else {})}
        )

    def _drawn(self, pool: pa.Table, like: pa.Table, ctx: Context) -> pa.Table:
        if "candidates" not in pool.column_names:
            raise DataError(f"control: {self.pool} has no candidates to draw from.")
        batch = pool.combine_chunks().to_batches()[0] if len(pool) else pa.RecordBatch.from_pylist([], schema=pool.schema)
        rule: Ranking = SelectBest.model_validate({"ties": "random", "top": None})
        items = arrays(rule.items(batch, np.arange(len(batch)), ctx))
        outcome, _, order = rule.outcomes(items)
        drop_duplicates(items, outcome, order)
        group = items[ROW]
        order = order[outcome[order] == CHOSEN]
        most = np.full(len(batch), self.top)
        if self.draw == "same_prompts":
            wanted = Counter(like.column("select_of").to_pylist())
            most = np.array([wanted.get(i, 0) for i in batch.column("id").to_pylist()], np.int64)
        outcome[order[places(group[order], np.arange(len(order))) >= most[group[order]]]] = OUTRANKED
        chosen = np.flatnonzero(outcome == CHOSEN)
        chosen = np.sort(chosen[np.lexsort((chosen, items["random"][chosen]))][: len(like)])
        prompts = {"select_of": batch.column("id").take(pa.array(group[chosen])).cast(pa.string())}  # ledgers look their rows up by it
        return with_schema(answered(batch, pool_of(batch), group[chosen], chosen, prompts).batch, like.schema)


def table_of(node: NodeInput) -> pa.Table:
    """The rows of a finished dataset."""
    parts = [part for part in sorted(node.parts) if part.endswith(".parquet")]
    if not parts:
        raise DataError(f"{node.name} has no Parquet parts; a selection needs records: leave its `write` out.")
    return pa.concat_tables([pq.read_table(part) for part in parts]).replace_schema_metadata(None)


def with_schema(batch: pa.RecordBatch | pa.Table, schema: pa.Schema) -> pa.Table:
    """The columns of a schema; those that are not there are null."""
    columns = [batch.column(f.name).cast(f.type) if f.name in batch.schema.names else pa.nulls(len(batch), f.type) for f in schema]
    return pa.table(columns, schema=schema)
