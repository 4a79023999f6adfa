"""Who removes what, against exact truth: curate, datatrove, datasketch, rensa and text-dedup on the same documents.

    python -m tests.bench.dedup_quality --data ../shared/data --peers PEERS/bin/python --datatrove DT/bin/python [--save]

PEERS has rensa, text-dedup and datasketch; DT has datatrove 0.10.1 with xxhash<4 and spacy. Then curate alone on pairs of real
revisions and of raw and rendered pages: precision and recall of "is the same document" by threshold and kind of shingle.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from curate.apply import run_step
from curate.context import WorkContext
from curate.steps.minhash import DedupMinhash
from curate.steps.sketches import make_sketcher
from tests.bench.measure import machine
from tests.conftest import read_rows

THRESHOLD = 0.8
TOOLS = ("datatrove", "datasketch", "rensa", "text-dedup")
OURS: dict[str, dict[str, Any]] = {
    "curate, recall 0.98": {"recall": 0.98},
    "curate, 14 x 8": {"bands": 14, "rows": 8},
    "curate, keep longest": {"recall": 0.98, "keep": "longest"},
    "curate, verify: false, 14 x 8": {"bands": 14, "rows": 8, "verify": False},
    "curate, closure: transitive": {"recall": 0.98, "closure": "transitive"},
}


def judged(removed: set[str], ids: list[str], truth: Mapping[frozenset[str], float]) -> dict[str, Any]:
    """precision: removed documents that have a kept one at the threshold; recall: of those that should go, how many went."""
    kept = set(ids) - removed
    near = [pair for pair, s in truth.items() if s >= THRESHOLD]
    with_kept = {d for pair in near for d in pair if pair - {d} <= kept}
    right = len(removed & with_kept)
    missed = len({max(pair) for pair in near if pair <= kept})
    return {"removed": len(removed), "right": right, "wrong": len(removed) - right, "missed": missed,
            "precision": right / max(1, len(removed)), "recall": right / max(1, right + missed)}  # fmt: skip


def licences(data: Path, pythons: Mapping[str, str]) -> dict[str, Any]:
    """The table of all tools."""
    rows = [{"id": str(r["id"]), "text": str(r["text"])} for r in read_rows(data / "dedup/license_rules_docs.jsonl.gz")]
    truth = {
        frozenset((str(r["a"]), str(r["b"]))): float(str(r["jaccard_w5"])) for r in read_rows(data / "dedup/license_rules_pairs.jsonl.gz")
    }
    ids = [r["id"] for r in rows]
    table = pa.Table.from_pylist(rows)
    found: dict[str, Any] = {}
    for name, settings in OURS.items():
        step = DedupMinhash(threshold=THRESHOLD, mode="annotate", **settings)
        result = run_step(step, table).to_pylist()
        gone = {r["id"] for r in result if r["dup_of"] is not None}
        proven = sum(
            truth.get(frozenset((r["id"], r["dup_of"])), 0) >= THRESHOLD - 5e-5 and r["dup_of"] not in gone for r in result if r["dup_of"]
        )
        found[name] = judged(gone, ids, truth) | {"proven": proven, "bands": list(step.layout)}
    with tempfile.TemporaryDirectory() as work:
        path = Path(work) / "docs.jsonl"
        path.write_text("".join(json.dumps(r) + "\n" for r in rows))
        for tool in TOOLS:
            python = pythons["datatrove" if tool == "datatrove" else "peers"]
            command = [python, str(Path(__file__).parent / "dedup_peers.py"), tool, str(path)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            told = json.loads(done.stdout.strip().split("\n")[-1])
            found[f"{tool} {told['version']}"] = judged(set(told["removed"]), ids, truth) | {"proven": None}
    return found


SHINGLES = {"words 5": {"words": 5}, "words 3": {"words": 3}, "chars 5": {"chars": 5}, "chars 10": {"chars": 10}, "chars 24": {"chars": 24}}


def pairs(data: Path, name: str) -> dict[str, dict[str, list[float]]]:
    """{shingle: {threshold: [precision, recall]}} of pairs labelled same_document."""
    rows = list(read_rows(data / f"dedup/{name}.jsonl.zst"))
    same = [str(r["same_document"]) == "1" for r in rows]
    found: dict[str, dict[str, list[float]]] = {}
    for shingle, setting in SHINGLES.items():
        sketcher = make_sketcher(DedupMinhash.model_validate({"shingle": setting}).sketch(), WorkContext())
        sides = [sketcher.sets(pa.array([str(r[side]) for r in rows], pa.large_string())) for side in ("text_a", "text_b")]
        similarity = []
        for i in range(len(rows)):
            a, b = (set(values[doc[i] : doc[i + 1]].tolist()) for doc, values in sides)
            similarity.append(len(a & b) / max(1, len(a | b)))
        found[shingle] = {}
        for threshold in (0.3, 0.5, 0.6, 0.7, 0.8, 0.9):
            said = [s >= threshold for s in similarity]
            right = sum(s and t for s, t in zip(said, same, strict=True))
            found[shingle][str(threshold)] = [right / max(1, sum(said)), right / sum(same)]
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--peers", required=True)
    parser.add_argument("--datatrove", required=True)
    parser.add_argument("--save", action="store_true")
    given = parser.parse_args()
    found = {"machine": machine(), "licences": licences(given.data, {"peers": given.peers, "datatrove": given.datatrove})}
    for name, row in found["licences"].items():
        print(f"{name:32} removed {row['removed']:5} wrong {row['wrong']:4} missed {row['missed']:4} "
              f"precision {row['precision']:.4f} recall {row['recall']:.4f} proven {row['proven']}")  # fmt: skip
    for name in ("doc_revisions", "mdn_raw_vs_rendered"):
        found[name] = pairs(given.data, name)
        for shingle, by in found[name].items():
            print(f"{name} {shingle:9}", "  ".join(f"{t}: {p:.3f}/{r:.3f}" for t, (p, r) in by.items()))
    if given.save:
        (Path(__file__).parent / "results" / "dedup_quality.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
