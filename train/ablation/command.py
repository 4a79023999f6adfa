"""`curate ablate FILE`: which variant of the data is better, and how sure that is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from curate.cli.output import JsonOption, emit


def ablate(
    file: Annotated[Path, typer.Argument(help="YAML: variants, model, tokens, seeds, held-out texts.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for results. Default: ablations/<name>.")] = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Processes that make the data; default: one a core.")] = None,
    at_once: Annotated[
        int | None,
        typer.Option("--at-once", min=1, help="Models trained at a time. Default: one a core on a CPU, one where there is a GPU."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Train a model on each variant with each seed, and compare them on held-out text. Run again after an interruption, it goes on."""
    from curate.errors import MissingDependency

    MissingDependency.check(("torch", "transformers"), "train", "curate ablate")
    from train.ablation.run import run_ablation

    target, text = run_ablation(file, out, workers, at_once)
    if as_json:
        emit(json.loads((target / "ablation.json").read_bytes()))
    else:
        typer.echo(text)
    typer.echo(f"wrote {target / 'ablation.md'}", err=True)
