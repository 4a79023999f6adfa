"""What can be said of a step without running it: the texts of `curate steps` and `curate steps NAME`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import PydanticUndefined

from curate import registry
from curate.errors import CurateError, RecipeError
from curate.settings import Field, fields, shown
from curate.step import CorpusStep, Step

R = TypeVar("R", bound=object)


@dataclass(frozen=True)
class StepRow:
    """One line of the list of steps."""

    name: str
    kind: str  # map, filter or corpus
    summary: str


@dataclass(frozen=True)
class Parameter:
    """One setting of a step."""

    name: str
    allowed: str  # in words, with bounds: "an integer in 1..256"
    default: str  # as the recipe would spell it; "" where it is required
    required: bool
    description: str


@dataclass(frozen=True)
class StepCard:
    """All there is to know about a step."""

    name: str
    kind: str
    summary: str
    details: str  # the rest of the docstring
    origin: str
    shorthand: str | None
    parameters: tuple[Parameter, ...]
    reads: tuple[str, ...]
    adds: dict[str, str]  # column -> type, with default settings
    annotates: dict[str, str]  # further columns with `mode: annotate`
    removes: tuple[str, ...]
    drops: tuple[str, ...]  # reasons, in the order they are tested

    def text(self) -> str:
        """The card as plain text."""
        return "\n".join(_lines(self))


def list_steps() -> list[StepRow]:
    """Every step that can be loaded, in the registry's order; one that can't says why in its summary."""
    return [_row(name) for name in registry.names("steps")]


def describe_step(name: str) -> StepCard:
    """All about one step. Raises RecipeError for an unknown name."""
    known = registry.names("steps")
    if name not in known:
        raise RecipeError(f"unknown step {name!r}.{registry.nearest(name, known)} `curate steps` lists all {len(known)}.")
    cls: type[Step] = registry.load("steps", name)
    summary, details = summary_of(cls)
    adds, annotated = columns_added(cls), columns_added(cls, mode="annotate")
    return StepCard(
        name,
        kind_of(cls),
        summary,
        details,
        cls.origin,
        cls.shorthand,
        tuple(parameters(cls)),
        tuple(sorted(_ask(cls, lambda step: step.reads()) or ())),
        adds,
        {column: kind for column, kind in annotated.items() if column not in adds},
        tuple(sorted(_ask(cls, lambda step: step.removes()) or ())),
        _ask(cls, lambda step: step.drops()) or (),
    )


def kind_of(cls: type[Step]) -> str:
    """map, filter (it may drop documents), or corpus (it looks at other documents too)."""
    if issubclass(cls, CorpusStep):
        return "corpus"
    reasons = _ask(cls, lambda step: step.drops())
    return "filter" if "mode" in cls.model_fields or reasons else "map"


def parameters(cls: type[Any]) -> list[Parameter]:
    """Settings of a step, reader or node class, in order; those that every step has come last."""
    return [
        Parameter(key, Field.of(info).text() or "see the description", _default(info), info.is_required(), info.description or "")
        for key, info in sorted(fields(cls).items(), key=lambda entry: entry[0] in Step.model_fields)
    ]


def columns_added(cls: type[Step], **settings: Any) -> dict[str, str]:
    """Columns that a step adds with its defaults and these settings, with their types; {} where that can't be told."""
    added = _ask(cls, lambda step: step.adds(), **settings)
    return {name: str(kind) for name, kind in (added or {}).items()}


def _ask(cls: type[Step], question: Callable[[Step], R], **settings: Any) -> R | None:
    """Answer of a step with default settings. Required ones are left out; a step that needs them to answer gives None."""
    if not settings.keys() <= cls.model_fields.keys():
        return None
    try:
        step = cls.model_construct(**settings) if any(info.is_required() for info in cls.model_fields.values()) else cls(**settings)
        return question(step)
    except (ValidationError, CurateError, AttributeError, TypeError, ValueError):
        return None


def _row(name: str) -> StepRow:
    try:
        cls = registry.load("steps", name)
    except (CurateError, ImportError) as error:
        return StepRow(name, "", f"can't be loaded: {error}")
    return StepRow(name, kind_of(cls), summary_of(cls)[0])


def summary_of(cls: type[Step]) -> tuple[str, str]:
    """Summary line and details: the class's own summary, else the first line of its docstring; then the rest of it."""
    doc = inspect.cleandoc(cls.__doc__ or "")
    first, _, rest = doc.partition("\n")
    if not cls.summary:
        return first, rest.strip()
    return cls.summary, rest.strip() if cls.summary.rstrip(".") == first.rstrip(".") else doc


def _default(info: Any) -> str:
    if info.default is not PydanticUndefined:
        value = info.default
    elif info.default_factory is not None:
        value = info.default_factory()
    else:
        return ""
    return shown(sorted(value) if isinstance(value, (set, frozenset)) else value)


def _lines(card: StepCard) -> Iterator[str]:
    yield f"{card.name}  ({card.kind})"
    yield f"  {card.summary}"
    if card.origin:
        yield f"  Source: {card.origin}"
    if card.details:
        yield ""
        yield from (f"  {line}".rstrip() for line in card.details.splitlines())
    if card.parameters:
        yield ""
        yield "Settings"
        name = max(len(p.name) for p in card.parameters)
        for p in card.parameters:
            yield f"  {p.name:<{name}}  {'required' if p.required else p.default:<10}  {p.allowed}"
            if p.description:
                yield f"  {'':<{name}}  {p.description}"
    if card.shorthand:
        yield f"  Short form: '- {card.name}: VALUE' sets {card.shorthand}."
    yield ""
    yield f"Reads     {', '.join(card.reads) or 'nothing'}"
    for label, columns in (("Adds", card.adds), ("Annotates", card.annotates)):
        if columns:
            yield f"{label:<9} {', '.join(f'{column} ({kind})' for column, kind in columns.items())}"
    if card.removes:
        yield f"Removes   {', '.join(card.removes)}"
    if card.drops:
        yield f"Drops     {', '.join(card.drops)}"
