"""Speed and memory of the benchmark index: look-ups in real text on one core, with about a million 13-grams.

    taskset -c 0 python tests/bench/decontamination_speed.py DATA [--save]

Items: all benchmarks in DATA, and pages of English Wikipedia as further items until there are a million distinct 13-grams of
items. Documents: other pages and novels. Times are process CPU times, best of five; words are hashed once for both rules.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from curate.kernels.ngram_index import build, memory
from curate.kernels.ngrams import match
from curate.kernels.shingles import word_hashes
from curate.steps.benchmark_items import read_items
from tests.bench.decontamination_quality import rows


def best(function: Callable[[], object], times: int = 5) -> float:
    """Least CPU seconds of a call."""
    found = []
    for _ in range(times):
        started = time.process_time()
        function()
        found.append(time.process_time() - started)
    return min(found)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--save", action="store_true")
    given = parser.parse_args()
    files = sorted(str(f) for f in (given.data / "benchmarks").rglob("*.jsonl.gz"))
    pages = ["\n".join(v for v in r.values() if isinstance(v, str)) for r in rows(given.data / "text" / "wikipedia_en_pages.jsonl.zst")]
    items = [i.text for i in read_items(files, None)]
    more, words = pages[::2], 0
    wanted = 1_000_000 - sum(max(0, len(t.split()) - 12) for t in items)
    for page in more:
        if words >= wanted:
            break
        items.append(page)
        words += len(page.split())
    hashed = word_hashes(pa.array(items, pa.large_string()))
    documents = pages[1::2][:3000] + [r["text"][:50_000] for r in rows(given.data / "text" / "novels_eltec.jsonl.zst") if "text" in r]
    text = pa.array(documents, pa.large_string())
    megabytes = sum(len(d.encode()) for d in documents) / 1e6
    result = {}
    for near in (None, 0.6):
        index = build(hashed, 13, 8, near=near)
        grams = int(index.grams.sum())
        split = word_hashes(text)
        hashing, lookup = best(lambda: word_hashes(text)), best(lambda split=split, index=index: match(split, index))
        flagged = int(match(split, index).passes.sum())
        result[f"near {near}"] = {
            "n_grams": grams,
            "bytes_per_n_gram": round(memory(index) / grams, 1),
            "text_mb": round(megabytes, 1),
            "hashing_mb_s": round(megabytes / hashing, 1),
            "lookup_mb_s": round(megabytes / lookup, 1),
            "both_mb_s": round(megabytes / (hashing + lookup), 1),
            "flagged": flagged,
            "documents": len(documents),
        }
        print(f"near {near}: {result[f'near {near}']}")
    hostile = pa.array(["a " * 500_000, "one " * 250_000, documents[0][:50] * 20_000, "\u4e2d" * 300_000], pa.large_string())
    index = build(word_hashes(pa.array([*items, "a " * 1000, documents[0][:400]], pa.large_string())), 13, 8, near=0.6)
    split = word_hashes(hostile)
    hostile_mb = sum(len(t.as_py().encode()) for t in hostile) / 1e6
    result["hostile_mb_s"] = round(hostile_mb / best(lambda: match(split, index), 2), 1)
    print(f"hostile text: {result['hostile_mb_s']} MB/s")
    if given.save:
        path = Path(__file__).parent / "results" / "decontamination_speed.json"
        path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
