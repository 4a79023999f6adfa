"""`rounds:` at the top of a recipe: a block of nodes unrolled to N copies before anything is checked.

    rounds:
      n: 3
      start: {policy: sft0}                # what a name of the block means in round 1
      next: {policy: sft}                  # what it means afterwards: that node of the round before
      control: [random, no_new_rows]       # the whole loop again for each, with other selections
      stop: ledger                         # rounds end where this node of a round says `stop` in its figures (round_ledger does)
      datasets:
        pool: {from: prompts, steps: [{generate: {model: policy, round: "@round", temperature: {rounds: [1.0, 0.9]}}}, ...]}
        rows: {from: pool, steps: [{select_best: {...}}]}
        train_rows: {gather: {datasets: [seed_rows, rows@all]}}
      models:
        sft: {train: sft, init: policy, data: train_rows}

Names of the block become pool@1, pool@2, ...; everywhere else in the recipe they are used so, and `pool@last` is that of the last round.
Inside, a value that is exactly

    pool            is this round's, at keys that name nodes (`from`, `model`, `data`, ...: recipe_references.NAMING)
    pool@now        is this round's, at any key      pool@all         is a list of all rounds' so far, in lists only
    policy          is what start and next say, at the same keys; policy@now at any key
    pool@previous   is the round before's: in lists nothing at all in round 1
    "@round"        is the round's number; inside longer text as {round}
    {rounds: [..]}  is the n-th of the list, its last one for later rounds

With `control`, the block is unrolled once more for each, with names such as pool@2.random. Everything comes from that loop itself, its policy too, but each
dataset that ends in a selection is replaced by what the selection's step says (`Step.as_control`): as many rows as the true loop's selection of that
round, chosen otherwise. What only fed a replaced selection and is read by nothing else is left out.

With `stop`, round 2 waits for the ledger of round 1, and so on. Where a ledger of the true loop says stop, that round is finished as the last one, the
controls' too: the recipe is read again with so many rounds (`curate.rounds`), so that @last is what there is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from curate import registry
from curate.errors import CurateError
from curate.recipe_nodes import Rounds
from curate.recipe_overrides import step_name
from curate.recipe_references import named, replaced
from curate.recipe_yaml import Item, Mark, Problems, as_item, mapping, sequence
from curate.settings import shown

KEYS = ("n", "start", "next", "control", "stop", "datasets", "models")
SECTIONS = ("datasets", "models")
MAX_ROUNDS = 1000


def expand_rounds(tree: Item, problems: Problems) -> Item:
    """The recipe without `rounds`, its nodes among the others. Mistakes go to the problems."""
    if not tree.is_mapping or "rounds" not in tree.value:
        return tree
    given, rest = tree.value["rounds"], tree.without("rounds")
    block = _read(given, tree.key_mark("rounds"), problems)
    if block is None:
        return rest
    nodes: dict[str, dict[str, Item]] = {section: {} for section in SECTIONS}
    for arm in ("", *block.controls):
        for number in range(1, block.n + 1):
            for section, name, item in block.unrolled(number, arm, problems):
                nodes[section][name] = item
    last = {f"{name}@last": f"{name}@{block.n}" for name in block.names()}
    last |= {f"{old}.{arm}": f"{new}.{arm}" for old, new in list(last.items()) for arm in block.controls}
    for section in SECTIONS:
        there = rest.value.get(section)
        if there is not None and not there.is_mapping:
            continue
        outer = _renamed(there, last) if there is not None else mapping({}, given.mark)
        marks = {name: item.mark for name, item in nodes[section].items()}
        if nodes[section] or there is not None:
            rest = rest.with_entry(section, mapping({**outer.value, **nodes[section]}, outer.mark, {**outer.keys, **marks}))
    return rest


def rounds_of(tree: Item) -> Rounds | None:
    """What is left to know of `rounds` when the block is unrolled; None without a rule to stop."""
    given = tree.value.get("rounds") if tree.is_mapping else None
    if given is None or not given.is_mapping or "stop" not in given.value:
        return None
    n, stop = given.value.get("n"), given.value["stop"].value
    return Rounds(n.value, stop) if n is not None and isinstance(n.value, int) and isinstance(stop, str) else None


@dataclass(frozen=True)
class _Block:
    n: int
    start: dict[str, str]
    following: dict[str, str]
    controls: tuple[str, ...]
    sections: dict[str, Item]

    def names(self) -> list[str]:
        return [name for section in self.sections.values() for name in section.value]

    def unrolled(self, number: int, arm: str, problems: Problems) -> list[tuple[str, str, Item]]:
        """(section, name, node) of one round of one loop."""
        items = {name: (section, item) for section, block in self.sections.items() for name, item in block.value.items()}
        others: dict[str, Item] = {}
        for name, (section, item) in items.items():
            other = _as_control(name, item, arm, number, problems) if arm and section == "datasets" else None
            if other is not None:
                others[name] = other
        left_out = self._unread(items, others)
        made = []
        for name, (section, item) in items.items():
            if name not in left_out:
                node = replaced(others.get(name, item), lambda text, naming: self._meaning(text, naming, number, arm))
                made.append((section, self._called(name, number, arm), _numbered(node, number, problems)))
        return made

    def _unread(self, items: dict[str, tuple[str, Item]], others: dict[str, Item]) -> set[str]:
        """Nodes that only replaced ones, or others of their kind, read in the true loop, and nothing reads now."""
        readers: dict[str, set[str]] = {name: set() for name in items}
        now: dict[str, set[str]] = {name: set() for name in items}
        for reader, (_, item) in items.items():
            for table, node in ((readers, item), (now, others.get(reader, item))):
                for text in named(node):
                    name = text.partition("@")[0]
                    if name in items and name != reader:
                        table[name].add(reader)
        kept_by_next = set(self.following.values())
        gone: set[str] = set()
        for name, node in others.items():  # what looks at a selection and at a source that it has no more
            sources = readers.keys() & {t.partition("@")[0] for t in named(items[name][1])} - {t.partition("@")[0] for t in named(node)}
            gone |= {reader for source in sources for reader in readers[source] & readers[name]}
        while True:
            more = {n for n in items if n not in gone | kept_by_next and readers[n] and not now[n] - gone}
            if not more:
                return gone
            gone |= more

    def _called(self, name: str, number: int, arm: str) -> str:
        return f"{name}@{number}" + (f".{arm}" if arm else "")

    def _meaning(self, text: str, naming: bool, number: int, arm: str) -> Item | list[Item] | None:
        """What a value means in this round; None where it is itself. naming: it stands where a node is named."""
        here = Mark(0)
        if text == "@round":
            return Item(number, here)
        name, _, which = text.partition("@")
        here_only = (naming and not which) or which == "now"
        if name in self.start and here_only:
            return as_item(self.start[name] if number == 1 else self._called(self.following[name], number - 1, arm), here)
        if name not in self.names() or not (which or here_only):
            return as_item(text.replace("{round}", str(number)), here) if "{round}" in text else None
        if here_only:
            return as_item(self._called(name, number, arm), here)
        if which == "all":
            return [as_item(self._called(name, n, arm), here) for n in range(1, number + 1)]
        if which == "previous":
            return [as_item(self._called(name, number - 1, arm), here)] if number > 1 else []
        return as_item(f"{name}@{number}", here) if which == "true" else None  # the true loop's, in a control


def _read(given: Item, mark: Mark, problems: Problems) -> _Block | None:
    before = len(problems.found)
    if not given.is_mapping:
        problems.add(mark, f"rounds must be a mapping with n, start, next, datasets and models, got {shown(given.plain())}.")
        return None
    for key in given.value:
        if key not in KEYS:
            near = registry.nearest(key, list(KEYS)) or f" It has: {', '.join(KEYS)}."
            problems.add(given.key_mark(key), f"rounds has no key {key!r}.{near}")
    n = given.value.get("n")
    if n is None or isinstance(n.value, bool) or not isinstance(n.value, int) or not 1 <= n.value <= MAX_ROUNDS:
        got = shown(n.plain()) if n is not None else "nothing"
        problems.add(n.mark if n else mark, f"rounds.n must be an integer in 1..{MAX_ROUNDS}, got {got}.")
    sections = {key: given.value[key] for key in SECTIONS if key in given.value and given.value[key].value is not None}
    for key, section in sections.items():
        if not section.is_mapping:
            problems.add(section.mark, f"rounds.{key} must be a mapping of names to nodes, got {shown(section.plain())}.")
    links = [_links(given, key, problems) for key in ("start", "next")]
    controls = _controls(given, problems)
    stop = given.value["stop"].plain() if "stop" in given.value else None
    if len(problems.found) > before:
        return None
    block = _Block(n.value if n is not None else 1, links[0], links[1], controls, sections)
    names = block.names()
    if not names:
        problems.add(mark, "rounds has no nodes: put datasets and models into it.")
    for name in names:
        if "@" in str(name) or names.count(name) > 1:
            problems.add(mark, f"rounds: the name {name!r} must be there once, without '@'.")
    if block.start.keys() != block.following.keys():
        problems.add(
            mark, f"rounds.start and rounds.next must name the same things, got {sorted(block.start)} and {sorted(block.following)}."
        )
    if stop is not None and stop not in block.sections.get("datasets", given).value:
        problems.add(given.key_mark("stop"), f"rounds.stop must name a ledger of the block, got {shown(stop)}.")
    for name, target in block.following.items():
        if target not in names:
            near = registry.nearest(target, names) or f" There are: {', '.join(names)}."
            problems.add(given.key_mark("next"), f"rounds.next.{name} names {target!r}, which is no node of the block.{near}")
    return block if len(problems.found) == before else None


def _links(given: Item, key: str, problems: Problems) -> dict[str, str]:
    item = given.value.get(key)
    if item is None or item.value is None:
        return {}
    if not item.is_mapping or not all(isinstance(v.value, str) for v in item.value.values()):
        problems.add(item.mark, f"rounds.{key} must be a mapping of names to names of nodes, got {shown(item.plain())}.")
        return {}
    return {name: value.value for name, value in item.value.items()}


def _controls(given: Item, problems: Problems) -> tuple[str, ...]:
    item = given.value.get("control")
    if item is None or item.value is None:
        return ()
    values = item.value if item.is_list else (item,)
    if not all(isinstance(v.value, str) and v.value.isidentifier() for v in values):
        problems.add(item.mark, f"rounds.control must be a list of controls, such as [random, no_new_rows], got {shown(item.plain())}.")
        return ()
    return tuple(v.value for v in values)


def _as_control(name: str, item: Item, arm: str, number: int, problems: Problems) -> Item | None:
    """The node that takes a dataset's place in a control; None where it does not end in a selection."""
    steps = item.value.get("steps") if item.is_mapping else None
    if steps is None or not steps.is_list or not steps.value or "from" not in item.value:
        return None
    last = steps.value[-1]
    step = step_name(last)
    if step is None or step not in registry.names("steps"):
        return None
    try:
        make = getattr(registry.load("steps", step), "as_control", None)
        if make is None:
            return None
        settings = last.value[step].plain() if last.is_mapping else {}
        node: dict[str, Any] = make(arm, item.value["from"].plain(), f"{name}@true", settings)
    except (CurateError, ImportError, ValueError) as error:
        problems.add(last.mark, f"rounds.control {arm!r}: {error}")
        return None
    return as_item(node, item.mark)


