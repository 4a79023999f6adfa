"""From raw text to training data: one declarative recipe, every document accounted for.

import curate
result = curate.run("pipelines/quickstart.yaml")
table = result["docs"].table()
kept = curate.steps.gopher_quality(table, min_words=20)
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

__all__ = ["CurateError", "DataError", "RecipeError", "Result", "RunError", "StepError", "load_recipe", "read_dataset", "run", "steps"]

_WHERE = {
    "CurateError": "curate.errors",
    "DataError": "curate.errors",
    "RecipeError": "curate.errors",
    "RunError": "curate.errors",
    "StepError": "curate.errors",
    "Result": "curate.api",
    "read_dataset": "curate.api",
    "load_recipe": "curate.recipe",
}


def run(recipe: Any, **settings: Any) -> Any:
    """Run a recipe; see `curate.api.run`."""
    from curate.api import run as run_now

    return run_now(recipe, **settings)


def __getattr__(name: str) -> Any:
    if name == "steps":
        return importlib.import_module("curate.steps")
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'curate' has no attribute {name!r}")
