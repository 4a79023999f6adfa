"""Which kernels a recipe needs, found without importing them: a first run compiles those and no others.

The modules of a recipe's readers, steps, nodes and writers, and what they import of curate, inside functions too. A step
that makes other steps names them in its settings.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from curate import registry
from curate.kernels.cache import is_compiled
from curate.recipe_nodes import DatasetNode, Recipe
from curate.step import Step

HERE = Path(__file__).parent
ALWAYS = ("curate.worker.documents", "curate.worker.records")
# Kernels that only some settings reach: left out unless a setting has one of these values or, for columns, such a name.
# A mistake here costs time, not results: what was left out is compiled in the workers when it is first used.
ONLY_WITH = {
    **dict.fromkeys(("spacy_words", "spacy_rules", "spacy_phrases", "spacy_url", "spacy_sentences"), ("spacy_en",)),
    "tuple_grams": ("dclm", "dolma", "nemo"),
    "foreign_minhash": ("datatrove", "datasketch"),
    "units": ("paragraph", "line"),
    "foresight": ("stages of a mix with other weights",),
}
_IMPORTED = re.compile(r"^\s*(?:from (curate[\w.]*) import ([\w, ]+|\()|import (curate[\w.]*))", re.MULTILINE)


def to_compile(recipe: Recipe) -> list[str]:
    """Names of the kernel modules that the recipe needs and the cache does not have, in order."""
    waiting = [*ALWAYS, *_modules(recipe)]
    seen: set[str] = set()
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting += _imports(module)
    values = {value for step in _steps(recipe) for value in _texts(step.model_dump())}
    values |= {"stages of a mix with other weights" for stages in _stages(recipe) if len({str(s.weights) for s in stages}) > 1}
    kernels = sorted(m.removeprefix("curate.kernels.") for m in seen if m.startswith("curate.kernels."))
    wanted = [name for name in kernels if name not in ONLY_WITH or values.intersection(ONLY_WITH[name])]
    return [name for name in wanted if _has_kernels(name) and not is_compiled(name)]


def all_modules() -> list[str]:
    """Names of all kernel modules that the cache does not have: for a machine that will run many recipes, or the tests."""
    names = sorted(path.stem for path in (HERE / "kernels").glob("*.py"))
    return [name for name in names if _has_kernels(name) and not is_compiled(name)]


def _steps(recipe: Recipe) -> Iterator[Step]:
    for node in recipe.nodes.values():
        if isinstance(node, DatasetNode):
            yield from node.steps


def _stages(recipe: Recipe) -> Iterator[Any]:
    """The stages of every mix."""
    return (node.node.stages for node in recipe.nodes.values() if not isinstance(node, DatasetNode) and hasattr(node.node, "stages"))


def _modules(recipe: Recipe) -> Iterator[str]:
    """Where the classes of the recipe live."""
    for node in recipe.nodes.values():
        if not isinstance(node, DatasetNode):
            yield type(node.node).__module__
            continue
        if node.reader is not None:
            yield type(node.reader).__module__
        yield registry.load("writers", node.write.format).__module__
    known = registry.table("steps")
    for step in _steps(recipe):
        yield type(step).__module__
        yield from (registry.load("steps", name).__module__ for name in _texts(step.model_dump()) if name in known)


def _texts(value: Any) -> Iterator[str]:
    """All strings in settings, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts(key)
            yield from _texts(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _texts(inner)


@cache
def _imports(module: str) -> tuple[str, ...]:
    """Modules of curate that a module imports."""
    path = _path(module)
    if path is None:
        return ()
    found: list[str] = []
    for package, names, whole in _IMPORTED.findall(path.read_text(encoding="utf-8")):
        found.append(package or whole)
        found += [f"{package}.{name}" for name in re.findall(r"\w+", names)]
    return tuple(name for name in dict.fromkeys(found) if _path(name) is not None)


def _path(module: str) -> Path | None:
    """The source of a module of curate, or of one that is loaded; None where there is none (a name inside a module)."""
    if module.startswith("curate."):
        return _own(module)
    source = getattr(sys.modules.get(module), "__file__", None)
    return Path(source) if source else None


@cache
def _own(module: str) -> Path | None:
    file = os.path.join(HERE, *module.split(".")[1:]) + ".py"
    return Path(file) if os.path.isfile(file) else None


def _has_kernels(name: str) -> bool:
    return "@kernel(" in (HERE / "kernels" / f"{name}.py").read_text(encoding="utf-8")
