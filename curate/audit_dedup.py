"""Measure what a run's `dedup_minhash` finds: near-duplicates of known similarity planted in the run's own documents.

Documents are taken as the step saw them. Those that the step itself calls duplicates of each other are left out, every
other one gets one edited copy (`curate.planted`), and the step runs, with the recipe's settings, on originals and copies
together. A pair is found when its two documents do not both stay. Similarity is computed from the step's own shingle sets;
theory is 1 - (1 - s^rows)^bands at each pair's s.

What this is not: recall on the duplicates that the corpus has. Those differ in ways nobody planted.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.apply import outcomes
from curate.context import WorkContext
from curate.duplicate_clusters import Cluster, Shares, clusters, shares
from curate.errors import RecipeError
from curate.kernels.lsh import match_probability
from curate.planted import EDITS, edited, units
from curate.schema import ROW
from curate.steps.minhash import DedupMinhash
from curate.steps.sketches import make_sketcher
from curate.worker.source import SHARD, read_source

F64 = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

MAX_BYTES = 64_000_000  # of documents held
LONGEST = 50_000  # characters of a document that are used
FEWEST_UNITS = 40  # words of a document that gets a copy: of fewer, one changed word is a tenth of the shingles
BIN = 0.1  # of similarity


@dataclass
class Planted:
    """What became of the copies of one kind, or of one range of similarity."""

    name: str
    pairs: int = 0
    similarity: float = 0.0  # mean
    at_threshold: int = 0  # pairs whose similarity is a duplicate's
    candidates: int = 0  # pairs that share a band
    theory: float = 0.0  # candidates expected
    found: int = 0  # pairs of which one is removed
    missed: int = 0  # pairs at the threshold that both stay


@dataclass
class StepAudit:
    """Figures of one step."""

    dataset: str
    step: str
    settings: dict[str, Any]
    bands: int
    rows: int
    threshold: float
    documents: int
    by_edit: list[Planted]
    by_similarity: list[Planted]
    total: Planted
    removals: int  # of originals and copies together
    wrong: int  # removals whose stored partner is below the threshold
    clusters: list[Cluster] = field(default_factory=list)
    shares: list[Shares] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def recall(self) -> float | None:
        """Share of the pairs at the threshold that were found."""
        return 1 - self.total.missed / self.total.at_threshold if self.total.at_threshold else None

    @property
    def precision(self) -> float | None:
        """Share of removals whose partner is at the threshold."""
        return 1 - self.wrong / self.removals if self.removals else None


def audit(run: Path, documents: int, seed: int, examples: int = 10) -> list[StepAudit]:
    """Audit every `dedup_minhash` of a finished run. RecipeError where there is no run or no such step."""
    path = run / "manifest.json"
    if not path.exists():
        raise RecipeError(f"{run} has no manifest.json: it is no run folder, or its run has not finished. Run the recipe first.")
    manifest = json.loads(path.read_bytes())
    found = []
    for label, entry in manifest["stages"].items():
        job_path = run / ".stages" / f"{label}-{entry['key'][:12]}" / "job.json"
        job = json.loads(job_path.read_bytes()) if job_path.exists() else {}
        emit = job.get("emit") or {}
        if emit.get("step", {}).get("name") == DedupMinhash.name and emit["phase"] == "bands":
            one = measure(
                emit["step"]["settings"], _documents(job, job_path.parent, emit["step"]["settings"], documents), job["seed"], seed
            )
            one.dataset = entry["node"]
            one.shares = shares(manifest["datasets"][entry["node"]])
            one.warnings = _warnings(manifest["datasets"][entry["node"]])
            one.clusters = clusters(run, entry["node"], DedupMinhash.name, job_path.parent, examples)
            found.append(one)
    if not found:
        raise RecipeError(
            f"No dataset of {run} has the step dedup_minhash, or its stages were removed. Add `- dedup_minhash` to the recipe and run it."
        )
    return found


def _warnings(entry: dict[str, Any]) -> list[str]:
    return [f"{step}: {line}" for step, said in entry.get("findings", {}).items() for line in said.get("warnings", ())]


def _step(settings: dict[str, Any]) -> DedupMinhash:
    return DedupMinhash(**{**settings, "mode": "drop", "index": None, "index_version": None})


def _documents(job: dict[str, Any], stage: Path, settings: dict[str, Any], wanted: int) -> pa.Table:
    """The columns that the step reads, of about `wanted` documents: an equal share of every task."""
    names = sorted(_step(settings).reads() | {"source"})
    tasks = len(list((stage / "receipts").glob("*.json")))
    each, size, found = -(-wanted // max(1, tasks)), 0, []
    for index in range(tasks):
        left = each
        for batch in _batches(job, stage, index):
            found.append(batch.select([n for n in names if n in batch.schema.names]).slice(0, left))
            size += found[-1].get_total_buffer_size() if left >= len(batch) else 0
            left -= len(batch)
            if left <= 0 or size > MAX_BYTES:
                break
        if size > MAX_BYTES:
            break
    return pa.Table.from_batches(found)


def _batches(job: dict[str, Any], stage: Path, index: int) -> Iterator[pa.RecordBatch]:
    """Documents as the step saw them: the shard that the stage wrote, else what it read."""
    path = stage / f"task-{index:05d}" / SHARD
    if path.exists():
        file = pa.ipc.open_file(pa.memory_map(str(path)))
        yield from (file.get_batch(number) for number in range(file.num_record_batches))
    else:
        yield from (rows.batch for rows in read_source(job, stage.parent, index))


def measure(settings: dict[str, Any], table: pa.Table, run_seed: int, seed: int) -> StepAudit:
    """Plant and run. settings: of dedup_minhash; table: documents with the columns that it reads."""
    step, ctx, make = _step(settings), WorkContext(seed=run_seed), random.Random(seed)
    originals = _usable(step, table, ctx)
    texts = originals.column("text").to_pylist()
    edits = [EDITS[i % len(EDITS)] for i in range(len(texts))]
    make.shuffle(edits)
    copies = [edited(t, e, texts[(i + 1) % len(texts)], make) for i, (t, e) in enumerate(zip(texts, edits, strict=True))]
    both = _joined(originals, copies)
    stays, partner = _run(step, both, ctx)
    similarity, sharing = _compare(step, both, np.arange(len(texts)), np.arange(len(texts)) + len(texts), ctx)
    gone = np.flatnonzero(~stays)
    checked, _ = _compare(step, both, partner[gone], gone, ctx)
    lost = stays[: len(texts)] & stays[len(texts) :]
    bands, rows = step.layout
    facts = _Facts(similarity, sharing, ~lost, step.threshold, np.array([match_probability(s, bands, rows) for s in similarity]))
    names = [str(e) for e in edits]
    return StepAudit(
        dataset="", step=step.name, settings=settings, bands=bands, rows=rows, threshold=step.threshold, documents=len(texts),
        by_edit=[facts.of(str(e), np.array([n == str(e) for n in names], bool)) for e in EDITS],
        by_similarity=[facts.of(f"{low:.1f} - {low + BIN:.1f}", facts.between(low)) for low in np.arange(0, 1, BIN).round(1).tolist()],
        total=facts.of("all", np.ones(len(texts), bool)), removals=len(gone), wrong=int((checked < step.threshold).sum()),
    )  # fmt: skip


@dataclass
class _Facts:
    similarity: F64
    sharing: Bools
    found: Bools
    threshold: float
    theory: F64

    def between(self, low: float) -> Bools:
        high = 1.01 if low + BIN > 0.99 else round(low + BIN, 1)
        return (self.similarity >= low) & (self.similarity < high)

    def of(self, name: str, here: Bools) -> Planted:
        near = here & (self.similarity >= self.threshold)
        mean = float(self.similarity[here].mean()) if here.any() else 0.0
        return Planted(name, int(here.sum()), mean, int(near.sum()), int((here & self.sharing).sum()), float(self.theory[here].sum()),
                       int((here & self.found).sum()), int((near & ~self.found).sum()))  # fmt: skip


def _usable(step: DedupMinhash, table: pa.Table, ctx: WorkContext) -> pa.Table:
    """Documents that are long enough, cut to LONGEST, and no near-duplicates of each other."""
    text = [(t or "")[:LONGEST] for t in table.column("text").to_pylist()]
    table = table.set_column(table.schema.get_field_index("text"), "text", pa.array(text, pa.large_string()))
    table = table.filter(pa.array([len(units(t)) >= FEWEST_UNITS for t in text], pa.bool_()))
    if len(table) < 2:
        raise RecipeError(f"The run has {len(table)} documents of {FEWEST_UNITS} words or more to plant in, at least 2 are needed.")
    table = table.set_column(table.schema.get_field_index("id"), "id", pa.array([f"o{i}" for i in range(len(table))]))
    stays, _ = _run(step, table, ctx)
    kept = table.filter(pa.array(stays))
    if len(kept) < 2:
        raise RecipeError(f"All {len(table)} documents looked at are near-duplicates of one: there is nothing to plant in.")
    return kept


def _joined(originals: pa.Table, copies: Sequence[str]) -> pa.Table:
    """Originals, then their copies: other text and id, the same in every other column."""
    names = originals.schema.names
    twin = originals.set_column(names.index("text"), "text", pa.array(copies, pa.large_string()))
    twin = twin.set_column(names.index("id"), "id", pa.array([f"c{i}" for i in originals.column("id").to_pylist()]))
    return pa.concat_tables([originals, twin]).combine_chunks()


def _run(step: DedupMinhash, table: pa.Table, ctx: WorkContext) -> tuple[Bools, npt.NDArray[np.int64]]:
    """(bool[n]: the document stays, i64[n]: position of the partner of one that goes, else -1)."""
    bare = table.drop_columns([ROW]) if ROW in table.column_names else table
    stays, partner = [], []
    for outcome in outcomes(step, bare.combine_chunks().to_batches(), ctx):
        assert outcome.verdict is not None and outcome.verdict.partner is not None
        stays.append(outcome.verdict.keep.to_numpy(zero_copy_only=False))
        partner += outcome.verdict.partner.to_pylist()
    place = {name: at for at, name in enumerate(table.column("id").to_pylist())}
    return np.concatenate(stays), np.array([place.get(p, -1) for p in partner], np.int64)


def _compare(
    step: DedupMinhash, table: pa.Table, strong: npt.NDArray[np.int64], weak: npt.NDArray[np.int64], ctx: WorkContext
) -> tuple[F64, Bools]:
    """(exact similarity, whether a band is shared) of pairs of rows. containment: of the weak one in the strong one."""
    sketcher = make_sketcher(step.sketch(), ctx)
    text = table.column("text").combine_chunks()
    text = text.chunk(0) if isinstance(text, pa.ChunkedArray) else text
    start, values = sketcher.sets(text)
    bands, filled = sketcher.bands(text)
    similarity = np.zeros(len(weak))
    for i, (a, b) in enumerate(zip(strong.tolist(), weak.tolist(), strict=True)):
        x, y = values[start[a] : start[a + 1]], values[start[b] : start[b + 1]]
        common = len(np.intersect1d(x, y, assume_unique=True))
        whole = len(y) if step.similarity == "containment" else len(x) + len(y) - common
        similarity[i] = common / whole if whole else 0.0
    return similarity, (bands[strong] == bands[weak]).any(axis=1) & filled[strong] & filled[weak]
