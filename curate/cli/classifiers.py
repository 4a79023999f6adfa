"""`curate classifier train`: fit a fastText classifier to text outside a recipe."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curate.cli.output import JsonOption, QuietOption, emit

if TYPE_CHECKING:
    from curate.classifiers.training import Progress

app = typer.Typer(help="Train classifiers of documents.", no_args_is_help=True)

PLAIN_EVERY_S = 10.0


@app.callback()
def _group() -> None:
    """Train classifiers of documents."""


@app.command("train")
def train(
    out: Annotated[Path, typer.Option("--out", "-o", help="Model to write, fastText's .bin; a report lies beside it as .json and .html.")],
    positive: Annotated[
        list[str] | None, typer.Option("--positive", help="Files, globs or RUN/DATASET folders of label hq; repeat for more.")
    ] = None,
    negative: Annotated[list[str] | None, typer.Option("--negative", help="The same for label lq.")] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", help="NAME=PATH: one class more; repeat for more.", metavar="NAME=PATH")
    ] = None,
    text: Annotated[str, typer.Option("--text", help="Field that holds the text.")] = "text",
    held_out: Annotated[float, typer.Option("--held-out", min=0.0, max=0.9, help="Share of the texts that only measure.")] = 0.1,
    max_mb: Annotated[int | None, typer.Option("--max-mb", min=1, help="Read a sample of this size of each class. Default: all.")] = None,
    lr: Annotated[float, typer.Option("--lr", min=1e-6, max=100.0, help="Learning rate at the start; it falls to 0.")] = 0.1,
    epochs: Annotated[int, typer.Option("--epochs", min=1, max=10_000, help="How often each document is seen.")] = 5,
    dim: Annotated[int, typer.Option("--dim", min=1, max=4096, help="Size of the hidden layer.")] = 100,
    word_ngrams: Annotated[int, typer.Option("--word-ngrams", min=1, max=16, help="Longest n-gram of words.")] = 1,
    min_count: Annotated[int, typer.Option("--min-count", min=1, help="Rarer words get no row.")] = 1,
    min_chars: Annotated[int, typer.Option("--min-chars", min=0, max=64, help="Shortest n-gram of characters (fastText's minn).")] = 0,
    max_chars: Annotated[int, typer.Option("--max-chars", min=0, max=64, help="Longest one (maxn); 0: none.")] = 0,
    buckets: Annotated[int, typer.Option("--buckets", min=1, max=2_000_000_000, help="Rows that n-grams are hashed to.")] = 2_000_000,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**31 - 2, help="Decides the order, the split and the random start.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the model.")] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train a supervised fastText model (softmax) on files, write it, and measure it on documents it has not seen."""
    from curate.classifiers.from_files import train_from_files
    from curate.classifiers.report import lines
    from curate.classifiers.training import Settings
    from curate.errors import RecipeError

    if out.exists() and not force:
        raise RecipeError(f"{out} exists. Choose another name, or --force to overwrite it.")
    if out.suffix in (".json", ".html"):
        raise RecipeError(f"-o names the model, and {out.suffix} is the ending of its report. Use .bin, got {out}.")
    settings = Settings(lr, epochs, dim, min_count, word_ngrams, min_chars, max_chars, buckets, seed)
    with _progress(quiet) as progress:
        report = train_from_files(_inputs(positive, negative, label), out, settings, text=text, held_out=held_out,
                                  max_bytes=None if max_mb is None else max_mb * 1_000_000, progress=progress)  # fmt: skip
    if not quiet:
        typer.echo("\n".join([*lines(report), "", f"wrote {out} and its report {out.with_suffix('.json')}"]), err=as_json)
    if as_json:
        emit(report)


def _inputs(positive: list[str] | None, negative: list[str] | None, label: list[str] | None) -> dict[str, list[str]]:
    from curate.errors import RecipeError

    found: dict[str, list[str]] = {}
    for name, paths in (("hq", positive), ("lq", negative)):
        if paths:
            found[name] = list(paths)
    for given in label or ():
        name, equals, path = given.partition("=")
        if not equals or not name or not path:
            raise RecipeError(f"--label must be NAME=PATH, got {given!r}.")
        found.setdefault(name, []).append(path)
    return found


@contextmanager
def _progress(quiet: bool) -> Iterator[Progress]:
    """A bar on a terminal, a line every ten seconds elsewhere, nothing with --quiet."""
    import time

    if quiet:
        yield lambda share, what: None
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import Progress as Bars

        with Bars(console=Console(stderr=True)) as bars:
            task = bars.add_task("reading", total=1.0)
            yield lambda share, what: bars.update(task, completed=share, description=what)
    else:
        last = [time.monotonic()]

        def say(share: float, what: str) -> None:
            if time.monotonic() - last[0] > PLAIN_EVERY_S:
                last[0] = time.monotonic()
                sys.stderr.write(f"{what}: {share:.0%}\n")

        yield say
