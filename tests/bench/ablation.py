"""Four variants of a corpus, 0.25M parameters, 500k tokens, 3 seeds: what `curate ablate` says about them.

    python tests/bench/ablation.py --data ../shared/data [--save] [--work FOLDER] [--tokens 500k] [--seeds 3]

English Wikipedia pages (4 MB) are the base. `filtered` is the base with 15 % of its documents five times more; `raw` adds licences, tables,
navigation text and shuffled words (noise by construction, so the runner is tested, not a filter); `dedup` is the base; `shuffled` is the base
with the words of each document shuffled. Judged on held-out Wikipedia pages and MDN pages. Bars: under 10 minutes on two
cores; raw better than shuffled by 0.3 bits per byte on every domain and seed; no ranking by means alone.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]
RESULTS = HERE / "results" / "ablation.json"
RECIPE = """
name: corpus
seed: 1
datasets:
  base: {read: {jsonl: dedup.jsonl}}
  docs: {read: {jsonl: dedup.jsonl}}
  docs_tokens: {from: docs, steps: [{tokenize: {tokenizer: tok}}]}
  order: {mix: {seq_len: 128, stages: [{tokens: TOKENS, weights: {docs_tokens: 1}}], max_epochs: {docs_tokens: 8}}}
models:
  tok: {train: tokenizer, data: base, vocab_size: 2048}
"""
FILE = """
name: four_corpora
recipe: corpus.yaml
mix: order
variants:
  shuffled: {set: ["datasets.docs.read.jsonl=shuffled.jsonl"]}
  raw: {set: ["datasets.docs.read.jsonl=raw.jsonl"]}
  filtered: {set: ["datasets.docs.read.jsonl=filtered.jsonl"]}
  dedup: {}
compare: [[raw, shuffled], [filtered, raw], [dedup, filtered], [dedup, raw]]
model: {preset: llama-tiny}
tokens: TOKENS
seeds: SEEDS
train: {batch_tokens: 2048, optimizer: {lr: 0.006}, schedule: {decay: 0.3}}
evaluate: [held_out.jsonl]
"""


def rows(path: Path) -> Iterator[dict[str, Any]]:
    import zstandard

    with open(path, "rb") as raw:
        data: Any = zstandard.ZstdDecompressor().stream_reader(raw) if path.suffix == ".zst" else gzip.open(raw)  # noqa: SIM115
        yield from (json.loads(line) for line in io.TextIOWrapper(data, "utf-8"))


def table_share(text: str) -> float:
    lines = [line for line in text.split("\n") if line]
    return sum(line[:1] in "+|" or line.startswith("  --") for line in lines) / max(1, len(lines))


def take(texts: Iterator[str], megabytes: float) -> list[str]:
    found: list[str] = []
    size = 0
    while size < megabytes * 1e6 and (text := next(texts, None)) is not None:
        found.append(text)
        size += len(text.encode())
    return found


def corpora(data: Path, folder: Path) -> dict[str, float]:
    """Write the four corpora and the held-out texts; MB of each."""
    chance = random.Random(0)
    pages = sorted((hashlib.sha1(r["text"].encode()).digest(), r["text"]) for r in rows(data / "text/wikipedia_en_pages.jsonl.zst"))
    clean = iter([t for _, t in pages if table_share(t) < 0.03 and 500 < len(t) < 60_000])
    held_out = [{"text": t[:8000], "source": "wikipedia"} for t in take(clean, 0.3)]
    base, rest = take(clean, 4), take(clean, 1)
    licences = take((r["text"][:20_000] for r in rows(data / "dedup/license_rules_docs.jsonl.gz")), 1)
    tables = take(iter([t for _, t in pages if table_share(t) >= 0.25]), 0.7)
    menu = "Home | About | Contact | Privacy policy | Terms of use\nAccept all cookies\nShare on social media\nRead more\n"
    menus = [menu * chance.randint(3, 12) + f"(c) {chance.randint(1999, 2024)} All rights reserved {chance.random()}\n" for _ in range(300)]
    copies = [t for t in base if chance.random() < 0.15] * 5

    def shuffled(text: str) -> str:
        words = text.split()
        chance.shuffle(words)
        return " ".join(words)

    made = {
        "dedup": base,
        "filtered": base + copies,
        "raw": base + copies + licences + tables + menus + [shuffled(t) for t in rest],
        "shuffled": [shuffled(t) for t in base],
    }
    mdn = (r["text"] for r in rows(data / "text/mdn_multi.jsonl.zst"))
    english = (t[:4000] for t in mdn if len(t) > 1500 and sum(c < "\x7f" for c in t) > 0.98 * len(t) and t.count(" the ") > 5)
    held_out += [{"text": t, "source": "mdn"} for t, _ in zip(english, range(30), strict=False)]
    for name, texts in made.items():
        order = chance.sample(texts, len(texts))
        (folder / f"{name}.jsonl").write_text(
            "".join(json.dumps({"id": f"{name}-{i}", "text": t}) + "\n" for i, t in enumerate(order)), "utf-8"
        )
    (folder / "held_out.jsonl").write_text("".join(json.dumps(r) + "\n" for r in held_out), "utf-8")
    return {name: round(sum(len(t.encode()) for t in texts) / 1e6, 2) for name, texts in made.items()}


def cpu_seconds() -> float:
    """Of this process and of all that have ended."""
    return sum(u.ru_utime + u.ru_stime for u in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE.parents[2] / "shared" / "data")
    parser.add_argument("--work", type=Path)
    parser.add_argument("--tokens", default="500k")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--save", action="store_true")
    given = parser.parse_args()
    from measure import machine

    from train.ablation.run import run_ablation

    with tempfile.TemporaryDirectory() as scratch:
        work = given.work or Path(scratch)
        work.mkdir(parents=True, exist_ok=True)
        sizes = corpora(given.data, work)
        (work / "corpus.yaml").write_text(RECIPE.replace("TOKENS", given.tokens), "utf-8")
        (work / "ablation.yaml").write_text(FILE.replace("TOKENS", given.tokens).replace("SEEDS", str(given.seeds)), "utf-8")
        started, cpu = time.monotonic(), cpu_seconds()
        out, text = run_ablation(work / "ablation.yaml", work / "out")
        wall, cpu = time.monotonic() - started, cpu_seconds() - cpu
        result = json.loads((out / "ablation.json").read_text("utf-8"))
    print(text)
    shuffled = [d for d in result["differences"] if (d["better"], d["than"]) == ("raw", "shuffled")]
    least = min(x for d in shuffled for x in d["by_seed"])
    print(f"{wall:.0f} s ({cpu:.0f} s of CPU); raw over shuffled: at least {least:.3f} bits per byte (bar 0.3)")
    if given.save:
        kept = {k: result[k] for k in ("documents", "bits_per_byte", "differences", "epochs", "unique_tokens")}
        content = {"machine": machine(), "corpora_mb": sizes, "tokens": given.tokens, "wall_s": round(wall), "cpu_s": round(cpu), **kept}
        RESULTS.write_text(json.dumps(content, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
