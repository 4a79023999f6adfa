"""Run pipelines/rejection_sampling_math.yaml for several seeds and show what the selection gains: python -m tests.bench.rejection_sampling --seeds 0 1 2 3 4

Prints greedy pass@1 on 1,000 held-out problems by round for the loop and its controls, pass@8 at the start and at the end, what DPO adds, and the paired
gains of the last round with 95 % intervals over problems and over seeds; `--save` writes them, and draws docs/rejection_sampling.svg (needs matplotlib).
A seed that is done (in --work) is only read; its time and CPU seconds are those of the runs that made it. --arms true: the loop alone. Set OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

import curate
from formats.selection.pool import F64, pool_of
from formats.selection.statistics import paired_gain, pass_at_k

PIPELINES = Path(__file__).resolve().parents[2] / "pipelines"
RESULTS = Path(__file__).parent / "results" / "rejection_sampling.json"
PLOT = Path(__file__).resolve().parents[2] / "docs" / "rejection_sampling.svg"
ROUNDS = 3


def run_seed(seed: int, work: Path, arms: list[str]) -> tuple[dict[str, list[F64]], dict[str, Any]]:
    """({arm: right or wrong of every held-out problem, base first}, figures) of one seed."""
    folder = work / f"seed{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    recipe = folder / "rejection_sampling_math.yaml"
    recipe.write_text((PIPELINES / recipe.name).read_text())
    if not (folder / "arithmetic").exists():  # a file that is written again counts as new, and everything is made again
        subprocess.run(
            [sys.executable, str(PIPELINES / "arithmetic.py"), "--seed", str(seed), "-o", str(folder / "arithmetic")], check=True
        )
    before = _clocks()
    settings = [f"seed={seed}", f"rounds.control=[{', '.join(a for a in arms if a)}]"]
    result = curate.run(recipe, out=folder / "out", set=settings, workers=1)
    cost = _cost(folder / "cost.json", before, result.tasks["run"])
    names = {arm: ["eval0", *(f"eval@{n}" + (f".{arm}" if arm else "") for n in range(1, ROUNDS + 1))] for arm in arms}
    hits = {arm: [right(folder / "out" / name) for name in evals] for arm, evals in names.items()}
    hits["dpo"] = [right(folder / "out" / "eval_dpo")]
    at8 = {name: passing_at(folder / "out" / name, 8) for name in ("eval0_at8", "eval_last_at8")}
    curves = {arm or "true": [round(float(h.mean()), 4) for h in found] for arm, found in hits.items()}
    ledgers = [result.manifest["datasets"][f"ledger@{n}"]["info"] for n in range(1, ROUNDS + 1)]
    return hits, {**cost, "pass_at_1": curves, "pass_at_8": at8, "ledgers": ledgers}


def _clocks() -> tuple[float, float]:
    """(wall time, CPU seconds of this process and of all that it has waited for)."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return time.perf_counter(), sum(u.ru_utime + u.ru_stime for u in used)


def _cost(file: Path, before: tuple[float, float], made: int) -> dict[str, float]:
    """Time and CPU seconds of all runs of a seed so far that made something."""
    known = json.loads(file.read_text()) if file.exists() else {"seconds": 0.0, "cpu_s": 0.0, "runs": 0}
    if made:
        wall, cpu = (now - then for now, then in zip(_clocks(), before, strict=True))
        known = {"seconds": round(known["seconds"] + wall, 1), "cpu_s": round(known["cpu_s"] + cpu, 1), "runs": known["runs"] + 1}
        file.write_text(json.dumps(known))
    return dict(known)


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
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    options.add_argument("--arms", nargs="+", default=["true", "random", "no_new_rows"])
    options.add_argument("--work", type=Path, default=Path("rejection_sampling"))
    options.add_argument("--save", action="store_true")
    given = options.parse_args()
    arms = ["" if a == "true" else a for a in given.arms]
    runs = [run_seed(seed, given.work, arms) for seed in given.seeds]
    found: dict[str, Any] = {"seeds": given.seeds, "runs": [figures for _, figures in runs], "pass_at_1": {}, "gains": {}}
    found |= {"versions": {"python": platform.python_version(), **{n: version(n) for n in ("torch", "transformers", "trl")}}}
    for arm in arms:
        curve = np.mean([[hits.mean() for hits in run[0][arm]] for run in runs], axis=0)
        found["pass_at_1"][arm or "true"] = [round(float(x), 4) for x in curve]
        print(f"{arm or 'true':12s} greedy pass@1 by round {found['pass_at_1'][arm or 'true']}")
    last = [run[0][""][-1] for run in runs]
    against = {"base": [run[0][""][0] for run in runs], **{arm: [run[0][arm][-1] for run in runs] for arm in arms if arm}}
    found["gains"] = {name: paired_gain(last, other) for name, other in against.items()}
    found["gains"]["dpo over the last round"] = paired_gain([run[0]["dpo"][0] for run in runs], last)
    for name, gain in found["gains"].items():
        print(f"gain {name}: " + ", ".join(f"{k} {100 * v:.1f}" for k, v in gain.items()))
    for seed, figures in zip(given.seeds, found["runs"], strict=True):
        print(f"seed {seed}: {figures['seconds']} s, {figures['cpu_s']} CPU s, pass@8 {figures['pass_at_8']}")
        print("   ", figures["pass_at_1"])
        for n, ledger in enumerate(figures["ledgers"], 1):
            rows, whole = ledger["accepted"], ledger["accepted_that_pass"]["steps"]
            print(
                f"    round {n}: {rows:,} rows, {rows - whole} with wrong steps; pass rate {ledger['pass_rate']:.3f}, {ledger['prompts_passed']:,} prompts passed"
            )
    if given.save:
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")
        draw(found, PLOT)


def draw(found: dict[str, Any], target: Path) -> None:
    """Curves of all arms: the mean over seeds, and each seed's loop in grey."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "curate"
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained", width_ratios=[3, 2])
    for run in found["runs"]:
        left.plot(range(ROUNDS + 1), [100 * x for x in run["pass_at_1"]["true"]], color="silver", linewidth=1)
    labels = {"true": "selected by the verifier", "no_new_rows": "same steps, seed rows alone", "random": "as many random answers"}
    for arm, marker in zip(labels, "os^", strict=True):
        if arm in found["pass_at_1"]:
            left.plot(range(ROUNDS + 1), [100 * x for x in found["pass_at_1"][arm]], marker + "-", label=labels[arm])
    left.set(xlabel="round", ylabel="greedy pass@1, %", xticks=range(ROUNDS + 1), ylim=0)
    left.set_title(f"1,000 held-out problems, mean of {len(found['runs'])} seeds (grey: each)", fontsize=9)
    left.legend(fontsize=8, frameon=False)
    gains = {name: found["gains"][name] for name in ("base", "random", "no_new_rows") if name in found["gains"]}
    for at, gain in enumerate(gains.values()):
        bounds = [(gain["low"], gain["high"], -0.12)] + ([(gain["seeds_low"], gain["seeds_high"], 0.12)] if "seeds_low" in gain else [])
        right.bar(at, 100 * gain["mean"], color="C0", alpha=0.5, width=0.6)
        for low, high, aside in bounds:
            right.plot([at + aside] * 2, [100 * low, 100 * high], "_-", color="black", linewidth=1.5)
    right.axhline(0, color="black", linewidth=0.8)
    right.set_xticks(range(len(gains)), [f"over {name}" for name in gains], fontsize=8)
    right.set_title("gain in points; 95 % over problems, over seeds", fontsize=9)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(target, metadata={"Date": None})


if __name__ == "__main__":
    main()
