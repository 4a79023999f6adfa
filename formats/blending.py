"""The `blend` node: rows of several datasets in one training order, by shares and by stages.

    instruct: {blend: {stages: [{rows: 20000, weights: {tasks: 0.5, dialogue: 0.3, web: 0.2}},
                                {rows: 5000, weights: {dialogue: 0.8, synthetic: 0.2}}]}}

For sets of rows (conversations, rendered rows); `mix` does the same for windows of tokens. NLP tasks, dialogue, synthetic data and
pretraining text are datasets of the recipe with the same columns: plain text is a record of its own (`read: {jsonl: ..., format: text}`).

At every point of a stage each source has had its share: to within one row for two sources, a few for many. A source's rows come
in a seeded order, each once before any comes twice; the order goes on from one stage to the next. A column `blend_stage` is added.

Its rows are documents: `from: instruct` goes on with steps (render, tokenize and then `mix`) or a written form, and models train on it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, model_validator

from curate.errors import DataError
from curate.node import Node, NodeInput, NodeResult, Progress
from curate.step import Context

_GROUP_ROWS = 8192


class BlendStage(BaseModel):
    """A stretch of rows with its own shares."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    rows: int = Field(ge=1, le=10**9, description="rows of the stage")
    weights: dict[str, Annotated[float, Field(gt=0, le=1e9)]] = Field(
        min_length=1, max_length=1024, description="share of the rows per dataset; they need not add up to one"
    )


