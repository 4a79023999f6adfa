"""A small run for the engine's tests: files, a recipe with map, filter and corpus steps, and digests of what comes out."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

from curate.api import Result, run_folder
from curate.executors.local import LocalExecutor
from curate.recipe import load_recipe
from curate.runner import run_recipe

PLUGIN = str(Path(__file__).with_name("engine_plugin.py"))
WORDS = [
    "alpha",
    "beta",
    "gamma",
    "delta",
    "epsilon",
    "zeta",
    "eta",
    "theta",
    "iota",
    "kappa",
    "lambda",
    "mu",
    "nu",
    "xi",
    "omikron",
    "pi",
    "rho",
    "sigma",
    "tau",
]


def write_inputs(folder: Path, files: int = 6, rows: int = 3000, seed: int = 1) -> None:
    """Rows of random words, a tenth of them copies of earlier ones; about 4 MB in 6 files makes several tasks."""
    make = random.Random(seed)
    seen: list[str] = []
    for number in range(files):
        with open(folder / f"in{number}.jsonl", "w", encoding="utf-8") as file:
            for row in range(rows):
                copy = seen and make.random() < 0.1
                text = make.choice(seen) if copy else " ".join(make.choices(WORDS, k=make.randint(1, 60)))
                seen.append(text)
                file.write(json.dumps({"id": f"{number}-{row}", "text": text, "rank": row}) + "\n")


RECIPE = """
name: case
max_quarantine: 0.01
read: {jsonl: "in*.jsonl"}
steps:
  - shout
  - long_enough: {min_chars: 20}
  - dedup_exact
  - slow: {seconds: 0.02}
  - killer
"""


def write_recipe(folder: Path, text: str = RECIPE) -> Path:
    path = folder / "case.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def curate(*arguments: str | Path, check: bool = True, **popen: Any) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    command = [sys.executable, "-m", "curate", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, **popen)
    if check and done.returncode:
        raise AssertionError(f"exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def run_json(recipe: Path, out: Path, *more: str) -> dict[str, Any]:
    done = curate("run", recipe, "--out", out, "--plugin", PLUGIN, "--json", "--quiet", *more)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def tree_digest(folder: Path) -> dict[str, str]:
    """sha256 of every file of a published dataset."""
    root = Path(os.path.realpath(folder))
    return {str(f.relative_to(root)): hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(root.rglob("*")) if f.is_file()}


def figures(out: Path) -> dict[str, Any]:
    """The manifest without the only key that may differ."""
    manifest = dict(json.loads((out / "manifest.json").read_text()))
    manifest.pop("seconds")
    return manifest


def damage(file: Path) -> bytes:
    """Turn some bits of 64 bytes; what the file holds then. A file of its own: others may be linked to the old one."""
    content = bytearray(file.read_bytes())
    middle = len(content) // 3
    content[middle : middle + 64] = bytes(b ^ 0x55 for b in content[middle : middle + 64])
    file.unlink()
    file.write_bytes(content)
    return bytes(content)


def run_on(workers: LocalExecutor, recipe: Path, out: Path, sample: int | None = None) -> Result:
    """Run a recipe on processes that stay for the next run: starting one costs a second of CPU."""
    loaded = load_recipe(str(recipe))
    return Result(run_recipe(loaded, run_folder(loaded.name, out, sample), workers, sample=sample))
