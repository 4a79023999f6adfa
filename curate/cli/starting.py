"""`curate init`: ask, or take flags, look at the data, and write a recipe for it."""

from __future__ import annotations

import sys
from glob import escape
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from curate.cli.output import JsonOption, QuietOption, emit

if TYPE_CHECKING:
    from curate.detect import Finding


def init(
    path: Annotated[Path | None, typer.Argument(help="The file to write. Default: recipe.yaml.")] = None,
    data: Annotated[str | None, typer.Option("--data", help="Your input: a file, a folder or a glob. It is looked at.")] = None,
    text: Annotated[str | None, typer.Option("--text", help="Field that holds the text. Default: told from the data.")] = None,
    language: Annotated[list[str] | None, typer.Option("--language", help="Keep this language; repeat for more. Default: told.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    no_input: Annotated[bool, typer.Option("--no-input", help="Never ask; for scripts.")] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Look at your data and write a commented recipe for them; asks on a terminal for what no flag says."""
    from curate.cli.starter import starter
    from curate.errors import RecipeError

    asking = data is None and not no_input and not as_json and sys.stdin.isatty()
    if asking:
        data = typer.prompt("Where are your data (file, folder or glob)?", default="data/*.jsonl")
        path = path or Path(typer.prompt("Recipe to write?", default="recipe.yaml"))
    path = path or Path("recipe.yaml")
    if (path.exists() or escape(str(path)) != str(path)) and path.suffix not in (".yaml", ".yml"):
        what = "there are data of that name" if path.exists() else "that looks like a pattern of data files"
        raise RecipeError(
            f"{path} would be the recipe to write, and {what}. To look at them: curate init recipe.yaml --data {quote(str(path))}"
        )
    if path.exists() and not force:
        raise RecipeError(f"{path} exists. Choose another name, or --force to overwrite it.")
    found, data = _look(data or "data/*.jsonl", text)
    languages = list(language or ())
    if asking and found is not None and found.records is None:
        told = ",".join(list(found.languages)[:1]) or "en"
        languages = [code.strip() for code in typer.prompt("Languages to keep, comma separated?", default=told).split(",") if code.strip()]
    said = data if Path(data).is_absolute() or "://" in data else _relative(data, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(starter(_name(path), str(path), said, found, languages, text or "text"), encoding="utf-8")
    if as_json:
        emit({"recipe": str(path), "seen": None if found is None else vars(found)})
    elif not quiet:
        typer.echo(_summary(found, data) + f"wrote {path}\nnext: curate validate {path}, then curate run {path} --sample 1000")


def _look(data: str, text: str | None) -> tuple[Finding | None, str]:
    """What the data are, and the input as the recipe shall say it; nothing is looked at where no file is there yet."""
    import glob

    from curate.detect import look

    if "://" in data or not (Path(data).is_dir() or glob.glob(data, recursive=True)):
        return None, data
    return look(data, text), data


def _name(path: Path) -> str:
    """A name for the recipe: the file's, with what a name can't hold replaced."""
    import re

    return re.sub(r"[^A-Za-z0-9_.-]", "_", path.stem).lstrip(".-") or "recipe"


def _relative(data: str, recipe: Path) -> str:
    """The input as seen from the recipe's folder."""
    import os

    folder = recipe.absolute().parent
    return data if folder == Path.cwd() else os.path.relpath(Path.cwd() / data, folder)


def _summary(found: Finding | None, data: str) -> str:
    from curate.report.words import size

    if found is None:
        return f"{data}: nothing there yet, so a recipe for English JSON lines\n"
    languages = ", ".join(f"{code} {share:.0%}" for code, share in list(found.languages.items())[:5])
    what = found.records or (f"text in {found.text!r}" if found.fields else "text")
    return f"{data}: {found.files:,} {found.reader} file(s), {size(found.bytes)}, {what}" + (f", {languages}" if languages else "") + "\n"
