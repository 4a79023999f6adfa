"""`curate index`: look at, test, merge and set back an index of deduplication."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curate.cli.output import JsonOption, emit

if TYPE_CHECKING:
    from curate.duplicate_index import Index, Version

app = typer.Typer(help="Indexes of dedup_minhash and dedup_exact: versions, test, merge.", no_args_is_help=True)

IndexArgument = Annotated[Path, typer.Argument(help="The folder that `index:` names.")]


@app.command("info")
def info(index: IndexArgument, as_json: JsonOption = False) -> None:
    """Print the versions of an index, the newest first."""
    from curate.duplicate_index import Index
    from curate.report.words import size

    versions = [
        {"name": v.name, "parent": v.parent, "segments": len(v.segments), "documents": v.documents, "bytes": v.bytes,
         "made_for": v.content["made_for"]}
        for v in _existing(Index(index)).chain()
    ]  # fmt: skip
    if as_json:
        emit({"index": str(index.absolute()), "versions": versions})
        return
    for v in versions:
        each = v["bytes"] / max(1, v["documents"])
        typer.echo(f"{v['name']}  {v['documents']:,} documents, {size(v['bytes'])} ({each:,.0f} bytes each), of {_runs(v['segments'])}")
    typer.echo("made for: " + ", ".join(f"{k} {x}" for k, x in versions[0]["made_for"].items()) if versions else "empty")


@app.command("verify")
def verify(index: IndexArgument, as_json: JsonOption = False) -> None:
    """Read every file of the newest version and test all checksums."""
    from curate.duplicate_index import Index, verify_segment

    with typer.progressbar(list(_segments(_existing(Index(index)))), label="testing", file=sys.stderr) as bar:
        documents = 0
        for root, segment in bar:
            verify_segment(root, segment)
            documents += segment["documents"]
    if as_json:
        emit({"index": str(index.absolute()), "documents": documents})
    else:
        typer.echo(f"{index}: {documents:,} documents, every checksum is right")


@app.command("merge")
def merge(
    index: IndexArgument,
    others: Annotated[list[Path], typer.Argument(help="Indexes whose newest versions are added.")],
    as_json: JsonOption = False,
) -> None:
    """Add what other indexes hold as a new version. Files are linked; documents of two indexes are not compared with each other."""
    from curate.duplicate_index import Index
    from curate.report.words import size

    target, found = Index(index), [_existing(Index(other)) for other in others]
    typer.echo(f"reading {size(sum(v.bytes for other in found for v in _newest(other)))} to test their checksums", err=True)
    with target.hold():
        version = target.merge(found)
    if as_json:
        told = {"name": version.name, "documents": version.documents, "segments": len(version.segments)}
        emit({"index": str(index.absolute()), "version": told})
    else:
        typer.echo(f"{index}: version {version.name}, {version.documents:,} documents of {_runs(len(version.segments))}")


@app.command("reset")
def reset(
    index: IndexArgument,
    version: Annotated[str, typer.Argument(help="A version that `curate index info` names, or `empty`.")],
    as_json: JsonOption = False,
) -> None:
    """Make an earlier version the newest. Nothing is deleted."""
    from curate.duplicate_index import Index

    target = _existing(Index(index))
    with target.hold():
        target.reset(None if version == "empty" else version)
    if as_json:
        emit({"index": str(index.absolute()), "version": None if version == "empty" else version})
    else:
        typer.echo(f"{index}: the newest version is {version}")


def _existing(index: Index) -> Index:
    from curate.errors import RecipeError

    if not (index.root / "HEAD").exists():
        raise RecipeError(
            f"{index.root} is no index: it has no file HEAD. A run with `dedup_minhash: {{index: {index.root}}}` or `dedup_exact` makes one."
        )
    return index


def _runs(segments: int) -> str:
    """A run adds one segment."""
    return "1 run" if segments == 1 else f"{segments:,} runs"


def _newest(index: Index) -> list[Version]:
    """The newest version, in a list; [] for an empty index."""
    return [index.version(index.head)] if index.head else []


def _segments(index: Index) -> Iterator[tuple[Path, dict[str, Any]]]:
    for version in _newest(index):
        yield from ((version.root, segment) for segment in version.segments)
