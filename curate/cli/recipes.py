"""`curate validate`, `plan`, `steps`, `schema`: start, check and understand a recipe."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from curate.cli.running import OnlyOption, OutOption, PluginOption, RecipeArgument, SetOption


def validate(
    recipe: RecipeArgument,
    set_: SetOption = None,
    plugin: PluginOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object: name and nodes.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but mistakes.")] = False,
) -> None:
    """Check a recipe: every mistake at once, nothing is run or written."""
    from curate.recipe import load_recipe

    loaded = load_recipe(str(recipe), set_ or (), plugin or ())
    if as_json:
        typer.echo(json.dumps({"recipe": loaded.name, "nodes": list(loaded.nodes)}))
    elif not quiet:
        typer.echo(f"{recipe}: {len(loaded.nodes)} nodes, no mistakes: {', '.join(loaded.nodes)}")


def plan(
    recipe: RecipeArgument,
    out: OutOption = None,
    only: OnlyOption = None,
    set_: SetOption = None,
    plugin: PluginOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as one JSON object.")] = False,
) -> None:
    """Show what a run would do: stages, tasks, what is reused, whether mixes are feasible."""
    from rich.console import Console

    from curate import api
    from curate.cli.planning import plan_record, plan_view
    from curate.recipe import load_recipe

    loaded = load_recipe(str(recipe), set_ or (), plugin or ())
    record = plan_record(loaded, api.run_folder(loaded, out, None), tuple(only or ()))
    if as_json:
        typer.echo(json.dumps(record, ensure_ascii=False))
    else:
        Console().print(plan_view(record))


def _step_names(start: str) -> list[str]:
    """Steps that begin so, for the shell."""
    from curate import registry

    return [name for name in registry.names("steps") if name.startswith(start)]


def steps(
    name: Annotated[str | None, typer.Argument(help="A step, for all about it.", autocompletion=_step_names)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """List all steps, or show one: parameters, defaults, bounds, columns, source."""
    from dataclasses import asdict

    from curate import describe

    if name is not None:
        card = describe.describe_step(name)
        typer.echo(json.dumps(asdict(card), ensure_ascii=False) if as_json else card.text())
        return
    rows = describe.list_steps()
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in rows], ensure_ascii=False))
        return
    for row in rows:
        typer.echo(f"{row.name:<18} {row.kind:<7} {row.summary}")
    typer.echo("\ncurate steps NAME shows parameters, defaults, bounds, columns and source.")


def schema() -> None:
    """Print the JSON Schema of recipes, for editors."""
    from curate.recipe_schema import json_schema

    typer.echo(json.dumps(json_schema(), indent=1))
