"""`curate export`: token shards in the files of other tools."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from curate.cli.output import JsonOption, emit


def export(
    source: Annotated[str, typer.Argument(help="A tokenized dataset, as RUN/NAME.")],
    to: Annotated[str, typer.Option("--to", help="megatron (.bin, .idx), datatrove (.ds) or parquet (token lists).")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write.")],
    column: Annotated[str, typer.Option("--column", help="Name of the column of token lists, for parquet.")] = "tokens",
    force: Annotated[bool, typer.Option("--force", help="Replace the folder.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a tokenized dataset as Megatron, datatrove or Parquet files."""
    from rich.console import Console
    from rich.progress import Progress

    from curate.tokens import export as exporting

    with Progress(console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task("exporting", total=None)
        made = exporting.export(source, to, out, column, force, lambda done, total: bars.update(bar, completed=done, total=total))
    if as_json:
        emit({"out": str(out), **asdict(made)})
        return
    size = sum(f["bytes"] for f in made.files)
    typer.echo(f"wrote {out}: {made.documents:,} documents, {made.tokens:,} tokens, {size / 1e6:,.1f} MB in {len(made.files)} files")
