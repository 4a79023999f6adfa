"""Speed of the rule steps on real text, and of datatrove's classes where it has them: CPU time, alternating, best of several.

taskset -c 0 python tests/bench/rules.py [--save]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa

from curate.context import WorkContext
from curate.registry import load
from tests.bench.measure import machine
from tests.conftest import read_rows

RESULTS = Path(__file__).parent / "results" / "rules.json"
WORDS = [
    f"{a}{b}" for a in ("kil", "dam", "hel", "bat", "mur", "str", "cla", "wor", "qui", "zes") for b in "abcdefghijklmnopqrstuvwxyzsty"
] + ["the end of", "over and over"]
SETTINGS: dict[str, dict[str, Any]] = {
    "url": {"domains": ["example.org"], "words": WORDS, "soft_words": ["live", "free"], "substrings": ["poker"]},
    "line_rules": {}, "bad_words": {"words": WORDS}, "madlad": {}, "code": {}, "math": {},
}  # fmt: skip


def corpus(folder: Path, most: int) -> pa.RecordBatch:
    """About `most` bytes of real text, a share of each file, with made URLs."""
    texts: list[str] = []
    for file in sorted((folder / "text").iterdir()):
        left = most // 19
        for row in read_rows(file):
            text = str(row.get("text") or "")
            left -= len(text.encode())
            if left < 0:
                break
            texts.append(text)
    n = len(texts)
    return pa.RecordBatch.from_pydict({
        "id": [f"d{i}" for i in range(n)], "text": pa.array(texts, pa.large_string()), "source": ["s"] * n,
        "meta": pa.array([json.dumps({"url": f"http://www.site{i % 700}.co.uk/path/to-page/{i}.html"}) for i in range(n)], pa.large_string()),
    })  # fmt: skip


def spent(function: Callable[[], object]) -> float:
    started = time.process_time()
    function()
    return time.process_time() - started


def ours(name: str, mode: str) -> Callable[[pa.RecordBatch], object]:
    bound: Callable[[pa.RecordBatch], object] = load("steps", name)(mode=mode, **SETTINGS[name]).bind(WorkContext())
    return bound


def theirs(name: str) -> Callable[[pa.RecordBatch], object] | None:
    """datatrove's class on a list of its documents."""
    from datatrove.data import Document
    from datatrove.pipeline.filters.c4_filters import C4BadWordsFilter
    from datatrove.pipeline.filters.url_filter import URLFilter

    if name == "url":
        from tldextract import TLDExtract

        given = SETTINGS["url"]
        made: Any = URLFilter(
            use_integrated_lists=False,
            extra_domains=given["domains"],
            banned_words=given["words"],
            soft_banned_words=given["soft_words"],
            banned_subwords=given["substrings"],
        )
        made.tldextractor = TLDExtract(cache_dir=None, suffix_list_urls=())
    elif name == "bad_words":
        import re

        made = C4BadWordsFilter()
        made._badwords_regex["en"] = re.compile(r"(?:\W|^)({})(?:\W|$)".format("|".join(map(re.escape, WORDS))))
    else:
        return None

    def run(batch: pa.RecordBatch) -> object:
        documents = [
            Document(text=t, id="", metadata=json.loads(m))
            for t, m in zip(batch.column("text").to_pylist(), batch.column("meta").to_pylist(), strict=True)
        ]
        return [made.filter(document) for document in documents]

    return run


def main() -> None:
    """Measure and print."""
    import warnings

    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2].parent / "shared" / "data")
    parser.add_argument("--mb", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--save", action="store_true")
    arguments = parser.parse_args()
    batch = corpus(arguments.data, arguments.mb * 1_000_000)
    size = sum(len(t.encode()) for t in batch.column("text").to_pylist())
    part = batch.slice(0, max(1, len(batch) // 8))
    part_size = sum(len(t.encode()) for t in part.column("text").to_pylist())
    found: dict[str, Any] = {
        "machine": machine(),
        "documents": len(batch),
        "text_mb": size / 1e6,
        "versions": {n: version(n) for n in ("datatrove", "numba", "pyarrow", "polars")},
    }
    for name in SETTINGS:
        functions = {mode: ours(name, mode) for mode in ("drop", "annotate")}
        peer = theirs(name)
        best = dict.fromkeys(["drop", "annotate", "datatrove"], float("inf"))
        for _ in range(arguments.rounds):
            for mode, function in functions.items():
                best[mode] = min(best[mode], spent(lambda f=function: f(batch)))  # type: ignore[misc]
            if peer is not None:
                best["datatrove"] = min(best["datatrove"], spent(lambda p=peer: p(part)))  # type: ignore[misc]
        row = {mode: size / 1e6 / best[mode] for mode in functions}
        if peer is not None:
            row |= {"datatrove": part_size / 1e6 / best["datatrove"], "ratio": row["drop"] / (part_size / 1e6 / best["datatrove"])}
        found[name] = {k: round(v, 1) for k, v in row.items()}
        print(f"{name:<12}" + "".join(f"  {k} {v:8.1f}{'x' if k == 'ratio' else ' MB/s'}" for k, v in row.items()))
    print(f"{len(batch):,} documents, {size / 1e6:.1f} MB; {found['versions']}; load {found['machine']['load_before']}")
    if arguments.save:
        RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
