"""The `steps` of a dataset: presets expanded, entries read, step classes found and their settings built."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from curate import presets, recipe_paths, registry
from curate.errors import CurateError
from curate.recipe_overrides import step_name
from curate.recipe_yaml import Item, Mark, Problems, mapping, sequence
from curate.settings import build, shown
from curate.step import Step


@dataclass
class StepDraft:
    """One entry of `steps`. step is None where it is broken."""

    name: str
    mark: Mark
    where: str  # how messages call it: "steps[3] dedup_minhash"
    given: Item  # its settings, paths resolved
    step: Step | None = None
    resolved: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Scope:
    """What everything in a recipe is read against."""

    folder: str  # absolute; where relative paths start
    names: Collection[str]  # of the recipe's nodes
    problems: Problems

    def load(self, table: str, name: str, mark: Mark) -> Any:
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
        message = f"'preset' stands alone in its entry, got {extra!r} beside it. To change one of its steps write them out, or use --set."
        problems.add(step.key_mark(extra), message)
    elif name not in known:
        near = registry.nearest(str(name), known)
        problems.add(step.mark, f"unknown preset {shown(step.value['preset'].plain())}.{near} There are: {', '.join(known) or 'none'}.")
    elif name in inside:
        problems.add(step.mark, f"the preset {name!r} contains itself: {' -> '.join((*inside, name))}.")
    else:
        return [new for inner in presets.load(name).steps for new in _preset(inner.moved(step.mark), problems, (*inside, name))]
    return []


def build_steps(dataset: Item, scope: Scope) -> list[StepDraft]:
    """Drafts of a dataset's steps, in order. Mistakes go to the problems."""
    given = dataset.value.get("steps")
    if given is None or given.value is None:
        return []
    if not given.is_list:
        scope.problems.add(given.mark, f"steps must be a list (each line starts with '- '), got {shown(given.plain())}.")
        return []
    return [_step(step, at, scope) for at, step in enumerate(given.value)]


def _step(item: Item, at: int, scope: Scope) -> StepDraft:
    name = step_name(item)
    if name is None:
        scope.problems.add(item.mark, f"steps[{at}] {_no_step(item)}")
        return StepDraft("", item.mark, f"steps[{at}]", item)
    value = item.value[name] if item.is_mapping else Item(None, item.mark)
    draft = StepDraft(name, item.mark, f"steps[{at}] {name}", mapping({}, value.mark))
    cls = scope.load("steps", name, item.mark)
    settings = _settings(cls, value, draft, scope.problems) if cls is not None else None
    if settings is None:
        return draft
    before = len(scope.problems.found)
    draft.given = recipe_paths.resolve(cls, settings, scope.folder, scope.names, draft.where, scope.problems)
    step = build(cls, draft.given, draft.where, scope.problems)
    if step is not None and len(scope.problems.found) == before:
        draft.step = step
        draft.resolved = recipe_paths.as_given(step, settings)
        if not step.checkpoint:
            draft.resolved.pop("checkpoint", None)
    return draft


def _no_step(item: Item) -> str:
    listed = list(item.value) if item.is_mapping else []
    if len(listed) > 1 and listed[0] in registry.names("steps"):
        hint = f"Settings of {listed[0]!r} stand deeper than its name, a further step behind a '- ' of its own."
        return f"has the keys {', '.join(map(repr, listed))} side by side. {hint}"
    return f"must be the name of a step, or one name with its settings; got {shown(item.plain())}."


def _settings(cls: type[Step], value: Item, draft: StepDraft, problems: Problems) -> Item | None:
    """The settings of a step as a mapping: a bare name has none, a scalar or a list is the shorthand."""
    if value.value is None:
        return mapping({}, value.mark)
    if value.is_mapping:
        return value
    if cls.shorthand is not None:
        return mapping({cls.shorthand: value}, value.mark, {cls.shorthand: value.mark})
    got = shown(value.plain())
    problems.add(value.mark, f"{draft.where} takes its settings by name, got {got}. `curate steps {draft.name}` lists them.")
    return None
