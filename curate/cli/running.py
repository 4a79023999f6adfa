"""`curate run` and `curate gc`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curate.cli.output import JsonOption, QuietOption, VerboseOption, emit

RecipeArgument = Annotated[Path, typer.Argument(help="The recipe, a YAML file.")]
OutOption = Annotated[Path | None, typer.Option("--out", help="Folder for the results. Default: runs/<recipe name>.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="Override a value: datasets.web.steps.language.min_score=0.8", metavar="K=V")
]
PluginOption = Annotated[
    list[str] | None, typer.Option("--plugin", help="Python file with steps of your own. It is run: only files you trust.")
]
OnlyOption = Annotated[list[str] | None, typer.Option("--only", help="Only this dataset or model and what it needs.")]


def run(
    recipe: RecipeArgument,
    out: OutOption = None,
    only: OnlyOption = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Worker processes. Default: one per core.")] = None,
    executor: Annotated[str, typer.Option("--executor", help="local or ray.")] = "local",
    set_: SetOption = None,
    sample: Annotated[int | None, typer.Option("--sample", min=1, help="Run on about N documents of each input, in <out>@sample.")] = None,
    plugin: PluginOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Run a recipe. What is finished is reused; after an interruption the same command goes on."""
    from curate import api
    from curate.cli import ahead
    from curate.errors import Interrupted

    try:
        with ahead.take(executor, workers) as runner:
            from curate.cli.display import make_display

            with make_display(quiet) as display:
                result = api.run(recipe, out=out, only=only or (), set=set_ or (), sample=sample, executor=runner,
                                 plugins=plugin or (), display=display)  # fmt: skip
    except KeyboardInterrupt as error:
        raise Interrupted("interrupted; run the same command to go on") from error
    if not quiet:
        from rich.console import Console

        from curate.report.funnel import print_summary, print_times

        console = Console(stderr=as_json)
        print_summary(console, result.manifest, str(result.out), result.seconds, result.tasks["run"], result.tasks["reused"])
        if (result.out / "report.html").exists():
            console.print(f"report: {result.out / 'report.html'}", style="dim", markup=False, highlight=False, soft_wrap=True)
        if verbose:
            print_times(console, result.manifest)
    if as_json:
        emit(result.summary())


def gc(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Remove stages and old versions of datasets that the run's manifest does not name."""
    from curate.report.words import size
    from curate.runner import collect_garbage

    removed, freed = collect_garbage(run)
    if as_json:
        emit({"folders": removed, "bytes": freed})
    elif not quiet:
        typer.echo(f"removed {removed} folders, {size(freed)}")
