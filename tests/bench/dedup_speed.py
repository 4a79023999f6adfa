"""What near-duplicate removal costs: signatures and whole runs, curate and its peers on the same documents, CPU seconds of one core.

    python -m tests.bench.dedup_speed --data ../shared/data --peers PEERS/bin/python --datatrove DT/bin/python --work DIR [--save]

The documents are passages of Wikipedia pages and word-edited copies of them (every second one; 0 to 20 % of the words
replaced), made from a seed. Signatures: 14 bands of 8 for curate and datatrove, 128 permutations for datasketch and rensa, 256
for text-dedup, text in, signatures out, start-up and reading left out; alternating, best of --repeats. Whole: `curate run`
with one worker against datatrove's four stages, both from and to jsonl or parquet files; curate's start-up (a run on 10
documents) and datatrove's imports left out. `--growth` measures curate alone on more and more documents.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa

from tests.bench.measure import Usage, machine, measure
from tests.conftest import read_rows

PASSAGE_WORDS = 100
PEERS = {"datatrove": "datatrove", "datatrove-split": "datatrove", "datasketch": "peers", "rensa": "peers", "text-dedup": "peers"}


def passages(data: Path) -> list[list[str]]:
    """Passages of PASSAGE_WORDS words."""
    found = []
    for row in read_rows(data / "text/wikipedia_en_pages.jsonl.zst"):
        words = str(row["text"]).split()
        found += [words[i : i + PASSAGE_WORDS] for i in range(0, len(words) - PASSAGE_WORDS + 1, PASSAGE_WORDS)]
    return found


def write(path: Path, base: list[list[str]], documents: int) -> int:
    """Write that many documents; return the bytes of their text. Half are originals (edited beyond recognition when passages run out)."""
    rng = random.Random(5)
    size = 0
    with path.open("w") as file:
        previous = base[0]
        for i in range(documents):
            if i % 2:
                words, share = list(previous), rng.random() * 0.2
            else:
                words, share = list(base[i // 2 % len(base)]), 0.0 if i // 2 < len(base) else 0.6
            for at in range(len(words)):
                if rng.random() < share:
                    words[at] = rng.choice(base[rng.randrange(len(base))])
            previous = words
            text = " ".join(words)
            size += len(text.encode())
            file.write(json.dumps({"id": f"d{i:09}", "text": text}) + "\n")
    return size


def peer(python: str, tool: str, path: Path, *more: str) -> dict[str, Any]:
    """Run dedup_peers.py in the peer's environment."""
    command = [python, str(Path(__file__).parent / "dedup_peers.py"), tool, str(path), *more]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.strip().split("\n")[-1]))


def own_signatures(texts: pa.Array) -> float:
    """CPU seconds of curate's band hashes, 14 x 8."""
    from curate.kernels.minhash import band_hashes

    started = time.process_time()
    band_hashes(texts, 5, 14, 8, 1)
    return time.process_time() - started


def signatures(path: Path, pythons: dict[str, str], repeats: int) -> dict[str, Any]:
    """MB/s of one core, best of `repeats`."""
    texts = pa.array([json.loads(line)["text"] for line in path.read_text().splitlines()], pa.large_string())
    megabytes = sum(len(t.encode()) for t in texts.to_pylist()) / 1e6
    own_signatures(texts.slice(0, 10))
    best: dict[str, float] = {}
    for _ in range(repeats):
        best["curate"] = min(best.get("curate", 1e9), *(own_signatures(texts) for _ in range(5)))
        for tool, where in PEERS.items():
            told = peer(pythons[where], tool, path, "--signatures-only")
            best[tool] = min(best.get(tool, 1e9), told["signatures_cpu_s"])
            if "tokens_cpu_s" in told:
                best["rensa, n-grams given"] = min(best.get("rensa, n-grams given", 1e9), told["signatures_cpu_s"] - told["tokens_cpu_s"])
    return {
        "text_mb": megabytes,
        "mb_per_s": {k: megabytes / s for k, s in best.items()},
        "curate_is_times": {k: s / best["curate"] for k, s in best.items()},
    }


def own_run(work: Path, path: Path, tag: str) -> Usage:
    """`curate run` with one worker on the file."""
    recipe = work / f"{tag}.yaml"
    recipe.write_text(
        f"name: web\nread: {{jsonl: {path.name}, id: id}}\nkeep_dropped: none\nsteps: [{{dedup_minhash: {{bands: 14, rows: 8}}}}]\n"
    )
    out = work / f"out-{tag}"
    command = [sys.executable, "-m", "curate", "run", str(recipe), "--out", str(out), "--workers", "1", "--quiet"]
    used = measure(command, work / f"{tag}.log")
    subprocess.run(["rm", "-rf", str(out)], check=True)
    return used


def whole(work: Path, path: Path, base: list[list[str]], sizes: tuple[int, int], start: float, pythons: dict[str, str]) -> dict[str, Any]:
    """CPU seconds of everything. sizes: documents of curate, and of the peer, whose cost is taken as linear (its best case)."""
    size = write(path, base, sizes[0])
    ours = own_run(work, path, "whole")
    found: dict[str, Any] = {"documents": sizes[0], "peer_documents": sizes[1], "text_mb": size / 1e6,
                             "curate": {**ours.record("curate"), "cpu_s_without_start": ours.cpu_s - start}}  # fmt: skip
    write(path, base, sizes[1])
    for tool in ("datatrove-split", "datatrove"):
        told = peer(pythons["datatrove"], tool, path)
        scaled = told["cpu_s"] * sizes[0] / sizes[1]
        found[tool] = {"cpu_s": told["cpu_s"], "removed": len(told["removed"]), "times": scaled / (ours.cpu_s - start),
                       "times_with_start": scaled / ours.cpu_s}  # fmt: skip
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--peers", required=True)
    parser.add_argument("--datatrove", required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--peer-documents", type=int, default=100_000)
    parser.add_argument("--signature-documents", type=int, default=4000)
    parser.add_argument("--growth", type=int, nargs="*", default=[100_000, 300_000, 1_000_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--parts", nargs="+", choices=("signatures", "whole", "growth"), default=["signatures", "whole", "growth"])
    parser.add_argument("--save", action="store_true", help="replace these parts of the saved result")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    pythons = {"peers": given.peers, "datatrove": given.datatrove}
    base, path = passages(given.data), given.work / "docs.jsonl"
    result = Path(__file__).parent / "results" / "dedup_speed.json"
    found: dict[str, Any] = json.loads(result.read_text()) if result.exists() else {}
    found["machine"] = machine()
    if "signatures" in given.parts:
        write(path, base, given.signature_documents)
        found["signatures"] = signatures(path, pythons, given.repeats)
        print(json.dumps(found["signatures"], indent=1), flush=True)
    write(path, base, 10)
    own_run(given.work, path, "first")  # compiles kernels, if they are not
    start = min(own_run(given.work, path, "start").cpu_s for _ in range(2))
    found["start_cpu_s"] = start
    if "whole" in given.parts:
        found["whole"] = whole(given.work, path, base, (given.documents, given.peer_documents), start, pythons)
        print(json.dumps(found["whole"], indent=1), flush=True)
    found["growth"] = [] if "growth" in given.parts else found.get("growth", [])
    for documents in given.growth if "growth" in given.parts else []:
        size = write(path, base, documents)
        used = own_run(given.work, path, "growth")
        found["growth"].append(
            {"documents": documents, "text_mb": size / 1e6, **used.record("curate"), "cpu_s_without_start": used.cpu_s - start}
        )
        print(json.dumps(found["growth"][-1]), flush=True)
    if given.save:
        result.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
