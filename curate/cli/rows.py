"""Rows of anything on disk as a polars frame, read lazily: only what is shown is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.text import Text

from curate.errors import RecipeError


def find_rows(what: Path, sub: str | None, offset: int, count: int, where: str | None, columns: list[str] | None) -> pl.DataFrame:
    """`count` rows of a dataset folder, stage folder or file, from row `offset` on."""
    if not what.exists():
        raise RecipeError(f"{what} does not exist.{_there(what.parent)}")
    frame = scan(what, sub)
    try:
        if where is not None:
            frame = frame.filter(pl.sql_expr(where))
        if columns:
            frame = frame.select(columns)
        return frame.slice(offset, count).collect()
    except (pl.exceptions.ColumnNotFoundError, pl.exceptions.SQLInterfaceError, pl.exceptions.SQLSyntaxError) as error:
        names = ", ".join(scan(what, sub).collect_schema().names())
        raise RecipeError(f"--where or --columns can't be used on {what}: {str(error).splitlines()[0]}. Columns: {names}.") from error


def scan(what: Path, sub: str | None) -> pl.LazyFrame:
    """Whatever it is, as a lazy frame."""
    if what.is_file():
        return _files([what])
    found: list[Path] = []
    if sub is not None:
        found = sorted([*what.glob(f"{sub}/part-*"), *what.glob(f"task-*/{sub}.*")])
        if not found:
            raise RecipeError(f"{what} has no {sub} rows.")
    else:
        for pattern in ("part-*", "task-*/part-*", "task-*/shard.arrow", "task-*/records.arrow"):
            found = found or sorted(what.glob(pattern))
        if not found:
            raise RecipeError(f"{what} holds no rows.{_there(what)}")
    return _files(found)


def _files(paths: list[Path]) -> pl.LazyFrame:
    kind = paths[0].name.partition(".")[2]
    if kind == "parquet":
        return pl.scan_parquet(paths)
    if kind == "arrow":
        return pl.scan_ipc(paths)
    if kind.startswith("jsonl"):
        return pl.scan_ndjson(paths, infer_schema_length=None)
    raise RecipeError(f"{paths[0]} is not parquet, arrow or jsonl.")


def _there(folder: Path) -> str:
    names = sorted(p.name for p in folder.glob("*") if not p.name.startswith(".")) if folder.is_dir() else []
    return f" There is: {', '.join(names[:12])}." if names else ""


def show(frame: pl.DataFrame, chars: int) -> None:
    """Print rows one under the other."""
    console = Console()
    width = max((len(name) for name in frame.columns), default=0)
    for number, row in enumerate(frame.iter_rows(named=True)):
        if number:
            console.rule(style="dim")
        for name, value in row.items():
            console.print(Text.assemble((name.rjust(width), "cyan"), "  ", "" if value is None else plain(value, chars)))
    if not len(frame):
        console.print("no rows")


def plain(value: Any, chars: int) -> str:
    """A value for the terminal: control characters shown as escapes, cut to `chars`."""
    text = value if isinstance(value, str) else str(value)
    text = "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text[: chars + 1])
    return text[:chars] + "…" if len(text) > chars else text
