"""`curate tune`: what every bound of a recipe does to a sample."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curate.cli.output import JsonOption, QuietOption, emit
from curate.cli.running import OutOption, PluginOption, RecipeArgument, SetOption


def tune(
    recipe: RecipeArgument,
    sample: Annotated[int, typer.Option("--sample", min=1, help="About so many documents of each input.")] = 2000,
    examples: Annotated[int, typer.Option("--examples", min=0, max=1000, help="Documents to show on either side of each bound.")] = 10,
    step: Annotated[list[str] | None, typer.Option("--step", help="Show only this step; repeat for more.")] = None,
    out: OutOption = None,
    set_: SetOption = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Worker processes. Default: one per core.")] = None,
    plugin: PluginOption = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write the report to this file.")] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show what every bound of a recipe does: distribution, share dropped, documents on either side."""
    from rich.console import Console

    from curate import api
    from curate.cli.display import make_display
    from curate.errors import Interrupted, RecipeError
    from curate.recipe import load_recipe
    from curate.registry import nearest
    from curate.report.tuning_view import html_page, show
    from curate.tuning import tune as look

    loaded = load_recipe(str(recipe), set_ or (), plugin or ())
    folder = api.run_folder(loaded.name, out, None)
    try:
        with make_display(quiet) as display:
            found = look(loaded, folder.with_name(folder.name + "@tune"), sample, examples, display, workers)
    except KeyboardInterrupt as error:
        raise Interrupted("interrupted; run the same command to go on") from error
    if step:
        known = sorted({b.step for d in found for b in d.found})
        unknown = next((s for s in step if s not in known), None)
        if unknown is not None:
            raise RecipeError(
                f"--step {unknown!r}: no step of that name has bounds here.{nearest(unknown, known)} There is: {', '.join(known)}."
            )
    shown = [(d, tuple(b for b in d.found if not step or b.step in step)) for d in found]
    if html is not None:
        html.write_text(
            html_page(loaded.name, [(d.name, d.documents, bounds, d.left_out, d.advice(bounds)) for d, bounds in shown]), encoding="utf-8"
        )
    if not quiet:
        console = Console(stderr=as_json)
        for dataset, bounds in shown:
            if bounds:
                show(console, dataset.name, dataset.documents, bounds, dataset.left_out, dataset.advice(bounds), examples)
        if html is not None:
            console.print(f"wrote {html}")
    if as_json:
        datasets = {d.name: {**d.record(), "signals": [b.record() for b in bounds], "advice": d.advice(bounds)} for d, bounds in shown}
        emit({"recipe": loaded.name, "sample": sample, "datasets": datasets})
