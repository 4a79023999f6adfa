"""The record and the picture behind `curate plan`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from curate.cli.estimates import estimates
from curate.errors import RecipeError
from curate.node import NodeInput
from curate.recipe_nodes import DatasetNode, Recipe, SpecialNode
from curate.report.words import size
from curate.runner import check_nodes, forecast

GUARDS = {"decontaminate": "decontamination", "pii": "removal of personal data"}


def plan_record(recipe: Recipe, out: Path, only: tuple[str, ...]) -> dict[str, Any]:
    """The plan as plain data."""
    from curate.cli.forecasts import step_forecasts

    stages = forecast(recipe, out, only)
    known = known_inputs(recipe, out)
    exact = {name for name, entry in known.items() if entry.digest}
    told = step_forecasts(recipe, out, known)
    guessed, basis = estimates(recipe, stages, out)
    for name, entry in guessed.items():
        known.setdefault(name, entry)
    nodes = [n for n in recipe.nodes.values() if isinstance(n, SpecialNode)]
    all_exact = all(i in exact for n in nodes for i in n.node.inputs())
    made = {s["node"] for s in stages}
    missing = {
        name: [text for step, text in GUARDS.items() if all(s.name != step for s in node.steps)]
        for name, node in recipe.nodes.items()
        if name in made and isinstance(node, DatasetNode) and node.reader is not None
    }
    return {
        "recipe": recipe.name,
        "out": str(out),
        "stages": stages,
        "nodes": check_nodes(recipe, known, all_exact),
        "steps": {name: lines for name, lines in told.items() if name in made},
        "estimated": not all_exact,
        "basis": basis,
        "without": {name: texts for name, texts in missing.items() if texts},
    }


def for_gpu(recipe: Recipe, gpu: str | None, price: float | None) -> list[str]:
    """Overrides that tell every model which plans by the GPU (its settings have `gpu` and `price`) what to plan for."""
    wanted = [
        name
        for name, node in recipe.nodes.items()
        if isinstance(node, SpecialNode) and {"gpu", "price"} <= type(node.node).model_fields.keys()
    ]
    if not wanted:
        raise RecipeError(f"--gpu and --price: {recipe.name} has no model whose time is planned by the GPU (train: pretrain).")
    given = {"gpu": gpu, "price": price}
    return [f"models.{name}.{key}={json.dumps(value)}" for name in wanted for key, value in given.items() if value is not None]


def known_inputs(recipe: Recipe, out: Path) -> dict[str, NodeInput]:
    """Figures of nodes that an earlier run finished."""
    path = out / "manifest.json"
    if not path.exists():
        return {}
    manifest = json.loads(path.read_bytes())
    return {
        name: NodeInput(name, str(out / name), (), entry["digest"], entry["rows_out"], entry["tokens"], entry.get("bytes", 0))
        for kind in ("datasets", "models")
        for name, entry in manifest[kind].items()
        if name in recipe.nodes
    }


def what_it_does(stage: dict[str, Any]) -> str:
    """Steps by name; a phase that has a stage of its own is named by its label already."""
    if stage["kind"] == "records" or (len(stage["steps"]) == 1 and stage["label"].endswith(stage["steps"][0])):
        return ""
    return ", ".join(stage["steps"]) or ("write" if stage["kind"] == "documents" else "")


def plan_view(record: dict[str, Any]) -> RenderableType:
    """The plan for people."""
    table = Table(title=Text.assemble((record["recipe"], "bold"), f" -> {record['out']}"), title_justify="left", box=None, pad_edge=False)
    table.add_column("stage", no_wrap=True)
    table.add_column("does", overflow="fold", ratio=1)
    for column in ("tasks", "input"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for stage in record["stages"]:
        does = what_it_does(stage)
        tasks = "" if stage["tasks"] is None else str(stage["tasks"])
        amount = "" if stage["bytes"] is None else size(stage["bytes"])
        style = "green" if stage["state"] == "done" else "dim" if stage["state"] == "open" else ""
        state = "later" if stage["state"] == "open" else stage["state"]
        table.add_row(stage["label"], does, tasks, amount, Text(state, style=style))
    parts: list[RenderableType] = [table]
    for name, lines in record["nodes"].items():
        about = f"  (from estimates: {record['basis']})" if record["estimated"] else ""
        parts += [Text(""), Text.assemble((name, "bold"), (about, "yellow")), Text("\n".join(lines))]
    for name, lines in record["steps"].items():
        parts += [Text(""), Text(name, style="bold"), Text("\n".join(lines))]
    for name, texts in record["without"].items():
        parts += [Text(""), Text(f"{name} runs without {' and '.join(texts)}.", style="yellow")]
    return Group(*parts)
