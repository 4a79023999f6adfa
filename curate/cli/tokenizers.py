"""`curate tokenizer`: train tokenizers outside a recipe, compare them, convert their files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from curate.cli.output import JsonOption, emit

app = typer.Typer(help="Train, compare and convert tokenizers.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Train, compare and convert tokenizers."""


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
    as_json: JsonOption = False,
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
    if as_json:
        emit({"tokenizer": str(out), **info})
        return
    for source, times in info.get("times_read", {}).items():
        typer.echo(f"{source}: each document {times:.3g} times")
    typer.echo(f"wrote {out}: {info['vocab_size']:,} entries from {info['bytes']:,} bytes of text")


@app.command("report")
def report(
    inputs: Annotated[list[str], typer.Argument(help="Files (jsonl, parquet, text; compressed or not), globs, or RUN/DATASET folders.")],
    tokenizer: Annotated[list[str], typer.Option("--tokenizer", "-t", help="[NAME=]FILE, folder or hub name; repeat to compare.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write a page with plots (.html).")] = None,
    text: Annotated[str, typer.Option("--text", help="Field that holds the text.")] = "text",
    max_mb: Annotated[int, typer.Option("--max-mb", min=1, help="Use a sample of documents of this size.")] = 32,
    languages: Annotated[bool, typer.Option("--languages/--no-languages", help="Identify languages, and show figures for each.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Show how many tokens tokenizers need for the same texts, by source and by language."""

    from rich.console import Console

    from curate.tokenizer_report import report_on_files
    from curate.tokens.fertility_view import html_page, record, show

    named = [(name or Path(file).name.partition(".")[0], file) for name, _, file in (t.rpartition("=") for t in tokenizer)]
    with _status("encoding"):
        found = report_on_files(inputs, named, text=text, max_bytes=max_mb * 1_000_000, languages=languages)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(html_page(found), encoding="utf-8")
    if as_json:
        emit(record(found))
        return
    show(Console(), found)
    if out is not None:
        typer.echo(f"wrote {out}")


@app.command("convert")
def convert(
    file: Annotated[Path, typer.Argument(help="A SentencePiece .model or a .tiktoken file.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="tokenizer.json to write.")],
    split: Annotated[str | None, typer.Option("--split", help="How a .tiktoken file cuts text, where its name does not say it.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a SentencePiece or tiktoken file as a Hugging Face tokenizer.json that gives the same ids."""
    import json

    from curate.errors import RecipeError
    from curate.tokens.vocabulary import load_vocabulary

    if out.exists() and not force:
        raise RecipeError(f"{out} exists. Choose another name, or --force to overwrite it.")
    vocabulary = load_vocabulary(str(file), split)
    if vocabulary.sentencepiece is not None:
        raise RecipeError(
            f"No tokenizer.json gives the ids of {file}: {vocabulary.reason}. Name the .model itself where curate is to encode with it."
        )
    out.write_text(json.dumps(vocabulary.config, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    if as_json:
        emit({"tokenizer": str(out), "vocab_size": vocabulary.size})
    else:
        typer.echo(f"wrote {out}: {vocabulary.size:,} entries")


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
