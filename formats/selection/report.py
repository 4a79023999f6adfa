"""`curate pool FILES`: what a pool of scored candidates looks like: distributions, pass@k, best of n, length, agreement."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.errors import DataError
from formats.batches import record_files
from formats.selection.pool import F64, Pool, pool_of
from formats.selection.statistics import agreement, best_of_n, correlation, divergence_bound, pass_at_k

_SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)
BARS, LENGTHS = 24, 10


def read_pool(places: Sequence[Path]) -> Pool:
    """The candidates of Parquet files of records, or of dataset folders. Raises DataError where there are none."""
    tables = [_candidates(file, where) for where in places for file in record_files(where)]
    table = pa.concat_tables(tables).combine_chunks()
    if not len(table):
        raise DataError("the pool has no rows.")
    return pool_of(table.to_batches()[0])


def _candidates(file: pq.ParquetFile, where: Path) -> pa.Table:
    names = file.schema_arrow.names
    if "candidates" not in names:
        raise DataError(f"{where}: has no column 'candidates'. It has: {', '.join(names)}.")
    return file.read(columns=["candidates"]).replace_schema_metadata(None)


def score_names(given: Pool) -> list[str]:
    """Names of all scores of a pool, in order of their first appearance."""
    entries = given.structs.flatten()[given.structs.type.get_field_index("scores")].flatten()
    return [name for name in pc.unique(entries.flatten()[0]).to_pylist() if name is not None]


def report(given: Pool, passes: float = 1.0) -> dict[str, Any]:
    """All figures as plain JSON."""
    counts = np.diff(given.offsets)
    length, cut = given.lengths(), given.cut_off()
    found: dict[str, Any] = {
        "prompts": len(counts), "candidates": len(given.structs), "without_candidates": int((counts == 0).sum()),
        "cut_off": int(cut.sum()), "empty": int(given.empty().sum()), "mean_length": float(length.mean()) if len(length) else None, "scores": {},
    }  # fmt: skip
    names = score_names(given)
    scores = {name: given.scores(name) for name in names}
    for name, values in scores.items():
        found["scores"][name] = _one(given, values, length, passes)
    found["agreement"] = {f"{a} and {b}": agreement(given.group, scores[a], scores[b]) for n, a in enumerate(names) for b in names[n + 1 :]}
    return found


def _one(given: Pool, values: F64, length: F64, passes: float) -> dict[str, Any]:
    group, n = given.group, len(given.offsets) - 1
    known = ~np.isnan(values)
    scored = np.bincount(group[known], minlength=n)
    passed = np.bincount(group[known & (np.nan_to_num(values, nan=-np.inf) >= passes)], minlength=n)
    sizes = [k for k in (2**i for i in range(13)) if k <= scored.max(initial=0)]
    finite = values[known & np.isfinite(values)]
    quantiles = np.quantile(finite, _SHARES).tolist() if len(finite) else []
    return {
        "histogram": _histogram(finite), "by_length": _by_length(values, length),
        "null": int((~known).sum()), "mean": float(finite.mean()) if len(finite) else None, "quantiles": dict(zip(map(str, _SHARES), quantiles, strict=False)),
        "prompts": {"none_pass": int(((passed == 0) & (scored > 0)).sum()), "all_pass": int(((passed == scored) & (scored > 0)).sum()), "none_scored": int((scored == 0).sum())},
        "pass_at": {str(k): pass_at_k(scored, passed, k) for k in sizes},
        "best_of": {str(k): {"score": best_of_n(group, values, k), "divergence_at_most": divergence_bound(k)} for k in sizes},
        "with_length": correlation(values, length), "within_prompts_with_length": correlation(_centred(values, group, known), _centred(length, group, known)),
    }  # fmt: skip


def _histogram(values: F64) -> dict[str, Any]:
    """Counts of equal bars from the least value to the greatest; one bar where all are the same."""
    if not len(values):
        return {"low": None, "high": None, "counts": []}
    low, high = float(values.min()), float(values.max())
    counts = np.histogram(values, BARS, (low, high))[0] if high > low else np.array([len(values)])
    return {"low": low, "high": high, "counts": counts.tolist()}


def _by_length(values: F64, length: F64) -> list[list[float]]:
    """[mean length, mean score, candidates] of tenths of the scored candidates, the shortest first; equal lengths stay together."""
    known = np.isfinite(values)
    v, n = values[known], length[known]
    if not len(v):
        return []
    edges = np.unique(np.quantile(n, np.linspace(0, 1, LENGTHS + 1)))
    part = np.clip(np.searchsorted(edges, n, side="right") - 1, 0, max(0, len(edges) - 2))
    return [[float(n[part == p].mean()), float(v[part == p].mean()), int((part == p).sum())] for p in np.unique(part)]


def _centred(values: F64, group: Any, known: Any) -> F64:
    """Values less their prompt's mean, NaN where not known."""
    count = np.maximum(np.bincount(group[known], minlength=int(group.max(initial=0)) + 1), 1)
    mean = np.bincount(group[known], weights=values[known], minlength=len(count)) / count
    return np.where(known, values - mean[group], np.nan)


def lines(found: dict[str, Any]) -> list[str]:
    """The report for a terminal."""
    made = [
        f"{found['prompts']:,} prompts, {found['candidates']:,} candidates, {found['cut_off']:,} cut off, {found['empty']:,} empty, "
        f"mean length {_number(found['mean_length'])}"
    ]
    for name, one in found["scores"].items():
        quantiles = " ".join(f"{float(share):.0%}: {value:.3g}" for share, value in one["quantiles"].items())
        made += [
            "", f"{name}: mean {_number(one['mean'])}, null {one['null']:,}, {quantiles}",
            f"  prompts: none pass {one['prompts']['none_pass']:,}, all pass {one['prompts']['all_pass']:,}, nothing scored {one['prompts']['none_scored']:,}",
            "  pass@k:    " + "  ".join(f"{k}: {_number(v)}" for k, v in one["pass_at"].items()),
            "  best of n: " + "  ".join(f"{k}: {_number(v['score'])} (<= {v['divergence_at_most']:.2f} nats)" for k, v in one["best_of"].items()),
            f"  with length: {_number(one['with_length'])}, within prompts {_number(one['within_prompts_with_length'])}",
        ]  # fmt: skip
    if found["agreement"]:
        made += ["", "same order within prompts: " + ", ".join(f"{pair} {_number(share)}" for pair, share in found["agreement"].items())]
    return made


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
