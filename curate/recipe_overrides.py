"""`--set PATH=VALUE`: values of a recipe replaced from the command line, before anything is checked.

A path is dotted: `datasets.web.steps.language.min_score=0.8`. A list of steps is entered by the name of a step (the
second of one name as `language.2`) or its position from 0, other lists by position. Names with dots work. Presets are
expanded first, so that their steps can be named. The value is YAML.
"""

from __future__ import annotations

from typing import Any

from curate import registry
from curate.errors import Problem, RecipeError
from curate.recipe_yaml import Item, Mark, Problems, mapping, parse, sequence

_NODES = ("datasets", "models")


def apply_override(tree: Item, override: str, problems: Problems) -> Item:
    """Return the recipe's tree with one value replaced; a path that leads nowhere is a problem."""
    origin = f"--set {override}"
    path, equals, text = override.partition("=")
    path = path.strip()
    if not equals or not path or "" in path.split("."):
        problems.add(Mark(0, origin), "must be PATH=VALUE, such as datasets.web.steps.language.min_score=0.8.")
        return tree
    try:
        value = parse(text, problems, origin)
        return _Setter(value.moved(Mark(0, origin)), origin).into(tree, path.split("."), ())
    except RecipeError as error:
        problems.found += [p for p in error.problems if p not in problems.found]
        return tree


class _Setter:
    """Walks down a tree along a path and rebuilds what lies on it."""

    def __init__(self, value: Item, origin: str) -> None:
        self.value, self.mark = value, Mark(0, origin)

    def into(self, item: Item, path: list[str], done: tuple[str, ...]) -> Item:
        """The item with the value set at `path` inside it. done: the way that led here."""
        if not path:
            return self.value
        if item.is_list:
            return self._list(item, path, done)
        if item.is_mapping:
            return self._mapping(item, path, done)
        if item.value is None:
            return self._mapping(mapping({}, self.mark), path, done)
        raise self._lost(f"{_dotted(done)} is {item.plain()!r}, which has nothing inside it.")

    def _mapping(self, item: Item, path: list[str], done: tuple[str, ...]) -> Item:
        for length in range(len(path), 0, -1):  # names may hold dots: the longest that exists
            key = ".".join(path[:length])
            if key in item.value:
                return item.with_entry(key, self.into(item.value[key], path[length:], (*done, key)))
        if done and done[-1] in _NODES and len(done) == 1:
            raise self._lost(f"{done[0]} has no {path[0]!r}.{registry.nearest(path[0], list(item.value)) or _known(item.value)}")
        if not done and path[0] in _NODES and "read" in item.value:
            raise self._lost(f"this recipe is one dataset; paths start at its keys, such as steps.{'.'.join(path[3:]) or '...'}")
        new = self._new(path[1:])
        return mapping({**item.value, path[0]: new}, item.mark, {**item.keys, path[0]: self.mark})

    def _new(self, path: list[str]) -> Item:
        """Mappings that lead to the value; whether the keys exist is checked later, with all the others."""
        return mapping({path[0]: self._new(path[1:])}, self.mark, {path[0]: self.mark}) if path else self.value

    def _list(self, item: Item, path: list[str], done: tuple[str, ...]) -> Item:
        if path[0].isdecimal():
            at, rest = int(path[0]), path[1:]
            if at >= len(item.value):
                raise self._lost(f"{_dotted(done)} has {len(item.value)} entries, counted from 0; there is no {at}.")
        elif done and done[-1] == "steps":
            at, rest = self._step(item, path, done)
        else:
            raise self._lost(f"{_dotted(done)} is a list; its entries are 0 to {len(item.value) - 1}, not {path[0]!r}.")
        inner = item.value[at]
        name = step_name(inner) if done and done[-1] == "steps" else None
        if name is not None and not (rest == [] and path[0].isdecimal()):
            new = self._settings(inner, name, rest[1:] if rest[:1] == [name] else rest, (*done, path[0]))
        else:
            new = self.into(inner, rest, (*done, path[0]))
        return sequence([*item.value[:at], new, *item.value[at + 1 :]], item.mark)

    def _step(self, item: Item, path: list[str], done: tuple[str, ...]) -> tuple[int, list[str]]:
        """Position of the step that a path names, and the rest of the path."""
        names = [step_name(inner) for inner in item.value]
        wanted = next((".".join(path[:n]) for n in range(len(path), 0, -1) if ".".join(path[:n]) in names), None)
        if wanted is None:
            present = [name for name in dict.fromkeys(names) if name]
            raise self._lost(f"{_dotted(done)} has no step {path[0]!r}.{registry.nearest(path[0], present) or _known(present)}")
        at = [i for i, name in enumerate(names) if name == wanted]
        rest = path[wanted.count(".") + 1 :]
        if rest and rest[0].isdecimal():
            number = int(rest[0])
            if not 1 <= number <= len(at):
                raise self._lost(f"{_dotted(done)} has {len(at)} of {wanted!r}, counted from 1; there is no {wanted}.{number}.")
            return at[number - 1], rest[1:]
        if len(at) > 1:
            ways = ", ".join(f"{wanted}.{n + 1}" for n in range(len(at)))
            raise self._lost(f"{_dotted(done)} has {len(at)} of {wanted!r}; say which: {ways}.")
        return at[0], rest

    def _settings(self, step: Item, name: str, path: list[str], done: tuple[str, ...]) -> Item:
        """A step with a setting replaced: a bare name or a shorthand is written out first."""
        given = step.value[name] if step.is_mapping else mapping({}, step.mark)
        field = shorthand(name)
        if path and not given.is_mapping and given.value is not None and field:
            given = mapping({field: given}, given.mark)
        return mapping({name: self.into(given, path, done)}, step.mark, {name: step.mark})

    def _lost(self, message: str) -> RecipeError:
        return RecipeError(Problem(message, self.mark.origin))


def step_name(item: Item) -> str | None:
    """Name of the step that an entry of `steps` stands for, or None where it isn't one."""
    if isinstance(item.value, str):
        return item.value
    return str(next(iter(item.value))) if item.is_mapping and len(item.value) == 1 else None


def shorthand(name: str) -> str | None:
    """The field that `- name: value` sets; None for an unknown step too."""
    if name not in registry.names("steps"):
        return None
    found: Any = registry.load("steps", name).shorthand
    return None if found is None else str(found)


def _known(names: Any) -> str:
    return f" There are: {', '.join(names)}." if names else " There are none."


def _dotted(done: tuple[str, ...]) -> str:
    return ".".join(done) or "the recipe"
