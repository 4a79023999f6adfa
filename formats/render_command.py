"""`curate render`: conversations of any format to token ids and labels; and what `curate inspect --mask` shows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from curate.cli.output import JsonOption, emit

if TYPE_CHECKING:
    from formats.records import Record
    from formats.rendered import Rows
    from formats.templates.tokenizer import ChatTokenizer

_BATCH = 512


def render(
    src: Annotated[str, typer.Argument(help="File, folder or glob of conversations in any format that `curate convert` reads.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Parquet file to write: input_ids and labels.")],
    tokenizer: Annotated[str, typer.Option("--tokenizer", help="Folder with tokenizer.json, or the file.")],
    template: Annotated[
        str | None, typer.Option("--template", help="chatml, llama3, qwen ... or a .jinja file. Default: the tokenizer's own.")
    ] = None,
    source: Annotated[str | None, typer.Option("--from", help="Format to read. Default: told by content.")] = None,
    train: Annotated[str, typer.Option("--train", help="What is trained: assistant, last, completion, all.")] = "assistant",
    mask_reasoning: Annotated[bool, typer.Option("--mask-reasoning", help="Don't train reasoning.")] = False,
    per_answer: Annotated[bool, typer.Option("--per-answer", help="One row per answer, earlier answers as history.")] = False,
    special_text: Annotated[
        str, typer.Option("--special-text", help="Special tokens spelled out in a message: refuse, escape.")
    ] = "refuse",
    max_length: Annotated[int | None, typer.Option("--max-length", min=1, help="Tokens of a row.")] = None,
    too_long: Annotated[str, typer.Option("--too-long", help="drop, cut_turns (from the end), keep_end (drop the oldest).")] = "drop",
    pack: Annotated[int | None, typer.Option("--pack", min=1, help="Pack rows into sequences of this many tokens.")] = None,
    stop: Annotated[str | None, typer.Option("--stop", help="Token that ends an answer. Default: found by rendering.")] = None,
    date: Annotated[str | None, typer.Option("--date", help="Date for templates that write one, YYYY-MM-DD.")] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Write the lengths as a page.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Render conversations with a chat template, prove the loss mask of every row, and write token ids and labels."""

    from curate.errors import DataError, RecipeError
    from formats.rendered import Rows
    from formats.templates.probe import check
    from formats.templates.rendering import Renderer, Settings
    from formats.templates.tokenizer import load

    for name, value, known in (("--train", train, ("assistant", "last", "completion", "all")), ("--special-text", special_text, ("refuse", "escape")),
                               ("--too-long", too_long, ("drop", "cut_turns", "keep_end"))):  # fmt: skip
        if value not in known:
            raise RecipeError(f"{name} must be one of {', '.join(known)}, got {value!r}.")
    if out.suffix != ".parquet":
        raise RecipeError(f"{out}: rendered rows are written as .parquet.")
    if out.exists() and not force:
        raise RecipeError(f"{out} exists. Choose another name, or --force to overwrite it.")
    if pack is not None and (max_length is None or max_length > pack):
        max_length = pack
    chat = load(tokenizer, template, stop, date)
    for problem in check(chat):
        typer.echo(str(problem), err=True)
    rows = Rows(
        Renderer(chat, Settings(cast(Any, train), not mask_reasoning, cast(Any, special_text))), max_length, cast(Any, too_long), per_answer
    )
    report, fill = _write(src, source, rows, out, pack, chat)
    if plot is not None:
        from formats.lengths import svg_plot

        plot.write_text(
            f'<!doctype html><meta charset="utf-8"><title>Lengths</title>{svg_plot(f"tokens of {src}", rows.counts.lengths)}\n',
            encoding="utf-8",
        )
    for line in (
        []
        if as_json
        else [*_reading(report), *rows.counts.lines(), *([f"packed into sequences of {pack:,}: {fill:.2%} full"] if pack else [])]
    ):
        typer.echo(line, err=True)
    if as_json:
        found = {
            "source": report.as_json(),
            **rows.counts.as_json(),
            "template_sha256": chat.template.sha256,
            **({"fill": round(fill, 6)} if pack else {}),
        }
        emit(found)
    if rows.counts.parts and not rows.counts.rows:
        raise DataError(f"render: no record of {src} gave a row; the report says why.")


