"""`curate ablate FILE`: which variant of the data is better, and how sure that is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def ablate(
    file: Annotated[Path, typer.Argument(help="YAML: variants, model, tokens, seeds, held-out texts.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for results. Default: ablations/<name>.")] = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Processes that make the data; default: one a core.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, last on stdout.")] = False,
) -> None:
    """Train a model on each variant with each seed, and compare them on held-out text. Run again after an interruption, it goes on."""
    from curate.errors import MissingDependency

    MissingDependency.check(("torch", "transformers"), "train", "curate ablate")
    from train.ablation.run import run_ablation

    target, text = run_ablation(file, out, workers)
    if as_json:
        typer.echo(json.dumps(json.loads((target / "ablation.json").read_bytes()), ensure_ascii=False))
    else:
        typer.echo(text)
    typer.echo(f"wrote {target / 'ablation.md'}", err=True)
