"""From a recipe to a static graph of stages, before a byte of text is read.

A dataset becomes a chain of stages, cut where a step needs the whole corpus (or says `checkpoint: true`):

    documents   read, fused map and filter steps, write a shard; the first phase of a corpus step rides along
    records     a partition of what a phase sent (hashes, rows, ids: never text) through the next phase
    documents   ... the verdicts travel back; the next stage applies them and goes on
    documents   the last one writes the dataset's parts

A corpus step that follows another one directly reads the same shards with the earlier verdicts applied on the fly: text
is written once per run of steps that change it, not once per step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from curate.errors import RecipeError
from curate.recipe_nodes import DatasetNode, Recipe, SpecialNode
from curate.step import CorpusStep, Phase, Step


@dataclass(frozen=True)
class Delivery:
    """Verdicts that wait to be applied: the stage of a corpus step's last phase."""

    label: str
    step: CorpusStep


@dataclass(frozen=True)
class Stage:
    """A node of the static graph. What it becomes (key, tasks) is known when its inputs are done: `curate.jobs`."""

    label: str  # unique, readable: "web.1", "web.dedup_minhash.candidates"
    node: str  # the recipe's node it belongs to
    kind: str  # documents | records | node
    inputs: tuple[str, ...]  # labels of the stages it reads
    steps: tuple[Step, ...] = ()
    base: str | None = None  # documents: label of the stage whose documents it reads; None: the reader
    deliveries: tuple[Delivery, ...] = ()
    emit: tuple[CorpusStep, Phase] | None = None
    sides: tuple[tuple[str, str], ...] = ()  # (phase name, label) that an emitting phase reads
    sink: str | None = None  # shards | dataset
    phase: tuple[CorpusStep, Phase] | None = None  # records
    models: tuple[tuple[str, str], ...] = ()  # (name, label of the model's stage)

    def step_names(self) -> list[str]:
        """What it does, for people."""
        names = [s.name for s in self.steps]
        if self.emit:
            note = self.emit[1].note
            names.append(f"{self.emit[0].name}.{self.emit[1].name}" + (f" ({note})" if note else ""))
        if self.phase:
            names.append(f"{self.phase[0].name}.{self.phase[1].name}")
        return names


@dataclass(frozen=True)
class Plan:
    """All stages of a recipe, each after its inputs, and the stage that finishes each node."""

    recipe: Recipe
    stages: tuple[Stage, ...]
    final: dict[str, str]  # node -> label

    def stage(self, label: str) -> Stage:
        """The stage of that label."""
        return next(s for s in self.stages if s.label == label)

    def of_node(self, node: str) -> list[Stage]:
        """Stages of a node, in order."""
        return [s for s in self.stages if s.node == node]


def make_plan(recipe: Recipe, only: tuple[str, ...] = ()) -> Plan:
    """Lay out the stages of a recipe, or of the named nodes and what they need."""
    order = _order(recipe, only)
    stages: list[Stage] = []
    final: dict[str, str] = {}
    documents: dict[str, str] = {}  # node -> the stage that others read its documents from
    for name in order:
        node = recipe.nodes[name]
        made = _dataset_stages(node, recipe, final, documents) if isinstance(node, DatasetNode) else [_node_stage(node, final)]
        stages.extend(made)
        final[name] = made[-1].label
        documents[name] = made[-2].label if _foreign_form(node) and len(made) > 1 else made[-1].label
    return Plan(recipe, tuple(stages), final)


def needs(node: DatasetNode | SpecialNode, recipe: Recipe) -> list[str]:
    """Names of the nodes that a node reads."""
    if isinstance(node, SpecialNode):
        return list(node.node.inputs())
    found = [node.upstream] if node.upstream else []
    return [*found, *(m for step in node.steps for m in step.models() if m in recipe.nodes)]