def _write(src: str, source: str | None, rows: Rows, out: Path, pack: int | None, chat: ChatTokenizer) -> tuple[Any, float]:
    """(report of reading, fill of packed sequences). The file appears whole or not at all."""
    import numpy as np
    import pyarrow.parquet as pq

    from curate.cli.display import make_display
    from formats.outputs import write_json_lines
    from formats.rendered import PACKED, ROW, packed_table, table
    from formats.report import Report

    report, fill = Report(), 1.0
    quarantine: list[dict[str, Any]] = []
    metadata = {b"chat_template_sha256": chat.template.sha256.encode()}
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        with (
            make_display(False) as display,
            pq.ParquetWriter(scratch, (PACKED if pack else ROW).with_metadata(metadata), compression="zstd") as file,
        ):
            held: list[tuple[Any, Any]] = []
            for batch in _batches(src, source, report, quarantine, display):
                made = rows.of(batch)
                if pack:
                    held += [(np.asarray(row.ids, np.int32), row.labels().astype(np.int32)) for _, row in made]
                elif made:
                    file.write_batch(table(made))
            if pack and held:
                packed, fill = packed_table(held, pack)
                file.write_batch(packed)
        os.replace(scratch, out)
        if quarantine:
            write_json_lines(out.with_name(f"{out.name}.quarantine.jsonl"), quarantine)
    finally:
        scratch.unlink(missing_ok=True)
    return report, fill


def _reading(report: Any) -> list[str]:
    """What could not be read, for people."""
    made = [f"{report.rows:,} rows read"]
    for reason, count in report.unreadable.most_common():
        made += [f"  {count:>9,}  not readable: {reason}", *(f"             {text}" for text in report.examples[reason])]
    return made


def _batches(src: str, source: str | None, report: Any, quarantine: list[dict[str, Any]], display: Any = None) -> Iterator[list[Record]]:
    """Records of files in lists; unreadable rows go to the report and the quarantine."""
    from curate.io.files import list_files
    from formats.catalog import adapter
    from formats.convert import SUFFIXES, holds_records, records, sample
    from formats.detect import detect

    files = list_files((src,), ".", SUFFIXES, "render")
    if source is None:
        source = "messages" if holds_records(files) else detect(sample(files), src).format
    reader = adapter(source)
    if display is not None:
        display.stage("render", [], [file.size for file in files], range(len(files)))
    for number, file in enumerate(files):
        found = (record for record, _ in records(file, reader, report, quarantine))
        while batch := list(islice(found, _BATCH)):
            yield batch
            if display is not None:
                display.advance(-1, len(batch), 0)
        if display is not None:
            display.advance(number, 0, file.size)


def show_mask(
    what: Path, tokenizer: str, template: str | None, rows: int, offset: int, chars: int, html: Path | None, source: str | None = None
) -> None:
    """Print rows coloured by loss, and write the page where one is asked for. what: files of conversations."""
    from rich.console import Console

    from formats.report import Report
    from formats.templates.probe import probe
    from formats.templates.rendering import Renderer
    from formats.templates.tokenizer import load
    from formats.templates.view import page, terminal

    chat = load(tokenizer, template)
    notes = [str(problem) for problem in probe(chat)]
    found = [record for batch in _batches(str(_files(what)), source, Report(), []) for record in batch][offset : offset + rows]
    made = Renderer(chat).rows(found, offsets=True)
    titled = [(record.id or f"row {offset + n}", row) for n, (record, row) in enumerate(zip(found, made, strict=True))]
    console = Console()
    for note in notes:
        console.print(note, style="yellow", markup=False)
    for line in terminal(titled, chars):
        console.print(line)
    if html is not None:
        html.write_text(page(titled, notes), encoding="utf-8")
        typer.echo(f"wrote {html}", err=True)


def _files(what: Path) -> Path:
    """The data files of a dataset of a run lie in its folder, beside others."""
    return what / "part-*" if what.is_dir() and list(what.glob("part-*")) else what
