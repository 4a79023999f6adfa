"""Checks over the whole graph of a recipe: names, cycles, columns, files. Reads listings of folders, never data.

Broken nodes are skipped, and so is what depends on them: one mistake is reported once.
"""

from __future__ import annotations

from collections.abc import Iterator

from curate import registry
from curate.errors import CurateError
from curate.io.files import is_local
from curate.recipe_build import Built, Draft, needs_paths
from curate.recipe_nodes import SpecialNode
from curate.recipe_paths import local_matches, missing
from curate.recipe_steps import StepDraft
from curate.recipe_yaml import Item, Mark, Problems
from curate.registry import nearest
from curate.schema import DOCUMENT, ROW
from curate.settings import walk

# What a node of that kind needs in every dataset that it reads.
INPUT_COLUMN = {"mix": "tokens", "shuffle": "tokens", "train:tokenizer": "text"}
GIVES = {"shuffle": "tokens"}  # nodes that are read like a dataset, and the column that counts


def check(built: Built, folder: str, problems: Problems) -> None:
    """Add every mistake of the graph to the problems."""
    _Graph(built.drafts, folder, problems).check()


class _Graph:
    def __init__(self, drafts: dict[str, Draft], folder: str, problems: Problems) -> None:
        self.drafts, self.folder, self.problems = drafts, folder, problems
        self.edges: dict[str, list[str]] = {name: [] for name in drafts}

    def check(self) -> None:
        for draft in self.drafts.values():
            for name, mark in self._references(draft):
                self._reference(draft, name, mark)
        in_cycles = self._cycles()
        columns: dict[str, dict[str, str] | None] = dict.fromkeys(in_cycles)
        for name in self.drafts:
            self._columns(name, columns)
        for draft in self.drafts.values():
            self._inputs_have_columns(draft, columns)
            self._files(draft)

    # Names

    def _references(self, draft: Draft) -> Iterator[tuple[str, Mark]]:
        """Names of nodes that a node certainly means, and where they stand."""
        if draft.upstream is not None:
            yield draft.upstream, draft.item.value["from"].mark
        if isinstance(draft.node, SpecialNode):
            for name in dict.fromkeys(draft.node.node.inputs()):
                yield name, _mark_of(draft.item, name, draft.mark)
        for step in draft.steps:
            for name in step.step.models() if step.step else ():
                if name in self.drafts or (step.step and step.step.own_models):
                    yield name, _mark_of(step.given, name, step.mark)

    def _reference(self, draft: Draft, name: str, mark: Mark) -> None:
        """Note an edge, or what is wrong with it."""
        target = self.drafts.get(name)
        if target is None:
            known = list(self.drafts)
            near = nearest(name, known) or f" There are: {', '.join(known)}."
            self.problems.add(mark, f"{draft.name!r} reads {name!r}, which is no node of this recipe.{near}")
        elif draft.upstream == name and (target.is_model or (isinstance(target.node, SpecialNode) and target.node.node.adds is None)):
            what = "model" if target.is_model else target.node.kind if isinstance(target.node, SpecialNode) else "node"
            self.problems.add(mark, f"'from' needs a dataset of documents; {name!r} is a {what}.")
        else:
            self.edges[draft.name].append(name)
            if not target.is_model and draft.upstream != name and not isinstance(draft.node, SpecialNode):
                self.problems.add(mark, f"{draft.name!r} uses {name!r} as a model, but it is a dataset.")

    def _cycles(self) -> set[str]:
        """Report every cycle once, at its first node in the file. Returns the nodes on cycles."""
        done: set[str] = set()
        on_cycle: set[str] = set()
        for start in self.drafts:
            way: list[str] = []
            stack = [(start, iter(self.edges[start]))] if start not in done else []
            way = [start]
            while stack:
                inner = next(stack[-1][1], None)
                if inner is None:
                    done.add(stack.pop()[0])
                    way.pop()
                elif inner in way:
                    self._cycle(way[way.index(inner) :])
                    on_cycle.update(way[way.index(inner) :])
                elif inner not in done:
                    stack.append((inner, iter(self.edges[inner])))
                    way.append(inner)
        return on_cycle

    def _cycle(self, names: list[str]) -> None:
        mark = self.drafts[names[0]].mark
        if len(names) == 1:
            self.problems.add(mark, f"{names[0]!r} reads itself.")
        else:
            self.problems.add(mark, f"these nodes read each other in a circle: {' -> '.join([*names, names[0]])}.")

    # Columns

    def _columns(self, name: str, known: dict[str, dict[str, str] | None]) -> dict[str, str] | None:
        """Columns of a dataset after its steps, each with who adds it; None where that can't be known."""
        chain = [name]
        while chain[-1] not in known and (up := self.drafts[chain[-1]].upstream) is not None and up in self.drafts:
            chain.append(up)
        for link in reversed(chain):  # no recursion: `from` chains may be long
            if link not in known:
                draft = self.drafts[link]
                start = self._first_columns(draft, known)
                known[link] = None if start is None else self._after_steps(draft, start)
        return known[name]

    def _first_columns(self, draft: Draft, known: dict[str, dict[str, str] | None]) -> dict[str, str] | None:
        if draft.upstream is not None:
            found = known.get(draft.upstream)
            return None if found is None else dict(found)
        if isinstance(draft.node, SpecialNode) and draft.node.node.adds is not None:
            first = draft.node.node.documents()[0]
            found = self._columns(first, known) if first in self.drafts else None
            return None if found is None else found | dict.fromkeys(draft.node.node.adds, draft.node.kind)
        if draft.reader is None:
            return None
        return dict.fromkeys([*DOCUMENT.names, ROW, *draft.reader.extra_columns()], "the reader")

    def _after_steps(self, draft: Draft, columns: dict[str, str]) -> dict[str, str] | None:
        """Walk the steps; report what is read before anything adds it. None after a broken step."""
        gone: dict[str, str] = {}
        broken = False
        for step in draft.steps:
            if step.step is None:
                return None
            try:
                reads, adds, removes = step.step.reads(), step.step.adds(), step.step.removes()
            except CurateError as error:
                self.problems.add(step.mark, f"{step.where}: {error}")
                return None
            for name in sorted(reads - set(columns)):
                self._unread(step, name, gone, list(columns))
                broken = True
            for name in removes:
                columns.pop(name, None)
                gone[name] = step.where
            columns |= dict.fromkeys(adds, step.where)
        return None if broken else columns

    def _unread(self, step: StepDraft, name: str, gone: dict[str, str], columns: list[str]) -> None:
        if name in gone:
            message = f"reads {name!r}, which {gone[name]} removes. Move it before that step."
        else:
            near = nearest(name, [c for c in columns if c != ROW])
            add = _who_adds(name)
            hint = f" Add '{add}' before it." if add else near or f" There are: {', '.join(c for c in columns if c != ROW)}."
            message = f"reads {name!r}, which no earlier step adds.{hint}"
        self.problems.add(step.mark, f"{step.where} {message}")

    def _inputs_have_columns(self, draft: Draft, columns: dict[str, dict[str, str] | None]) -> None:
        if not isinstance(draft.node, SpecialNode) or draft.node.kind not in INPUT_COLUMN:
            return
        needed = INPUT_COLUMN[draft.node.kind]
        for name in dict.fromkeys(draft.node.node.documents()):
            target = self.drafts.get(name)
            if target is None:
                continue
            mark = _mark_of(draft.item, name, draft.mark)
            if isinstance(target.node, SpecialNode) and GIVES.get(target.node.kind) == needed:
                continue
            if target.is_model or isinstance(target.node, SpecialNode):
                self.problems.add(mark, f"{draft.name!r} needs datasets of documents; {name!r} is none.")
                continue
            there = columns.get(name)
            if there is not None and needed not in there:
                add = _who_adds(needed)
                hint = f" Add '{add}' to the steps of {name!r}." if add else ""
                self.problems.add(mark, f"{draft.name!r} reads the column {needed!r} of {name!r}, which has none.{hint}")

    # Files

    def _files(self, draft: Draft) -> None:
        if draft.reader is not None and needs_paths(type(draft.reader)):
            read = draft.item.value["read"]
            for path in draft.reader.paths:
                if is_local(path) and not local_matches(path, self.folder):
                    self.problems.add(_mark_of(read, path, read.mark), f"read {draft.reader.name}: {missing(path, self.folder)}")
        for step in draft.steps:
            if step.step is not None:
                self._assets(step.step.assets, step.where, step.given, step.mark)
        if isinstance(draft.node, SpecialNode):
            self._assets(draft.node.node.assets, draft.name, draft.item, draft.mark)

    def _assets(self, assets: object, where: str, given: Item, mark: Mark) -> None:
        try:
            found = assets() if callable(assets) else ()
        except CurateError as error:
            self.problems.add(mark, f"{where}: {error}")
            return
        for asset in found:
            if is_local(asset.uri) and not local_matches(asset.uri, self.folder):
                self.problems.add(_mark_of(given, asset.uri, mark), f"{where}: the {asset.role} {asset.uri!r} is not there.")


def _mark_of(item: Item, text: str, otherwise: Mark) -> Mark:
    """Where a value or key of that text stands."""
    for part in walk(item):
        if isinstance(part.value, dict) and text in part.value:
            return part.key_mark(text)
        if part.value == text and isinstance(part.value, str):
            return part.mark
    return otherwise


def _who_adds(column: str) -> str:
    """An entry of `steps` that would add a column, or ''. Only asked when a mistake is found: it imports every step."""
    from curate.describe import columns_added

    for name in registry.names("steps"):
        try:
            cls = registry.load("steps", name)
        except (CurateError, ImportError, AttributeError):
            continue
        if column in columns_added(cls):
            return name
        if column in columns_added(cls, mode="annotate"):
            return f"{name}: {{mode: annotate}}"
    return ""