def _order(recipe: Recipe, only: tuple[str, ...]) -> list[str]:
    """Nodes after what they read (the loader has refused cycles)."""
    unknown = [n for n in only if n not in recipe.nodes]
    if unknown:
        raise RecipeError(f"--only names {unknown[0]!r}, which the recipe does not have. It has: {', '.join(recipe.nodes)}.")
    done: list[str] = []

    def visit(name: str) -> None:
        if name in done:
            return
        ledger = recipe.rounds.awaited(name) if recipe.rounds is not None else None
        for needed in (*((ledger,) if ledger is not None else ()), *needs(recipe.nodes[name], recipe)):
            visit(needed)
        done.append(name)

    for name in only or tuple(recipe.nodes):
        visit(name)
    return done


def _foreign_form(node: DatasetNode | SpecialNode) -> bool:
    """True where a dataset's parts are in a form that is for others: its own readers take the shards it is written from."""
    return isinstance(node, DatasetNode) and node.write.format != "parquet"


def _node_stage(node: SpecialNode, final: dict[str, str]) -> Stage:
    return Stage(node.name, node.name, "node", tuple(final[i] for i in node.node.inputs()))


@dataclass
class _Chain:
    """A dataset's stages while they are laid out."""

    node: DatasetNode
    recipe: Recipe
    final: dict[str, str]
    base: str | None
    own_base: bool = False  # base is a shard stage of this dataset, not a reader or another dataset
    pending: list[Step] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)

    def documents(self, label: str, **what: Any) -> Stage:
        """Add a stage over the documents as they stand now."""
        steps = what.pop("steps", ())
        models = tuple((m, self.final[m]) for s in steps for m in s.models() if m in self.recipe.nodes)
        sides = what.get("sides", ())
        inputs = [self.base] if self.base else []
        inputs += [d.label for d in self.deliveries] + [label for _, label in sides] + [label for _, label in models]
        stage = Stage(label, self.node.name, "documents", tuple(dict.fromkeys(inputs)), tuple(steps), self.base,
                      tuple(self.deliveries), models=models, **what)  # fmt: skip
        self.stages.append(stage)
        return stage

    def cut(self, emit: tuple[CorpusStep, Phase] | None = None) -> None:
        """Write what is pending to shards, with the first phase of a corpus step riding along."""
        number = sum(s.sink is not None for s in self.stages) + 1
        stage = self.documents(f"{self.node.name}.{number}", steps=tuple(self.pending), emit=emit, sink="shards")
        self.base, self.own_base = stage.label, True
        self.pending, self.deliveries = [], []

    def corpus(self, step: CorpusStep, label: str) -> None:
        """Expand a corpus step into its phases."""
        phases = step.phases()
        models = tuple((m, self.final[m]) for m in step.models() if m in self.recipe.nodes)
        sent: dict[str, str] = {}
        last = ""
        for at, phase in enumerate(phases):
            if at == 0 and (self.pending or not self.own_base):
                self.cut(emit=(step, phase))
                assert self.base is not None
                last = self.base
            elif phase.over == "documents":
                sides = tuple((name, sent[name]) for name in phase.reads)
                last = self.documents(f"{label}.{phase.name}", emit=(step, phase), sides=sides).label
            else:
                inputs = (last, *(made for _, made in models))
                stage = Stage(f"{label}.{phase.name}", self.node.name, "records", inputs, phase=(step, phase), models=models)
                self.stages.append(stage)
                last = stage.label
            sent[phase.name] = last
        self.deliveries.append(Delivery(sent[step.decides()], step))


def _dataset_stages(node: DatasetNode, recipe: Recipe, final: dict[str, str], documents: dict[str, str]) -> list[Stage]:
    chain = _Chain(node, recipe, final, documents[node.upstream] if node.upstream else None)
    names: list[str] = []
    for step in node.steps:
        names.append(step.name)
        if isinstance(step, CorpusStep) and step.phases():
            again = names.count(step.name)
            chain.corpus(step, f"{node.name}.{step.name}" + (f".{again}" if again > 1 else ""))
        else:
            chain.pending.append(step)
            if step.checkpoint:
                chain.cut()
    if _foreign_form(node) and any(isinstance(n, DatasetNode) and n.upstream == node.name for n in recipe.nodes.values()):
        chain.cut()
    chain.documents(f"{node.name}.out", steps=tuple(chain.pending), sink="dataset")
    return chain.stages
