"""Rows a second and core of `formats.convert`, beside the plainest loop that could do the same without any check.

    python tests/bench/convert.py [--data FILE] [--work FOLDER] [--rows N] [--save]

The data are Alpaca rows (repeated to N). The other side is what converters usually are: json.loads, a dict of two turns,
json.dumps; no detection, no report, no quarantine, no way back. Both read and write the same files, in turns; CPU time of
the best of five. The first figure of the report is the bar: Alpaca to messages.
"""

from __future__ import annotations

import argparse
import gzip
import json
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measure import machine

from formats.convert import convert

HERE = Path(__file__).resolve().parent
DEFAULT = HERE.parents[2] / "shared" / "data" / "posttrain" / "lf_alpaca_en_demo.jsonl.gz"
RESULTS = HERE / "results" / "convert.json"
ROUNDS = 5


def plain_loop(source: Path, target: Path) -> None:
    """Alpaca to messages as a script would do it."""
    with source.open() as rows, target.open("w") as out:
        for line in rows:
            row = json.loads(line)
            question = row["instruction"] + "\n" + row["input"] if row["input"] else row["instruction"]
            turns = [{"role": "user", "content": question}, {"role": "assistant", "content": row["output"]}]
            out.write(json.dumps({"messages": turns}, ensure_ascii=False) + "\n")


def cpu(work: Callable[[], object]) -> float:
    """CPU seconds of a call."""
    before = time.process_time()
    work()
    return time.process_time() - before


def prepare(data: Path, work: Path, rows: int) -> tuple[Path, int]:
    """The file of N rows, and N."""
    raw = gzip.decompress(data.read_bytes())
    count = raw.count(b"\n")
    source = work / "alpaca.jsonl"
    source.write_bytes(raw * max(1, rows // count))
    return source, count * max(1, rows // count)


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DEFAULT)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--save", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.work) as folder:
        work = Path(folder)
        source, rows = prepare(given.data, work, given.rows)
        middle = work / "messages.jsonl"
        jobs: dict[str, Callable[[], object]] = {
            "alpaca -> messages": lambda: convert(str(source), "messages", middle, "alpaca"),
            "plain loop": lambda: plain_loop(source, work / "plain.jsonl"),
            "messages -> alpaca": lambda: convert(str(middle), "alpaca", work / "back.jsonl", "messages"),
            "alpaca -> sharegpt": lambda: convert(str(source), "sharegpt", work / "s.jsonl", "alpaca"),
            "alpaca -> messages, parquet": lambda: convert(str(source), "messages", work / "m.parquet", "alpaca"),
        }
        best = dict.fromkeys(jobs, float("inf"))
        for _ in range(ROUNDS):
            for name, job in jobs.items():
                best[name] = min(best[name], cpu(job))
        megabytes = source.stat().st_size / 1e6
    found: dict[str, Any] = {
        "machine": machine(),
        "rows": rows,
        "mb": round(megabytes, 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, 1),
        "ratio_to_plain_loop": round(best["plain loop"] / best["alpaca -> messages"], 2),
        "rows_per_s": {name: round(rows / spent) for name, spent in best.items()},
        "mb_per_s": {name: round(megabytes / spent, 1) for name, spent in best.items()},
    }
    for name, spent in best.items():
        print(f"{name:30} {rows / spent:>10,.0f} rows/s {megabytes / spent:>8.1f} MB/s")
    print(f"against the plain loop: {found['ratio_to_plain_loop']} times as fast; peak memory {found['peak_mb']} MB")
    if given.save:
        RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
