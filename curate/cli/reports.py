"""`curate report`, `card`, `push`: what a run did, as a page, as a card, and on the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curate.cli.output import JsonOption, QuietOption, emit

RunArgument = Annotated[Path, typer.Argument(help="A finished run folder.")]


def report(
    run: RunArgument,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write. Default: report.html in the run folder.")] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Draw without matplotlib, as at the end of every run: faster.")] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write a page about a run: funnels, reasons, distributions with bounds, duplicates, personal data, mixes, examples."""
    from rich.console import Console

    from curate.report.page import write_report
    from curate.report.plots import has_library
    from curate.report.run_folder import open_run

    found = open_run(run)
    console = Console(stderr=True, quiet=quiet)
    with console.status("reading the run"):
        path = write_report(found.root, has_library() and not plain, out)
    if as_json:
        emit({"report": str(path), "bytes": path.stat().st_size, "library": has_library() and not plain})
    elif not quiet:
        hint = "" if plain or has_library() else "  (finer plots: pip install 'curate[report]')"
        typer.echo(f"wrote {path}, {path.stat().st_size / 1e6:.2f} MB{hint}")


def card(
    run: RunArgument,
    compare: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 where a line of the card is not what the run says.")
    ] = False,
    ask: Annotated[bool, typer.Option("--ask", help="Ask for what only a person knows and keep it in RUN/about.yaml.")] = False,
    about: Annotated[Path | None, typer.Option("--about", help="That file. Default: about.yaml in the run folder.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The card. Default: card.md in the run folder.")] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write or check the Hugging Face dataset card of a run, and cards of its models; every number is the manifest's."""
    from curate.report.card import NAME, check, write_card

    if compare:
        path = out or run / NAME
        if not path.exists():
            from curate.errors import RecipeError

            raise RecipeError(f"{path} does not exist. `curate card {run}` writes it.")
        wrong = check(run, about, out)
        if as_json:
            emit({"card": str(path), "differences": [vars(d) for d in wrong]})
        elif not quiet:
            typer.echo("\n".join(f"{path}, {d}" for d in wrong) or f"{path}: every line is what the run says")
        raise typer.Exit(1 if wrong else 0)
    if ask:
        _ask(run, about)
    written = write_card(run, about, out)
    if as_json:
        emit({"cards": [str(p) for p in written]})
    elif not quiet:
        typer.echo("\n".join(f"wrote {path}" for path in written))


def _ask(run: Path, about: Path | None) -> None:
    import yaml

    from curate.report.about import NAME, ask, load_about
    from curate.report.run_folder import open_run
    from curate.store import write_atomic

    path = about or run / NAME
    read = [name for name, entry in open_run(run).datasets.items() if not entry.get("from")]
    answers = ask(load_about(path), read, lambda question: typer.prompt(question, default="", show_default=False))
    write_atomic(path, yaml.safe_dump(answers, sort_keys=False, allow_unicode=True).encode())
    load_about(path)  # says what is wrong with an answer


def push(
    run: RunArgument,
    repository: Annotated[str, typer.Argument(help="OWNER/NAME on the hub.")],
    dataset: Annotated[list[str] | None, typer.Option("--dataset", help="Only this one; repeat for more. Default: all.")] = None,
    private: Annotated[bool, typer.Option("--private/--public", help="Who may see a repository that does not exist yet.")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be pushed, send nothing.")] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Push datasets, card and manifest to the Hugging Face hub; dropped rows and ledgers stay here."""
    from curate.report.push import prepare
    from curate.report.push import push as send
    from curate.report.words import size

    upload = prepare(run, repository, dataset or ())
    record = {"repository": repository, "files": [inside for inside, _ in upload.files], "bytes": upload.bytes, "address": None}
    if not dry_run:
        record["address"] = send(upload, private, said=lambda text: None if quiet or as_json else typer.echo(text, err=True))
    if as_json:
        emit(record)
    elif not quiet:
        where = record["address"] or f"would go to {repository}"
        typer.echo(f"{len(upload.files)} files, {size(upload.bytes)}: {where}")
