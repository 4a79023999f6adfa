"""The filters and formatters of the installed datatrove that a recipe may name, and checks of their settings."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import textwrap
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

from curate.errors import MissingDependency
from curate.registry import nearest

Kind = Literal["filter", "formatter"]
_PACKAGES = {
    "filter": ("datatrove.pipeline.filters", "base_filter", "BaseFilter"),
    "formatter": ("datatrove.pipeline.formatters", "base", "BaseFormatter"),
}
_REFUSED = {
    "LambdaFilter": "it takes Python code; write a condition for the step `filter` instead",
    "SamplerFilter": "what it keeps depends on the order of documents; use the step `sample`",
}
_NOT_SETTINGS = {"self", "exclusion_writer"}


@cache
def classes(kind: Kind) -> dict[str, type[Any]]:
    """Classes by name, of the modules of datatrove's package alone. Raises MissingDependency where there is none."""
    package_name, base_module, base_name = _PACKAGES[kind]
    try:
        package = importlib.import_module(package_name)
        base = getattr(importlib.import_module(f"{package_name}.{base_module}"), base_name)
    except ModuleNotFoundError as error:
        raise MissingDependency.extra(error.name or "datatrove", "datatrove", "step datatrove") from error
    found: dict[str, type[Any]] = {}
    for module_info in pkgutil.iter_modules(package.__path__):
        try:
            module = importlib.import_module(f"{package_name}.{module_info.name}")
        except ModuleNotFoundError:
            continue  # a filter that wants a package of its own
        own = {n: c for n, c in vars(module).items() if inspect.isclass(c) and c.__module__ == module.__name__}
        found |= {n: c for n, c in own.items() if issubclass(c, base) and not inspect.isabstract(c)}
    return dict(sorted(found.items()))


def find(kind: Kind, name: str) -> type[Any]:
    """The class of that name. ValueError where it is none of datatrove's, or can't be a step."""
    known = classes(kind)
    if name in _REFUSED:
        raise ValueError(f"{name} can't be a step: {_REFUSED[name]}")
    if name not in known:
        other: Kind = "formatter" if kind == "filter" else "filter"
        if name in classes(other):
            raise ValueError(f"{name} is a {other}: write `{other}: {name}`")
        there = [n for n in known if n not in _REFUSED]
        raise ValueError(f"datatrove has no {kind} {name!r}.{nearest(name, there)} There is: {', '.join(there)}")
    return known[name]


def check(cls: type[Any], settings: Mapping[str, Any]) -> None:
    """ValueError where the class would not take these settings."""
    from pydantic import TypeAdapter, ValidationError

    parameters = {n: p for n, p in inspect.signature(cls.__init__).parameters.items() if n not in _NOT_SETTINGS}
    hints = _hints(cls)
    for name, value in settings.items():
        if name not in parameters:
            raise ValueError(f"{cls.__name__} has no setting {name!r}.{nearest(name, list(parameters))} It has: {', '.join(parameters)}")
        if value is None and parameters[name].default is None:
            continue
        hint = hints.get(name, Any)
        try:
            TypeAdapter(hint, config={"arbitrary_types_allowed": True}).validate_python(value)
        except ValidationError as error:
            said = inspect.formatannotation(hint)
            raise ValueError(f"{cls.__name__}.{name} must be {said}, got {value!r}") from error
    missing = [n for n, p in parameters.items() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD and n not in settings]
    if missing:
        raise ValueError(f"{cls.__name__} needs the setting {missing[0]!r}")


def _hints(cls: type[Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls.__init__)
    except (NameError, TypeError):
        return {}


def slug(reason: object) -> str:
    """A reason as ours are written: letters, digits and _."""
    return re.sub(r"[^a-z0-9]+", "_", str(reason).lower()).strip("_") or "dropped"


def reasons(cls: type[Any]) -> tuple[str, ...]:
    """Slugs that stand as text in `return False, "..."` of the class, in their order; "dropped" for one without a reason.

    A reason that is put together while it runs is not among them.
    """
    found = ["dropped"]
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(cls)))):
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple) and len(node.value.elts) == 2:
            reason = node.value.elts[1]
            if isinstance(reason, ast.Constant) and isinstance(reason.value, str):
                found.append(slug(reason.value))
    return tuple(dict.fromkeys(found))
