"""Benchmark what a second core gives: one worker, two workers, and two separate runs side by side, in turns.

    python tests/bench/scaling.py --work /tmp/bench --turns 5 --save         # everything, on an idle machine
    python tests/bench/scaling.py --work /tmp/bench --mb 6 --turns 1         # does it work?
    python tests/bench/scaling.py --markdown                                 # tables of the saved results

The recipe and the corpus are those of pipeline.py. Cores share caches, memory and what the host gives, so two runs side by side,
each on a core and a folder of its own, take longer than one alone; nothing that divides one run between two cores can be
faster than that. So next to the ratio stands its limit: 2 * (one alone) / (two side by side). All three kinds of runs are
measured in each turn, because a machine's speed changes from minute to minute; figures are medians over the turns.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from corpus import Corpus, make_corpus
from pipeline import REPOSITORY, SEED, Bench, cores, measured_on, say, sources, train_tokenizer

RESULTS = Path(__file__).resolve().parent / "results" / "scaling.json"
KINDS = {"one": "1 worker", "two": "2 workers", "beside": "two separate runs of 1 worker, side by side"}


def start(bench: Bench, recipe: Path, name: str, workers: int, on: Sequence[int]) -> subprocess.Popen[bytes]:
    """Start a run from nothing in a folder of that name, kept to processors `on`."""
    out = bench.work / name
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "curate", "run", str(recipe), "--out", str(out), "--workers", str(workers), "--quiet"]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | {"CURATE_CACHE": str(bench.cache)}
    return subprocess.Popen(["taskset", "-c", ",".join(map(str, on)), *command], env=environment)


def finish(processes: Sequence[subprocess.Popen[bytes]]) -> dict[str, float]:
    """Wait for all: seconds until they ended, in the mean, and CPU seconds of all together. SystemExit where one failed."""
    started, ends, cpu = time.perf_counter(), [], 0.0
    for _ in processes:
        process, status, used = os.wait4(-1, 0)
        ends.append(time.perf_counter() - started)
        cpu += used.ru_utime + used.ru_stime
        next(p for p in processes if p.pid == process).returncode = os.waitstatus_to_exitcode(status)
    if any(p.returncode for p in processes):
        raise SystemExit(f"a run ended with {[p.returncode for p in processes]}; see above")
    return {"wall_s": round(sum(ends) / len(ends), 3), "cpu_s": round(cpu, 3)}


def turn(bench: Bench, recipe: Path) -> dict[str, dict[str, float]]:
    """One of each kind."""
    first, second = cores(2)
    return {
        "one": finish([start(bench, recipe, "alone", 1, [first])]),
        "two": finish([start(bench, recipe, "both", 2, [first, second])]),
        "beside": finish([start(bench, recipe, f"side-{on}", 1, [on]) for on in (first, second)]),
    }


def scale(bench: Bench, corpus: Corpus, turns: int, tokenizer: Path | None) -> dict[str, Any]:
    """All turns of a recipe."""
    recipe = bench.recipe(corpus, tokenizer)
    made: list[dict[str, dict[str, float]]] = []
    for number in range(turns):
        made.append(turn(bench, recipe))
        say(f"{recipe.stem}, turn {number + 1}: " + ", ".join(f"{KINDS[kind]} {made[-1][kind]['wall_s']:.1f} s" for kind in KINDS))
    return {"text_mb": corpus.text_bytes / 1e6, "turns": made}


def run_everything(arguments: argparse.Namespace, work: Path) -> dict[str, Any]:
    """All recipes on all sizes."""
    found: dict[str, Any] = {**measured_on(), "scales": {}}
    bench = Bench(work, Path(tempfile.mkdtemp(prefix="kernels-", dir=work)))
    try:
        for mb in arguments.mb:
            corpus = make_corpus(sources(), work, mb, SEED)
            say(f"{mb:g} MB: first run, compiles")
            finish([start(bench, bench.recipe(corpus), "alone", 2, cores(2))])
            found["scales"][f"parquet {mb:g}"] = scale(bench, corpus, arguments.turns, None)
            found["scales"][f"tokens {mb:g}"] = scale(bench, corpus, arguments.turns, train_tokenizer(bench, corpus))
    finally:
        shutil.rmtree(bench.cache, ignore_errors=True)
        for name in ("alone", "both", *(f"side-{on}" for on in cores(2))):
            shutil.rmtree(work / name, ignore_errors=True)
    return found


def rows(found: dict[str, Any]) -> list[list[str]]:
    """One row a recipe and size."""
    made = []
    for name, scaled in found["scales"].items():
        walls = {kind: [one[kind]["wall_s"] for one in scaled["turns"]] for kind in KINDS}
        middle = {kind: median(walls[kind]) for kind in KINDS}
        pairs = [one["one"]["wall_s"] / one["two"]["wall_s"] for one in scaled["turns"]]
        ratio, limit = middle["one"] / middle["two"], 2 * middle["one"] / middle["beside"]
        made.append([f"{name} MB", *(f"{middle[kind]:.1f} ({min(walls[kind]):.1f}-{max(walls[kind]):.1f})" for kind in KINDS),
                     f"{ratio:.2f} ({min(pairs):.2f}-{max(pairs):.2f})", f"{limit:.2f}", f"{ratio / limit:.0%}"])  # fmt: skip
    return made


def as_markdown(found: dict[str, Any]) -> str:
    """The table, and what it was measured on."""
    head = ["", *(f"{said}, s" for said in KINDS.values()), "2 workers against 1", "limit", "of the limit"]
    at = found["machine"]
    lines = [" | ".join(row) for row in (head, ["---", *["---:"] * (len(head) - 1)], *rows(found))]
    return "\n".join(f"| {line} |" for line in lines) + (
        f"\n\n{at['cpu']}, {at['cores']} cores, {at['system']}; load before {at['load_before']}; commit {found['commit']}; "
        + ", ".join(f"{k} {v}" for k, v in found["versions"].items())
    )


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=float, nargs="+", default=[300], help="text of the corpora, in 10^6 bytes (300)")
    parser.add_argument("--turns", type=int, default=5, help="how often each kind of run is made (5)")
    parser.add_argument("--work", type=Path, help="folder for the corpora and the runs, kept; default: a temporary one")
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS.relative_to(REPOSITORY)}")
    parser.add_argument("--markdown", action="store_true", help="run nothing, print the saved results as a Markdown table")
    arguments = parser.parse_args()
    if arguments.markdown:
        print(as_markdown(json.loads(RESULTS.read_text())))
        return
    if len(cores(2)) < 2:
        raise SystemExit("this needs two processors")
    with tempfile.TemporaryDirectory(prefix="curate-bench-") as temporary:
        work = (arguments.work or Path(temporary)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        found = run_everything(arguments, work)
    if arguments.save:
        before = json.loads(RESULTS.read_text()) if RESULTS.exists() else found
        if before["commit"] == found["commit"]:  # other sizes of the same code stay
            found["scales"] = before["scales"] | found["scales"]
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(as_markdown(found))


if __name__ == "__main__":
    main()
