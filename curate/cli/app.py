"""The tree of commands. Installed packages add theirs through the entry point group `curate.commands`."""

from __future__ import annotations

import typer

from curate.cli import (
    audits,
    classifiers,
    documents,
    exports,
    indexes,
    look,
    recipes,
    reports,
    running,
    starting,
    tokenizers,
    training,
    tuning,
)
from curate.registry import installed


def build_app(arguments: list[str]) -> typer.Typer:
    """All commands; those of other packages are imported only when named or when help is shown."""
    app = typer.Typer(
        name="curate",
        help="From raw text to training data: one declarative recipe, every document accounted for.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    app.command("init")(starting.init)
    app.command("validate")(recipes.validate)
    app.command("plan")(recipes.plan)
    app.command("run")(running.run)
    app.command("status")(look.status)
    app.command("inspect")(look.inspect)
    app.command("steps")(recipes.steps)
    app.command("schema")(recipes.schema)
    app.command("tune")(tuning.tune)
    app.command("gc")(running.gc)
    app.command("export")(exports.export)
    app.command("report")(reports.report)
    app.command("trace")(training.trace)
    app.command("verify")(training.verify)
    app.command("why")(documents.why)
    app.command("diff")(documents.diff)
    app.command("card")(reports.card)
    app.command("push")(reports.push)
    app.add_typer(tokenizers.app, name="tokenizer")
    app.add_typer(audits.app, name="audit")
    app.add_typer(indexes.app, name="index")
    app.add_typer(classifiers.app, name="classifier")
    wanted = next((a for a in arguments if not a.startswith("-")), None)
    for point in installed("curate.commands"):
        if wanted is None or wanted == point.name:
            command = point.load()
            if isinstance(command, typer.Typer):
                app.add_typer(command, name=point.name)
            else:
                app.command(point.name)(command)
    return app


def _version(wanted: bool) -> None:
    if wanted:
        from curate import __version__

        typer.echo(f"curate {__version__}")
        raise typer.Exit


def _options(version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version.")) -> None:
    """From raw text to training data: one declarative recipe, every document accounted for."""
