"""`curate why` and `curate diff`: one document through a run, and two runs beside each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curate.cli.output import JsonOption, emit
from curate.cli.reports import RunArgument

if TYPE_CHECKING:
    from rich.console import Console

    from curate.report.why import Journey


def why(
    run: RunArgument,
    what: Annotated[str, typer.Argument(help="A document: its id, a URL, or a piece of its text.")],
    by: Annotated[str | None, typer.Option("--by", help="id, url or text. Default: tried in this order.")] = None,
    batch: Annotated[int | None, typer.Option("--batch", min=1, help="Windows of a training step: tells the steps that see it.")] = None,
    windows: Annotated[bool, typer.Option("--windows/--no-windows", help="Look for the training windows too: about a second more.")] = True,
    measure: Annotated[bool, typer.Option("--measure", help="Run the filters on the text and show every number beside its bound.")] = False,
    text: Annotated[bool, typer.Option("--text", help="Show the beginning of the text too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Tell what happened to a document: every step, value against bound, the partner, where its tokens went, who sees them."""
    from rich.console import Console

    from curate.errors import RecipeError
    from curate.report.run_folder import open_run
    from curate.report.why import add_windows
    from curate.report.why import measure as measured
    from curate.report.why import why as ask

    if by not in (None, "id", "url", "text"):
        raise RecipeError(f"--by must be id, url or text, got {by!r}.")
    found = open_run(run)
    journeys = ask(found, what, by)  # type: ignore[arg-type]  # checked above
    if as_json:
        for journey in journeys if windows else ():
            add_windows(found, journey, batch)
        numbers = [measured(found, journey) if measure else [] for journey in journeys]
        records = [
            journey.record() | ({"measured": [list(n) for n in mine]} if measure else {})
            for journey, mine in zip(journeys, numbers, strict=True)
        ]
        emit({"documents": records})
        return
    console = Console()
    for journey in journeys:
        _show(console, journey, text)
        if measure:
            _show_numbers(console, measured(found, journey))
        if windows and journey.tokens is not None:
            add_windows(found, journey, batch)
            _show_windows(console, journey)


def _show(console: Console, journey: Journey, with_text: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    from curate.report.words import visible

    style = "green" if journey.fate == "kept" else "red"
    head = Text.assemble((journey.dataset, "bold"), "  ", (journey.fate, style), f"  {visible(journey.id, 200)}")
    if journey.source:
        head.append(f"  from {visible(journey.source, 100)}", "dim")
    console.print(head)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", style="dim")
    for step in journey.path:
        colour = {"passed": "green", "dropped": "red", "not reached": "dim"}[step.fate]
        table.add_row(f"  {step.step}", Text(step.fate, style=colour), Text(step.note, style="" if step.fate == "dropped" else "dim"))
    console.print(table)
    if journey.columns:
        console.print(Text("  " + ", ".join(f"{k} {visible(str(v), 60)}" for k, v in journey.columns.items()), style="cyan"))
    console.print(Text(f"  {journey.file}, row {journey.row:,}", style="dim"))
    if journey.tokens is not None:
        console.print(Text(f"  {journey.tokens.count:,} tokens from token {journey.tokens.offset:,} of {journey.tokens.shard}"))
    if with_text:
        console.print(Text(journey.text if journey.text is not None else "the text is not kept in this run", style="dim"))


def _show_numbers(console: Console, numbers: list[tuple[str, str, float | None, str]]) -> None:
    from rich.table import Table

    from curate.report.words import number

    told = Table(box=None, pad_edge=False)
    for title in ("  step", "number", "value", "survives"):
        told.add_column(title, justify="right" if title == "value" else "left")
    for name, column, value, side in numbers:
        told.add_row(f"  {name}", column, "" if value is None else number(value), side)
    if numbers:
        console.print(told)


def _show_windows(console: Console, journey: Journey) -> None:
    from rich.text import Text

    for seen in journey.tokens.seen if journey.tokens is not None else ():
        few = ", ".join(f"{k:,}" for k in seen.windows[:12]) + (" ..." if seen.count > 12 else "")
        console.print(Text(f"  {seen.mix}: " + (seen.note or f"{seen.count:,} training windows: {few}")))
        for who, steps in seen.steps.items():
            console.print(Text(f"    {who}: steps {', '.join(f'{s:,}' for s in steps[:12])}{' ...' if len(steps) > 12 else ''}"))


def diff(
    first: Annotated[Path, typer.Argument(help="A finished run folder.")],
    second: Annotated[Path, typer.Argument(help="Another one, after a change.")],
    examples: Annotated[int, typer.Option("--examples", min=0, max=50, help="Documents to show for each reason.")] = 2,
    as_json: JsonOption = False,
) -> None:
    """Compare two runs: what changed in the recipe, which documents came or went and why, sizes and languages."""
    from rich.console import Console

    from curate.report.diff import compare
    from curate.report.diff_view import show
    from curate.report.run_folder import open_run

    console = Console(stderr=as_json)
    with console.status("comparing"):
        found = compare(open_run(first), open_run(second), examples)
    if as_json:
        emit(found.record())
    else:
        show(console, found)
