"""Hostile corpora at full size, through the engine: seconds, peak memory of a worker, disk, and what was found and left out.

    python -m tests.bench.dedup_hostile --case identical --documents 1000000 [--save]

Cases: identical (one text), template (90 % of every text in one piece: all are duplicates), near_template (80 %: none is),
one_word (empty and one-word texts), huge (one document of --megabytes, and a copy of nine tenths of it).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.measure import machine, measure


def identical(n: int) -> list[str | None]:
    """n times one text of 200 words."""
    return [" ".join(f"w{i * 7919 % 5000}" for i in range(200))] * n


def template(n: int, words: int, own: int) -> list[str | None]:
    """n texts of `words` words, all but the last `own` of them the same."""
    shared = " ".join(f"t{i}" for i in range(words - own))
    return [f"{shared} " + " ".join(f"d{n}.{i}" for i in range(own // 2)) for n in range(n)]


def one_word(n: int) -> list[str | None]:
    """Texts of no word or one, most of them many times."""
    few = ["", " ", "?!", "yes", "no", "Yes", "1", "\u4e2d"]
    return [few[i % 8] if i % 16 < 14 else f"word{i % 400}" for i in range(n)]


def huge(megabytes: int) -> list[str | None]:
    """One document, nine tenths of it, and a short one."""
    rng = np.random.default_rng(1)
    words = [" ".join(f"w{i}" for i in rng.integers(0, 10**6, 10_000)) for _ in range(megabytes * 1_000_000 // 78_900)]
    return [" ".join(words), " ".join(words[: len(words) * 9 // 10]), "a short one"]


CASES: dict[str, Callable[[int], list[str | None]]] = {
    "identical": identical,
    "template": lambda n: template(n, 200, 20),
    "near_template": lambda n: template(n, 200, 40),
    "one_word": one_word,
}


def measured(case: str, documents: int, megabytes: int, work: Path) -> dict[str, Any]:
    """Write the corpus, run the recipe, read the manifest."""
    texts = huge(megabytes) if case == "huge" else CASES[case](documents)
    with (work / "in.jsonl").open("w") as file:
        for i, text in enumerate(texts):
            file.write(json.dumps({"id": f"d{i}", "text": text}) + "\n")
    bytes_in = (work / "in.jsonl").stat().st_size
    (work / "web.yaml").write_text(
        "name: web\nread: {jsonl: in.jsonl, id: id, max_doc_bytes: 2000000000}\nkeep_dropped: none\nsteps: [{dedup_minhash: {threshold: 0.8, recall: 0.98}}]\n"
    )
    command = [sys.executable, "-m", "curate", "run", str(work / "web.yaml"), "--out", str(work / "out"), "--workers", "1", "--quiet"]
    used = measure(command, work / "log")
    entry = json.loads((work / "out" / "manifest.json").read_bytes())["datasets"]["web"]
    disk = sum(f.stat().st_size for f in (work / "out").rglob("*") if f.is_file() and not f.is_symlink())
    return {"case": case, "documents": len(texts), "bytes_in": bytes_in, "rows_out": entry["rows_out"], **used.record("curate"),
            "disk_bytes": disk, "findings": entry["findings"]["dedup_minhash"]}  # fmt: skip


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=[*CASES, "huge"], action="append")
    parser.add_argument("--documents", type=int, default=10**6)
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--save", action="store_true")
    given = parser.parse_args()
    found = []
    for case in given.case or [*CASES, "huge"]:
        with tempfile.TemporaryDirectory() as work:
            found.append(measured(case, given.documents, given.megabytes, Path(work)))
        print(json.dumps(found[-1], indent=1), flush=True)
    if given.save:
        path = Path(__file__).parent / "results" / "dedup_hostile.json"
        kept = [c for c in json.loads(path.read_text())["cases"] if c["case"] not in {f["case"] for f in found}] if path.exists() else []
        path.write_text(json.dumps({"machine": machine(), "cases": [*kept, *found]}, indent=1) + "\n")


if __name__ == "__main__":
    main()
