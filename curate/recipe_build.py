"""From a tree of values to typed nodes: presets expanded, steps, readers and node kinds built, mistakes collected.

Every node becomes a Draft, also a broken one, so that the graph can be checked as far as it is known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from curate import presets, recipe_paths, registry
from curate.errors import CurateError
from curate.io.reader import Reader
from curate.node import Node
from curate.plugins import NAME
from curate.recipe import DatasetNode, SpecialNode, Write
from curate.recipe_overrides import step_name
from curate.recipe_yaml import Item, Mark, Problems, mapping, sequence
from curate.settings import build, fields, shown
from curate.step import Step

DATASET_KEYS = ("read", "from", "steps", "write", "keep_dropped", "max_quarantine")
RECIPE_KEYS = ("name", "seed", "datasets", "models")
KEEP_DROPPED = ("sample", "all", "none")
WRITE_FORMATS = ("parquet", "jsonl")
MAX_SEED = 2**63 - 1


@dataclass
class StepDraft:
    """One entry of `steps`. step is None where it is broken."""

    name: str
    mark: Mark
    given: Item  # its settings, paths resolved
    step: Step | None = None
    checkpoint: bool = False
    resolved: dict[str, Any] = field(default_factory=dict)

    where: str = ""


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


def expand_presets(tree: Item, problems: Problems) -> Item:
    """Replace every `- preset: NAME` by the steps of that preset, at the line where it stands."""
    if not tree.is_mapping:
        return tree
    tree = _expanded(tree, problems)
    datasets = tree.value.get("datasets")
    if datasets is not None and datasets.is_mapping:
        for name, item in datasets.value.items():
            if item.is_mapping:
                datasets = datasets.with_entry(name, _expanded(item, problems))
        tree = tree.with_entry("datasets", datasets)
    return tree


def _expanded(node: Item, problems: Problems) -> Item:
    steps = node.value.get("steps")
    if steps is None or not steps.is_list or not any(step.is_mapping and "preset" in step.value for step in steps.value):
        return node
    return node.with_entry("steps", sequence([new for step in steps.value for new in _preset(step, problems, ())], steps.mark))


def _preset(step: Item, problems: Problems, inside: tuple[str, ...]) -> list[Item]:
    """The steps that an entry stands for: itself, or those of the preset it names."""
    if not step.is_mapping or "preset" not in step.value:
        return [step]
    name = step.value["preset"].value
    known = presets.names()
    if len(step.value) > 1:
        extra = next(key for key in step.value if key != "preset")
        problems.add(step.key_mark(extra), f"'preset' stands alone in its entry, got {extra!r} beside it. To change one of its steps write them out, or use --set.")
    elif name not in known:
        near = registry.nearest(str(name), known)
        problems.add(step.mark, f"unknown preset {shown(step.value['preset'].plain())}.{near} There are: {', '.join(known) or 'none'}.")
    elif name in inside:
        problems.add(step.mark, f"the preset {name!r} contains itself: {' -> '.join((*inside, name))}.")
    else:
        return [new for inner in presets.load(name).steps for new in _preset(inner.moved(step.mark), problems, (*inside, name))]
    return []


class Builder:
    """Builds the nodes of one recipe."""

    def __init__(self, tree: Item, default_name: str, folder: str, problems: Problems) -> None:
        self.tree, self.default_name, self.folder, self.problems = tree, default_name, folder, problems
        self.names: set[str] = set()

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
            self.problems.add(tree.key_mark("datasets"), "'read' at the top makes the recipe one dataset; 'datasets' can't stand beside it. Move 'read' and its steps into 'datasets'.")
            return built
        entries = self._entries(built.name, single)
        self.names = {name for name, *_ in entries}
        for name, item, mark, make in entries:
            if name in built.drafts:
                self.problems.add(mark, f"the name {name!r} is taken already, in line {built.drafts[name].mark.line}; datasets and models share their names.")
            else:
                built.drafts[name] = make(name, item, mark)
        if not entries and not self.problems.found:
            self.problems.add(tree.mark, "has no dataset. Write 'read:' and 'steps:', or 'datasets:' with named ones; `curate init` writes a starter recipe.")
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
        good = isinstance(name, str) and NAME.fullmatch(name) is not None
        if not good:
            self.problems.add(mark, f"{what} must be letters, digits, '_', '-' and '.', and start with a letter, a digit or '_'; got {shown(name)}.")
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
        sources = [key for key in ("read", "from") if key in item.value]
        if len(sources) != 1:
            others = [key for key in registry.names("nodes") if not key.startswith("train:")]
            what = "has both 'read' and 'from'; a dataset has one source" if sources else f"has no source; it needs 'read', 'from' or one of: {', '.join(others)}"
            near = "" if sources else next((n for key in item.value if key not in DATASET_KEYS and (n := registry.nearest(key, ["read", "from", *others]))), "")
            self.problems.add(mark, f"the dataset {name!r} {what}.{near}")
        self._unknown_keys(item, DATASET_KEYS, f"the dataset {name!r}")
        if "from" in item.value:
            draft.upstream = self._upstream(item.value["from"])
            draft.resolved["from"] = draft.upstream
        if "read" in item.value:
            draft.reader = self._reader(item.value["read"], draft)
        draft.steps = self._steps(item)
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
                frozenset(at for at, step in enumerate(draft.steps) if step.checkpoint),
            )
        return draft

    def _upstream(self, item: Item) -> str | None:
        value = item.value[0].value if item.is_list and len(item.value) == 1 else item.value
        if not isinstance(value, str):
            self.problems.add(item.mark, f"from must be the name of one dataset, got {shown(item.plain())}.")
            return None
        return value

    def _reader(self, item: Item, draft: Draft) -> Reader | None:
        if not item.is_mapping:
            self.problems.add(item.mark, f"read must be a mapping such as {{jsonl: \"data/*.jsonl.zst\"}}, got {shown(item.plain())}.")
            return None
        name = self._reader_name(item)
        cls = self._load("readers", name, item.key_mark(name)) if name else None
        if name is None or cls is None:
            return None
        info = fields(cls).get("paths")
        takes_paths = info is not None and info.is_required()
        settings = item.without(name)
        value = item.value[name]
        if takes_paths and value.value is None:
            self.problems.add(value.mark, f"read {name} must be a path or a list of paths, got null.")
            return None
        if takes_paths:
            paths = sequence([value], value.mark) if isinstance(value.value, str) else value
            if not paths.is_list or not paths.value or not all(isinstance(path.value, str) for path in paths.value):
                self.problems.add(value.mark, f"read {name} must be a path or a list of paths, got {shown(value.plain())}.")
                return None
            settings = mapping({"paths": paths, **settings.value}, item.mark, {**settings.keys, "paths": value.mark})
        elif value.is_mapping:
            settings = mapping({**value.value, **settings.value}, value.mark, {**value.keys, **settings.keys})
        elif value.value is not None:
            self.problems.add(value.mark, f"read {name} takes its settings by name, got {shown(value.plain())}.")
            return None
        reader = build(cls, settings, f"read {name}", self.problems)
        if reader is not None:
            dumped = _dump(reader)
            paths_as_given = dumped.pop("paths", None)
            rest = {key: entry for key, entry in dumped.items() if key != name}
            draft.resolved["read"] = {name: paths_as_given, **rest} if takes_paths else {name: rest}
        return reader

    def _reader_name(self, item: Item) -> str | None:
        """The key of `read` that names the reader. `text` is one too, unless another one is there."""
        known = registry.names("readers")
        found = [key for key in item.value if key in known]
        own = [key for key in found if key not in Reader.model_fields]
        found = own or found
        strangers = [key for key in item.value if key not in known and key not in Reader.model_fields and registry.nearest(key, known)]
        if len(found) == 1 and (own or not strangers):
            return found[0]
        if len(found) > 1:
            self.problems.add(item.key_mark(found[1]), f"read names two readers, {found[0]!r} and {found[1]!r}. Make one dataset of each.")
        else:
            wrong = next(iter([*strangers, *item.value]), "")
            self.problems.add(item.key_mark(wrong), f"unknown reader {wrong!r}.{registry.nearest(wrong, known)} There are: {', '.join(known)}.")
        return None

    def _write(self, item: Item) -> Write:
        given = item.value.get("write")
        if given is None or given.value is None:
            return Write()
        form = given.value.get("format") if given.is_mapping else given
        if form is None:
            return Write("parquet", given.without("format").plain())
        known = [*WRITE_FORMATS, *(registry.names("writers") if "writers" in registry.TABLES else [])]
        if form.value not in known:
            near = registry.nearest(str(form.value), known)
            self.problems.add(form.mark, f"write.format must be one of {', '.join(dict.fromkeys(known))}, got {shown(form.plain())}.{near}")
        return Write(str(form.value), given.without("format").plain() if given.is_mapping else {})

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

    # Steps

    def _steps(self, item: Item) -> list[StepDraft]:
        given = item.value.get("steps")
        if given is None or given.value is None:
            return []
        if not given.is_list:
            self.problems.add(given.mark, f"steps must be a list (each line starts with '- '), got {shown(given.plain())}.")
            return []
        return [draft for at, step in enumerate(given.value) if (draft := self._step(step, at)) is not None]

    def _step(self, item: Item, at: int) -> StepDraft | None:
        name = step_name(item)
        if name is None:
            listed = list(item.value) if item.is_mapping else []
            if len(listed) > 1 and listed[0] in registry.names("steps"):
                message = f"has the keys {', '.join(map(repr, listed))} side by side. Settings of {listed[0]!r} stand deeper than its name, a further step on its own '- '."
            else:
                message = f"must be the name of a step, or one name with its settings; got {shown(item.plain())}."
            self.problems.add(item.mark, f"steps[{at}] {message}")
            return None
        cls = self._load("steps", name, item.mark)
        value = item.value[name] if item.is_mapping else Item(None, item.mark)
        draft = StepDraft(name, item.mark, mapping({}, value.mark), where=f"steps[{at}] {name}")
        if cls is None:
            return draft
        before = len(self.problems.found)
        settings = self._settings(cls, value, draft)
        if settings is not None:
            draft.given = recipe_paths.resolve(cls, settings, self.folder, self.names, draft.where, self.problems)
            step = build(cls, draft.given, draft.where, self.problems)
            if step is not None and len(self.problems.found) == before:
                draft.step = step
                draft.resolved = _as_given(step, settings) | ({"checkpoint": True} if draft.checkpoint else {})
        return draft

    def _settings(self, cls: type[Step], value: Item, draft: StepDraft) -> Item | None:
        """The settings of a step as a mapping: a bare name has none, a scalar or a list is the shorthand."""
        if value.value is None:
            return mapping({}, value.mark)
        if not value.is_mapping:
            if cls.shorthand is not None:
                return mapping({cls.shorthand: value}, value.mark, {cls.shorthand: value.mark})
            self.problems.add(value.mark, f"{draft.where} takes its settings by name, got {shown(value.plain())}. `curate steps {draft.name}` lists them.")
            return None
        cut = value.value.get("checkpoint")
        if cut is None or "checkpoint" in fields(cls):
            return value
        if not isinstance(cut.value, bool):
            self.problems.add(cut.mark, f"{draft.where}.checkpoint must be true or false, got {shown(cut.plain())}.")
        draft.checkpoint = cut.value is True
        return value.without("checkpoint")

    # Other nodes

    def _model(self, name: str, item: Item, mark: Mark) -> Draft:
        draft = Draft(name, mark, item, is_model=True)
        train = item.value.get("train") if item.is_mapping else None
        if train is None or not isinstance(train.value, str):
            got = shown(train.plain() if train is not None else item.plain())
            self.problems.add(train.mark if train else mark, f"the model {name!r} must be a mapping with 'train', the kind of training; got {got}.")
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
        cls = self._load("nodes", kind, draft.mark)
        if cls is None:
            return draft
        where = f"{draft.name} ({kind.replace(':', ' ')})"
        item = mapping({}, item.mark) if item.value is None else item
        if not item.is_mapping:
            self.problems.add(item.mark, f"{where} must be a mapping, got {shown(item.plain())}.")
            return draft
        given = recipe_paths.resolve(cls, item, self.folder, self.names, where, self.problems)
        node: Node | None = build(cls, given, where, self.problems)
        if node is not None and len(self.problems.found) == before:
            draft.node = SpecialNode(draft.name, draft.mark.line, kind, node)
            settings = _as_given(node, item)
            draft.resolved = {"train": kind.removeprefix("train:"), **settings} if draft.is_model else {kind: settings}
        return draft

    def _load(self, table: str, name: str, mark: Mark) -> Any:
        """The class of a registered name; None and a problem where there is none or it can't be imported."""
        what, known = table[:-1], registry.names(table)
        if name not in known:
            near = registry.nearest(name, known)
            more = f" `curate steps` lists all {len(known)}." if table == "steps" else f" There are: {', '.join(known)}."
            self.problems.add(mark, f"unknown {what} {name!r}.{near}{more}")
            return None
        try:
            return registry.load(table, name)
        except CurateError as error:
            self.problems.add(mark, str(error))
        except (ImportError, AttributeError) as error:
            self.problems.add(mark, f"{what} {name!r} can't be loaded: {error}.")
        return None


def _dump(model: BaseModel) -> dict[str, Any]:
    """Plain JSON of settings, with sets in order."""
    dumped = model.model_dump(mode="json", by_alias=True)
    for key, name in ((info.alias or name, name) for name, info in type(model).model_fields.items()):
        if isinstance(getattr(model, name), (set, frozenset)):
            dumped[key] = sorted(dumped[key])
    return dumped


def _as_given(model: BaseModel, given: Item) -> dict[str, Any]:
    """Every setting of a step or node, paths as the recipe gives them: a lock must not hold absolute ones."""
    dumped = _dump(model)
    for key in recipe_paths.path_fields(type(model)):
        if key in given.value:
            dumped[key] = given.value[key].plain()
    return dumped
