"""Deduplicate a jsonl file with another tool, in that tool's own environment, and print what it removed and what it took.

    PYTHON tests/bench/dedup_peers.py TOOL docs.jsonl [--signatures-only]    TOOL: datatrove, datatrove-split, datasketch, rensa, text-dedup

Runs outside of curate's environment, so it imports nothing of it. Settings: word 5-grams, and the tool's own bands for a
threshold of 0.8 (datatrove: its 14 x 8). One JSON line last: removed ids, CPU seconds of the signatures and of everything.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

WORD = re.compile(r"\w+")
N, PERMUTATIONS, THRESHOLD = 5, 128, 0.8
Row = dict[str, Any]


def rows_of(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


def grams(text: str) -> list[str]:
    words = WORD.findall(text.lower())
    return [" ".join(words[i : i + N]) for i in range(max(len(words) - N + 1, min(len(words), 1)))]


def datasketch(rows: list[Row], only: bool) -> Iterator[tuple[str, Any]]:
    """MinHashLSH: a document is removed that finds an earlier one which was kept."""
    from datasketch import MinHash, MinHashLSH

    yield "version", version("datasketch")
    hashes = []
    for row in rows:
        m = MinHash(num_perm=PERMUTATIONS)
        m.update_batch([g.encode() for g in grams(row["text"])])
        hashes.append(m)
    yield "signatures", None
    lsh = MinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS)
    removed = []
    for i, m in enumerate([] if only else hashes):
        if lsh.query(m):
            removed.append(rows[i]["id"])
        else:
            lsh.insert(i, m)
    yield "removed", removed


def rensa(rows: list[Row], only: bool) -> Iterator[tuple[str, Any]]:
    """RMinHashDeduplicator with LSH; its bulk functions."""
    from rensa import RMinHash, RMinHashDeduplicator

    yield "version", version("rensa")
    tokens = [grams(row["text"]) for row in rows]
    yield "tokens", None
    matrix = RMinHash.digest_matrix_from_token_sets(tokens, PERMUTATIONS, 42)
    assert matrix.len() == len(tokens)
    yield "signatures", None
    removed = []
    if not only:
        deduplicator = RMinHashDeduplicator(THRESHOLD, PERMUTATIONS, True, None, 42)
        added = deduplicator.add_pairs([(str(i), t) for i, t in enumerate(tokens)])
        removed = [row["id"] for row, kept in zip(rows, added, strict=True) if not kept]
    yield "removed", removed


def text_dedup(rows: list[Row], only: bool) -> Iterator[tuple[str, Any]]:
    """Its embed_func, optimal_param and union-find, as its main() uses them; without `datasets` around them."""
    import numpy as np
    from text_dedup import minhash as t

    yield "version", version("text-dedup")
    b, r = t.optimal_param(THRESHOLD, 256, false_positive_weight=0.5, false_negative_weight=0.5)
    prime = np.uint64((1 << 61) - 1)
    permutations = (t.RNG.randint(1, prime, size=(256,), dtype=np.uint64), t.RNG.randint(0, prime, size=(256,), dtype=np.uint64))
    embedded = [
        t.embed_func(row["text"], i, num_perm=256, ngram_size=N, min_length=N, hashranges=[(j * r, (j + 1) * r) for j in range(b)],
                     permutations=permutations, hash_func=t.sha1_hash, dtype=np.uint64, max_hash=np.uint32(2**32 - 1), modulo_prime=prime)
        for i, row in enumerate(rows)
        if len(t.NON_ALPHA.split(row["text"].lower())) >= N
    ]  # fmt: skip
    yield "signatures", None
    tables: list[dict[bytes, list[int]]] = [{} for _ in range(b)]
    for e in [] if only else embedded:
        for table, h in zip(tables, e[t.SIGNATURE_COLUMN], strict=True):
            table.setdefault(h, []).append(e[t.INDEX_COLUMN])
    for table in tables:
        for cluster in table.values():
            for x in cluster[1:]:
                t.uf.union(x, cluster[0])
    yield "removed", [rows[e[t.INDEX_COLUMN]]["id"] for e in embedded if t.uf.find(e[t.INDEX_COLUMN]) != e[t.INDEX_COLUMN]]


def datatrove(rows: list[Row], only: bool, split: bool = False) -> Iterator[tuple[str, Any]]:
    """Its four stages, one task each (14 for the buckets), as in its example. split: str.split() in place of spaCy."""
    from datatrove.executor.local import LocalPipelineExecutor
    from datatrove.pipeline.dedup.minhash import (
        MinhashConfig,
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )  # fmt: skip
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter

    yield "version", version("datatrove")
    work, config = Path(tempfile.mkdtemp()), MinhashConfig()
    (work / "in").mkdir()
    (work / "in" / "docs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    reader = JsonlReader(str(work / "in"))
    signature = MinhashDedupSignature(str(work / "sig"), config)
    if split:
        signature.word_tokenizer = type("Split", (), {"word_tokenize": staticmethod(str.split)})()
    else:
        signature.word_tokenizer.word_tokenize("load the model before the clock starts")

    def run(tasks: int, *steps: Any) -> None:
        LocalPipelineExecutor(list(steps), tasks=tasks, workers=1, logging_dir=str(work / f"log{time.perf_counter_ns()}")).run()

    yield "start", None
    run(1, reader, signature)
    yield "signatures", None
    removed: list[str] = []
    if not only:
        run(14, MinhashDedupBuckets(str(work / "sig"), str(work / "buckets"), config=config))
        run(1, MinhashDedupCluster(str(work / "buckets"), str(work / "remove"), config=config))
        run(1, reader, MinhashDedupFilter(str(work / "remove")), JsonlWriter(str(work / "out"), compression=None))
        kept = {json.loads(line)["id"] for f in (work / "out").glob("*") for line in f.read_bytes().split(b"\n") if line}
        removed = [row["id"] for row in rows if row["id"] not in kept]
    yield "removed", removed


TOOLS: dict[str, Callable[[list[Row], bool], Iterator[tuple[str, Any]]]] = {
    "datasketch": datasketch,
    "rensa": rensa,
    "text-dedup": text_dedup,
    "datatrove": datatrove,
    "datatrove-split": lambda rows, only: datatrove(rows, only, split=True),
}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tool", choices=TOOLS)
    parser.add_argument("documents", type=Path)
    parser.add_argument("--signatures-only", action="store_true")
    given = parser.parse_args()
    rows = rows_of(given.documents)
    found: dict[str, Any] = {"tool": given.tool, "text_bytes": sum(len(r["text"].encode()) for r in rows)}
    started = time.process_time()
    for name, value in TOOLS[given.tool](rows, given.signatures_only):
        now = time.process_time() - started
        if name in ("version", "start"):
            started = time.process_time()
        found |= {"version": value} if name == "version" else {f"{name}_cpu_s": now} if value is None else {"removed": value, "cpu_s": now}
    sys.stdout.write("\n" + json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
