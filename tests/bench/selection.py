"""Select from a pool of a million candidates, by every rule: python -m tests.bench.selection [--prompts 125000] [--only NAME ...] [--save]

Pools of 8 answers of about 200 characters with two scores, a verdict, tokens and finish reasons; one in a hundred scores is null, every seventh answer
repeats another one of its prompt. Each rule's step runs as in a recipe, over batches of 8,192 prompts, to the rows that are written. CPU seconds of
one core (user and system), the best of --repeat; the pool is there before. Bar: 10 s each.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curate.apply import outcomes
from curate.schema import DOCUMENT
from curate.step import CorpusStep, Outcome, Step
from formats.records import CANDIDATE, MESSAGE, RECORD_COLUMNS
from formats.selection.best import SelectBest
from formats.selection.pairs import SelectPairs
from formats.selection.pass_rate import PassRate

RESULTS = Path(__file__).parent / "results" / "selection.json"
SAMPLES, BATCH, BAR_S = 8, 8192, 10.0
RULES: dict[str, Step] = {
    "best by a score": SelectBest(by="reward"),
    "best by a verifier, most frequent": SelectBest(require={"math": 1}, ties="frequent"),
    "two scaled scores, top quartile, budget, length": SelectBest(
        by=["reward", "helpful"], combine="zscores", top_share=0.25, budget=50_000, debias_length=True
    ),
    "mean rank of two scores, four of a prompt": SelectBest(by=["reward", "helpful"], combine="ranks", top=4),
    "all that pass": SelectBest(require={"math": 1}, top=None),
    **{f"pairs: {rule}": SelectPairs(rule=rule, by="reward") for rule in ("best_worst", "best_random", "best_second", "adjacent")},
    "pairs: worst_sigma, bounds": SelectPairs(rule="worst_sigma", by="reward", min_margin=0.2, max_length_ratio=2),
    "pairs: right_wrong, ten of a prompt": SelectPairs(rule="right_wrong", by="math", max_pairs=10),
    "pairs: all, ten of a prompt": SelectPairs(rule="all", by="reward", max_pairs=10),
    "pass_rate": PassRate(by="math", min_rate=0.1, max_rate=0.9),
}


def pool(prompts: int, seed: int = 0) -> list[pa.RecordBatch]:
    """Batches of records with candidates."""
    return [_batch(start, min(BATCH, prompts - start), np.random.default_rng((seed, start))) for start in range(0, prompts, BATCH)]


def _batch(first: int, rows: int, random: np.random.Generator) -> pa.RecordBatch:
    n = rows * SAMPLES
    ids = [f"prompt-{first + r}" for r in range(rows)]
    words = np.array([f"word{w}" for w in range(1000)])
    drawn = [" ".join(words[w]) for w in random.integers(0, 1000, (n, 30))]
    texts = [drawn[at - 1] if at % 7 == 6 and at % SAMPLES else drawn[at] for at in range(n)]
    tokens, reward = random.integers(20, 60, n), random.normal(size=n)
    scores = {"reward": reward, "helpful": 0.5 * reward + random.normal(size=n), "math": (random.random(n) < 0.4).astype(float)}
    missing = random.random(n) < 0.01
    entries = CANDIDATE.field("scores").type.value_type
    values = np.stack(list(scores.values()), 1).ravel()
    flat = pa.StructArray.from_arrays(
        [pa.array(list(scores) * n, pa.string()), pa.array(values, pa.float64(), mask=np.repeat(missing, 3))], fields=list(entries)
    )
    given: dict[str, Any] = {
        "messages": _lists(_messages("assistant", texts), 1),
        "scores": pa.ListArray.from_arrays(pa.array(np.arange(0, 3 * n + 1, 3), pa.int32()), flat, type=CANDIDATE.field("scores").type),
        "tokens": pa.array(tokens), "sample": pa.array(np.tile(np.arange(SAMPLES), rows)), "seed": pa.array(np.arange(n)),
        "finish_reason": pa.array(np.where(random.random(n) < 0.01, "length", "stop")),
    }  # fmt: skip
    structs = pa.StructArray.from_arrays(
        [given[f.name].cast(f.type) if f.name in given else pa.nulls(n, f.type) for f in CANDIDATE], fields=list(CANDIDATE)
    )
    columns: dict[str, Any] = {
        "id": pa.array(ids), "text": pa.array(ids, pa.large_string()), "source": pa.array(["pool"] * rows),
        "messages": _lists(_messages("user", [f"question {i}" for i in ids]), 1),
        "candidates": pa.ListArray.from_arrays(pa.array(np.arange(0, n + 1, SAMPLES), pa.int32()), structs, type=RECORD_COLUMNS["candidates"]),
    }  # fmt: skip
    fields = [*DOCUMENT, *(pa.field(name, kind) for name, kind in RECORD_COLUMNS.items())]
    made = [columns[f.name].cast(f.type) if f.name in columns else pa.nulls(rows, f.type) for f in fields]
    return pa.RecordBatch.from_arrays(made, schema=pa.schema(fields))


def _messages(role: str, contents: list[str]) -> pa.StructArray:
    given: dict[str, Any] = {"role": pa.array([role] * len(contents)), "content": pa.array(contents, pa.large_string())}
    columns = [given[f.name].cast(f.type) if f.name in given else pa.nulls(len(contents), f.type) for f in MESSAGE]
    return pa.StructArray.from_arrays(columns, fields=list(MESSAGE))


def _lists(values: pa.Array, size: int) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(np.arange(0, len(values) + 1, size), pa.int32()), values, type=pa.list_(MESSAGE))


def measured(step: Step, batches: list[pa.RecordBatch], repeat: int) -> dict[str, float]:
    """CPU seconds and rows made. Where no row depends on another, each batch's rows are let go before the next one, as a recipe does."""
    best, rows = float("inf"), 0
    alone = not (isinstance(step, CorpusStep) and step.phases())
    for _ in range(repeat):
        started, rows = time.process_time(), 0
        for some in [[b] for b in batches] if alone else [batches]:
            rows += sum(_rows(outcome) for outcome in outcomes(step, some))
        best = min(best, time.process_time() - started)
    return {"cpu_s": round(best, 2), "rows": rows}


def _rows(outcome: Outcome) -> int:
    if outcome.expanded is not None:
        return len(outcome.expanded.batch)
    return len(outcome.batch) if outcome.verdict is None else int(outcome.verdict.keep.true_count)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--prompts", type=int, default=125_000)
    options.add_argument("--only", nargs="+", default=list(RULES))
    options.add_argument("--repeat", type=int, default=3)
    options.add_argument("--save", action="store_true")
    given = options.parse_args()
    pa.set_cpu_count(1)
    batches = pool(given.prompts)
    found: dict[str, Any] = {
        "candidates": given.prompts * SAMPLES,
        "rules": {},
        "pyarrow": pa.__version__,
        "python": platform.python_version(),
    }
    for name in given.only:
        found["rules"][name] = entry = measured(RULES[name], batches, given.repeat)
        print(f"{name:50s} {entry['cpu_s']:6.2f} s, {entry['rows']:9,} rows", flush=True)
    found["peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)
    slow = [name for name, entry in found["rules"].items() if entry["cpu_s"] > BAR_S]
    print(f"peak memory {found['peak_mb']:,} MB; above {BAR_S:g} s: {', '.join(slow) or 'none'}")
    if given.save:
        known = json.loads(RESULTS.read_text())["rules"] if RESULTS.exists() else {}
        found["rules"] = {name: {**known, **found["rules"]}[name] for name in RULES if name in {**known, **found["rules"]}}
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
