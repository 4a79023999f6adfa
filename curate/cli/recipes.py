"""`curate validate`, `plan`, `steps`, `schema`: start, check and understand a recipe."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from curate.cli.output import JsonOption, QuietOption, emit
from curate.cli.running import OnlyOption, OutOption, PluginOption, RecipeArgument, SetOption


def validate(
    recipe: RecipeArgument,
    set_: SetOption = None,
    plugin: PluginOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Check a recipe: every mistake at once, nothing is run or written."""
    from curate.recipe import load_recipe

    loaded = load_recipe(str(recipe), set_ or (), plugin or ())
    if as_json:
        emit({"recipe": loaded.name, "nodes": list(loaded.nodes)})
    elif not quiet:
        typer.echo(f"{recipe}: {len(loaded.nodes)} nodes, no mistakes: {', '.join(loaded.nodes)}")


def plan(
    recipe: RecipeArgument,
    out: OutOption = None,
    only: OnlyOption = None,
    set_: SetOption = None,
    plugin: PluginOption = None,
    gpu: Annotated[str | None, typer.Option("--gpu", help="GPU to count time and money of pretraining for, such as h100.")] = None,
    price: Annotated[float | None, typer.Option("--price", min=0, help="Dollars an hour of that GPU.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a run would do: stages, tasks, what is reused, whether mixes are feasible."""
    from rich.console import Console

    from curate import api
    from curate.cli.planning import for_gpu, plan_record, plan_view
    from curate.recipe import load_recipe

    loaded = load_recipe(str(recipe), set_ or (), plugin or ())
    if gpu is not None or price is not None:
        loaded = load_recipe(str(recipe), [*(set_ or ()), *for_gpu(loaded, gpu, price)], plugin or ())
    record = plan_record(loaded, api.run_folder(loaded.name, out, None), tuple(only or ()))
    if as_json:
        emit(record)
    else:
        Console().print(plan_view(record))


def _step_names(start: str) -> list[str]:
    """Steps that begin so, for the shell."""
    from curate import registry

    return [name for name in registry.names("steps") if name.startswith(start)]


def steps(
    name: Annotated[str | None, typer.Argument(help="A step, for all about it.", autocompletion=_step_names)] = None,
    as_json: JsonOption = False,
) -> None:
    """List all steps, or show one: parameters, defaults, bounds, columns, source."""
    from dataclasses import asdict

    from curate import describe

    if name is not None:
        card = describe.describe_step(name)
        if as_json:
            emit(asdict(card))
        else:
            typer.echo(card.text())
        return
    rows = describe.list_steps()
    if as_json:
        emit([asdict(row) for row in rows])
        return
    for row in rows:
        typer.echo(f"{row.name:<18} {row.kind:<7} {row.summary}")
    typer.echo("\ncurate steps NAME shows parameters, defaults, bounds, columns and source.")


def schema(as_json: JsonOption = False) -> None:
    """Print the JSON Schema of recipes, for editors; with --json on one line."""
    from curate.recipe_schema import json_schema

    if as_json:
        emit(json_schema())
    else:
        typer.echo(json.dumps(json_schema(), indent=1))