class BlendNode(Node):
    """Rows of several datasets in one order, with planned shares at every point."""

    kind: ClassVar[str] = "blend"
    summary: ClassVar[str] = "rows of several datasets in one order, by shares and stages"
    adds: ClassVar[tuple[str, ...]] = ("blend_stage",)

    stages: list[BlendStage] = Field(min_length=1, max_length=1000, description="one after the other")
    max_epochs: dict[str, Annotated[float, Field(gt=0, le=1000)]] = Field(
        default_factory=dict, description="how often a dataset's rows may come; 1 where it is not named"
    )

    @model_validator(mode="after")
    def _known(self) -> BlendNode:
        unknown = sorted(self.max_epochs.keys() - set(self.inputs()))
        if unknown:
            raise ValueError(f"max_epochs names {', '.join(unknown)}, which no stage has a weight for")
        return self

    def inputs(self) -> tuple[str, ...]:
        """Names of the datasets that it reads."""
        return tuple(dict.fromkeys(name for stage in self.stages for name in stage.weights))

    def for_sample(self) -> BlendNode:
        """Few rows of each stage, as often as it takes: a sample has fewer than the shares need."""
        stages = [stage.model_copy(update={"rows": min(stage.rows, 1000)}) for stage in self.stages]
        return self.model_copy(update={"stages": stages, "max_epochs": dict.fromkeys(self.inputs(), 1000.0)})

    def forecast(self, inputs: Mapping[str, NodeInput], exact: bool) -> list[str]:
        """How often each dataset is read. Raises DataError for what is too short, where the counts are exact."""
        rows = {name: inputs[name].rows for name in self.inputs() if name in inputs and inputs[name].rows}
        if exact and len(rows) == len(self.inputs()):
            self._refuse_short(rows)
        needed = self.needed()
        return [f"{n}: {needed[n]:,} of {rows[n]:,} rows, {needed[n] / rows[n]:.2f} epochs" for n in rows]

    def needed(self) -> dict[str, int]:
        """Rows of each dataset over all stages."""
        return {
            name: sum(int((draws == name_at).sum()) for draws in map(self._draws, self.stages))
            for name_at, name in enumerate(self.inputs())
        }

    def _draws(self, stage: BlendStage) -> np.ndarray:
        """Number of the dataset for each row of a stage."""
        names = self.inputs()
        total = sum(map(Fraction, stage.weights.values()))
        shares = [(names.index(name), Fraction(weight) / total) for name, weight in stage.weights.items()]
        # Row k of a dataset with share s is due at (k + 1/2) / s; sorting the due times interleaves all of them evenly.
        counts = _largest_remainder([share * stage.rows for _, share in shares], stage.rows)
        due = np.concatenate([(np.arange(n) + 0.5) / float(share) for n, (_, share) in zip(counts, shares, strict=True)])
        which = np.concatenate([np.full(n, at) for n, (at, _) in zip(counts, shares, strict=True)])
        return which[np.lexsort((which, due))]

    def _refuse_short(self, rows: Mapping[str, int]) -> None:
        for name, count in self.needed().items():
            allowed = self.max_epochs.get(name, 1)
            if count > allowed * rows[name]:
                raise DataError(
                    f"blend: {name} has {rows[name]:,} rows and is needed {count:,} times, {allowed:g} epochs are allowed. "
                    + (
                        f"Set max_epochs: {{{name}: {-(-count // rows[name])}}}, lower its weight, or plan fewer rows."
                        if rows[name]
                        else "Give it rows, or take it out."
                    )
                )

    def run(self, inputs: Mapping[str, NodeInput], out: Path, ctx: Context, progress: Progress) -> NodeResult:
        """Write part-00000.parquet. All rows of the datasets are held in memory."""
        names = self.inputs()
        tables = [pa.concat_tables([pq.read_table(part) for part in sorted(inputs[name].parts)]).combine_chunks() for name in names]
        for name, table in zip(names, tables, strict=True):
            if table.schema.remove_metadata() != tables[0].schema.remove_metadata():
                raise DataError(
                    f"blend: {name} and {names[0]} have other columns ({_difference(table.schema, tables[0].schema)}). Give both the same steps."
                )
        self._refuse_short({name: len(table) for name, table in zip(names, tables, strict=True)})
        orders = [_Order(len(table), ctx.seed, name) for name, table in zip(names, tables, strict=True)]
        starts = np.cumsum([0, *map(len, tables)])
        whole = pa.concat_tables([t.replace_schema_metadata(None) for t in tables])
        schema = whole.schema.append(pa.field("blend_stage", pa.int32()))
        written, info = 0, []
        with pq.ParquetWriter(out / "part-00000.parquet", schema, compression="zstd") as file:
            for number, stage in enumerate(self.stages):
                which = self._draws(stage)
                rows = np.empty(len(which), np.int64)
                for at, order in enumerate(orders):
                    rows[which == at] = starts[at] + order.take(int((which == at).sum()))
                for first in range(0, len(rows), _GROUP_ROWS):
                    part = whole.take(pa.array(rows[first : first + _GROUP_ROWS]))
                    file.write_table(part.append_column("blend_stage", pa.array(np.full(len(part), number), pa.int32())))
                    progress((number + first / len(rows)) / len(self.stages), f"stage {number + 1}")
                written += len(rows)
                info.append({name: int((which == at).sum()) for at, name in enumerate(names)})
        epochs = {name: round(order.taken / max(1, order.rows), 4) for name, order in zip(names, orders, strict=True)}
        return NodeResult(rows_out=written, info={"stages": info, "epochs": epochs})


class _Order:
    """The rows of one dataset in its seeded order, epoch after epoch."""

    def __init__(self, rows: int, seed: int, name: str) -> None:
        self.rows, self.taken = rows, 0
        self._seed = int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8], "little")

    def take(self, count: int) -> np.ndarray:
        made: list[Any] = [np.zeros(0, np.int64)]
        while count:
            epoch, at = divmod(self.taken, self.rows)
            order = np.random.Generator(np.random.PCG64([self._seed, epoch])).permutation(self.rows)
            some = order[at : at + count]
            made.append(some)
            self.taken += len(some)
            count -= len(some)
        return np.concatenate(made)


def _largest_remainder(wanted: list[Fraction], total: int) -> list[int]:
    counts = [int(w) for w in wanted]
    for at in sorted(range(len(wanted)), key=lambda n: (counts[n] - wanted[n], n))[: total - sum(counts)]:
        counts[at] += 1
    return counts


def _difference(a: pa.Schema, b: pa.Schema) -> str:
    names = [n for n in dict.fromkeys([*a.names, *b.names]) if n not in a.names or n not in b.names or a.field(n).type != b.field(n).type]
    return ", ".join(names) or "in another order"
