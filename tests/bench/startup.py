"""Time what a person waits for: `import curate`, `curate --help`, and a second run of the quickstart, in fresh processes.

    python tests/bench/startup.py [--work FOLDER] [--skip-quickstart] [--save]

The bare interpreter is measured beside them and counted in. The first quickstart run is printed too; where kernels are
compiled already it is no first run of a fresh machine (--fresh gives it an empty kernel cache).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from measure import machine, measure

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
RESULTS = HERE / "results" / "startup.json"
LINE = "{:32} {:>8} {:>8} {:>8}   {}"


def times(command: Sequence[str], work: Path, repeats: int, env: dict[str, str]) -> dict[str, float]:
    """Median, smallest and largest wall time of fresh processes, after one that fills the page cache."""
    walls = [measure(command, work / "startup.log", env=env).wall_s for _ in range(repeats + 1)][1:]
    return {"median_s": round(median(walls), 3), "min_s": round(min(walls), 3), "max_s": round(max(walls), 3)}


def quickstart(work: Path, repeats: int, env: dict[str, str]) -> dict[str, Any]:
    """The quickstart once, then again with everything to reuse."""
    recipe = REPOSITORY / "pipelines" / "quickstart.yaml"
    command = [sys.executable, "-m", "curate", "run", str(recipe), "--out", str(work / "quickstart"), "--json", "--quiet"]
    first = measure(command, work / "startup.log", env=env)
    again = times(command, work, repeats, env)
    last = json.loads(measure(command, work / "startup.log", env=env).stdout.splitlines()[-1])
    return {"first_run_s": round(first.wall_s, 2), "second run of the quickstart": again, "tasks": last["tasks"]}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--work", type=Path, help="folder for the quickstart's run; default: a temporary one")
    parser.add_argument("--fresh", action="store_true", help="start from an empty kernel cache")
    parser.add_argument("--skip-quickstart", action="store_true")
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS.relative_to(REPOSITORY)}")
    arguments = parser.parse_args()
    found: dict[str, Any] = {"machine": machine()}
    bars = {"import curate": "0.3", "curate --help": "0.6", "second run of the quickstart": "3"}
    with tempfile.TemporaryDirectory(prefix="curate-bench-") as temporary:
        work = (arguments.work or Path(temporary)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        env = {"CURATE_CACHE": os.path.join(temporary, "kernels")} if arguments.fresh else {}
        python = sys.executable
        for name, command in {
            "python -c pass": [python, "-c", "pass"],
            "import curate": [python, "-c", "import curate"],
            "curate --help": [python, "-m", "curate", "--help"],
        }.items():
            found[name] = times(command, work, arguments.repeats, env)
        if not arguments.skip_quickstart:
            found |= quickstart(work, arguments.repeats, env)
    print(LINE.format("seconds", "median", "min", "max", "bar"))
    for name, value in found.items():
        if isinstance(value, dict) and "median_s" in value:
            print(LINE.format(name, value["median_s"], value["min_s"], value["max_s"], bars.get(name, "")))
    if "tasks" in found:
        print(f"first run of the quickstart: {found['first_run_s']} s; the second one: {found['tasks']}")
    if arguments.save:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
