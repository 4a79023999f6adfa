"""Paths in settings: which fields hold them, and how a recipe's relative paths become absolute.

A field of a step or node says that it holds paths with `json_schema_extra={"path": ...}`:

    True        every value is a path or a glob; it must match something. A list is replaced by what it matches, sorted
    "optional"  a value is a path where such a file or folder exists, and something else otherwise (the name of a
                model node, of a tokenizer on the hub, of a built-in list). A node of the recipe goes before a file
    "output"    a value is a path that need not exist yet

Relative paths start at the recipe's folder. URLs (`s3://...`) stay as they are.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Collection
from typing import Any

from pydantic import BaseModel

from curate.io.files import is_local
from curate.recipe_yaml import Item, Problems, sequence
from curate.registry import nearest
from curate.settings import Field, dump, fields


def path_fields(cls: type[BaseModel]) -> dict[str, bool | str]:
    """Fields of a settings class that hold paths: recipe's key -> True or "optional"."""
    found: dict[str, bool | str] = {}
    for key, info in fields(cls).items():
        extra = info.json_schema_extra
        kind = extra.get("path") if isinstance(extra, dict) else None
        if kind is True or kind in ("optional", "output"):
            found[key] = kind
    return found


def resolve(cls: type[BaseModel], given: Item, folder: str, nodes: Collection[str], where: str, problems: Problems) -> Item:
    """Return the settings with every path absolute and every glob expanded; what matches nothing is a problem."""
    for key, inner in _nested(cls, given).items():
        given = given.with_entry(key, resolve(inner, given.value[key], folder, nodes, f"{where}.{key}", problems))
    for key, kind in path_fields(cls).items():
        item = given.value.get(key)
        if item is None:
            continue
        if isinstance(item.value, str):
            given = given.with_entry(key, _single(item, kind, folder, nodes, f"{where}.{key}", problems))
        elif isinstance(item.value, tuple) and all(isinstance(part.value, str) for part in item.value):
            given = given.with_entry(key, _several(item, kind, folder, nodes, f"{where}.{key}", problems))
    return given


def _nested(cls: type[BaseModel], given: Item) -> dict[str, type[BaseModel]]:
    """Settings that are mappings of settings with paths in them: key -> their class, the one that knows every key that is given."""
    found: dict[str, type[BaseModel]] = {}
    for key, info in fields(cls).items():
        item = given.value.get(key)
        if item is not None and item.is_mapping:
            classes = [
                m.annotation for m in Field.of(info).members() if isinstance(m.annotation, type) and issubclass(m.annotation, BaseModel)
            ]
            fitting = [inner for inner in classes if set(item.value) <= set(fields(inner))]
            if fitting:
                found[key] = fitting[0]
    return found


def _single(item: Item, kind: bool | str, folder: str, nodes: Collection[str], where: str, problems: Problems) -> Item:
    found = _matches(item, kind, folder, nodes, where, problems)
    return Item(found[0], item.mark) if len(found) == 1 else sequence([Item(path, item.mark) for path in found], item.mark)


def _several(item: Item, kind: bool | str, folder: str, nodes: Collection[str], where: str, problems: Problems) -> Item:
    paths = [Item(path, part.mark) for part in item.value for path in _matches(part, kind, folder, nodes, where, problems)]
    return sequence(list({path.value: path for path in paths}.values()), item.mark)


def _matches(item: Item, kind: bool | str, folder: str, nodes: Collection[str], where: str, problems: Problems) -> list[str]:
    """Absolute paths for one value; the value itself where it is no path."""
    value = item.value
    if not is_local(value) or (kind == "optional" and value in nodes):
        return [value]
    if kind == "output":
        return [absolute(value, folder)]
    found = local_matches(value, folder)
    if found:
        return found
    if kind is True:
        problems.add(item.mark, f"{where}: {missing(value, folder)}")
    return [value]


def local_matches(path: str, folder: str) -> list[str]:
    """Files and folders a local path or glob stands for, absolute and sorted; [] where there are none."""
    full = absolute(path, folder)
    if os.path.lexists(full):
        return [full] if os.path.exists(full) else []
    return sorted(glob.glob(full, recursive=True)) if glob.has_magic(path) else []


def absolute(path: str, folder: str) -> str:
    """The path from the recipe's folder; '~' is the user's home."""
    return os.path.normpath(os.path.join(folder, os.path.expanduser(path.removeprefix("file://"))))


def missing(path: str, folder: str) -> str:
    """Sentence for a path that matches nothing: what was looked for, and how far the way to it exists."""
    at, wanted = absolute(path, folder), ""
    while glob.has_magic(at) or not os.path.isdir(at):
        at, wanted = os.path.split(at)
    what = "no file matches" if glob.has_magic(path) else "there is no file or folder"
    whose = ", the recipe's folder" if at == folder else ""
    near = "" if glob.has_magic(wanted) else nearest(wanted, sorted(os.listdir(at)))
    return f"{what} {path!r} (looked in {at}{whose}).{near}"


def as_given(model: BaseModel, given: Item) -> dict[str, Any]:
    """Every setting of a step or node, paths as the recipe gives them: a lock must not hold absolute ones."""
    dumped = dump(model)
    for key in path_fields(type(model)):
        if key in given.value:
            dumped[key] = given.value[key].plain()
    for key, inner in _nested(type(model), given).items():
        for name in path_fields(inner).keys() & given.value[key].value.keys():
            dumped[key][name] = given.value[key].value[name].plain()
    return dumped
