"""What a run found in its decontamination: evidence of all tasks in one file, and a table by benchmark for the manifest.

Each task keeps a few documents an item (`worker/ledger.py`); merged in order of stages and tasks, so that the file is the
same for any number of workers.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from curate.done import Done
from curate.step import Step
from curate.steps.benchmark_items import row_of

NAME = "contamination.jsonl"
PER_ITEM = 5  # documents that stay for one item


def _evidence(stages: Sequence[Done]) -> Iterator[str]:
    """Lines of all tasks, in order."""
    for stage in stages:
        for receipt in sorted(stage.receipts, key=lambda r: int(r["task"])):
            if any(file["name"] == NAME for file in receipt["files"]):
                with open(stage.folder.task(receipt["task"]) / NAME, encoding="utf-8") as lines:
                    yield from lines


def merged_evidence(stages: Sequence[Done]) -> bytes:
    """Content of a dataset's contamination.jsonl: the first documents of every item; b"" where nothing was found."""
    shown: Counter[tuple[str, str]] = Counter()
    kept: list[str] = []
    for line in _evidence(stages):
        row = json.loads(line)
        shown[row["step"], row["item"]] += 1
        if shown[row["step"], row["item"]] <= PER_ITEM:
            kept.append(line)
    return "".join(kept).encode()


def note_contamination(entry: dict[str, Any], steps: Sequence[Step], stages: Sequence[Done]) -> None:
    """Put into the findings what each step with facts was checked against and what it found: items and documents by benchmark."""
    hit: dict[str, set[tuple[str, str]]] = {}
    for line in _evidence(stages):
        row = json.loads(line)
        hit.setdefault(row["step"], set()).add(row_of(row["item"]))
    seen: Counter[str] = Counter()
    lines = list(entry["funnel"])
    for step in steps:
        facts = step.facts()
        seen[step.name] += 1
        if not facts:
            continue
        again = seen[step.name]
        mine = [line for line in lines if line["step"] == step.name]
        counts: Mapping[str, Mapping[str, int]] = mine[again - 1].get("counts", {}) if len(mine) >= again else {}
        items = Counter(file for file, _ in hit.get(step.name, ()))
        for name, about in facts.get("checked_against", {}).items():
            about["items_hit"] = items[name]
            about["rate"] = round(items[name] / about["items"], 6) if about["items"] else 0.0
            about["documents_hit"] = sum(figures.get(name, 0) for figures in counts.values())
        entry["findings"][step.name + (f".{again}" if again > 1 else "")] = facts
