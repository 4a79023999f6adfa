"""Run a recipe: for each stage in order, make its job, hand the missing tasks to an executor, publish finished nodes."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from curate import __version__, distributions
from curate.contamination import merged_evidence
from curate.done import Done
from curate.errors import DataError, RecipeError
from curate.exchange import FILE
from curate.executors.executor import Executor
from curate.jobs import Job, load_done, make_job, sent_by
from curate.manifest import keep_others, ledger_stages, make_manifest, node_entry
from curate.node import NodeInput
from curate.pinning import pinned
from curate.plan import Plan, make_plan
from curate.publish import publish
from curate.recipe_nodes import DatasetNode, Recipe, SpecialNode
from curate.round_stop import shortened, stop_of
from curate.step import CorpusStep, Outside
from curate.store import DISTRIBUTIONS, StageFolder, Store, write_atomic


class Display(Protocol):
    """Who is told what goes on."""

    def note(self, text: str) -> None:
        """Something worth a line."""
        ...

    def stage(self, label: str, steps: Sequence[str], weights: Sequence[int], waiting: Sequence[int]) -> None:
        """A stage begins. weights: input bytes of each task; waiting: tasks that have no receipt."""
        ...

    def advance(self, task: int, rows: int, size: int, said: str = "", share: float = 0.0) -> None:
        """Documents and bytes done; `task` ended, or -1. said: what a task tells of itself, `share` of it being done."""
        ...

    def stage_done(self, label: str) -> None:
        """The stage has all its receipts."""
        ...


class Silent:
    """Tells nobody."""

    def note(self, text: str) -> None:
        pass

    def stage(self, label: str, steps: Sequence[str], weights: Sequence[int], waiting: Sequence[int]) -> None:
        pass

    def advance(self, task: int, rows: int, size: int, said: str = "", share: float = 0.0) -> None:
        pass

    def stage_done(self, label: str) -> None:
        pass


@dataclass
class Outcome:
    """What a run did."""

    out: Path
    manifest: dict[str, Any]
    seconds: float
    tasks_run: int = 0
    tasks_reused: int = 0
    stages_run: list[str] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        names = ("path", "rows_in", "created", "rows_out", "dropped", "merged", "quarantined", "bytes", "tokens")
        datasets = {name: {n: entry[n] for n in names} for name, entry in self.manifest["datasets"].items()}
        models = {name: {n: entry[n] for n in ("path", "info")} for name, entry in self.manifest["models"].items()}
        for entry in (*datasets.values(), *models.values()):
            entry["path"] = str(self.out / entry["path"])
        ended = {"rounds": self.manifest["rounds"]} if "rounds" in self.manifest else {}
        return {"recipe": self.manifest["recipe"], "out": str(self.out), "seconds": round(self.seconds, 3), **ended,
                "tasks": {"run": self.tasks_run, "reused": self.tasks_reused, "failed": 0},
                "datasets": datasets, "models": models}  # fmt: skip


def run_recipe(recipe: Recipe, out: Path, executor: Executor, display: Display | None = None, only: tuple[str, ...] = (),
               sample: int | None = None) -> Outcome:  # fmt: skip
    """Bring every node of the recipe (or of `only` and what it needs) up to date in the folder `out`."""
    display = display or Silent()
    started = time.perf_counter()
    recipe = pinned(recipe)
    plan = make_plan(recipe, only)
    _check_packages(plan)
    shared = _shared(plan)
    store = Store(out)
    done: dict[str, Done] = {}
    outcome = Outcome(store.root, {}, 0.0)
    with store.lock(), ExitStack() as held:
        for outside in shared:
            held.enter_context(outside.hold())
        write_atomic(store.root / "recipe.lock.yaml", lock_text(recipe, sample))
        waiting, ended = list(plan.stages), None
        while waiting:
            stage = waiting.pop(0)
            job = make_job(stage, plan, done, sample)
            finished = load_done(job, store)
            if finished is None:
                finished = _run_stage(job, store, executor, display, outcome)
            else:
                outcome.tasks_reused += len(finished.receipts)
            done[stage.label] = finished
            _check_quarantine(plan, stage.label, done, store)
            if plan.final[stage.node] == stage.label:
                if sample is None:
                    _finish_outside(plan, stage.node, done, display)
                _publish(plan, stage.node, done, store)
            stop = stop_of(plan.recipe, stage.node, finished)
            if stop is not None:
                ended, plan = stop, shortened(plan, stop, only)
                display.note(stop.text())
                waiting = [s for s in plan.stages if s.label not in done]
        done = {s.label: done[s.label] for s in plan.stages}
        outcome.manifest = make_manifest(plan, done) | ({"rounds": ended.record()} if ended is not None else {})
        if only and (store.root / "manifest.json").exists():
            earlier = json.loads((store.root / "manifest.json").read_bytes())
            outcome.manifest = keep_others(outcome.manifest, earlier, plan)
        _write_manifest(store.root / "manifest.json", outcome.manifest)
    outcome.seconds = time.perf_counter() - started
    return outcome


def _run_stage(job: Job, store: Store, executor: Executor, display: Display, outcome: Outcome) -> Done:
    folder = store.open_stage(job.label, job.key, job.content)
    waiting = [index for index in range(len(job.weights)) if folder.receipt(index) is None]
    waiting.sort(key=lambda index: -job.weights[index])  # the largest first: a large one at the end would keep one worker only
    display.stage(job.label, job.stage.step_names(), job.weights, waiting)
    phase = job.stage.phase
    wide = job.stage.kind == "node" or (phase is not None and phase[1].whole_machine)
    executor.run(str(folder.job), waiting, display.advance, whole_machine=wide)
    display.stage_done(job.label)
    outcome.tasks_run += len(waiting)
    outcome.tasks_reused += len(job.weights) - len(waiting)
    outcome.stages_run.append(job.label)
    finished = load_done(job, store)
    if finished is None:
        missing = [i for i in range(len(job.weights)) if folder.receipt(i) is None]
        raise DataError(
            f"{len(missing)} tasks of {job.label} ended without a receipt, the first is {missing[0]}. Run the same command again."
        )
    shutil.rmtree(folder.path / "tmp", ignore_errors=True)
    return finished


def _outsides(plan: Plan) -> Iterator[tuple[tuple[str, CorpusStep], Outside]]:
    """((dataset, step), what it has outside) of all corpus steps that read and extend something outside of the run."""
    for name in plan.final:
        node = plan.recipe.nodes[name]
        for step in node.steps if isinstance(node, DatasetNode) else ():
            outside = step.outside() if isinstance(step, CorpusStep) else None
            if isinstance(step, CorpusStep) and outside is not None:
                yield (name, step), outside


def _shared(plan: Plan) -> list[Outside]:
    """One of each folder that steps have outside. RecipeError where steps that do not agree name the same one."""
    found: dict[str, tuple[str, Outside]] = {}
    for (name, step), outside in _outsides(plan):
        label = f"{name}.{step.name}"
        first, other = found.setdefault(outside.root, (label, outside))
        differ = [key for key in other.made_for.keys() | outside.made_for.keys() if other.made_for.get(key) != outside.made_for.get(key)]
        if differ:
            raise RecipeError(
                f"{first} and {label} both name {outside.root}, but differ in {', '.join(sorted(differ))}. Give each a folder of its own."
            )
    return [outside for _, outside in found.values()]


def _finish_outside(plan: Plan, name: str, done: dict[str, Done], display: Display) -> None:
    """Add what a finished dataset's steps made to what they extend."""
    for (node, step), outside in _outsides(plan):
        sent = sent_by(step, node, plan, done) if node == name else None
        if sent is not None:
            stages = {s.phase or s.emit: done[s.label] for s in plan.of_node(node) if (s.phase or s.emit or (None,))[0] is step}
            files = {pair[1].name: [d.folder.task(r["task"]) / FILE for r in d.receipts] for pair, d in stages.items() if pair}
            outside.finish(*sent, files, display.note)


