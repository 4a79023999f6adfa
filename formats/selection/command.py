"""`curate pool FILES`: what a pool of scored candidates holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curate.cli.output import JsonOption, emit


def pool(
    files: Annotated[list[Path], typer.Argument(help="Parquet files of records with candidates, or a dataset's folder.")],
    passes: Annotated[float, typer.Option(help="Least score that passes, for pass@k.")] = 1.0,
    html: Annotated[Path | None, typer.Option("--html", help="Draw the figures into this file: one page, no script.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show a pool: scores, pass@k, best of n with its divergence, reward against length, agreement of scores."""
    from formats.selection.page import html_page
    from formats.selection.report import lines, read_pool, report

    found = report(read_pool(files), passes)
    if html is not None:
        html.write_text(html_page(", ".join(file.name for file in files), found), encoding="utf-8")
    if as_json:
        emit(found)
    else:
        typer.echo("\n".join(lines(found)))
