"""Measure what a run's `pii` step finds: canaries of every type planted in the run's own documents, and hits to look at.

Canaries are made by rule (random numbers with right check digits, random names at random domains) and stand in the
documents as they would in the wild: bare, in brackets, after a label, at the end of a sentence. Recall on them says whether
the step works on this text with these settings. It is no recall on the personal data of the corpus: that has forms
nobody thought of.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from curate.canaries import MAKERS
from curate.context import WorkContext
from curate.errors import RecipeError
from curate.steps.personal_data import PersonalData
from curate.steps.pii_actions import mask
from curate.worker.source import read_source

MAX_BYTES = 64_000_000  # of documents held
LONGEST = 200_000  # characters of a document that are looked at
CARRIERS = ("{}", "({})", "{}.", "{label}: {}", "<{}>", '"{}"', "{label} {},")


@dataclass
class Recall:
    """What became of one type's canaries."""

    planted: int = 0
    found: int = 0  # whole, as this type
    other: int = 0  # whole, as another type
    gone: int = 0  # what the recipe's own action leaves no trace of
    missed: list[str] = field(default_factory=list)


@dataclass
class StepAudit:
    """Figures of one `pii` step."""

    dataset: str
    settings: dict[str, Any]
    documents: int
    counts: dict[str, dict[str, int]]  # by source and type, of the whole run
    recall: dict[str, Recall]
    hits: dict[str, list[str]]  # by type: surroundings of real finds, values masked


def audit(run: Path, documents: int, per_type: int, hits: int, seed: int) -> list[StepAudit]:
    """Audit every `pii` step of a finished run. RecipeError where there is no run or no such step."""
    manifest_path = run / "manifest.json"
    if not manifest_path.exists():
        raise RecipeError(f"{run} has no manifest.json: it is no run folder, or its run has not finished. Run the recipe first.")
    manifest = json.loads(manifest_path.read_bytes())
    found = []
    for label, entry in manifest["stages"].items():
        path = run / ".stages" / f"{label}-{entry['key'][:12]}" / "job.json"
        job = json.loads(path.read_bytes()) if path.exists() else {}
        for spec in job.get("steps", ()):
            if spec["name"] == "pii":
                texts = _documents(job, run / ".stages", documents)
                counts = _counts(manifest, entry["node"])
                found.append(_audit_step(entry["node"], spec["settings"], texts, counts, job["seed"], per_type, hits, seed))
    if not found:
        raise RecipeError(f"No dataset of {run} has the step pii, or its stages were removed. Add `- pii` to the recipe and run it.")
    return found


def _counts(manifest: dict[str, Any], node: str) -> dict[str, dict[str, int]]:
    return next((dict(line["counts"]) for line in manifest["datasets"][node]["funnel"] if line["step"] == "pii" and "counts" in line), {})


