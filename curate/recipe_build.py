"""From a tree of values to typed nodes: datasets with their reader and steps, mixes, models; mistakes collected.

Every node becomes a Draft, also a broken one, so that the graph can be checked as far as it is known.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from curate import recipe_paths, registry
from curate.io.reader import Reader
from curate.node import Node
from curate.plugins import NAME
from curate.recipe_nodes import DatasetNode, SpecialNode, Write
from curate.recipe_overrides import step_name
from curate.recipe_steps import Scope, StepDraft, build_steps
from curate.recipe_write import wrong_settings
from curate.recipe_yaml import Item, Mark, Problems, as_item, mapping, sequence
from curate.settings import build, dump, fields, shown

DATASET_KEYS = ("read", "from", "steps", "write", "keep_dropped", "max_quarantine")
RECIPE_KEYS = ("name", "seed", "datasets", "models")
KEEP_DROPPED = ("sample", "all", "none")
MAX_SEED = 2**63 - 1
UNROLLED = re.compile(r"[^@]+@[1-9][0-9]*(?:\.[a-z_]+)?")  # a node of `rounds`: pool@2, pool@2.random


@dataclass
class Draft:
    """A node as far as it could be understood."""

    name: str
    mark: Mark
    item: Item
    node: DatasetNode | SpecialNode | None = None
    reader: Reader | None = None
    upstream: str | None = None
    steps: list[StepDraft] = field(default_factory=list)
    resolved: dict[str, Any] = field(default_factory=dict)
    is_model: bool = False


@dataclass
class Built:
    """All drafts of a recipe, in file order."""

    name: str
    seed: int
    drafts: dict[str, Draft]

    def resolved(self) -> dict[str, Any]:
        """Plain JSON of the recipe with every default filled in."""
        out: dict[str, Any] = {"name": self.name, "seed": self.seed}
        for section, models in (("datasets", False), ("models", True)):
            nodes = {draft.name: draft.resolved for draft in self.drafts.values() if draft.is_model is models}
            if nodes:
                out[section] = nodes
        return out


class Builder:
    """Builds the nodes of one recipe."""

    def __init__(self, tree: Item, default_name: str, folder: str, problems: Problems) -> None:
        self.tree, self.default_name, self.problems = tree, default_name, problems
        self.scope = Scope(folder, (), problems)

    def build(self) -> Built:
        """Drafts of all nodes. Mistakes go to the problems."""
        tree = self.tree
        built = Built(self.default_name, 0, {})
        if not tree.is_mapping:
            self.problems.add(tree.mark, f"a recipe is a mapping with 'datasets:' (or 'read:' and 'steps:'), got {shown(tree.plain())}.")
            return built
        single = "read" in tree.value or ("steps" in tree.value and "datasets" not in tree.value)
        self._unknown_keys(tree, (*RECIPE_KEYS, *DATASET_KEYS) if single else RECIPE_KEYS, "a recipe")
        built.name, built.seed = self._name(), self._seed()
        if single and "datasets" in tree.value:
            message = "'read' at the top makes the recipe one dataset; 'datasets' can't stand beside it. Move 'read' and 'steps' into it."
            self.problems.add(tree.key_mark("datasets"), message)
            return built
        entries = self._entries(built.name, single)
        self.scope = replace(self.scope, names={name for name, *_ in entries})
        for name, item, mark, make in entries:
            if name in built.drafts:
                first = built.drafts[name].mark.line
                self.problems.add(mark, f"the name {name!r} is taken already, in line {first}; datasets and models share their names.")
            else:
                built.drafts[name] = make(name, item, mark)
        if not entries and not self.problems.found:
            self.problems.add(tree.mark, "has no dataset: no 'read:', no 'datasets:'. `curate init` writes a starter recipe.")
        return built

    def _name(self) -> str:
        item = self.tree.value.get("name")
        if item is None:
            return self.default_name
        self._check_name(item.value, item.mark, "name")
        return str(item.value)

    def _seed(self) -> int:
        item = self.tree.value.get("seed")
        if item is None:
            return 0
        if isinstance(item.value, bool) or not isinstance(item.value, int) or not 0 <= item.value <= MAX_SEED:
            self.problems.add(item.mark, f"seed must be an integer in 0..2^63-1, got {shown(item.plain())}.")
            return 0
        return item.value

    def _entries(self, name: str, single: bool) -> list[tuple[str, Item, Mark, Callable[[str, Item, Mark], Draft]]]:
        """Name, item, place and maker of every node, in file order."""
        makers = {"datasets": self._dataset, "models": self._model}
        found: list[tuple[str, Item, Mark, Callable[[str, Item, Mark], Draft]]] = []
        if single:
            own = self.tree.without(*(key for key in self.tree.value if key not in DATASET_KEYS))
            found.append((name, own, self.tree.key_mark("read"), self._dataset))
        for section, make in makers.items():
            nodes = self.tree.value.get(section)
            if nodes is None or nodes.value is None:
                continue
            if not nodes.is_mapping:
                self.problems.add(nodes.mark, f"{section} must be a mapping of names to nodes, got {shown(nodes.plain())}.")
                continue
            for key, item in nodes.value.items():
                mark = nodes.key_mark(key)
                if self._check_name(key, mark, f"a name in {section}"):
                    found.append((key, item, mark, make))
        order = list(self.tree.value)
        if not single and "datasets" in order and "models" in order and order.index("models") < order.index("datasets"):
            found.sort(key=lambda entry: entry[3] == self._dataset)
        return found

    def _check_name(self, name: Any, mark: Mark, what: str) -> bool:
        unrolled = what != "name" and isinstance(name, str) and UNROLLED.fullmatch(name)
        good = isinstance(name, str) and NAME.fullmatch(name.replace("@", "-", 1) if unrolled else name) is not None
        if not good:
            rule = "letters, digits, '_', '-' and '.', and start with a letter, a digit or '_'"
            self.problems.add(mark, f"{what} must be {rule}; got {shown(name)}.")
        return good

    def _unknown_keys(self, item: Item, known: tuple[str, ...], what: str) -> bool:
        for key in item.value:
            if key not in known:
                near = registry.nearest(key, list(known)) or f" It has: {', '.join(known)}."
                self.problems.add(item.key_mark(key), f"{what} has no key {key!r}.{near}")
        return all(key in known for key in item.value)

    # Datasets

    def _dataset(self, name: str, item: Item, mark: Mark) -> Draft:
        draft = Draft(name, mark, item)
        if not item.is_mapping:
            self.problems.add(mark, f"the dataset {name!r} must be a mapping with 'read' or 'from', got {shown(item.plain())}.")
            return draft
        kinds = [key for key in item.value if key in registry.names("nodes") and not key.startswith("train:")]
        if kinds and not {"read", "from"} & set(item.value):
            return self._special(draft, kinds[0], item.value[kinds[0]], item.without(kinds[0]))
        before = len(self.problems.found)
        known = self._one_source(draft)
        self._unknown_keys(item, known, f"the dataset {name!r}")
        if "from" in item.value:
            draft.upstream = self._upstream(item.value["from"])
            draft.resolved["from"] = draft.upstream
        if "read" in item.value:
            draft.reader = self._reader(item.value["read"], draft)
        draft.steps = build_steps(self._with_writers_step(item), self.scope)
        write, keep, share = self._write(item), self._keep_dropped(item), self._max_quarantine(item)
        draft.resolved |= {
            "steps": [{step.name: step.resolved} for step in draft.steps],
            "write": {"format": write.format, **write.settings},
            "keep_dropped": keep,
            "max_quarantine": share,
        }
        if len(self.problems.found) == before:
            draft.node = DatasetNode(
                name,
                mark.line,
                draft.reader,
                draft.upstream,
                tuple(step.step for step in draft.steps if step.step is not None),
                tuple(step.mark.line for step in draft.steps),
                write,
                keep,
                share,
            )
        return draft

    def _one_source(self, draft: Draft) -> tuple[str, ...]:
        """Report a dataset without a source, or with two. Returns the keys that need no further word."""
        found = [key for key in ("read", "from") if key in draft.item.value]
        if len(found) == 1:
            return DATASET_KEYS
        if found:
            self.problems.add(draft.mark, f"the dataset {draft.name!r} has both 'read' and 'from'; a dataset has one source.")
            return DATASET_KEYS
        sources = ["read", "from", *(key for key in registry.names("nodes") if not key.startswith("train:"))]
        meant = {key: near for key in draft.item.value if key not in DATASET_KEYS and (near := registry.nearest(key, sources))}
        hint = next(iter(meant.values()), "")
        self.problems.add(draft.mark, f"the dataset {draft.name!r} has no source; it needs one of: {', '.join(sources)}.{hint}")
        return (*DATASET_KEYS, *meant)

    def _upstream(self, item: Item) -> str | None:
        value = item.value[0].value if item.is_list and len(item.value) == 1 else item.value
        if not isinstance(value, str):
            self.problems.add(item.mark, f"from must be the name of one dataset, got {shown(item.plain())}.")
            return None
        return value

    def _reader(self, item: Item, draft: Draft) -> Reader | None:
        if not item.is_mapping:
            self.problems.add(item.mark, f'read must be a mapping such as {{jsonl: "data/*.jsonl.zst"}}, got {shown(item.plain())}.')
            return None
        name = self._reader_name(item)
        cls = self.scope.load("readers", _of_rows(name, item), item.key_mark(name)) if name else None
        if name is None or cls is None:
            return None
        settings = self._reader_settings(item, name, needs_paths(cls))
        reader = build(cls, settings, f"read {name}", self.problems) if settings is not None else None
        if reader is not None:
            dumped = dump(reader)
            rest = {key: entry for key, entry in dumped.items() if key not in ("paths", name)}
            draft.resolved["read"] = {name: dumped["paths"], **rest} if needs_paths(cls) else {name: dumped}
        return reader

    def _reader_settings(self, item: Item, name: str, paths_needed: bool) -> Item | None:
        """Settings of a reader as one mapping: what stands behind its name (paths; or settings, where it needs none) and beside it."""
        value, beside = item.value[name], item.without(name)
        paths = sequence([value], value.mark) if isinstance(value.value, str) else value
        if paths.is_list and paths.value and all(isinstance(path.value, str) for path in paths.value):
            return mapping({"paths": paths, **beside.value}, item.mark, {**beside.keys, "paths": value.mark})
        if paths_needed or not (value.is_mapping or value.value is None):
            what = "a path or a list of paths" if paths_needed else "a list of names or a mapping of settings"
            self.problems.add(value.mark, f"read {name} must be {what}, got {shown(value.plain())}.")
            return None
        return mapping({**(value.value or {}), **beside.value}, value.mark, {**value.keys, **beside.keys})

    def _reader_name(self, item: Item) -> str | None:
        """The key of `read` that names the reader. `text` is one too, unless another one is there."""
        known = registry.names("readers")
        found = [key for key in item.value if key in known]
        own = [key for key in found if key not in Reader.model_fields]
        found = own or found
        strangers = [key for key in item.value if key not in known and key not in Reader.model_fields and registry.nearest(key, known)]
        if len(found) == 1 and (own or not strangers):
            return str(found[0])
        if len(found) > 1:
            self.problems.add(item.key_mark(found[1]), f"read names two readers, {found[0]!r} and {found[1]!r}. Make one dataset of each.")
        else:
            wrong = next(iter([*strangers, *item.value]), "")
            near = registry.nearest(wrong, known)
            self.problems.add(item.key_mark(wrong), f"unknown reader {wrong!r}.{near} There are: {', '.join(known)}.")
        return None

    def _write(self, item: Item) -> Write:
        given = item.value.get("write")
        if given is None or given.value is None:
            return Write()
        form = given.value.get("format") if given.is_mapping else given
        settings = given.without("format").plain() if given.is_mapping else {}
        known, name = registry.names("writers"), "parquet" if form is None else str(form.value)
        if form is not None and form.value not in known:
            near = registry.nearest(name, known)
            self.problems.add(form.mark, f"write.format must be one of {', '.join(known)}, got {shown(form.plain())}.{near}")
        elif settings and (writer := self.scope.load("writers", name, given.mark)) is not None:
            for key, sentence in wrong_settings(name, writer, settings):
                self.problems.add(given.key_mark(key), sentence)
        return Write(name, settings)

    def _with_writers_step(self, item: Item) -> Item:
        """The dataset with the step that its writer needs as the last one: a form that can't hold every row says so in the ledger."""
        given = item.value.get("write")
        form = given.value.get("format") if given is not None and given.is_mapping else given
        if form is None or form.value not in registry.names("writers"):
            return item
        step = getattr(self.scope.load("writers", form.value, form.mark), "step", None)
        if step is None:
            return item
        name, settings = step(given.without("format").plain() if given.is_mapping else {})
        steps = item.value.get("steps")
        before = list(steps.value) if steps is not None and steps.is_list else []
        if before and step_name(before[-1]) == name:
            return item
        return item.with_entry(
            "steps", sequence([*before, as_item({name: settings}, form.mark)], steps.mark if steps is not None else form.mark)
        )

    def _keep_dropped(self, item: Item) -> Any:
        given = item.value.get("keep_dropped")
        if given is None or given.value in KEEP_DROPPED:
            return given.value if given is not None else "sample"
        self.problems.add(given.mark, f"keep_dropped must be one of {', '.join(KEEP_DROPPED)}, got {shown(given.plain())}.")
        return "sample"

    def _max_quarantine(self, item: Item) -> float:
        given = item.value.get("max_quarantine")
        if given is None:
            return 0.001
        if isinstance(given.value, bool) or not isinstance(given.value, (int, float)) or not 0 <= given.value <= 1:
            self.problems.add(given.mark, f"max_quarantine must be a number in 0..1 (share of rows), got {shown(given.plain())}.")
            return 0.001
        return float(given.value)

    # Other nodes

    def _model(self, name: str, item: Item, mark: Mark) -> Draft:
        draft = Draft(name, mark, item, is_model=True)
        train = item.value.get("train") if item.is_mapping else None
        if train is None or not isinstance(train.value, str):
            got = shown(train.plain() if train is not None else item.plain())
            message = f"the model {name!r} must be a mapping with 'train', the kind of training; got {got}."
            self.problems.add(train.mark if train else mark, message)
            return draft
        known = [kind.removeprefix("train:") for kind in registry.names("nodes") if kind.startswith("train:")]
        if train.value not in known:
            near = registry.nearest(train.value, known)
            self.problems.add(train.mark, f"unknown kind of training {train.value!r}.{near} There are: {', '.join(known)}.")
            return draft
        return self._special(draft, f"train:{train.value}", item.without("train"), None)

    def _special(self, draft: Draft, kind: str, item: Item, beside: Item | None) -> Draft:
        """A node of another kind. beside: keys that stand beside the kind's own; none may."""
        before = len(self.problems.found)
        if beside is not None:
            self._unknown_keys(beside, (), f"the dataset {draft.name!r}, a {kind},") if beside.value else None
        cls = self.scope.load("nodes", kind, draft.mark)
        if cls is None:
            return draft
        where = f"{draft.name} ({kind.replace(':', ' ')})"
        item = mapping({}, item.mark) if item.value is None else item
        if not item.is_mapping:
            self.problems.add(item.mark, f"{where} must be a mapping, got {shown(item.plain())}.")
            return draft
        given = recipe_paths.resolve(cls, item, self.scope.folder, self.scope.names, where, self.problems)
        node: Node | None = build(cls, given, where, self.problems)
        if node is not None and len(self.problems.found) == before:
            draft.node = SpecialNode(draft.name, draft.mark.line, kind, node)
            settings = recipe_paths.as_given(node, item)
            draft.resolved = {"train": kind.removeprefix("train:"), **settings} if draft.is_model else {kind: settings}
        return draft


def _of_rows(name: str, read: Item) -> str:
    """The reader behind a name: with a `format` beside it, the one that reads rows of that format as records."""
    records = f"{name}_records"
    return records if "format" in read.value and records in registry.names("readers") else name


def needs_paths(cls: type[Reader]) -> bool:
    """Whether a reader reads files that the recipe names, as all do but those that find their text themselves."""
    return fields(cls)["paths"].is_required()
