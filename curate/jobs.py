"""From a stage whose inputs are done to its key, its job file and its list of tasks.

The key is a digest of everything that decides the output bytes: steps with versions and settings, digests of models and
word lists, output digests of the stages it reads, fingerprints of input files. Where it lies and who runs it are not.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

from curate.done import Done, data_files
from curate.errors import DataError
from curate.fingerprint import digest, file_digest
from curate.io.reader import SPLIT_BYTES, Split
from curate.node import NodeInput
from curate.plan import Plan, Stage
from curate.recipe_nodes import DatasetNode, SpecialNode
from curate.step import CorpusStep, Phase, Step
from curate.store import KEY_CHARS, Store

FORMAT = 1  # of shards, receipts and exchange files: a change makes new keys
MIN_TASK_BYTES, TASKS_WANTED = 4 << 20, 64
PARTITION_BYTES = 64 << 20  # of input a partition of records stands for
MAX_PARTITIONS = 4096


@dataclass(frozen=True)
class Job:
    """A stage ready to run."""

    stage: Stage
    key: str
    content: dict[str, Any]  # job.json
    weights: tuple[int, ...]  # input bytes of each task, for progress

    @property
    def label(self) -> str:
        return self.stage.label


def make_job(stage: Stage, plan: Plan, done: dict[str, Done], limit: int | None = None) -> Job:
    """Resolve a stage. done: the finished stages by label, at least its inputs. limit: documents of each input, for samples."""
    stage = _pinned(stage, plan, done)
    if stage.kind == "documents":
        return _documents_job(stage, plan, done, limit)
    if stage.kind == "records":
        return _records_job(stage, plan, done)
    return _node_job(stage, plan, done, limit)


def step_spec(step: Step) -> dict[str, Any]:
    """A step as a job file names it."""
    return {"name": step.name, "settings": step.model_dump(mode="json", exclude={"checkpoint"})}


def step_identity(step: Step) -> dict[str, Any]:
    """A step as the key sees it: assets by content, wherever they lie."""
    outputs = {name for name, info in type(step).model_fields.items() if (info.json_schema_extra or {}) == {"path": "output"}}
    settings = step.model_dump(mode="json", exclude={"checkpoint", *outputs})  # where something is written decides no byte
    names = {}
    for asset in step.assets():
        try:
            names[asset.uri] = f"{PurePath(asset.uri).name}#{file_digest(asset.uri)}"
        except OSError as error:
            raise DataError(f"Step {step.name} needs the {asset.role} {asset.uri}, which can't be read: {error.strerror}.") from error
    return {"name": step.name, "version": step.version, "settings": _renamed(settings, names), "assets": sorted(names.values()),
            "source": getattr(step, "plugin_digest", None)}  # fmt: skip


def _renamed(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, list):
        return [_renamed(v, names) for v in value]
    if isinstance(value, dict):
        return {k: _renamed(v, names) for k, v in value.items()}
    return value


def sent_by(step: CorpusStep, node: str, plan: Plan, done: dict[str, Done]) -> tuple[str, str] | None:
    """(digest of what the step's first phase made, digest of the dataset's input files); None while that phase is not done."""
    first = next(s for s in plan.of_node(node) if any(pair is not None and pair[0] is step for pair in (s.emit, s.phase)))
    if first.label not in done:
        return None
    root = node
    while (at := plan.recipe.nodes[root]) and isinstance(at, DatasetNode) and at.upstream:
        root = at.upstream
    start = plan.of_node(root)[0]
    job = json.loads(done[start.label].folder.job.read_bytes())
    splits = [[s["path"], s["start"], s["end"], s["fingerprint"]] for task in job.get("source", {}).get("tasks", ()) for s in task]
    return digest([done[first.label].key, done[first.label].digest]), digest(splits or done[start.label].key)


def _pinned(stage: Stage, plan: Plan, done: dict[str, Done]) -> Stage:
    """The stage with what its corpus step reads from outside fixed; the first phase reads nothing."""
    changes: dict[str, Any] = {}
    for name, pair in (("emit", stage.emit), ("phase", stage.phase)):
        outside = pair[0].outside() if pair is not None else None
        sent = sent_by(pair[0], stage.node, plan, done) if pair is not None and outside is not None else None
        if pair is not None and outside is not None and sent is not None:
            changes[name] = (pair[0].model_copy(update=outside.pinned(*sent)), pair[1])
    return replace(stage, **changes)


def _identity(stage: Stage, plan: Plan, done: dict[str, Done], more: dict[str, Any]) -> str:
    content = {
        "format": FORMAT,
        "kind": stage.kind,
        "seed": plan.recipe.seed,
        "steps": [step_identity(s) for s in stage.steps],
        "deliveries": [step_identity(d.step) for d in stage.deliveries],
        "inputs": [done[label].digest for label in stage.inputs],
        **more,
    }
    for name, pair in (("emit", stage.emit), ("phase", stage.phase)):
        if pair is not None:
            content[name] = [step_identity(pair[0]), pair[1].name]
    return digest(content)


def _common(stage: Stage, plan: Plan, key: str) -> dict[str, Any]:
    return {"label": stage.label, "key": key, "kind": stage.kind, "seed": plan.recipe.seed, "dataset": stage.node,
            "plugins": list(plan.recipe.plugins)}  # fmt: skip


def _documents_job(stage: Stage, plan: Plan, done: dict[str, Done], limit: int | None) -> Job:
    node = plan.recipe.nodes[stage.node]
    assert isinstance(node, DatasetNode)
    source, identity, weights = _source(stage, plan, node, done, limit)
    write = {"format": node.write.format, "settings": dict(node.write.settings)}
    keep = node.keep_dropped
    more = {"source": identity, "sink": stage.sink, "keep_dropped": keep, "write": write if stage.sink == "dataset" else None}
    key = _identity(stage, plan, done, more)
    emit = None
    if stage.emit is not None:
        step, phase = stage.emit
        sides = [{"phase": name, **_sender(done[label])} for name, label in stage.sides]
        emit = {"step": step_spec(step), "phase": phase.name, "sides": sides, "partitions": _partitions(phase, sum(weights))}
    content = {
        **_common(stage, plan, key),
        "source": source,
        "deliveries": [{"step": step_spec(d.step), **_sender(done[d.label])} for d in stage.deliveries],
        "steps": [step_spec(s) for s in stage.steps],
        "emit": emit,
        "sink": stage.sink,
        "write": write,
        "keep_dropped": keep,
        "metadata": {"curate.dataset": stage.node, "curate.key": key},
        "models": {name: node_input(plan, name, done).folder for name, _ in stage.models},
    }
    return Job(stage, key, content, tuple(weights))


def _source(stage: Stage, plan: Plan, node: DatasetNode, done: dict[str, Done], limit: int | None) -> tuple[dict[str, Any], Any, list[int]]:
    """(what the job says, what the key sees, input bytes of each task)."""
    if stage.base is not None:
        base = done[stage.base]
        weights = [sum(f["bytes"] for f in r["files"]) for r in base.receipts]
        return {"kind": plan.stage(stage.base).sink or "dataset", "stage": base.folder.path.name}, None, weights
    assert node.reader is not None
    reader = node.reader
    folder = plan.recipe.folder
    total = sum(s.size for s in reader.splits(folder, SPLIT_BYTES))
    target = min(max(total // TASKS_WANTED, MIN_TASK_BYTES), SPLIT_BYTES)
    tasks = group(reader.splits(folder, target), target)
    per_split = None
    if limit is not None:
        tasks, per_split = _thin(tasks, limit)
    settings = reader.model_dump(mode="json")
    source = {"kind": "reader", "reader": reader.name, "settings": settings, "limit_rows": per_split,
              "tasks": [[vars(s) for s in task] for task in tasks]}  # fmt: skip
    files = [[s.path, s.start, s.end, s.fingerprint] for task in tasks for s in task]
    borders = [len(task) for task in tasks]
    identity = {"reader": reader.name, "version": reader.version, "dataset": stage.node, "limit": per_split, "tasks": borders, "files": files,
                "settings": {k: v for k, v in settings.items() if k != "paths"}}  # fmt: skip
    return source, identity, [sum(s.size for s in task) for task in tasks]


def group(splits: list[Split], target_bytes: int) -> list[list[Split]]:
    """Put neighbouring splits together until they have about target_bytes: many small files make few tasks."""
    tasks: list[list[Split]] = []
    held = 0
    for split in splits:
        if not tasks or held + split.size > target_bytes:
            tasks.append([])
            held = 0
        tasks[-1].append(split)
        held += split.size
    return tasks


def _thin(tasks: list[list[Split]], limit: int) -> tuple[list[list[Split]], int]:
    """At most 8 splits spread over the input, and how many rows to take from each."""
    splits = [s for task in tasks for s in task]
    chosen = [splits[i * len(splits) // min(8, len(splits))] for i in range(min(8, len(splits), limit))]
    return [[s] for s in chosen], -(-limit // max(1, len(chosen)))


def _sender(stage: Done) -> dict[str, Any]:
    return {"stage": stage.folder.path.name, "senders": len(stage.receipts)}


def _partitions(phase: Phase, input_bytes: int) -> int:
    return 1 if phase.to != "key" else min(max(-(-input_bytes // PARTITION_BYTES), 2), MAX_PARTITIONS)


def _records_job(stage: Stage, plan: Plan, done: dict[str, Done]) -> Job:
    assert stage.phase is not None
    step, phase = stage.phase
    sender = done[stage.inputs[0]]
    entries = [r["records"] for r in sender.receipts]
    key = _identity(stage, plan, done, {})
    tasks = 1
    if phase.over == "partition":
        tasks = max((max((p for p, _, _ in e["index"]), default=0) for e in entries), default=0) + 1
    size = sum(e["bytes"] for e in entries)
    content = {
        **_common(stage, plan, key),
        "step": step_spec(step),
        "phase": phase.name,
        "from": sender.folder.path.name,
        "senders": len(sender.receipts),
        "partitions": _partitions(phase, size),
        "tasks": tasks,
    }
    if stage.models:
        content["models"] = {name: node_input(plan, name, done).folder for name, _ in stage.models}
    return Job(stage, key, content, (size // tasks,) * tasks)


def _node_job(stage: Stage, plan: Plan, done: dict[str, Done], limit: int | None) -> Job:
    node = plan.recipe.nodes[stage.node]
    assert isinstance(node, SpecialNode)
    if limit is not None:
        node = replace(node, node=node.node.for_sample())
    settings = node.node.model_dump(mode="json")
    inputs = {name: node_input(plan, name, done) for name in node.node.inputs()}
    names = {a.uri: f"{PurePath(a.uri).name}#{file_digest(a.uri)}" for a in node.node.assets()}
    identity = {"node": node.kind, "version": node.node.version, "settings": _renamed(settings, names), "names": list(inputs)}
    key = _identity(stage, plan, done, identity)
    content = {**_common(stage, plan, key), "node_kind": node.kind, "settings": settings,
               "node_inputs": {name: vars(entry) | {"parts": list(entry.parts)} for name, entry in inputs.items()}}  # fmt: skip
    return Job(stage, key, content, (sum(done[label].bytes for label in stage.inputs),))


def node_input(plan: Plan, name: str, done: dict[str, Done]) -> NodeInput:
    """A finished node as another node reads it: its published files; paths relative to the run folder."""
    stage = done[plan.final[name]]
    folder = f".data/{name}@{stage.key[:KEY_CHARS]}"
    ledgers = [r["ledger"] for r in stage.receipts if "ledger" in r]
    result = [r.get("result", {}) for r in stage.receipts]
    return NodeInput(
        name=name,
        folder=folder,
        parts=tuple(f"{folder}/{inside}" for inside, _ in data_files(stage)),
        digest=stage.digest,
        rows=sum(x["rows_out"] for x in ledgers) or sum(r.get("rows_out", 0) for r in result),
        tokens=sum(x["tokens"] for x in ledgers) or sum(r.get("tokens", 0) for r in result),
        bytes=sum(x["bytes_out"] for x in ledgers),
    )


def load_done(job: Job, store: Store) -> Done | None:
    """The finished stage, or None where a receipt is missing."""
    folder = store.stage(job.label, job.key)
    receipts = [folder.receipt(index) for index in range(len(job.weights))]
    return Done(job.label, job.key, folder, tuple(r for r in receipts if r is not None)) if all(receipts) else None
