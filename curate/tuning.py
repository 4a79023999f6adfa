"""Run a recipe's steps on a sample so that nothing is dropped, and look at what every bound would do."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from curate.errors import RecipeError
from curate.recipe_nodes import DatasetNode, Recipe, Write
from curate.report.tuning import Bounded, Columns, Question, advice, examine
from curate.step import CorpusStep, Signal, Step
from curate.steps.signal_table import signals_of

if TYPE_CHECKING:
    from curate.runner import Display


@dataclass(frozen=True)
class TunedDataset:
    """What was found in one dataset."""

    name: str
    documents: int
    found: tuple[Bounded, ...]
    left_out: tuple[str, ...]  # steps that have no numbers to show, or were not run
    steps: tuple[tuple[str, str], ...]  # name, and how a recipe writes it to annotate: 'language: {keep: [en], mode: annotate}'

    def advice(self, found: Sequence[Bounded]) -> str:
        """Lines for a recipe that annotates with the steps of these bounds, and filters."""
        wanted = {b.step for b in found}
        return advice(found, [text for name, text in self.steps if name in wanted])

    def record(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "documents": self.documents,
            "signals": [b.record() for b in self.found],
            "left_out": list(self.left_out),
            "advice": self.advice(self.found),
        }


def tune(
    recipe: Recipe, out: Path, sample: int, examples: int, display: Display | None = None, workers: int | None = None
) -> list[TunedDataset]:
    """Run every dataset that has bounded numbers on about `sample` documents of each input, in the folder `out`.

    Steps that can annotate do so and drop nothing; maps run as they are; filters without annotate mode, steps that look
    at other documents, and whatever takes the text away are left out. Raises RecipeError where no step has numbers.
    """
    from curate.api import Announced, make_executor
    from curate.runner import run_recipe

    changed, left_out = annotating(recipe)
    if not changed.nodes:
        raise RecipeError("No step of this recipe has a number with a bound. `curate steps NAME` shows what a step annotates.")
    with make_executor("local", workers) as executor:
        run_recipe(changed, out, Announced(executor, display, changed), display, (), sample)
    return [
        _look(name, node, out / name, examples, left_out[name])
        for name, node in changed.nodes.items()
        if isinstance(node, DatasetNode) and _bounds(node)
    ]


def annotating(recipe: Recipe) -> tuple[Recipe, dict[str, tuple[str, ...]]]:
    """(the recipe with datasets that annotate instead of dropping, steps left out by dataset).

    Datasets that lead to no bounded number are gone, models and mixes too.
    """
    nodes: dict[str, DatasetNode] = {}
    left_out: dict[str, tuple[str, ...]] = {}
    for name, node in recipe.nodes.items():
        if isinstance(node, DatasetNode) and (node.reader is not None or node.upstream in nodes):
            steps, out = _annotating(node)
            lines = tuple(node.step_lines[i] for i, _ in steps)
            nodes[name] = dataclasses.replace(node, steps=tuple(s for _, s in steps), step_lines=lines, write=Write(), keep_dropped="none")
            left_out[name] = out
    needed: set[str] = set()
    for name in reversed(nodes):
        if _bounds(nodes[name]) or name in needed:
            needed |= {name, nodes[name].upstream or name}
    kept: dict[str, Any] = {name: node for name, node in nodes.items() if name in needed}
    return dataclasses.replace(recipe, nodes=kept), left_out


def _annotating(node: DatasetNode) -> tuple[list[tuple[int, Step]], tuple[str, ...]]:
    """(place, step) of those that run, and the names of the others."""
    runs: list[tuple[int, Step]] = []
    out: list[str] = []
    taken: set[str] = set()
    for place, step in enumerate(node.steps):
        if "mode" in type(step).model_fields:
            annotated = step.model_copy(update={"mode": "annotate"})
            # A step named twice would write the same columns again: its first place counts.
            if taken & set(annotated.adds()) or not signals_of(annotated):
                out.append(step.name)
                continue
            taken |= set(annotated.adds())
            runs.append((place, annotated))
        elif isinstance(step, CorpusStep) or step.drops() or step.removes() or step.models():
            out.append(step.name)
        else:
            taken |= set(step.adds())
            runs.append((place, step))
    return runs, tuple(out)


def _bounds(node: DatasetNode) -> list[tuple[int, Step, Signal]]:
    return [(place, step, signal) for place, step in enumerate(node.steps) for signal in signals_of(step)]


def _look(name: str, node: DatasetNode, folder: Path, examples: int, left_out: tuple[str, ...]) -> TunedDataset:
    from curate.api import read_dataset

    table = read_dataset(folder)
    columns = Columns(table.column("id").to_pylist(), table.column("text").to_pylist(), table.column("source").to_pylist())
    questions = []
    for place, step, signal in _bounds(node):
        values = table.column(signal.column).cast(pa.float64()).to_numpy(zero_copy_only=False)
        bound = getattr(step, signal.setting)
        questions.append(Question(step.name, place, signal.column, signal.setting, signal.survives, None if bound is None else float(bound),
                                  pa.types.is_floating(step.adds()[signal.column]), np.asarray(values, np.float64)))  # fmt: skip
    steps = tuple((step.name, _written(step)) for step in node.steps if signals_of(step))
    return TunedDataset(name, table.num_rows, tuple(examine(questions, columns, examples)), left_out, steps)


def _written(step: Step) -> str:
    """An annotating step as a recipe writes it, without its bounds: they go to `filter`."""
    bounds = {signal.setting for signal in signals_of(step)}
    settings = {k: v for k, v in step.model_dump(mode="json", exclude_defaults=True).items() if k not in bounds}
    return f"{step.name}: {json.dumps(settings, ensure_ascii=False)}"
