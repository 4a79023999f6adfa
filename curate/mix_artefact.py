"""The second half of a mix: from its sources to its plan, the state of its order block by block, and its certificate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from curate.errors import DataError
from curate.mix_certificate import certify
from curate.mix_order import Order, Plan, Windows
from curate.mix_schedule import planned_counts, refuse_short
from curate.mix_windows import Pieces
from curate.node import Progress

if TYPE_CHECKING:
    from curate.mixing import MixNode


FITTINGS = 30


def finish(mix: dict[str, Any], node: MixNode, earlier: Mapping[str, Any] | None, out: Path, progress: Progress) -> None:
    """Add to `mix` (with datasets and sources) all that follows from the settings. Raises RecipeError where a source is too small."""
    settle_held_out(mix, out)
    for source in mix["sources"]:
        source["used_before"] = 0
    mix["continues"] = continue_from(mix, earlier, node.continues_at or 0, node.fit) if earlier is not None else None
    node = fitted(node, mix["sources"]) if node.fit else node
    schedule = node.schedule(mix["sources"])
    counts = planned_counts([segment for stage in schedule for segment in stage])
    supplies = node.supplies(mix["sources"], counts)
    refuse_short(supplies, node.seq_len)
    limits = {supply.name: supply.limit for supply in supplies}
    for source in mix["sources"]:
        source["limit"] = limits.get(source["name"], 0) - source["used_before"]
    mix["stages"] = [
        {"windows": sum(s.windows for s in segments), "anneal": stage.anneal, "weights": _weights(node.shares(stage, mix["sources"]), mix),
         "segments": [[s.windows, list(s.shares)] for s in segments]}
        for stage, segments in zip(node.stages, schedule, strict=True)
    ]  # fmt: skip
    mix["blocks"] = []
    plan = Plan.of(mix)
    used = np.zeros(len(mix["sources"]), np.int64)
    for start, block, sources in plan.blocks():
        progress(0.8 + 0.1 * start / len(plan), "order")
        mix["blocks"].append([block.used.tolist(), block.tail.tolist()])
        used += np.bincount(sources, minlength=len(used))
    for source, count in zip(mix["sources"], used.tolist(), strict=True):
        source["used"] = count
    certificate = certify(mix, out, lambda share: progress(0.9 + 0.1 * share, "certificate"))
    for stage, shown in zip(mix["stages"], certificate["stages"], strict=True):
        stage |= {"tokens": shown["tokens"], "realised": {name: s["realised"] for name, s in shown["sources"].items()}}
    mix["certificate"] = certificate


def fitted(node: MixNode, sources: list[dict[str, Any]]) -> MixNode:
    """The mix with its stages shortened alike until every source has enough, where that can be."""
    for _ in range(FITTINGS):
        supplies = node.supplies(sources, planned_counts([s for stage in node.schedule(sources) for s in stage]))
        share = min((s.limit / s.needed for s in supplies if s.needed), default=1.0)
        if share >= 1:
            break
        tokens = [max(node.seq_len, int(stage.tokens * share * 0.98)) for stage in node.stages]
        stages = [stage.model_copy(update={"tokens": count}) for stage, count in zip(node.stages, tokens, strict=True)]
        node = node.model_copy(update={"stages": stages})
    return node


def _weights(shares: Sequence[Fraction], mix: Mapping[str, Any]) -> dict[str, float]:
    """Shares of the trained tokens by source; those at its end, for a stage that anneals."""
    return {source["name"]: round(float(share), 9) for source, share in zip(mix["sources"], shares, strict=True) if share}


def settle_held_out(mix: dict[str, Any], out: Path) -> None:
    """Book the tokens of held-out windows, which are known once sources have their names."""
    pieces, draw = Pieces(mix, out), Windows(mix)
    for number, source in enumerate(mix["sources"]):
        held, ledger = source["held_out"], source["ledger"]
        if held["by"] == "windows" and held["windows"]:
            chosen = draw.held_out(number, np.arange(held["windows"]))
            held["tokens"] = int(pieces.of(number, chosen)[2].sum())
            ledger["in_windows"] -= held["tokens"]
            ledger["held_out"] += held["tokens"]
            ledger["padded"] = source["windows"] * mix["seq_len"] - ledger["in_windows"]


def continue_from(mix: dict[str, Any], earlier: Mapping[str, Any], window: int, fit: bool = False) -> dict[str, Any]:
    """Carry over how often sources were used in the first `window` windows of an earlier mix; return what mix.json says of it."""
    order = Order(dict(earlier))
    if fit and window > len(order):  # the earlier mix was shortened
        window = len(order) // 2
    if window > len(order):
        raise DataError(f"mix.continues_at must be at most {len(order)}, the windows of the mix that is continued, got {window}.")
    for setting in ("seq_len", "packing", "tokenizer"):
        if mix[setting] != earlier[setting]:
            raise DataError(
                f"mix.continues: the earlier mix has {setting} {earlier[setting]!r}, this one {mix[setting]!r}. Windows are counted, so both must be alike."
            )
    used = dict(zip((s["name"] for s in earlier["sources"]), order.used(window).tolist(), strict=True))
    digests = {d["name"]: d["digest"] for d in earlier["datasets"]}
    before = {s["name"]: s for s in earlier["sources"]}
    now = {d["name"]: d["digest"] for d in mix["datasets"]}
    for source in mix["sources"]:
        old = before.get(source["name"])
        if old is None:
            continue
        held, held_before = ({**s["held_out"], "index": None} for s in (source, old))
        changed = [k for k in ("windows", "tokens", "ledger") if source[k] != old[k]] + (["held_out"] if held != held_before else [])
        if now[source["dataset"]] != digests[old["dataset"]] or changed:
            raise DataError(
                f"mix.continues: {source['name']} is not what the earlier mix read ({', '.join(changed) or 'other content'} differs), so what was used "
                "of it can't be told. Give the new documents a dataset of their own, and keep this one and its settings as they were."
            )
        source["used_before"] = used[source["name"]]
    gone = {name: count for name, count in used.items() if name not in {s["name"] for s in mix["sources"]}}
    since = (earlier.get("continues") or {}).get("since_start", 0)
    return {"window": window, "since_start": since + window, "left_out": _without_zeros(gone)}


def _without_zeros(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}
