"""`curate tokenizer train`: fit a tokenizer to text outside a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(help="Train tokenizers.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Train tokenizers."""


@app.command("train")
def train(
    inputs: Annotated[list[str], typer.Argument(help="Files (jsonl, parquet, text; compressed or not), globs, or RUN/DATASET folders.")],
    vocab_size: Annotated[int, typer.Option("--vocab-size", min=256, help="Entries of the vocabulary, special tokens included.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="tokenizer.json to write.")],
    algorithm: Annotated[str, typer.Option("--algorithm", help="bpe, unigram or wordpiece.")] = "bpe",
    text: Annotated[str, typer.Option("--text", help="Field that holds the text.")] = "text",
    special: Annotated[list[str] | None, typer.Option("--special", help="Special token; repeat for more.")] = None,
    max_mb: Annotated[int, typer.Option("--max-mb", min=1, help="Use a sample of documents of this size.")] = 512,
    weight: Annotated[
        list[str] | None, typer.Option("--weight", help="SOURCE=W: share of the text; repeat. Other sources are left out.")
    ] = None,
    pretokenizer: Annotated[str, typer.Option("--pretokenizer", help="Split before merges, for bpe: gpt2, llama3 or qwen2.")] = "gpt2",
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Train a tokenizer on files and write a Hugging Face tokenizer.json."""
    from curate.errors import RecipeError
    from curate.tokens.from_files import train_from_files

    if out.exists() and not force:
        raise RecipeError(f"{out} exists. Choose another name, or --force to overwrite it.")
    with _status("training the tokenizer"):
        info = train_from_files(
            inputs, out, vocab_size=vocab_size, algorithm=algorithm, text=text, special_tokens=special or None,
            max_bytes=max_mb * 1_000_000, weights=_weights(weight), pretokenizer=pretokenizer,
        )  # fmt: skip
    for source, times in info.get("times_read", {}).items():
        typer.echo(f"{source}: each document {times:.3g} times")
    typer.echo(f"wrote {out}: {info['vocab_size']:,} entries from {info['bytes']:,} bytes of text")


def _weights(given: list[str] | None) -> dict[str, float] | None:
    from curate.errors import RecipeError

    found: dict[str, float] = {}
    for entry in given or []:
        source, _, weight = entry.rpartition("=")
        try:
            found[source] = float(weight)
        except ValueError:
            found[source] = 0.0
        if not source or not 0 < found[source] < float("inf"):
            raise RecipeError(f"--weight must be SOURCE=W with W above 0, got {entry!r}.")
    return found or None


def _status(what: str) -> Any:
    from rich.console import Console

    return Console(stderr=True).status(what)
