"""Recall of `decontaminate` on planted and natural contamination, false alarms on text that is older than the benchmarks.

    python tests/bench/decontamination_quality.py DATA [--per-benchmark 150] [--save]

Planted: items of every benchmark in DATA/benchmarks of at least 8 words pasted between two halves of
real documents: word for word, with 10 % of the words edited (a third each replaced, deleted, and one inserted), in capitals
with other punctuation and white space, with full-width punctuation, inside a code block. Every hit on old text is printed.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import zstandard

from curate.context import WorkContext
from curate.steps.benchmark_index import Benchmarks
from curate.steps.decontamination import Decontaminate

FULL_WIDTH = {ord(c): chr(ord(c) + 0xFEE0) for c in ".,;:!?()[]'\"-"}
OLD = ("novels_eltec", "german_law", "french_law", "latin_library", "bible_multi")
PIECE = 20_000  # characters: these books and laws are long, documents of a crawl are pages
NATURAL = (
    ("truthfulqa_finetune_truth", "benchmarks/truthfulqa_finetune_truth.jsonl.gz", ("prompt",), "benchmarks/truthfulqa.jsonl.gz"),
    ("llm_foundry gsm8k", "benchmarks/llm_foundry/gsm8k.jsonl.gz", ("context",), "benchmarks/gsm8k_test.jsonl.gz"),
    ("gsm8k 8-shot", "benchmarks/llm_foundry/gsm8k_prepended_8shot.jsonl.gz", ("context",), "benchmarks/gsm8k_test.jsonl.gz"),
    ("llm_foundry human_eval", "benchmarks/llm_foundry/human_eval.jsonl.gz", ("prompt",), "benchmarks/humaneval.jsonl.gz"),
    (
        "human_eval_return_complex",
        "benchmarks/llm_foundry/human_eval_return_complex.jsonl.gz",
        ("prompt",),
        "benchmarks/humaneval.jsonl.gz",
    ),
    ("human_eval_return_simple", "benchmarks/llm_foundry/human_eval_return_simple.jsonl.gz", ("prompt",), "benchmarks/humaneval.jsonl.gz"),
    ("human_eval C++", "benchmarks/llm_foundry/processed_human_eval_cpp.jsonl.gz", ("prompt",), "benchmarks/humaneval.jsonl.gz"),
    ("human_eval JS", "benchmarks/llm_foundry/processed_human_eval_js.jsonl.gz", ("prompt",), "benchmarks/humaneval.jsonl.gz"),
    ("lsat-rc", "benchmarks/agieval/lsat-rc.jsonl.gz", ("passage", "question"), "benchmarks/llm_foundry/agi_eval_lsat_rc.jsonl.gz"),
    ("alpaca_eval", "posttrain/alpaca_eval_preferences.jsonl.gz", ("instruction",), "posttrain/self_instruct_user_oriented.jsonl.gz"),
    ("math in mmlu", "benchmarks/mmlu_test.jsonl.gz", ("question",), "benchmarks/llm_foundry/math.jsonl.gz"),
    ("gsm8k train", "benchmarks/gsm8k_train.jsonl.gz", ("question", "answer"), "benchmarks/gsm8k_test.jsonl.gz"),
)


def rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a compressed JSONL file."""
    raw = path.read_bytes()
    text = gzip.decompress(raw) if path.suffix == ".gz" else zstandard.ZstdDecompressor().stream_reader(io.BytesIO(raw)).read()
    return [json.loads(line) for line in text.split(b"\n") if line.strip()]


def edited(text: str, make: random.Random) -> str:
    """A tenth of the words replaced, deleted, or with another one before them; characters where there are no spaces."""
    spaced = text.count(" ") * 12 > len(text)
    pieces = text.split(" ") if spaced else list(text)
    out: list[str] = []
    for piece in pieces:
        if make.random() >= 0.1:
            out.append(piece)
            continue
        other = make.choice(pieces)
        out += {0: [other], 1: [], 2: [other, piece]}[make.randrange(3)]
    return (" " if spaced else "").join(out)


def noisy(text: str, make: random.Random) -> str:
    """Capitals, other punctuation, other white space."""
    text = re.sub(r"[.,;:!?]", lambda m: make.choice([m[0], "", "--", " ...", "!"]), text.upper())
    return re.sub(r"\s+", lambda m: make.choice([" ", "\n", "\t ", "  \r\n"]), text)


WAYS: dict[str, Callable[[str, random.Random], str]] = {
    "verbatim": lambda t, _: t,
    "10 % of words edited": edited,
    "case, punctuation, white space": noisy,
    "full-width punctuation": lambda t, _: t.translate(FULL_WIDTH),
    "in a code block": lambda t, _: "```python\n" + "\n".join(f"    # {line}" for line in t.split("\n")) + "\n```",
}


