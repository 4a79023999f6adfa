"""Run pipelines/rejection_sampling_math.yaml for several seeds and show what the selection gains: python -m tests.bench.rejection_sampling --seeds 0 1 2

Prints greedy pass@1 on 1,000 held-out problems by round for the loop and its controls, pass@8 at the start and at the end, and the paired gains of the last
round with 95 % intervals over problems and over seeds. --arms true: the loop alone. Set OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

import curate
from formats.selection.pool import F64, pool_of
from formats.selection.statistics import paired_gain, pass_at_k

PIPELINES = Path(__file__).resolve().parents[2] / "pipelines"
RESULTS = Path(__file__).parent / "results" / "rejection_sampling.json"
ROUNDS = 3


def run_seed(seed: int, work: Path, arms: list[str]) -> tuple[dict[str, list[F64]], dict[str, Any]]:
    """({arm: right or wrong of every held-out problem, base first}, figures) of one seed."""
    folder = work / f"seed{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    recipe = folder / "rejection_sampling_math.yaml"
    recipe.write_text((PIPELINES / recipe.name).read_text())
    subprocess.run([sys.executable, str(PIPELINES / "arithmetic.py"), "--seed", str(seed), "-o", str(folder / "arithmetic")], check=True)
    started = time.perf_counter()
    settings = [f"seed={seed}", f"rounds.control=[{', '.join(a for a in arms if a)}]"]
    result = curate.run(recipe, out=folder / "out", set=settings, workers=1)
    names = {arm: ["eval0", *(f"eval@{n}" + (f".{arm}" if arm else "") for n in range(1, ROUNDS + 1))] for arm in arms}
    hits = {arm: [right(folder / "out" / name) for name in evals] for arm, evals in names.items()}
    at8 = {name: passing_at(folder / "out" / name, 8) for name in ("eval0_at8", f"eval_at8@{ROUNDS}")}
    ledgers = [result.manifest["datasets"][f"ledger@{n}"]["info"] for n in range(1, ROUNDS + 1)]
    return hits, {"seconds": round(time.perf_counter() - started, 1), "pass_at_8": at8, "ledgers": ledgers}


def right(folder: Path) -> F64:
    """Whether the first answer to each problem is right, in order of ids."""
    table = pq.read_table(sorted(folder.glob("part-*.parquet"))).combine_chunks().sort_by("id").combine_chunks()
    pool = pool_of(table.to_batches()[0])
    return np.nan_to_num(pool.scores("right")[pool.offsets[:-1]])


def passing_at(folder: Path, k: int) -> float | None:
    """Unbiased pass@k."""
    pool = pool_of(pq.read_table(sorted(folder.glob("part-*.parquet"))).combine_chunks().to_batches()[0])
    score, n = pool.scores("right"), len(pool.offsets) - 1
    return pass_at_k(np.bincount(pool.group, minlength=n), np.bincount(pool.group[score == 1], minlength=n), k)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options.add_argument("--arms", nargs="+", default=["true", "random", "no_new_rows"])
    options.add_argument("--work", type=Path, default=Path("rejection_sampling"))
    options.add_argument("--save", action="store_true")
    given = options.parse_args()
    arms = ["" if a == "true" else a for a in given.arms]
    runs = [run_seed(seed, given.work, arms) for seed in given.seeds]
    found: dict[str, Any] = {"seeds": given.seeds, "runs": [figures for _, figures in runs], "pass_at_1": {}, "gains": {}}
    for arm in arms:
        curve = np.mean([[hits.mean() for hits in run[0][arm]] for run in runs], axis=0)
        found["pass_at_1"][arm or "true"] = [round(float(x), 4) for x in curve]
        print(f"{arm or 'true':12s} greedy pass@1 by round {found['pass_at_1'][arm or 'true']}")
    last = [run[0][""][-1] for run in runs]
    against = {"base": [run[0][""][0] for run in runs], **{arm: [run[0][arm][-1] for run in runs] for arm in arms if arm}}
    for name, other in against.items():
        found["gains"][name] = paired_gain(last, other)
        print(f"gain over {name}: " + ", ".join(f"{k} {100 * v:.1f}" for k, v in found["gains"][name].items()))
    for seed, figures in zip(given.seeds, found["runs"], strict=True):
        print(f"seed {seed}: {figures['seconds']} s, pass@8 {figures['pass_at_8']}")
    if given.save:
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
