"""The tree of commands. Installed packages add theirs through the entry point group `curate.commands`.

A command's module is imported when the command is named, or when help lists all of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer

from curate.cli.output import uniform
from curate.registry import installed

COMMANDS = {
    "init": "curate.cli.starting:init",
    "validate": "curate.cli.recipes:validate",
    "plan": "curate.cli.recipes:plan",
    "run": "curate.cli.running:run",
    "status": "curate.cli.look:status",
    "inspect": "curate.cli.look:inspect",
    "steps": "curate.cli.recipes:steps",
    "schema": "curate.cli.recipes:schema",
    "tune": "curate.cli.tuning:tune",
    "gc": "curate.cli.running:gc",
    "export": "curate.cli.exports:export",
    "report": "curate.cli.reports:report",
    "trace": "curate.cli.training:trace",
    "verify": "curate.cli.training:verify",
    "why": "curate.cli.documents:why",
    "diff": "curate.cli.documents:diff",
    "card": "curate.cli.reports:card",
    "push": "curate.cli.reports:push",
    "tokenizer": "curate.cli.tokenizers:app",
    "audit": "curate.cli.audits:app",
    "index": "curate.cli.indexes:app",
    "classifier": "curate.cli.classifiers:app",
}


def build_app(arguments: list[str]) -> typer.Typer:
    """The command that the arguments name; all of them where they name none that is known, for help and completion."""
    app = typer.Typer(
        name="curate",
        help="From raw text to training data: one declarative recipe, every document accounted for.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    wanted = next((a for a in arguments if not a.startswith("-")), None)
    if wanted in COMMANDS:
        _add(app, wanted)
        return app
    points = installed("curate.commands")
    if wanted in {point.name for point in points}:
        points = [point for point in points if point.name == wanted]
    else:
        for name in COMMANDS:
            _add(app, name)
    for point in points:
        _add(app, point.name, point.load())
    return app


def _add(app: typer.Typer, name: str, command: Any = None) -> None:
    """A command or a group of them, each with --json, --quiet and --verbose. command: None imports ours of that name."""
    if command is None:
        module, _, attribute = COMMANDS[name].partition(":")
        command = getattr(import_module(module), attribute)
    if not isinstance(command, typer.Typer):
        app.command(name)(uniform(command))
        return
    for info in command.registered_commands:
        if info.callback is not None:
            info.callback = uniform(info.callback)
    app.add_typer(command, name=name)


def _version(wanted: bool) -> None:
    if wanted:
        from curate import __version__

        typer.echo(f"curate {__version__}")
        raise typer.Exit


def _options(version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version.")) -> None:
    """From raw text to training data: one declarative recipe, every document accounted for."""