def _check_quarantine(plan: Plan, label: str, done: dict[str, Done], store: Store) -> None:
    """Stop where more of a dataset's rows were unreadable than its recipe allows."""
    stage = plan.stage(label)
    node = plan.recipe.nodes[stage.node]
    if not isinstance(node, DatasetNode) or stage.sink is None:
        return
    books = [r["ledger"] for s in ledger_stages(plan, stage.node, done) for r in s.receipts]
    unreadable = sum(sum(b["quarantined"].values()) for b in books)
    first = [r["ledger"]["rows_in"] for r in done[plan.of_node(stage.node)[0].label].receipts]
    share = unreadable / max(1, sum(first))
    if share > node.max_quarantine:
        where = quarantine_examples(done[label].folder, len(done[label].receipts))
        raise DataError(
            f"{stage.node}: {unreadable} of {sum(first)} rows ({share:.2%}) could not be read; max_quarantine allows {node.max_quarantine:.2%}.\n"
            + "".join(f"  {line}\n" for line in where)
            + f"All of them: {done[label].folder.path}/task-*/quarantine.jsonl. Mend the input, or raise max_quarantine, and run again."
        )


def quarantine_examples(folder: StageFolder, tasks: int, count: int = 5) -> list[str]:
    """The first quarantined rows of a stage, one line each."""
    lines: list[str] = []
    for index in range(tasks):
        path = folder.task(index) / "quarantine.jsonl"
        if path.exists():
            with open(path, encoding="utf-8") as file:
                for row in file:
                    entry = json.loads(row)
                    lines.append(f"{entry['file']} at byte {entry['offset']}: {entry['error']}")
                    if len(lines) == count:
                        return lines
    return lines