def with_controls(tree: Item, problems: Problems) -> Item:
    """Datasets with `control: [..]` in a selection, and the datasets to compare with beside them: NAME.random."""
    datasets = tree.value.get("datasets") if tree.is_mapping else None
    if datasets is None or not datasets.is_mapping:
        return tree
    for name, item in list(datasets.value.items()):
        steps = item.value.get("steps") if item.is_mapping else None
        last = steps.value[-1] if steps is not None and steps.is_list and steps.value else None
        step = step_name(last) if last is not None else None
        given = last.value[step] if last is not None and last.is_mapping and step is not None else None
        wanted = given.value.get("control") if given is not None and given.is_mapping else None
        for arm in wanted.value if wanted is not None and wanted.is_list else ():
            node = _as_control(name, item, str(arm.value), 0, problems)
            if node is not None:
                datasets = datasets.with_entry(f"{name}.{arm.value}", _renamed(node, {f"{name}@true": name}))
    return tree.with_entry("datasets", datasets)


def _renamed(item: Item, names: Mapping[str, str]) -> Item:
    """The item with these names, wherever they stand, replaced by others."""
    return replaced(item, lambda text, _: as_item(names[text], Mark(0)) if text in names else None)


def _numbered(item: Item, number: int, problems: Problems) -> Item:
    """The item with every {rounds: [...]} replaced by this round's entry."""
    if isinstance(item.value, tuple):
        return sequence([_numbered(inner, number, problems) for inner in item.value], item.mark)
    if not isinstance(item.value, dict):
        return item
    if list(item.value) == ["rounds"]:
        values = item.value["rounds"]
        if not values.is_list or not values.value:
            problems.add(item.mark, f"a value for each round is {{rounds: [first, second, ...]}}, got {shown(item.plain())}.")
            return item
        return _numbered(values.value[min(number, len(values.value)) - 1], number, problems)
    return mapping({key: _numbered(inner, number, problems) for key, inner in item.value.items()}, item.mark, item.keys)
