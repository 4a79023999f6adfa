"""The settings that `write:` of a recipe may give a writer: the arguments of its class behind those that the engine gives."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from curate import registry
from curate.settings import shown

GIVEN = 4  # arguments that the engine gives: folder, stem, schema, metadata
KINDS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {  # by annotation: what a value must be, and whether it is
    "int": ("a whole number above 0", lambda value: isinstance(value, int) and not isinstance(value, bool) and value > 0),
    "bool": ("true or false", lambda value: isinstance(value, bool)),
    "str": ("text", lambda value: isinstance(value, str)),
}


def settings_of(writer: Any) -> dict[str, inspect.Parameter]:
    """The settings of a writer class; one that takes any (`**settings`) hands them on."""
    return {p.name: p for p in list(inspect.signature(writer).parameters.values())[GIVEN:]}


def wrong_settings(name: str, writer: Any, settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(setting, sentence) for each that the writer of this name does not take; those that it hands on are judged where they go."""
    known = settings_of(writer)
    open_ = [key for key, p in known.items() if p.kind is p.VAR_KEYWORD]
    for key, value in settings.items():
        if key in known and key not in open_:
            expected, fits = KINDS.get(str(known[key].annotation), ("", lambda value: True))
            if not fits(value):
                yield key, f"write.{key} must be {expected}, got {shown(value)}."
        elif not open_:
            form = f" The form is named by `write: {key}`, or `write: {{format: {key}}}`." if key in registry.names("writers") else ""
            yield key, f"write has no setting {key!r} for {name}.{registry.nearest(key, list(known))} It takes: {', '.join(known)}.{form}"
