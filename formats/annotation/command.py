"""`curate label-studio export POOL -o tasks.json` and `curate label-studio import annotations.json -o FILE`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from curate.cli.output import JsonOption, emit

if TYPE_CHECKING:
    from formats.annotation.label_studio import Import
    from formats.records import Record


def label_studio(
    action: Annotated[Literal["export", "import"], typer.Argument(help="export: answers to tasks; import: annotations to records.")],
    src: Annotated[Path, typer.Argument(help="export: a dataset folder or Parquet file with candidates; import: Label Studio's JSON.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write: tasks (.json); or records (.jsonl, .jsonl.zst, .parquet).")],
    kind: Annotated[
        Literal["comparison", "rating"], typer.Option("--kind", help="Two answers to pick from, or one to rate.")
    ] = "comparison",
    pairs: Annotated[
        Literal["best_worst", "adjacent", "all"], typer.Option("--pairs", help="Which answers are compared, by --score or in their order.")
    ] = "best_worst",
    score: Annotated[str | None, typer.Option("--score", help="Score that orders the answers.")] = None,
    pool: Annotated[
        Path | None, typer.Option("--pool", help="import: the pool that was exported; votes become scores of its candidates.")
    ] = None,
    to: Annotated[
        str, typer.Option("--to", help="import without --pool: format to write: ranked, preference, ultrafeedback ...")
    ] = "ranked",
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Take answers to people and their judgements back: tasks and completed annotations of Label Studio."""
    from curate.errors import RecipeError

    if out.exists() and not force:
        raise RecipeError(f"{out} exists. Choose another name, or --force to overwrite it.")
    told = _export(src, out, kind, pairs, score) if action == "export" else _import(src, out, pool, to)
    if as_json:
        emit(told)


def _export(
    src: Path, out: Path, kind: Literal["comparison", "rating"], pairs: Literal["best_worst", "adjacent", "all"], score: str | None
) -> dict[str, Any]:
    from curate.errors import DataError, RecipeError
    from formats.annotation.label_studio import CONFIGS, tasks
    from formats.outputs import Output

    if out.suffix != ".json":
        raise RecipeError(f"{out}: tasks are a .json file.")
    count = 0
    with Output(out) as file:
        for task in tasks(pool_records(src), kind, pairs, score):
            file.write([task])
            count += 1
        if not count:
            raise DataError(
                f"{src}: no record has {'two different answers' if kind == 'comparison' else 'an answer'}{f' with {score!r}' if score else ''}."
            )
    config = out.with_suffix(".xml")
    config.write_text(CONFIGS[kind], encoding="utf-8")
    typer.echo(f"wrote {count:,} tasks to {out}, and the labelling configuration for them to {config}", err=True)
    return {"tasks": count, "written": str(out), "configuration": str(config)}


def _import(src: Path, out: Path, pool: Path | None, to: str) -> dict[str, Any]:
    import json

    from curate.errors import DataError
    from formats.annotation.label_studio import annotated, merged, read_votes

    try:
        rows = json.loads(src.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{src}: can't be read as Label Studio's JSON export: {error}") from error
    made = read_votes(rows if isinstance(rows, list) else [rows])
    if not made.counts["votes"]:
        raise DataError(f"{src}: {made.counts['tasks']:,} tasks, and none has an annotation that says something.")
    if pool is not None:
        _write_records(list(merged(pool_records(pool), made)), out)
    else:
        _write_rows(annotated(made), out, to)
    typer.echo(f"{_summary(made)}; wrote {out}", err=True)
    return {**made.counts, "agreement": made.agreement(), "written": str(out)}


def _summary(made: Import) -> str:
    counts, agreement = made.counts, made.agreement()
    words = [f"{counts['votes']:,} votes on {counts['tasks']:,} tasks"]
    words += [f"{counts[name]:,} {name}" for name in ("ties", "cancelled", "empty", "unannotated") if counts[name]]
    return ", ".join(words) + (f", annotators agree in {agreement:.1%} of pairs" if agreement is not None else "")


def pool_records(where: Path) -> Iterator[Record]:
    """Records of a dataset folder or a Parquet file. Raises DataError where it holds none."""
    from curate.errors import DataError
    from formats.batches import from_batch, is_record, record_files

    for file in record_files(where):
        if not is_record(file.schema_arrow):
            raise DataError(f"{where}: holds no records with candidates. `generate` makes some; `curate convert` reads other formats.")
        for batch in file.iter_batches(1024):
            yield from from_batch(batch)


def _write_records(records: list[Record], out: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from curate.errors import RecipeError
    from formats.batches import to_batch

    if out.suffix != ".parquet":
        raise RecipeError(f"{out}: with --pool the records are written whole, to a .parquet file.")
    scratch = out.with_name(f".{out.name}.tmp")
    pq.write_table(pa.Table.from_batches([to_batch(records)]), scratch, compression="zstd")
    scratch.replace(out)


def _write_rows(records: Iterator[Record], out: Path, to: str) -> None:
    from formats.adapters.adapter import Unholdable
    from formats.catalog import adapter
    from formats.outputs import Output

    target = adapter(to)
    left = 0
    with Output(out) as file:
        for record in records:
            try:
                file.write([{**row, "id": record.id} for row in target.write(record, set())])
            except Unholdable:
                left += 1
    if left:
        typer.echo(f"{left:,} records can't be expressed as {to} (ties, or a single answer) and are left out", err=True)
