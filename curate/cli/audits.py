"""`curate audit`: measure what a run's steps find and miss."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from curate.cli.output import JsonOption, emit

app = typer.Typer(help="Measure what a run's steps find and miss.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Measure what a run's steps find and miss."""


@app.command("pii")
def pii(
    run: Annotated[Path, typer.Argument(help="A finished run folder whose recipe has the step pii.")],
    documents: Annotated[int, typer.Option("--documents", min=1, help="Documents of the run's input to plant in and to look at.")] = 2000,
    canaries: Annotated[int, typer.Option("--canaries", min=1, help="Canaries of each type.")] = 300,
    hits: Annotated[int, typer.Option("--hits", min=0, help="Real finds of each type to show, with the value masked.")] = 5,
    seed: Annotated[int, typer.Option("--seed", help="Which documents, canaries and hits.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Plant made-up personal data in a run's documents, print how much of it the recipe's pii step finds, and show real hits."""
    from dataclasses import asdict

    from rich.console import Console

    from curate.audit_pii import audit

    console = Console(stderr=as_json)
    with console.status("planting canaries and running the step"):
        found = audit(run, documents, canaries, hits, seed)
    recall = [{name: asdict(r) | {"missed": []} for name, r in one.recall.items()} for one in found]
    _keep(run, "pii", [asdict(one) | {"hits": {}, "recall": mine} for one, mine in zip(found, recall, strict=True)])
    if as_json:
        emit([asdict(a) for a in found])
        return
    for one in found:
        _print(console, one)


@app.command("dedup")
def dedup(
    run: Annotated[Path, typer.Argument(help="A finished run folder whose recipe has the step dedup_minhash.")],
    documents: Annotated[int, typer.Option("--documents", min=2, help="Documents of the run to plant copies of.")] = 4000,
    clusters: Annotated[int, typer.Option("--clusters", min=0, max=1000, help="Largest clusters on the page.")] = 20,
    seed: Annotated[int, typer.Option("--seed", help="Which copies.")] = 0,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page: curve, shares of sources, largest clusters.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Plant near-duplicates in a run's documents and print which of them the recipe's dedup_minhash finds, beside theory."""
    from rich.console import Console

    from curate.audit_dedup import audit
    from curate.report.dedup_audit import html_page, record, show

    console = Console(stderr=as_json)
    with console.status("planting copies and running the step"):
        found = audit(run, documents, seed, clusters if html is not None or as_json else 0)
    _keep(run, "dedup", [record(one) | {"clusters": []} for one in found])
    if html is not None:
        html.write_text(html_page(run.absolute().name, found), encoding="utf-8")
    if as_json:
        emit([record(one) for one in found])
        return
    for one in found:
        show(console, one)
    if html is not None:
        console.print(f"wrote {html}")


@app.command("contamination")
def contamination(
    run: Annotated[Path, typer.Argument(help="A finished run folder whose recipe has the step decontaminate.")],
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with every match marked in document and item.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a run was checked against, what was found, and the evidence."""
    from dataclasses import asdict

    from rich.console import Console
    from rich.table import Table

    from curate.audit_contamination import audit, page

    steps, evidence = audit(run)
    if html is not None:
        html.write_text(page(steps, evidence), encoding="utf-8", errors="backslashreplace")
    if as_json:
        emit({"steps": [asdict(step) for step in steps], "evidence": evidence})
        return
    console = Console()
    for step in steps:
        table = Table(title=f"{step.dataset}: {step.step}", title_justify="left", box=None, pad_edge=False)
        for head in ("benchmark", "items", "long enough", "items hit", "rate", "documents hit"):
            table.add_column(head, justify="left" if head == "benchmark" else "right")
        for name, about in step.checked.items():
            figures = (about["items"], about["usable"], about["items_hit"])
            table.add_row(name, *(f"{n:,}" for n in figures), f"{about['rate']:.2%}", f"{about['documents_hit']:,}")
        console.print(table)
    console.print(f"{len(evidence):,} matches in contamination.jsonl" + (f", shown in {html}" if html is not None else ""))


def _keep(run: Path, name: str, found: list[dict[str, Any]]) -> None:
    """Leave the figures in the run, where its card finds them: RUN/audits/NAME.json, without texts of documents.

    Each says by its key which version of its dataset it measured, so that a changed run's card doesn't repeat old figures.
    """
    from curate.report.run_folder import open_run
    from curate.store import write_atomic

    datasets = open_run(run).datasets
    found = [one | {"key": datasets[one["dataset"]]["key"]} for one in found]
    folder = run / "audits"
    folder.mkdir(exist_ok=True)
    write_atomic(folder / f"{name}.json", json.dumps(found, ensure_ascii=False, indent=1).encode() + b"\n")


def _print(console: Any, one: Any) -> None:
    from rich.table import Table
    from rich.text import Text

    from curate.report.funnel import count_text

    console.print(
        Text.assemble((one.dataset, "bold"), f"  {one.documents:,} documents, {count_text(one.counts) or 'nothing found in the run'}")
    )
    table = Table(box=None, pad_edge=False)
    for head in ("type", "planted", "found", "as another type", "recall", "gone after the recipe's action"):
        table.add_column(head, justify="left" if head == "type" else "right")
    for name, r in one.recall.items():
        table.add_row(
            name, f"{r.planted}", f"{r.found}", f"{r.other}", f"{(r.found + r.other) / r.planted:.1%}", f"{r.gone / r.planted:.1%}"
        )
    console.print(table)
    for name, r in one.recall.items():
        for text in r.missed[:3]:
            console.print(Text.assemble(("missed ", "yellow"), f"{name}: {text}"))
    for name, shown in one.hits.items():
        for text in shown:
            console.print(Text.assemble((f"{name:>12}  ", "cyan"), text))
