"""`curate convert SRC --to FORMAT -o DST`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curate.cli.output import JsonOption, QuietOption, emit

if TYPE_CHECKING:
    from formats.detect import Detected
    from formats.report import Report

_PAIRS = "NAME=VALUE"


def convert(
    src: Annotated[
        str, typer.Argument(help="File, folder or glob: JSON lines, a JSON list, Parquet, Arrow; or LLaMA-Factory's dataset_info.json.")
    ],
    to: Annotated[str, typer.Option("--to", help="Format to write: alpaca, sharegpt, messages, preference, kto, ...")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="File to write; its suffix picks .jsonl, .jsonl.gz, .jsonl.zst, .json or .parquet.")
    ],
    source: Annotated[
        str | None, typer.Option("--from", help="Format to read, or axolotl:TYPE. Default: told by content, over many rows.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="One data set of a dataset_info.json. Default: all local ones, a file each.")
    ] = None,
    field: Annotated[
        list[str] | None, typer.Option("--field", help="Name of a field: instruction=question reads 'question'.", metavar=_PAIRS)
    ] = None,
    role: Annotated[list[str] | None, typer.Option("--role", help="Meaning of a role: narrator=system.", metavar=_PAIRS)] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            "--policy", help="What to do with an odd case: consecutive=join, empty_turn=drop, trailing_user=reject ...", metavar=_PAIRS
        ),
    ] = None,
    reading: Annotated[
        list[str] | None, typer.Option("--read", help="Setting of the format that is read: branches=ranked.", metavar=_PAIRS)
    ] = None,
    writing: Annotated[
        list[str] | None, typer.Option("--write", help="Setting of the format that is written: pairs=all.", metavar=_PAIRS)
    ] = None,
    ids: Annotated[bool, typer.Option("--ids", help="Write the id of every record.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    report_file: Annotated[Path | None, typer.Option("--report", help="Write the loss report as JSON.")] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Convert instruction, chat and preference sets, and say what could not be kept."""
    import json

    from curate.errors import DataError
    from formats.policies import Policies

    options: dict[str, Any] = {
        "columns": _pairs(field, "--field"),
        "roles": _pairs(role, "--role"),
        "read_settings": _pairs(reading, "--read"),
        "write_settings": _pairs(writing, "--write"),
        "policies": _policies(_pairs(policy, "--policy"), Policies),
        "ids": ids,
    }
    jobs = _jobs(src, out, source, dataset)
    for _, target, _ in jobs:
        _free(target, force)
    made: dict[str, Any] = {}
    empty = []
    for path, target, reader in jobs:
        report, found = _one(path, to, target, reader, options, quiet)
        entry = {
            "path": str(target),
            "format": found.format if found else source,
            "evidence": str(found) if found else None,
            **report.as_json(),
        }
        made[target.name] = entry
        if not quiet:
            _say(report, found, target)
        if report.rows and not report.written:
            empty.append(str(target))
    result = next(iter(made.values())) if len(made) == 1 else made
    if report_file is not None:
        report_file.write_text(json.dumps(result, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    if as_json:
        emit(result)
    if empty:
        raise DataError(f"convert: nothing of {src} could be expressed as {to}; {', '.join(empty)} is empty. The report above says why.")


def _one(path: str, to: str, target: Path, reader: Any, options: dict[str, Any], quiet: bool) -> tuple[Report, Detected | None]:
    from curate.cli.display import make_display
    from curate.io.files import list_files
    from formats.convert import SUFFIXES, check_balance, convert

    with make_display(quiet) as display:
        sizes = [file.size for file in list_files((path,), ".", SUFFIXES, "convert")]
        display.stage(f"convert to {to}", [], sizes, range(len(sizes)))
        report, found = convert(path, to, target, reader, progress=display.advance, **options)
    check_balance(report)
    return report, found


def _jobs(src: str, out: Path, source: str | None, dataset: str | None) -> list[tuple[str, Path, Any]]:
    """(what to read, file to write, format or adapter) of each conversion: one, or those of a registry."""
    from curate.errors import RecipeError
    from formats.adapters.mapped import Mapped, read_registry
    from formats.catalog import adapter
    from formats.outputs import check_suffix

    suffix = check_suffix(out)
    if Path(src).name != "dataset_info.json" and source != "llamafactory":
        if dataset:
            raise RecipeError("--dataset names a data set of a dataset_info.json; this source is none.")
        return [(src, out, source)]
    entries = read_registry(src)
    if dataset is not None:
        if dataset not in entries:
            raise RecipeError(f"{src} has no data set {dataset!r}. It has: {', '.join(entries)}.")
        if entries[dataset].file is None:
            raise RecipeError(f"{dataset!r} lies on a hub ({entries[dataset].hub}). Download it, and convert the file.")
    chosen = [e for e in entries.values() if e.file is not None and dataset in (None, e.name)]
    if not chosen:
        raise RecipeError(f"{src} names no local file.")
    stem = out.name.removesuffix(suffix)
    names = [out if dataset else out.with_name(f"{stem}.{e.name}{suffix}") for e in chosen]
    return [(e.file or "", name, Mapped(adapter(e.format), e.columns, e.tags)) for e, name in zip(chosen, names, strict=True)]


def _pairs(given: list[str] | None, option: str) -> dict[str, str]:
    from curate.errors import RecipeError

    for pair in given or ():
        if "=" not in pair:
            raise RecipeError(f"{option} must be NAME=VALUE, got {pair!r}.")
    return dict(pair.split("=", 1) for pair in given or ())


def _policies(given: dict[str, str], cls: Any) -> Any:
    from pydantic import ValidationError

    from curate.errors import RecipeError
    from curate.registry import nearest

    try:
        return cls(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        known = list(cls.model_fields)
        if name not in known:
            raise RecipeError(f"--policy: no policy {name!r}.{nearest(name, known)} There are: {', '.join(known)}.") from None
        raise RecipeError(f"--policy {name} {str(first['msg']).removeprefix('Input ')}, got {given[name]!r}.") from None


def _free(path: Path, force: bool) -> None:
    from curate.errors import RecipeError

    if path.exists() and not force:
        raise RecipeError(f"{path} exists. Choose another name, or --force to overwrite it.")


def _say(report: Report, found: Detected | None, target: Path) -> None:
    if found is not None:
        typer.echo(f"read as {found}", err=True)
    for line in report.lines():
        typer.echo(line, err=True)
    typer.echo(f"wrote {target}", err=True)
