"""What a verifier is: settings, and a function from (prompt, answer, row) to a score."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from curate.errors import DataError, RecipeError
from curate.registry import nearest

VERIFIERS = {
    "math": "formats.scoring.answer_checks:Math",
    "choice": "formats.scoring.answer_checks:Choice",
    "exact": "formats.scoring.answer_checks:Exact",
    "f1": "formats.scoring.answer_checks:F1",
    "regex": "formats.scoring.answer_checks:Regex",
    "json_schema": "formats.scoring.answer_checks:JsonSchema",
    "code": "formats.scoring.unit_tests:Code",
    "instructions": "formats.scoring.instructions:Instructions",
    "length": "formats.scoring.shape:Length",
    "format": "formats.scoring.shape:Format",
}


class Verifier(BaseModel):
    """Base of verifiers. Fields are its settings.

    `check` gets the prompt's last user turn, the answer's text, and the other fields of the row (`Record.meta`). It returns a score, or None
    where it can't tell: no reference, an answer that can't be read by it. It never raises for an answer's sake.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    name: ClassVar[str]
    summary: ClassVar[str] = ""

    def prepare(self) -> None:
        """Load what `check` needs; raises MissingDependency. Called once before the first check."""

    def check(self, prompt: str, answer: str, row: Mapping[str, Any]) -> float | None:
        """The score of one answer."""
        raise NotImplementedError


@cache
def table() -> dict[str, str]:
    """Verifiers by name: ours, then those of installed packages (entry points `curate.verifiers`)."""
    from importlib.metadata import entry_points

    return {**{point.name: point.value for point in entry_points(group="curate.verifiers")}, **VERIFIERS}


def verifier(name: str, settings: Mapping[str, Any] | None = None) -> Verifier:
    """The verifier of that name. Raises RecipeError with the nearest name, ValidationError for wrong settings."""
    known = table()
    if name not in known:
        raise RecipeError(f"unknown verifier {name!r}.{nearest(name, list(known))} There are: {', '.join(known)}.")
    module, _, attribute = known[name].partition(":")
    made: Verifier = getattr(importlib.import_module(module), attribute)(**dict(settings or {}))
    return made


def field_of(row: Mapping[str, Any], name: str) -> Any:
    """A field of the row, by its name or by a dotted way into objects; None where it is not there."""
    if name in row:
        return row[name]
    value: Any = row
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
    return value


def text_field(row: Mapping[str, Any], name: str) -> str | None:
    """A field as text; a number is written out, null and missing are None. Raises DataError for an object or a list."""
    value = field_of(row, name)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return repr(value)
    raise DataError(f"the field {name!r} holds {type(value).__name__}, expected text or a number")


def text_fields(row: Mapping[str, Any], name: str) -> list[str] | None:
    """A field as a list of texts: a single one is a list of one. None where it is not there, or empty."""
    value = field_of(row, name)
    if isinstance(value, list):
        return [v if isinstance(v, str) else repr(v) for v in value] or None
    found = text_field(row, name)
    return None if found is None else [found]
