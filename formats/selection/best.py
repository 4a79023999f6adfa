"""The step `select_best`: the best answers of a pool as rows to train on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from curate.schema import ROW
from curate.step import Outcome, Verdict
from formats.records import RECORD_COLUMNS
from formats.selection.pool import F64, I64, places, pool_of
from formats.selection.ranking import BELOW, BUDGET, CHOSEN, OUTCOMES, OUTRANKED, Ranking, arrays, drop_duplicates
from formats.selection.rows import PROVENANCE_COLUMNS, answered
from formats.selection.tables import NO_CANDIDATES, outcome_figures, row_reasons

_COLUMNS = {"select_value": pa.float64(), "select_rank": pa.int32(), "select_of": pa.string(), **PROVENANCE_COLUMNS}
_CHOSEN = pa.schema(
    [
        pa.field(ROW, pa.int64()),
        pa.field("outcomes", pa.list_(pa.int8())),
        pa.field("ranks", pa.list_(pa.int32())),
        pa.field("values", pa.list_(pa.float64())),
    ]
)


class SelectBest(Ranking):
    """Turn a pool into answers to train on: for each prompt its `top` best candidates that pass, each a row of its own.

    In order: null scores, cut off and empty answers, `require`, `min_score` and `top_share` take candidates out; equal answers of a prompt count once
    (the best of them); the others are ranked by `by`, equal values by `ties`; `top` of a prompt stay; of all that stay, `budget` rows. Every
    candidate ends with one outcome, counted by source in the manifest; a prompt without a chosen one is dropped with the furthest any of its came.

    A chosen candidate's turns go behind the prompt's; the columns select_value, select_rank (0 is best), select_of (the prompt's id), select_model,
    select_round, select_sample and select_seed say where it is from. `by: null, require: {math: 1}, ties: frequent` is rejection
    sampling by a verifier with each prompt's most frequent right answer. The pool stays as it is; selecting again costs seconds.

    `control` makes datasets to compare with: `NAME.random`, as many rows drawn at random from the same pool, and `NAME.no_new_rows`, none.
    """

    delivery: ClassVar[pa.Schema] = _CHOSEN
    name: ClassVar[str] = "select_best"
    summary: ClassVar[str] = "the best answers of every prompt of a pool, as rows to train on"
    origin: ClassVar[str] = (
        "best of n: Dubey et al. 2024 (Llama 3), 4.2.2; top of 10 a prompt: Singh et al. 2024 (ReST-EM); share of the pool: Dong et al. 2023 (RAFT)"
    )
    shorthand: ClassVar[str | None] = "by"

    top: int | None = Field(1, ge=1, le=4096, description="most answers of one prompt; null: all that pass (10 in ReST-EM)")
    top_share: float | None = Field(
        None, gt=0, le=1, description="only candidates whose value lies in this upper share of the pool's: 0.25 is the top quartile"
    )
    budget: int | None = Field(None, ge=1, le=10**9, description="most rows in all")
    budget_by: Literal["value", "random"] = Field("value", description="which rows fill the budget: the best values, or any by the seed")
    control: list[Literal["random", "random_same_prompts", "no_new_rows"]] = Field(
        default=[], max_length=3, description="controls to make beside this dataset"
    )

    @model_validator(mode="after")
    def _ranked(self) -> Self:
        if self.top_share is not None and not self.score_names():
            raise ValueError("top_share needs 'by', the score that it is a share of")
        return self

    @classmethod
    def as_control(cls, draw: str, pool: str, like: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The node that a recipe compares this selection with (`curate.recipe_rounds`). Raises ValueError for an unknown control."""
        if draw == "no_new_rows":
            return {"control": {"like": like, "draw": "none"}}
        if draw not in ("random", "random_same_prompts"):
            raise ValueError(f"there is no control {draw!r}; there are random, random_same_prompts, no_new_rows")
        top = settings.get("top", 1)
        return {"control": {"like": like, "pool": pool, "draw": draw.removeprefix("random_"), "top": 4096 if top is None else top}}

    def adds(self) -> Mapping[str, pa.DataType]:
        """Provenance of the chosen answer."""
        return {**RECORD_COLUMNS, **_COLUMNS}

    def drops(self) -> tuple[str, ...]:
        """The furthest that a prompt's candidates came."""
        return (f"select_best.{NO_CANDIDATES}", *(f"select_best.{name}" for name in OUTCOMES[:-1]))

    def compares_rows(self) -> bool:
        """Whether a row's result depends on other rows."""
        return super().compares_rows() or self.top_share is not None or self.budget is not None

    def deliver(self, records: pa.Table) -> pa.Table:
        items = arrays(records)
        outcome, value, order = self.choose(items)
        group = items[ROW]
        rank = np.where(outcome == CHOSEN, places(group, _chosen_first(order, outcome, group)), -1)
        starts = np.flatnonzero(np.r_[True, group[1:] != group[:-1]]) if len(group) else np.zeros(0, np.int64)
        offsets = pa.array(np.r_[starts, len(group)], pa.int32())
        lists = [
            pa.ListArray.from_arrays(offsets, pa.array(x, k)) for x, k in ((outcome, pa.int8()), (rank, pa.int32()), (value, pa.float64()))
        ]
        return pa.table([pa.array(group[starts], pa.int64()), *lists], schema=_CHOSEN)

    def choose(self, items: Mapping[str, Any]) -> tuple[Any, F64, I64]:
        """(outcome, value, order) of candidates in order of rows."""
        outcome, value, order = self.outcomes(items)
        if self.top_share is not None and (outcome == CHOSEN).any():
            ordered = np.sort(value[outcome == CHOSEN])
            bound = ordered[-max(1, math.ceil(self.top_share * len(ordered) - 1e-9))]
            outcome[(outcome == CHOSEN) & (value < bound)] = BELOW
        order = self.order(items, value, outcome == CHOSEN)
        drop_duplicates(items, outcome, order)
        if self.top is not None:
            place = places(items[ROW], _chosen_first(order, outcome, items[ROW]))
            outcome[(outcome == CHOSEN) & (place >= self.top)] = OUTRANKED
        if self.budget is not None:
            chosen = np.flatnonzero(outcome == CHOSEN)
            best = -value[chosen] if self.budget_by == "value" else np.zeros(len(chosen))
            over = np.lexsort((items["position"][chosen], items[ROW][chosen], items["random"][chosen], best))[self.budget :]
            outcome[chosen[over]] = BUDGET
        return outcome, value, order

    def apply(self, batch: pa.RecordBatch, delivered: pa.Table) -> Outcome:
        """Make the rows of the chosen candidates, and count what became of the others."""
        pool = pool_of(batch)
        outcomes, ranks, values = (delivered.column(n).combine_chunks() for n in ("outcomes", "ranks", "values"))
        outcome = outcomes.flatten().to_numpy()
        reason = row_reasons(pool.offsets, outcome, "select_best")
        keep = reason.is_null()
        group, rank = pool.group, ranks.flatten().to_numpy()
        chosen = np.flatnonzero(outcome == CHOSEN)
        chosen = chosen[np.lexsort((rank[chosen], group[chosen]))]
        parents = group[chosen]
        extra = {
            "select_value": pa.array(values.flatten().to_numpy(zero_copy_only=False)[chosen], pa.float64()),
            "select_rank": pa.array(rank[chosen], pa.int32()),
            "select_of": batch.column("id").take(pa.array(parents)).cast(pa.string()),
        }
        made = answered(batch, pool, parents, chosen, extra)
        return Outcome(batch, Verdict(keep, reason), outcome_figures(batch, pool, outcome, OUTCOMES), expanded=made)


def _chosen_first(order: I64, outcome: Any, group: I64) -> I64:
    """The order with each row's chosen candidates before its others."""
    found: I64 = order[np.lexsort((np.arange(len(order)), outcome[order] != CHOSEN, group[order]))]
    return found
