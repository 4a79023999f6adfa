"""`curate trace` and `curate verify`: what a training step was fed, and the proof that a run is what its manifest says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from curate.cli.output import JsonOption, emit
from curate.cli.reports import RunArgument

if TYPE_CHECKING:
    from curate.report.batch_trace import BatchTrace

MixOption = Annotated[str | None, typer.Option("--mix", help="Name of the mix, where the run has several.")]


def trace(
    run: RunArgument,
    step: Annotated[int | None, typer.Option("--step", "-k", min=0, help="Training step, from 0.")] = None,
    window: Annotated[int | None, typer.Option("--window", min=0, help="One window of the mix instead.")] = None,
    rank: Annotated[int | None, typer.Option("--rank", min=0, help="Only this rank's part of the step.")] = None,
    world_size: Annotated[int, typer.Option("--world-size", min=1, help="Ranks, with --rank.")] = 1,
    batch: Annotated[
        int | None, typer.Option("--batch", min=1, help="Windows of a step. Default: the mix's batch_windows, or the model's.")
    ] = None,
    mix: MixOption = None,
    held_out: Annotated[bool, typer.Option("--held-out", help="Of the validation windows instead.")] = False,
    chars: Annotated[int, typer.Option("--chars", min=1, help="Characters of text to show for each document; --json gives all.")] = 200,
    as_json: JsonOption = False,
) -> None:
    """Show the documents behind a training step: source, text, what every curation step said of them."""
    from rich.console import Console

    from curate.errors import RecipeError
    from curate.loader import open_mix
    from curate.report import batch_trace
    from curate.report.run_folder import open_run

    if (step is None) == (window is None):
        raise RecipeError("Give either --step K or --window K.")
    found = open_run(run)
    name = batch_trace.mix_of(found, mix)
    opened = open_mix(found.root / name, held_out=held_out)
    size = None
    if step is not None:
        size = batch_trace.batch_size(found, name, opened, batch)
        wanted = batch_trace.windows_of(opened, step, size, rank, world_size)
    else:
        wanted = batch_trace.windows_of(opened, window or 0, 1, None, 1)
    windows, documents = batch_trace.trace(found, opened, wanted)
    told = batch_trace.BatchTrace(name, step, size, rank, world_size, windows, documents)
    if as_json:
        emit(told.record())
    else:
        _show(Console(), told, chars)


def _show(console: object, told: BatchTrace, chars: int) -> None:
    from rich.text import Text

    from curate.report.words import visible

    write = console.print  # type: ignore[attr-defined]
    tokens, padding = sum(w["tokens"] for w in told.windows), sum(w["padding"] for w in told.windows)
    what = f"step {told.step}" if told.step is not None else f"window {told.windows[0]['window']}"
    part = f", rank {told.rank} of {told.world_size}" if told.rank is not None else ""
    head = f"{told.mix} {what}{part}: windows {told.windows[0]['window']} to {told.windows[-1]['window']}"
    write(
        Text.assemble(
            (head, "bold"), f", {tokens:,} tokens of {len(told.documents):,} documents" + (f", {padding:,} padding" if padding else "")
        )
    )
    sources: dict[str, int] = {}
    for window in told.windows:
        sources[window["source"]] = sources.get(window["source"], 0) + 1
    write(Text("  windows by source: " + ", ".join(f"{name} {count:,}" for name, count in sources.items()), style="dim"))
    said: set[str] = set()
    for document in told.documents:
        places = ", ".join(f"{p.window}[{p.start}:{p.stop}]" for p in document.passages[:8]) + (
            " ..." if len(document.passages) > 8 else ""
        )
        write(Text.assemble((visible(document.id, 200), "bold cyan"), f"  {visible(document.source, 100)}  windows {places}"))
        write(Text(f"  {document.file}, row {document.row:,}", style="dim"))
        if document.columns:
            write(Text("  " + ", ".join(f"{k} {visible(str(v), 60)}" for k, v in document.columns.items()), style="dim"))
        if document.dataset not in said:  # all documents of a dataset that are left passed the same steps
            said.add(document.dataset)
            for verdict in document.verdicts:
                write(
                    Text(
                        f"  {verdict['dataset']} {verdict['step']}: {verdict['fate']}"
                        + (f" ({verdict['note']})" if verdict["note"] else ""),
                        style="green",
                    )
                )
        if document.text is not None:
            write(Text("  " + visible(document.text, chars)))


def verify(
    run: RunArgument,
    mix: MixOption = None,
    quick: Annotated[bool, typer.Option("--quick", help="Compare sizes of files, not their content.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Prove a run: files against the manifest's checksums, every mix's order laid out again and compared with its plan."""
    from rich.console import Console

    from curate.errors import DataError
    from curate.report import proof
    from curate.report.run_folder import open_run

    found = open_run(run)
    told = proof.verify(found, mix, content=not quick, note=lambda text: typer.echo(text, err=True))
    if as_json:
        emit(told)
    else:
        Console().print(proof.view(told))
    if told["problems"]:
        raise DataError(f"{run}: {len(told['problems'])} problems. The first: {told['problems'][0]}")
