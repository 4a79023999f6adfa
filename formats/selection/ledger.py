"""The node `round_ledger`: what a round of generation and selection did, in figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from curate.node import Node, NodeInput, NodeResult, Progress
from curate.step import Context
from formats.selection.control import table_of
from formats.selection.pool import F64, Pool, pool_of
from formats.selection.statistics import best_of_n, divergence_bound, pass_at_k

FILE = "ledger.json"


class RoundLedger(Node):
    """Prompts, samples, accepted rows, rewards, pass rate, tokens and cost of a round; and whether more samples still help.

    gap is the mean over prompts of the best score less the mean one: what selection can still gain (Touvron et al. 2023, figure 7). Three things say
    that a further round is not worth it: a gap below `min_gap`; figures of this round that are all less than `min_gain` above those of the round
    before; `watch`, a score that selection did not use, falls while `by` rises (over-optimisation). They stand in the ledger as `stop` and in the
    manifest as warnings; with `stop: LEDGER` in the recipe's `rounds` the rounds end there.
    """

    kind: ClassVar[str] = "round_ledger"
    summary: ClassVar[str] = "figures of a round: samples, accepted rows, rewards, pass rate, tokens"

    pool: str = Field(min_length=1, description="dataset with the round's scored candidates")
    rows: str = Field(min_length=1, description="dataset with the round's selection")
    by: str = Field(min_length=1, max_length=200, description="score that counts")
    passes: float = Field(default=1.0, ge=-1e12, le=1e12, description="least score that passes")
    also: list[str] = Field(default=[], max_length=100, description="further scores: how many of the selected rows pass them")
    watch: str | None = Field(default=None, min_length=1, description="score that selection does not use")
    before: list[str] = Field(default=[], max_length=1, description="the ledger of the round before: [ledger@previous]")
    min_gap: float = Field(default=0.0, ge=0, le=1e12, description="least gap between best and mean score that is worth a further round")

    min_gain: dict[Literal["mean", "median", "best", "pass_rate"], Annotated[float, Field(ge=-1e12, le=1e12)]] = Field(
        default={},
        description="least rise over the round before that is worth a further round: {pass_rate: 0.01}; one figure that has it is enough",
    )

    def inputs(self) -> tuple[str, ...]:
        """Pool, selection, and the ledger before."""
        return (self.pool, self.rows, *self.before)

    def run(self, inputs: Mapping[str, NodeInput], out: Path, ctx: Context, progress: Progress) -> NodeResult:
        """Write ledger.json."""
        table = table_of(inputs[self.pool])
        batch = table.combine_chunks().to_batches()[0] if len(table) else pa.RecordBatch.from_pylist([], schema=table.schema)
        pool = pool_of(batch)
        info = self._figures(pool, batch, table_of(inputs[self.rows])) | _asked(Path(inputs[self.pool].folder))
        last = json.loads((Path(inputs[self.before[0]].folder) / FILE).read_text("utf-8")) if self.before else None
        reasons = self._reasons(info, last)
        if reasons:
            info |= {"stop": reasons, "warnings": [f"round_ledger: {reason}" for reason in reasons]}
        (out / FILE).write_text(json.dumps(info, indent=1, sort_keys=True) + "\n", "utf-8")
        return NodeResult(rows_out=1, info=info)

    def _figures(self, pool: Pool, batch: pa.RecordBatch, rows: pa.Table) -> dict[str, Any]:
        score, group = pool.scores(self.by), pool.group
        n = len(pool.offsets) - 1
        known = ~np.isnan(score)
        passing = known & (np.nan_to_num(score, nan=-np.inf) >= self.passes)
        scored, passed = np.bincount(group[known], minlength=n), np.bincount(group[passing], minlength=n)
        most = int(scored.max(initial=0))
        tokens = pool.structs.flatten()[pool.structs.type.get_field_index("tokens")]
        found: dict[str, Any] = {
            "prompts": n, "samples": len(score), "null_scores": int((~known).sum()), "accepted": len(rows), "tokens": int(np.nansum(tokens.to_numpy(zero_copy_only=False))),
            "pass_rate": _mean(passing[known].astype(np.float64)), "prompts_passed": int((passed > 0).sum()), "mean": _mean(score[known]),
            "median": float(np.median(score[known])) if known.any() else None, "best": best_of_n(group, score, most) if most else None,
            "pass_at": {str(k): pass_at_k(scored, passed, k) for k in (1, most) if most}, "divergence_at_most": divergence_bound(max(1, most)),
            "accepted_that_pass": {name: self._of_rows(pool, batch, rows, name) for name in self.also},
        }  # fmt: skip
        if self.watch is not None:
            watched = pool.scores(self.watch)
            found["watched"] = _mean(watched[~np.isnan(watched)])
        found["gap"] = None if found["best"] is None or found["mean"] is None else found["best"] - found["mean"]
        return found

    def _of_rows(self, pool: Pool, batch: pa.RecordBatch, rows: pa.Table, name: str) -> int:
        """How many selected rows pass a score."""
        number = {i: at for at, i in enumerate(batch.column("id").to_pylist())}
        score = pool.scores(name)
        places = {(int(g), s): at for at, (g, s) in enumerate(zip(pool.group, _samples(pool), strict=True))}
        names = zip(rows.column("select_of").to_pylist(), rows.column("select_sample").to_pylist(), strict=True)
        return sum(bool(score[places[number[of], sample]] >= self.passes) for of, sample in names)

    def _reasons(self, now: dict[str, Any], last: dict[str, Any] | None) -> list[str]:
        """Why a further round is not worth it."""
        found = []
        if now["gap"] is not None and now["gap"] < self.min_gap:
            found.append(
                f"the best of a prompt's answers is only {now['gap']:.4g} above their mean, below min_gap {self.min_gap:g}: stop here"
            )
        if last is None:
            return found
        gains = {name: now[name] - last[name] for name in self.min_gain if now[name] is not None and last[name] is not None}
        if gains and all(gain < self.min_gain[name] for name, gain in gains.items()):
            told = ", ".join(f"{name} {now[name]:.4g} is {gain:+.4g} from the round before" for name, gain in gains.items())
            asked = ", ".join(f"{name}: {self.min_gain[name]:g}" for name in gains)
            found.append(f"{told}, below min_gain {{{asked}}}: stop here")
        watched, earlier = now.get("watched"), last.get("watched")
        if watched is not None and earlier is not None and watched < earlier and now["mean"] > last["mean"]:
            found.append(f"{self.by} rose while {self.watch}, which is not selected for, fell: over-optimisation, stop before this round")
        return found


def _asked(folder: Path) -> dict[str, Any]:
    """What the pool's steps sent to models: tokens of prompts, and the cost where a price was given. Nothing for a pool that was read."""
    notes = folder / "_dataset.json"
    findings = json.loads(notes.read_bytes()).get("findings", {}) if notes.is_file() else {}
    asked = [found for found in findings.values() if isinstance(found, dict) and "tokens_in" in found]
    costs = [found["cost"] for found in asked if "cost" in found]
    return ({"tokens_in": sum(found["tokens_in"] for found in asked)} if asked else {}) | ({"cost": sum(costs)} if costs else {})


def _samples(pool: Pool) -> list[int | None]:
    found: list[int | None] = pool.structs.flatten()[pool.structs.type.get_field_index("sample")].to_pylist()
    return found


def _mean(values: F64) -> float | None:
    return float(values.mean()) if len(values) else None
