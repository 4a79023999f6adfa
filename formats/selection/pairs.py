"""The step `select_pairs`: preference pairs of a pool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from curate.schema import ROW
from curate.step import Outcome, Verdict
from formats.records import RECORD_COLUMNS
from formats.selection.pairing import Rule, pairs_of
from formats.selection.pool import I64, places, pool_of
from formats.selection.ranking import BELOW, CHOSEN, OUTCOMES, Ranking, arrays, drop_duplicates
from formats.selection.rows import paired
from formats.selection.tables import NO_CANDIDATES, outcome_figures

_COLUMNS = {
    "pair_id": pa.string(),
    "pair_group": pa.string(),
    "pair_rule": pa.string(),
    "pair_margin": pa.float64(),
    "pair_length_ratio": pa.float64(),
}
_ROWS = ("alone", "tied", "margin", "length", "floor")  # why a row with usable candidates has no pair
_PAIRS = pa.schema(
    [
        pa.field(ROW, pa.int64()),
        pa.field("outcomes", pa.list_(pa.int8())),
        pa.field("better", pa.list_(pa.int32())),
        pa.field("worse", pa.list_(pa.int32())),
        pa.field("margins", pa.list_(pa.float64())),
        pa.field("ratios", pa.list_(pa.float64())),
        pa.field("why", pa.string()),
    ]
)


class SelectPairs(Ranking):
    """Turn a pool into preference pairs: for each prompt a better and a worse answer, by a rule, each pair a row of its own.

    Candidates are taken out and made distinct as in `select_best`; what is cut off never stands in a pair. Then the rule names pairs of different value,
    and `min_margin`, `max_margin`, `max_length_ratio` and `min_chosen` take pairs out. A prompt without a pair is dropped with the reason: no
    candidates, none usable (with the furthest outcome), alone (one distinct answer), tied (all of one value), margin, length, floor.

    The row has the candidates with the ranks 0 and 1 and all their scores, and the columns pair_id, pair_group (the prompt's id: keep pairs of one group
    in one split), pair_rule, pair_margin, pair_length_ratio (better over worse).
    """

    delivery: ClassVar[pa.Schema] = _PAIRS
    name: ClassVar[str] = "select_pairs"
    summary: ClassVar[str] = "preference pairs of a pool: best against worst, random, neighbours, right against wrong"
    origin: ClassVar[str] = (
        "best against worst: Meng et al. 2024 (SimPO), Dong et al. 2024 (Online-RLHF); against random: Tunstall et al. 2023 (Zephyr); mean minus 2 "
        "sigma: arXiv 2502.16825; right against wrong: Pang et al. 2024 (Iterative RPO, up to 10 pairs)"
    )
    shorthand: ClassVar[str | None] = "rule"

    rule: Rule = Field("best_worst", description="which candidates make a pair")
    sigma: float = Field(2.0, ge=0, le=100, description="of worst_sigma: standard deviations below the row's mean")
    right: float = Field(1.0, ge=-1e12, le=1e12, description="of right_wrong: least value of a right answer")
    min_margin: float | None = Field(None, ge=0, le=1e12, description="least difference of the values")
    max_margin: float | None = Field(None, gt=0, le=1e12, description="greatest difference of the values")
    max_length_ratio: float | None = Field(None, ge=1, le=1e6, description="longer answer over the shorter one, at most")
    min_chosen: float | None = Field(None, ge=-1e12, le=1e12, description="least value of the better answer")
    max_pairs: int = Field(1, ge=1, le=4096, description="most pairs of one prompt, the rule's first")

    @model_validator(mode="after")
    def _scored(self) -> Self:
        if not self.score_names():
            raise ValueError("pairs need 'by', the score that orders the answers")
        if self.min_margin is not None and self.max_margin is not None and self.min_margin > self.max_margin:
            raise ValueError(f"min_margin ({self.min_margin:g}) must not be above max_margin ({self.max_margin:g})")
        if self.keep_truncated:
            raise ValueError("answers that were cut off never stand in a pair; remove keep_truncated")
        return self

    def adds(self) -> Mapping[str, pa.DataType]:
        """Facts of the pair."""
        return {**RECORD_COLUMNS, **_COLUMNS}

    def drops(self) -> tuple[str, ...]:
        """Why a prompt has no pair."""
        return tuple(f"select_pairs.{name}" for name in (NO_CANDIDATES, *OUTCOMES[: BELOW + 1], *_ROWS))

    def deliver(self, records: pa.Table) -> pa.Table:
        items = arrays(records)
        outcome, value, _ = self.outcomes(items)
        order = self.order(items, value, outcome == CHOSEN)
        drop_duplicates(items, outcome, order)
        group = items[ROW]
        usable = order[outcome[order] == CHOSEN]
        better, worse = pairs_of(self.rule, group, usable, value, items["random"], self.sigma, self.right)
        margin = value[better] - value[worse]
        long = items["length"]
        ratio = np.maximum(long[better], 1) / np.maximum(long[worse], 1)
        keep, why = self._bounds(value[better], margin, ratio)
        starts = np.flatnonzero(np.r_[True, group[1:] != group[:-1]]) if len(group) else np.zeros(0, np.int64)
        names = group[starts]
        reasons = _reasons(names, group, outcome, group[better], why)
        keep &= _first_few(group[better], keep, self.max_pairs)
        better, worse, margin, ratio = better[keep], worse[keep], margin[keep], ratio[keep]
        cuts = pa.array(np.searchsorted(group[better], np.r_[names, np.iinfo(np.int64).max]), pa.int32())
        position = items["position"]
        lists = [
            pa.ListArray.from_arrays(cuts, pa.array(x, k))
            for x, k in ((position[better], pa.int32()), (position[worse], pa.int32()), (margin, pa.float64()), (ratio, pa.float64()))
        ]
        outcomes = pa.ListArray.from_arrays(pa.array(np.r_[starts, len(group)], pa.int32()), pa.array(outcome, pa.int8()))
        return pa.table([pa.array(names, pa.int64()), outcomes, *lists, pa.array(reasons, pa.string())], schema=_PAIRS)

    def _bounds(self, chosen: Any, margin: Any, ratio: Any) -> tuple[Any, Any]:
        """(which pairs stay, for the others the place in _ROWS of the first bound that they cross)."""
        crossed = np.full(len(margin), -1)
        tests = (
            ("floor", None if self.min_chosen is None else chosen < self.min_chosen),
            ("length", None if self.max_length_ratio is None else np.maximum(ratio, 1 / ratio) > self.max_length_ratio),
            ("margin", None if self.max_margin is None else margin > self.max_margin),
            ("margin", None if self.min_margin is None else margin < self.min_margin),
        )
        for name, fails in tests:
            if fails is not None:
                crossed[fails] = _ROWS.index(name)
        return crossed < 0, crossed

    def apply(self, batch: pa.RecordBatch, delivered: pa.Table) -> Outcome:
        """Make the rows of the pairs, and count what became of the candidates."""
        pool = pool_of(batch)
        column = {name: delivered.column(name).combine_chunks() for name in _PAIRS.names}
        reason = column["why"].fill_null(f"select_pairs.{NO_CANDIDATES}")
        counts = np.nan_to_num(column["better"].value_lengths().to_numpy(zero_copy_only=False)).astype(np.int64)
        keep = counts > 0
        reason = pa.array(reason.to_numpy(zero_copy_only=False), pa.string(), mask=keep)
        parents: I64 = np.repeat(np.arange(len(batch)), counts)
        start = pool.offsets[parents]
        better, worse = (start + column[side].flatten().to_numpy() for side in ("better", "worse"))
        ids = batch.column("id").take(pa.array(parents)).cast(pa.string())
        number = places(parents, np.arange(len(parents)))
        extra = {
            "pair_id": pc.binary_join_element_wise(ids, pa.array(number).cast(pa.string()), "/"),
            "pair_group": ids,
            "pair_rule": pa.repeat(pa.scalar(self.rule, pa.string()), len(parents)),
            "pair_margin": column["margins"].flatten(),
            "pair_length_ratio": column["ratios"].flatten(),
        }
        made = paired(batch, pool, parents, better, worse, extra)
        outcome = column["outcomes"].flatten().to_numpy()
        names = [*OUTCOMES[:-1], "usable"]
        return Outcome(batch, Verdict(pa.array(keep), reason), outcome_figures(batch, pool, outcome, names), expanded=made)


def _first_few(rows: I64, keep: Any, most: int) -> Any:
    """Whether each pair is among the first `most` of its row that stay. rows: ascending."""
    found = np.zeros(len(rows), bool)
    alive = np.flatnonzero(keep)
    found[alive] = places(rows[alive], np.arange(len(alive))) < most
    return found


def _reasons(names: I64, group: I64, outcome: Any, paired_rows: I64, why: Any) -> list[str]:
    """Why each row would have no pair, in words; rows with one are not asked."""
    starts = np.searchsorted(group, names)
    furthest = np.maximum.reduceat(outcome.astype(np.int64), starts) if len(starts) else starts
    usable = np.add.reduceat((outcome == CHOSEN).astype(np.int64), starts) if len(starts) else starts
    first = np.searchsorted(paired_rows, names)
    has = np.searchsorted(paired_rows, names, side="right") > first
    found = []
    for at in range(len(names)):
        if furthest[at] != CHOSEN:
            found.append(OUTCOMES[furthest[at]])
        elif usable[at] < 2:
            found.append("alone")
        elif not has[at]:
            found.append("tied")
        else:
            found.append(_ROWS[why[first[at]]] if why[first[at]] >= 0 else "")
    return [f"select_pairs.{name}" for name in found]
