"""Exact substrings: equal to a suffix array, and memory through the engine.

python -m tests.bench.dedup_substrings --truth 20            # MB of real text against pydivsufsort
python -m tests.bench.dedup_substrings --megabytes 1000      # one worker, seconds, peak memory, disk
python -m tests.bench.dedup_substrings --save                # both, to results/dedup_substrings.json
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tests.bench.corpus import make_corpus
from tests.bench.measure import machine, measure
from tests.conftest import read_rows

SOURCES = Path(os.environ.get("CURATE_TEST_DATA", Path(__file__).resolve().parents[2].parent / "shared" / "data")) / "text"


def truth(texts: list[str], n: int) -> list[str]:
    """Texts without the characters that are wholly in a run of n bytes that stands earlier, by suffix array and LCP."""
    from pydivsufsort import divsufsort, kasai

    raw = np.frombuffer(b"".join(t.encode() + b"\xff" for t in texts), np.uint8).copy()  # 0xFF is in no UTF-8 text
    order = divsufsort(raw).astype(np.int64)
    shared = kasai(raw, order).astype(np.int64)  # shared[i]: of order[i] and order[i + 1]
    last = np.append(np.flatnonzero(raw == 0xFF), len(raw))
    inside = last[np.searchsorted(last, order)] - order >= n  # the run doesn't cross a document's end
    group = np.concatenate([np.zeros(1, np.int64), np.cumsum(shared[:-1] < n)])
    order, group = order[inside], group[inside]
    earliest = np.full(int(group.max(initial=0)) + 1, len(raw))
    np.minimum.at(earliest, group, order)
    repeats = order[order != earliest[group]]
    covered = np.zeros(len(raw) + n, np.int64)
    np.add.at(covered, repeats, 1)
    np.add.at(covered, repeats + n, -1)
    stays = np.cumsum(covered)[: len(raw)] == 0
    begins = np.flatnonzero(raw & 0xC0 != 0x80)
    some = np.add.reduceat(stays, begins, dtype=np.int64) > 0
    keep = np.repeat(some, np.diff(np.append(begins, len(raw))))
    keep[raw == 0xFF] = True
    left = [part.decode() for part in raw[keep].tobytes().split(b"\xff")[:-1]]
    ends = np.flatnonzero(raw == 0xFF)
    cut_at_end = [e > 0 and not keep[e - 1] for e in ends.tolist()]
    return [t.rstrip() if cut else t for t, cut in zip(left, cut_at_end, strict=True)]


def compare(texts: list[str], n: int) -> dict[str, Any]:
    """Both on the same texts; raises AssertionError where they differ."""
    from curate.apply import outcomes
    from curate.steps.substrings import DedupSubstrings

    table = pa.table({"id": [str(i) for i in range(len(texts))], "text": pa.array(texts, pa.large_string())})
    step = DedupSubstrings(unit="byte", min_length=n)
    started = time.process_time()
    found = [t for outcome in outcomes(step, table.to_batches(max_chunksize=2000)) for t in outcome.batch.column("text").to_pylist()]
    ours = time.process_time() - started
    started = time.process_time()
    expected = truth(texts, n)
    theirs = time.process_time() - started
    assert found == expected, f"{sum(a != b for a, b in zip(found, expected, strict=True))} of {len(texts)} texts differ"
    before, after = sum(len(t.encode()) for t in texts), sum(len(t.encode()) for t in found)
    return {"min_bytes": n, "documents": len(texts), "bytes": before, "bytes_left": after, "equal": True,
            "cpu_s": round(ours, 2), "suffix_array_cpu_s": round(theirs, 2)}  # fmt: skip


def real_texts(megabytes: float) -> list[str]:
    """Texts drawn from all files, and as an eighth of them parts of others in new places."""
    with tempfile.TemporaryDirectory() as work:
        corpus = make_corpus(SOURCES, Path(work), megabytes, 1, 1)
        texts = [str(row["text"]) for path in sorted(corpus.folder.glob("*.jsonl*")) for row in read_rows(path)]
    rng = np.random.default_rng(1)
    for i in rng.integers(0, len(texts), len(texts) // 8).tolist():
        other = texts[int(rng.integers(0, len(texts)))]
        a, b = sorted(rng.integers(0, len(other) + 1, 2).tolist())
        at = int(rng.integers(0, len(texts[i]) + 1))
        texts[i] = texts[i][:at] + other[a : min(b, a + 2000)] + texts[i][at:]
    return texts


def through_engine(megabytes: float, unit: str, n: int) -> dict[str, Any]:
    """One worker, a recipe with this step alone."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        corpus = make_corpus(SOURCES, work, megabytes, 1)
        (work / "web.yaml").write_text(
            f'name: web\nread: {{jsonl: "{corpus.folder}/*.jsonl*"}}\nkeep_dropped: none\nsteps: [{{dedup_substrings: {{unit: {unit}, min_length: {n}}}}}]\n'
        )
        command = [sys.executable, "-m", "curate", "run", str(work / "web.yaml"), "--out", str(work / "out"), "--workers", "1", "--quiet"]
        used = measure(command, work / "log")
        entry = json.loads((work / "out" / "manifest.json").read_bytes())["datasets"]["web"]
        disk = sum(f.stat().st_size for f in (work / "out").rglob("records.arrow"))
        return {"unit": unit, "min_length": n, "megabytes": megabytes, "rows_out": entry["rows_out"], **used.record("curate"),
                "records_bytes": disk, "findings": entry["findings"]["dedup_substrings"]}  # fmt: skip


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--truth", type=float, default=0, help="MB to compare with a suffix array")
    parser.add_argument("--megabytes", type=float, default=0, help="MB to run through the engine")
    parser.add_argument("--save", action="store_true")
    given = parser.parse_args()
    found: dict[str, Any] = {"machine": machine(), "truth": [], "engine": []}
    if given.truth:
        texts = real_texts(given.truth)
        for n in (50, 200):
            found["truth"].append(compare(texts, n))
            print(json.dumps(found["truth"][-1]), flush=True)
    if given.megabytes:
        for unit, n in (("word", 50), ("byte", 200)):
            found["engine"].append(through_engine(given.megabytes, unit, n))
            print(json.dumps(found["engine"][-1]), flush=True)
    if given.save:
        (Path(__file__).parent / "results" / "dedup_substrings.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
