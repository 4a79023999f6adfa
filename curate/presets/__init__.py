"""Published recipes by name: `- preset: fineweb` in a list of steps stands for the steps of `fineweb.yaml` here.

A preset is a file of this folder with the keys `summary` (one line), `source` (paper or code that it follows, and where
it differs) and `steps`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

from curate.errors import RecipeError
from curate.recipe_yaml import Item, Problems, parse


@dataclass(frozen=True)
class Preset:
    """A named list of steps."""

    name: str
    summary: str
    source: str
    steps: tuple[Item, ...]


def names() -> list[str]:
    """Names of all presets, sorted."""
    files = (entry.name for entry in resources.files(__package__).iterdir())
    return sorted(name.removesuffix(".yaml") for name in files if name.endswith(".yaml"))


def load(name: str) -> Preset:
    """Read a preset. KeyError where there is none; RecipeError where its file is wrong."""
    if name not in names():
        raise KeyError(name)
    file = f"{name}.yaml"
    problems = Problems(f"preset {name}")
    tree = parse((resources.files(__package__) / file).read_text(encoding="utf-8"), problems)
    problems.raise_all()
    if not tree.is_mapping or set(tree.value) != {"summary", "source", "steps"} or not tree.value["steps"].is_list:
        raise RecipeError(f"The preset {name!r} must have the keys summary, source and steps (a list).")
    texts = {key: " ".join(str(tree.value[key].plain()).split()) for key in ("summary", "source")}
    return Preset(name, texts["summary"], texts["source"], tree.value["steps"].value)
