"""Verify the reference answers of GSM8K, HumanEval and MBPP, and mutated ones: python -m tests.bench.verifiers DATA [--save]

DATA: folder with gsm8k_test.jsonl.gz, gsm8k_train.jsonl.gz, humaneval.jsonl.gz, mbpp.jsonl.gz. Every reference must pass, every mutated one fail.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from formats.sandbox import level
from formats.scoring.verifier import Verifier, verifier

RESULTS = Path(__file__).parent / "results" / "verifiers.json"


def rows(folder: Path, *names: str) -> list[dict[str, Any]]:
    return [json.loads(line) for name in names for line in gzip.open(folder / f"{name}.jsonl.gz")]


def other_answer(row: dict[str, Any]) -> str:
    solution, _, answer = row["answer"].rpartition("#### ")
    return f"{solution}#### {float(answer.replace(',', '')) + 1:f}"


def renamed(row: dict[str, Any]) -> str:
    """The program without its last statement's value: every `return` gives nothing."""
    return str(row["code"]).replace("return", "return None #")


def measure(
    name: str, found: Verifier, given: list[dict[str, Any]], right: Callable[[Any], str], wrong: Callable[[Any], str]
) -> dict[str, Any]:
    started = time.perf_counter()
    passed = [found.check("", right(row), row) == 1 for row in given]
    seconds = time.perf_counter() - started
    failed = [found.check("", wrong(row), row) == 0 for row in given]
    entry = {"rows": len(given), "references_pass": sum(passed), "mutated_fail": sum(failed), "a_second": round(len(given) / seconds, 1)}
    missed = [row.get("task_id", at) for at, (row, ok) in enumerate(zip(given, passed, strict=True)) if not ok][:20]
    print(name, entry, f"references that fail: {missed}" if missed else "")
    return entry


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("data", type=Path)
    options.add_argument("--save", action="store_true")
    given = options.parse_args()
    human = verifier("code", {"tests": "test", "prefix": "prompt", "entry_point": "entry_point"})
    mbpp = verifier("code", {"tests": "test_list", "setup": "test_setup_code"})
    found: dict[str, Any] = {"sandbox": level()}
    found["gsm8k"] = measure("gsm8k", verifier("math"), rows(given.data, "gsm8k_test", "gsm8k_train"), lambda r: r["answer"], other_answer)
    found["humaneval"] = measure(
        "humaneval", human, rows(given.data, "humaneval"), lambda r: r["canonical_solution"], lambda r: "    return None\n"
    )
    found["mbpp"] = measure("mbpp", mbpp, rows(given.data, "mbpp"), lambda r: r["code"], renamed)
    if given.save:
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