def planted(step: Decontaminate, found: Benchmarks, carriers: list[str], per_benchmark: int) -> dict[str, Any]:
    """Recall by way and benchmark: whether the document is flagged at all."""
    from curate.kernels.ngrams import match
    from curate.kernels.shingles import word_hashes

    make = random.Random(3)
    groups: dict[str, list[int]] = {}
    for item in np.flatnonzero((found.index.grams > 0) & (np.diff(found.index.answer_of) == 0)).tolist():
        if " variant " not in found.names[item]:
            groups.setdefault(found.benchmark(item), []).append(item)
    chosen = {name: make.sample(items, min(per_benchmark, len(items))) for name, items in groups.items()}
    result: dict[str, Any] = {}
    for way, change in WAYS.items():
        hits, total, worst = 0, 0, {}
        for name, items in chosen.items():
            texts = []
            for item in items:
                body = make.choice(carriers)
                at = body.find(" ", make.randrange(max(1, len(body) - 1)))
                question = change(found.texts[item], make)
                texts.append(f"{body[:at]}\n{question}\n{body[at:]}")
            passes = match(word_hashes(pa.array(texts, pa.large_string())), found.index).passes
            hits, total = hits + int(passes.sum()), total + len(items)
            worst[name] = round(float(passes.mean()), 3)
        low = dict(sorted(worst.items(), key=lambda e: e[1])[:4])
        result[way] = {"items": total, "recall": round(hits / total, 4), "lowest": low}
        print(f"{way:32} {hits}/{total} = {hits / total:.4f}   lowest {low}")
    return result


def alarms(step: Decontaminate, data: Path) -> dict[str, Any]:
    """Flagged documents of old text, each printed with its match."""
    run = step.bind(WorkContext())
    result = {}
    for name in OLD:
        whole = [
            "\n".join(v for k, v in r.items() if isinstance(v, str) and k not in ("id", "source"))
            for r in rows(data / "text" / f"{name}.jsonl.zst")
        ]
        texts = [text[at : at + PIECE] for text in whole for at in range(0, len(text), PIECE)]
        batch = pa.record_batch({"text": pa.array(texts, pa.large_string())})
        outcome = run(batch)
        flagged = len(texts) - outcome.verdict.keep.true_count  # type: ignore[union-attr]
        result[name] = {"documents": len(texts), "flagged": flagged}
        print(f"{name:20} {flagged} of {len(texts)} documents")
        for row in outcome.evidence:
            print(
                f"    {row['item']} {row['rule']} {row['score']:.2f}\n      doc  {row['match'][:300]!r}\n      item {row['item_match'][:300]!r}"
            )
    return result


def _key(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def natural(data: Path) -> dict[str, Any]:
    """Rows found of sets that are known to repeat a benchmark; misses and, for gsm8k's training set, hits are printed."""
    result = {}
    for name, file, fields, against in NATURAL:
        texts = ["\n".join(str(r[f]) for f in fields) for r in rows(data / file)]
        if name.startswith("truthfulqa"):
            asked = {_key(r["Question"]) for r in rows(data / against)}
            texts = [t for t in texts if _key(t.split("\n")[0].removeprefix("Q: ")) in asked]
        if name.startswith("alpaca_eval"):
            given = tuple({_key(r["instruction"]) for r in rows(data / against)} - {""})
            texts = [t for t in texts if _key(t).startswith(given)]
        if name.startswith("math"):
            problems = {_key(r["context"]) for r in rows(data / against)}
            texts = [f"Question: {t}\nAnswer:" for t in texts if _key(t) in problems]
        step = Decontaminate(against=(str(data / against),))
        outcome = step.bind(WorkContext())(pa.record_batch({"text": pa.array(texts, pa.large_string())}))
        keep = outcome.verdict.keep.to_pylist()  # type: ignore[union-attr]
        result[name] = {"rows": len(texts), "found": len(texts) - sum(keep)}
        print(f"{name:28} {len(texts) - sum(keep)} of {len(texts)} rows against {against}")
        shown = [t for t, k in zip(texts, keep, strict=True) if k][:6] if name != "gsm8k train" else []
        for text in shown:
            print(f"    missed {text[:160]!r}")
        for row in outcome.evidence if name == "gsm8k train" else []:
            print(f"    {row['item']} {row['rule']} {row['score']:.2f}\n      {row['match']!r}\n      {row['item_match']!r}")
    return result


def main() -> None:
    """Run all three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--per-benchmark", type=int, default=150)
    parser.add_argument("--near", type=float, default=0.6)
    parser.add_argument("--save", action="store_true")
    given = parser.parse_args()
    skipped = ("truthfulqa_finetune_truth", "gsm8k_train")
    files = sorted(str(f) for f in (given.data / "benchmarks").rglob("*.jsonl.gz") if f.name.split(".")[0] not in skipped)
    step = Decontaminate(against=tuple(files), near=given.near)
    found = step._benchmarks()
    print(f"{len(files)} benchmarks, {len(found.texts)} items, {int((found.index.grams > 0).sum())} long enough")
    pages = [
        max((v for v in r.values() if isinstance(v, str)), key=len)[:6000]
        for r in rows(given.data / "text" / "novels_eltec.jsonl.zst")[:400]
    ]
    result = {"planted": planted(step, found, pages, given.per_benchmark), "old": alarms(step, given.data), "natural": natural(given.data)}
    if given.save:
        path = Path(__file__).parent / "results" / "decontamination_quality.json"
        path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
