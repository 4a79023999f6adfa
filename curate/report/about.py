"""What only a person knows of a dataset, as a small YAML file: purpose, licence, sources, consent, contact.

    pretty_name: Python documentation
    licence: cc-by-4.0
    purpose: Pretraining text for demonstrations.
    sources:
      docs: {licence: "PSF-2.0 and others", url: "https://docs.python.org", note: installed packages}
    consent: Published under open licences; authors were not asked.
    contact: data@example.org

A card marks what is missing. Values are text; nothing of them is run or loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from curate.errors import Problem, RecipeError
from curate.registry import nearest

NAME = "about.yaml"

# What the Hugging Face hub takes as `license` of a repository (its documentation, "Licenses", 2026).
LICENCES = (
    "apache-2.0", "mit", "openrail", "bigscience-openrail-m", "creativeml-openrail-m", "bigscience-bloom-rail-1.0",
    "bigcode-openrail-m", "afl-3.0", "artistic-2.0", "bsl-1.0", "bsd", "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear", "c-uda",
    "cc", "cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-2.0",
    "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0",
    "cc-by-nc-sa-4.0", "cdla-sharing-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0", "wtfpl", "ecl-2.0", "epl-1.0", "epl-2.0",
    "etalab-2.0", "eupl-1.1", "eupl-1.2", "agpl-3.0", "gfdl", "gpl", "gpl-2.0", "gpl-3.0", "lgpl", "lgpl-2.1", "lgpl-3.0", "isc",
    "intel-research", "lppl-1.3c", "ms-pl", "mpl-2.0", "odc-by", "odbl", "openmdw-1.0", "openrail++", "osl-3.0", "postgresql",
    "ofl-1.1", "ncsa", "unlicense", "zlib", "pddl", "lgpl-lr", "llama2", "llama3", "llama3.1", "llama3.2", "llama3.3", "llama4",
    "gemma", "unknown", "other",
)  # fmt: skip


class Source(BaseModel):
    """Where a dataset's documents come from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    licence: str | None = Field(default=None, max_length=500, description="licence of the documents")
    url: str | None = Field(default=None, max_length=2000, description="where they were got")
    note: str | None = Field(default=None, max_length=2000, description="anything a user of the data must know")


class About(BaseModel):
    """Everything a card asks a person for. None: missing, and marked so."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pretty_name: str | None = Field(default=None, max_length=200, description="title of the card; default: the recipe's name")
    licence: str | None = Field(default=None, description="licence of the whole, as the hub names it: cc-by-4.0, odc-by, other")
    purpose: str | None = Field(default=None, max_length=5000, description="what the data are for, and what they are not for")
    sources: dict[str, Source] = Field(default={}, description="by dataset of the recipe")
    consent: str | None = Field(default=None, max_length=5000, description="what authors agreed to, how opt-outs are honoured")
    contact: str | None = Field(default=None, max_length=500, description="where to report a problem or ask for removal")
    gaps: str | None = Field(default=None, max_length=5000, description="known gaps and biases, beside those that the run shows")

    @field_validator("licence")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value is not None and value.lower() not in LICENCES:
            hint = nearest(value.lower(), list(LICENCES)) or " Write 'other' and say more under `sources`."
            raise ValueError(f"{value!r} is no licence that the hub knows.{hint}")
        return None if value is None else value.lower()


QUESTIONS = ("pretty_name", "licence", "purpose", "consent", "contact", "gaps")


def load_about(path: Path) -> About:
    """Read the file; an empty About where there is none. RecipeError naming the field for anything else than expected."""
    import yaml

    if not path.exists():
        return About()
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(Problem(f"can't be read as YAML: {error}", str(path))) from error
    if not isinstance(found, dict | None):
        raise RecipeError(Problem(f"must hold keys such as {', '.join(QUESTIONS)}, got {type(found).__name__}.", str(path)))
    try:
        return About.model_validate(found or {})
    except ValidationError as error:
        problems = [f"{'.'.join(str(p) for p in e['loc'])}: {e['msg'].removeprefix('Value error, ')}" for e in error.errors()]
        raise RecipeError(*(Problem(text, str(path)) for text in problems)) from error


def ask(known: About, datasets: list[str], prompt: Callable[[str], str]) -> dict[str, Any]:
    """Ask for what is missing; an empty answer leaves it so. prompt: shows a question, returns a line."""
    answers = known.model_dump(exclude_none=True)
    for key in QUESTIONS:
        if key not in answers:
            said = prompt(f"{key} ({About.model_fields[key].description})").strip()
            answers |= {key: said} if said else {}
    for name in datasets:
        if name not in known.sources:
            asked = (("licence", f"licence of the documents in {name}"), ("url", f"where {name} was got"))
            entry = {key: said for key, question in asked if (said := prompt(question).strip())}
            if entry:
                answers.setdefault("sources", {})[name] = entry
    return answers
