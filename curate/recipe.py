"""The recipe: one YAML file that names datasets and models, read into typed settings with every mistake reported at once.

    web_en.yaml:14: steps[3] dedup_minhash.bands must be an integer in 1..256, got '20x'.

Loading runs in five passes over one tree of values with positions: parse, expand presets, apply `--set`, unroll rounds, build settings.
Then the graph is checked (`curate.recipe_check`). Nothing is written, no text is read, no step is bound.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence
from typing import cast

from curate import plugins as plugin_files
from curate import recipe_build, recipe_check, recipe_rounds, registry
from curate.errors import Problem, RecipeError
from curate.recipe_nodes import DatasetNode, Recipe, SpecialNode
from curate.recipe_overrides import apply_override
from curate.recipe_steps import expand_presets
from curate.recipe_yaml import Problems, parse_file


def load_recipe(path: str, overrides: Sequence[str] = (), plugins: Sequence[str] = ()) -> Recipe:
    """Read and check a recipe. Raises RecipeError that holds every mistake, each with file and line."""
    problems = Problems(path)
    registry.forget_plugins()
    loaded = _plugins(plugins, problems)
    if not os.path.isfile(path):
        raise RecipeError(*problems.found, Problem(_no_file(path), path))
    tree = expand_presets(parse_file(path, problems), problems)
    for override in overrides:
        tree = expand_presets(apply_override(tree, override, problems), problems)
    rounds = recipe_rounds.rounds_of(tree)
    tree = recipe_rounds.with_controls(recipe_rounds.expand_rounds(tree, problems), problems)
    folder = os.path.dirname(os.path.abspath(path))
    built = recipe_build.Builder(tree, _stem(path), folder, problems).build()
    recipe_check.check(built, folder, problems)
    problems.raise_all()
    nodes = {name: cast("DatasetNode | SpecialNode", draft.node) for name, draft in built.drafts.items()}
    return Recipe(built.name, built.seed, os.path.abspath(path), folder, nodes, loaded, built.resolved(), tuple(overrides), rounds)


def _plugins(paths: Sequence[str], problems: Problems) -> tuple[str, ...]:
    for path in paths:
        try:
            plugin_files.load_plugin(path)
        except RecipeError as error:
            problems.found += error.problems
    return tuple(os.path.abspath(path) for path in paths)


def _no_file(path: str) -> str:
    if os.path.isdir(path):
        return "is a folder; expected a recipe, a YAML file."
    folder = os.path.dirname(path) or "."
    there = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    near = difflib.get_close_matches(os.path.basename(path), there, n=1)
    return "there is no such file." + (f" Did you mean {os.path.join(os.path.dirname(path), near[0])!r}?" if near else "")


def _stem(path: str) -> str:
    """Default name: the file's, with what a name can't hold replaced."""
    stem = os.path.basename(path).removesuffix(".yaml").removesuffix(".yml")
    return re.sub(r"[^A-Za-z0-9_.-]", "_", stem).lstrip(".-") or "recipe"
