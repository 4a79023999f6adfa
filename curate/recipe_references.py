"""Where a recipe's text names another node, and the same text with other names.

A node's name stands at known keys only: `model: sft` names a node, `text: sft` is a word. A name with `@` (rows@all) can be nothing else,
so it counts anywhere. Keys that a plugin has of its own take names with `@` too: sft@now is this round's.
"""

from __future__ import annotations

from collections.abc import Callable

from curate import registry
from curate.errors import CurateError
from curate.recipe_yaml import Item, mapping, sequence

NAMING = frozenset({
    "before", "continues", "data", "datasets", "from", "init", "like", "model", "models", "pool", "reference", "reward_model", "rows",
    "tokenizer", "weights",
})  # fmt: skip  # their value, or each of a list's, is a name
KEYED = frozenset({"max_epochs", "repeat", "split", "weights"})  # the keys of their mapping are names

Meaning = Callable[[str, bool], Item | list[Item] | None]


def named(item: Item, naming: bool = False) -> list[str]:
    """Every text that may name a node, as it is written."""
    if isinstance(item.value, dict):
        return [t for key, inner in item.value.items() for t in (*_keys(key, inner), *named(inner, _names(key, inner)))]
    if isinstance(item.value, tuple):
        return [t for inner in item.value for t in named(inner, naming)]
    return [item.value] if isinstance(item.value, str) and (naming or "@" in item.value) else []


def _names(key: str, item: Item) -> bool:
    """Whether a value is a name, or a list of them: by its key, or as the short form of a step's one setting (`- generate: policy`)."""
    if key in NAMING or isinstance(item.value, dict) or key not in registry.names("steps"):
        return key in NAMING
    try:
        return registry.load("steps", key).shorthand in NAMING
    except (CurateError, ImportError):  # told where the step is built
        return False


def _keys(key: str, item: Item) -> list[str]:
    return [str(k) for k in item.value] if key in KEYED and isinstance(item.value, dict) else []


def replaced(item: Item, meaning: Meaning, naming: bool = False) -> Item:
    """The item with every text replaced by what it means; a list of meanings goes into the list around it.

    meaning: of a text, and whether it stands where a node is named; None where it is itself
    """
    if isinstance(item.value, dict):
        entries = {}
        for key, inner in item.value.items():
            new = _one(inner, meaning, _names(key, inner))
            new = sequence(new, inner.mark) if isinstance(new, list) else new
            entries[key] = _with_keys(new, meaning) if key in KEYED and new.is_mapping else new
        return mapping(entries, item.mark, item.keys)
    if isinstance(item.value, tuple):
        made: list[Item] = []
        for inner in item.value:
            new = _one(inner, meaning, naming)
            made += new if isinstance(new, list) else [new]
        return sequence(made, item.mark)
    new = _one(item, meaning, naming)
    return sequence(new, item.mark) if isinstance(new, list) else new


def _with_keys(item: Item, meaning: Meaning) -> Item:
    """A mapping whose keys are names; a name that means several gives each of them its value."""
    entries, marks = {}, {}
    for key, inner in item.value.items():
        new = meaning(key, True)
        for name in [Item(key, inner.mark)] if new is None else new if isinstance(new, list) else [new]:
            entries[name.value], marks[name.value] = inner, item.key_mark(key)
    return mapping(entries, item.mark, marks)


def _one(item: Item, meaning: Meaning, naming: bool) -> Item | list[Item]:
    if not isinstance(item.value, str):
        return replaced(item, meaning, naming) if isinstance(item.value, (dict, tuple)) else item
    found = meaning(item.value, naming)
    if found is None:
        return item
    return [f.moved(item.mark) for f in found] if isinstance(found, list) else found.moved(item.mark)