def _documents(job: dict[str, Any], stages: Path, wanted: int) -> list[str]:
    """Texts that the stage reads, an equal share of every task, the longest cut."""
    receipts = stages / f"{job['label']}-{job['key'][:12]}" / "receipts"
    tasks = len(list(receipts.glob("*.json")))
    each = -(-wanted // max(1, tasks))
    texts: list[str] = []
    size = 0
    for index in range(tasks):
        left = each
        for rows in read_source(job, stages, index):
            some = [t[:LONGEST] for t in rows.batch.column("text").slice(0, left).to_pylist() if t]
            texts += some
            size += sum(map(len, some))
            left -= len(rows.batch)
            if left <= 0 or size > MAX_BYTES:
                break
        if size > MAX_BYTES:
            break
    return texts


def _audit_step(
    dataset: str,
    settings: dict[str, Any],
    texts: list[str],
    counts: dict[str, dict[str, int]],
    run_seed: int,
    per_type: int,
    hits: int,
    seed: int,
) -> StepAudit:
    step = PersonalData(**settings)
    looker = PersonalData(**{**settings, "mode": "annotate"})
    make = random.Random(seed)
    planted = list(_plant(texts or [""], [t for t in step.actions() if t in MAKERS], per_type, make))
    context = WorkContext(seed=run_seed)
    spans = _run(looker, [text for text, _, _, _ in planted], context).column("pii_spans").to_pylist()
    after, kept = _own_action(step, [text for text, _, _, _ in planted], context)
    recall: dict[str, Recall] = {}
    for (text, start, end, name), here, left, keep in zip(planted, spans, after, kept, strict=True):
        value = text[start:end]
        one = recall.setdefault(name, Recall())
        one.planted += 1
        over = [s["type"] for s in here if s["start"] <= start and end <= s["end"]]
        one.found += name in over
        one.other += bool(over) and name not in over
        one.gone += not keep or value not in left
        if not over and len(one.missed) < 10:
            one.missed.append(text[max(0, start - 30) : end + 10].replace("\n", " "))
    return StepAudit(dataset, settings, len(texts), counts, recall, _hits(looker, texts, hits, make, context))


def _batch(texts: Sequence[str], step: PersonalData) -> pa.RecordBatch:
    columns = {"text": pa.array(texts, pa.large_string())}
    column = step.presidio.language_column
    if column and "presidio" in step.engine:
        columns[column] = pa.nulls(len(texts), pa.string())
    return pa.record_batch(columns)


def _run(step: PersonalData, texts: Sequence[str], context: WorkContext) -> pa.RecordBatch:
    return step.bind(context)(_batch(texts, step)).batch


def _own_action(step: PersonalData, texts: Sequence[str], context: WorkContext) -> tuple[list[str], list[bool]]:
    """Texts as the recipe's step leaves them, and which documents it keeps."""
    outcome = step.bind(context)(_batch(texts, step))
    keep = outcome.verdict.keep.to_pylist() if outcome.verdict is not None else [True] * len(texts)
    return outcome.batch.column("text").to_pylist(), keep


def _plant(texts: Sequence[str], types: Sequence[str], per_type: int, make: random.Random) -> Iterator[tuple[str, int, int, str]]:
    """(document, start, end, type): one canary in a piece of a real document, at white space."""
    for name in types:
        for _ in range(per_type):
            label, value = MAKERS[name](make)
            text = make.choice(texts)
            begin = make.randrange(max(1, len(text) - 1000))
            piece = text[begin : begin + 1000]
            spaces = [i for i, c in enumerate(piece) if c in " \n"]
            at = make.choice(spaces) if spaces else len(piece)
            head, _, tail = make.choice(CARRIERS).replace("{label}", label).partition("{}")
            if label.startswith("|"):
                _, head, tail = label.split("|")
            yield f"{piece[:at]} {head}{value}{tail} {piece[at:]}", at + 1 + len(head), at + 1 + len(head) + len(value), name


def _hits(step: PersonalData, texts: Sequence[str], wanted: int, make: random.Random, context: WorkContext) -> dict[str, list[str]]:
    """Real finds with 40 characters on both sides; every find in sight is masked."""
    spans = _run(step, texts, context).column("pii_spans").to_pylist()
    places: dict[str, list[tuple[int, int]]] = {}
    for row, here in enumerate(spans):
        for number, span in enumerate(here):
            places.setdefault(span["type"], []).append((row, number))
    shown: dict[str, list[str]] = {}
    for name, found in sorted(places.items()):
        chosen = make.sample(found, min(wanted, len(found)))
        shown[name] = [_masked(texts[row], spans[row], spans[row][number]) for row, number in chosen]
    return shown


def _masked(text: str, spans: list[dict[str, Any]], span: dict[str, Any]) -> str:
    low, high = max(0, span["start"] - 40), span["end"] + 40
    pieces, at = [], low
    for other in spans:
        if other["end"] > low and other["start"] < high:
            start, end = max(low, other["start"]), min(high, other["end"])
            hidden = mask(text[start:end].encode()).decode()
            pieces += [text[at:start], f"[[{hidden}]]" if other is span else hidden]
            at = end
    return " ".join("".join([*pieces, text[at:high]]).split())