def _publish(plan: Plan, name: str, done: dict[str, Done], store: Store) -> None:
    entry = node_entry(plan, name, done)
    notes = {"_dataset.json": json.dumps(entry, indent=1, ensure_ascii=False).encode() + b"\n"}
    stages = ledger_stages(plan, name, done)
    evidence = merged_evidence(stages)
    if evidence:
        notes["contamination.jsonl"] = evidence
    spread = distributions.merged(stages) if stages else b""
    if spread:
        notes[DISTRIBUTIONS] = spread
    publish(store, name, done[plan.final[name]], stages, notes)


def _check_packages(plan: Plan) -> None:
    """Raise MissingDependency for what the last node would miss, before hours of work for the first."""
    for name in dict.fromkeys(stage.node for stage in plan.stages):
        entry = plan.recipe.nodes[name]
        if isinstance(entry, SpecialNode):
            entry.node.check_packages(f"{name} ({entry.kind})")


def _write_manifest(path: Path, manifest: dict[str, Any]) -> None:
    """Write it, unless it is there already: what is made from it is told by its time."""
    content = json.dumps(manifest, indent=1, ensure_ascii=False).encode() + b"\n"
    if not path.exists() or path.read_bytes() != content:
        write_atomic(path, content)


def lock_text(recipe: Recipe, sample: int | None = None) -> bytes:
    """recipe.lock.yaml: the resolved recipe with every default, the version that resolved it, and the command that runs it."""
    import yaml

    name = Path(recipe.path).name
    header = f"# Written by curate {__version__} from {name}: every default filled in.\n# Command: {_command(recipe, name, sample)}\n"
    return (header + yaml.safe_dump(recipe.resolved, sort_keys=False, allow_unicode=True, width=120)).encode()


def _command(recipe: Recipe, name: str, sample: int | None) -> str:
    """What makes the same result in the recipe's folder. Workers, executor and place of results decide nothing in it."""
    import shlex

    words = ["curate", "run", name]
    for override in recipe.overrides:
        words += ["--set", override]
    for plugin in recipe.plugins:
        words += ["--plugin", Path(plugin).name]
    return shlex.join([*words, *(["--sample", str(sample)] if sample is not None else [])]).replace("\n", " ")


def forecast(recipe: Recipe, out: Path, only: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """What a run would do, one entry per stage: tasks, input bytes, reused or not. Stages behind unfinished ones are open."""
    plan = make_plan(recipe, only)
    store = Store(out)
    done: dict[str, Done] = {}
    entries = []
    for stage in plan.stages:
        entry: dict[str, Any] = {"label": stage.label, "node": stage.node, "kind": stage.kind, "steps": stage.step_names(), "state": "open",
                                 "tasks": None, "bytes": None}  # fmt: skip
        if all(label in done for label in stage.inputs):
            job = make_job(stage, plan, done)
            finished = load_done(job, store)
            ready = sum(store.stage(job.label, job.key).receipt(i) is not None for i in range(len(job.weights)))
            entry |= {"tasks": len(job.weights), "bytes": sum(job.weights), "state": "done" if finished else f"{ready}/{len(job.weights)}"}
            if finished:
                done[stage.label] = finished
                stop = stop_of(recipe, stage.node, finished)
                if stop is not None:
                    short = shortened(plan, stop, only)
                    return forecast(short.recipe, out, tuple(n for n in only if n in short.recipe.nodes))
        entries.append(entry)
    return entries


def check_nodes(recipe: Recipe, inputs: dict[str, NodeInput], exact: bool) -> dict[str, list[str]]:
    """Forecast lines of every special node whose inputs have figures."""
    lines: dict[str, list[str]] = {}
    for name, node in recipe.nodes.items():
        if isinstance(node, SpecialNode):
            wanted = {i: inputs[i] for i in node.node.inputs() if i in inputs}
            if len(wanted) == len(node.node.inputs()):
                lines[name] = node.node.forecast(wanted, exact)
    return lines


def collect_garbage(out: Path) -> tuple[int, int]:
    """Remove stages and published folders that the manifest does not name. Returns (folders removed, bytes freed)."""
    store = Store(out)
    path = store.root / "manifest.json"
    if not path.exists():
        raise RecipeError(f"{store.root} has no manifest.json, so nothing says what to keep. Finish a run there first.")
    with store.lock():
        manifest = json.loads(path.read_bytes())
        keep = {store.stage(label, entry["key"]).path for label, entry in manifest["stages"].items()}
        keep |= {store.data(name, entry["key"]) for kind in ("datasets", "models") for name, entry in manifest[kind].items()}
        removed = freed = 0
        for folder in [*(store.root / ".stages").glob("*"), *(store.root / ".data").glob("*")]:
            if folder not in keep:
                freed += sum(f.stat().st_size for f in folder.rglob("*") if f.is_file() and f.stat().st_nlink == 1)
                shutil.rmtree(folder)
                removed += 1
    return removed, freed
