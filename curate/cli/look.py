"""`curate status` and `curate inspect`: how far a run is, and rows of anything it made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from curate.cli.output import JsonOption, emit


def status(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    as_json: JsonOption = False,
) -> None:
    """Show how far a run is: stages, tasks done, who holds the folder, quarantine."""
    from curate.errors import RecipeError

    if not (run / ".stages").is_dir():
        raise RecipeError(f"{run} is not a run folder: it has no .stages. Runs lie in runs/<recipe name> unless --out said otherwise.")
    state = holder(run)
    manifest_path = run / "manifest.json"
    named: dict[str, str] = {}
    if manifest_path.exists():
        manifest = json.loads(manifest_path.read_bytes())
        named = {f"{label}-{entry['key'][:12]}": label for label, entry in manifest["stages"].items()}
    jobs = sorted((run / ".stages").glob("*/job.json"), key=lambda job: (job.stat().st_mtime_ns, job))  # as they were begun
    stages = [job.parent for job in jobs]
    if as_json:
        record = {folder.name: stage_figures(folder) | {"in_manifest": folder.name in named} for folder in stages}
        emit({"run": str(run), "state": state, "stages": record})
        return
    typer.echo(f"{run}: {state}")
    for folder in stages:
        typer.echo("  " + stage_line(folder, folder.name in named))


def stage_line(folder: Path, in_manifest: bool) -> str:
    """'web.1-3fa9c1d20b7e  12 of 16 tasks, 3 rows quarantined'"""
    done, total, unread = stage_figures(folder).values()
    text = f"{folder.name}  {done}{'' if total is None else f' of {total}'} tasks"
    text += f", {unread:,} rows quarantined" if unread else ""
    return text + ("" if in_manifest else "  (not in the manifest: unfinished or from an earlier recipe; `curate gc` removes it)")


def stage_figures(folder: Path) -> dict[str, int | None]:
    """Tasks done, tasks in all (None where it is not known yet), rows quarantined."""
    job = json.loads((folder / "job.json").read_bytes())
    source = job.get("source", {})
    total = 1 if job["kind"] == "node" else len(source["tasks"]) if "tasks" in source else job.get("tasks")
    if "stage" in source:  # one task for each of the stage that it reads, which is done
        total = len(list((folder.parent / source["stage"] / "receipts").glob("*.json"))) or None
    receipts = sorted((folder / "receipts").glob("*.json"))
    unread = sum(sum(json.loads(r.read_bytes()).get("ledger", {}).get("quarantined", {}).values()) for r in receipts)
    return {"tasks_done": len(receipts), "tasks": total, "quarantined": unread}


def holder(run: Path) -> str:
    """Whether a run is under way."""
    import fcntl

    with open(run / ".lock", "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            return f"running, {file.read()}"
    return "finished" if (run / "manifest.json").exists() else "stopped before it was finished; run the same command to go on"


def inspect(
    what: Annotated[str, typer.Argument(help="RUN/DATASET, RUN/.stages/STAGE, or a parquet, arrow or jsonl file.")],
    rows: Annotated[int, typer.Option("--rows", "-n", min=1, help="How many rows.")] = 5,
    offset: Annotated[int, typer.Option("--offset", min=0, help="First row.")] = 0,
    where: Annotated[str | None, typer.Option("--where", help='Only rows for which this SQL expression holds: "lang_score < 0.8".')] = None,
    columns: Annotated[str | None, typer.Option("--columns", help="Only these, comma separated.")] = None,
    dropped: Annotated[bool, typer.Option("--dropped", help="The kept sample of dropped rows instead.")] = False,
    quarantine: Annotated[bool, typer.Option("--quarantine", help="The unreadable rows instead.")] = False,
    chars: Annotated[int, typer.Option("--chars", min=1, help="Characters of text to show for each value.")] = 300,
    as_json: JsonOption = False,
    mask: Annotated[bool, typer.Option("--mask", help="Conversations as a model is trained on them, coloured by loss.")] = False,
    tokenizer: Annotated[str | None, typer.Option("--tokenizer", help="With --mask: folder with tokenizer.json, or the file.")] = None,
    template: Annotated[str | None, typer.Option("--template", help="With --mask: a known template or a .jinja file.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="With --mask: write a page as well.")] = None,
) -> None:
    """Look at rows of a dataset, a stage, dropped or quarantined rows; with --mask, at what would be trained."""
    from curate.errors import RecipeError

    if mask:
        if as_json:
            raise RecipeError("--mask shows rows in colour and has no --json. `curate render` writes token ids and labels.")
        _show_mask(Path(what), tokenizer, template, rows, offset, chars, html)
        return
    from curate.cli.rows import find_rows, show

    sub = "dropped" if dropped else "quarantine" if quarantine else None
    frame = find_rows(Path(what), sub, offset, rows, where, columns.split(",") if columns else None)
    if as_json:
        for row in frame.to_dicts():
            emit(row)
    else:
        show(frame, chars)


def _show_mask(what: Path, tokenizer: str | None, template: str | None, rows: int, offset: int, chars: int, html: Path | None) -> None:
    from importlib.metadata import entry_points

    from curate.errors import RecipeError

    found = list(entry_points(group="curate.inspectors", name="mask"))
    if not found or tokenizer is None:
        raise RecipeError(
            "--mask needs --tokenizer: the folder of the model's tokenizer." if found else "--mask needs the package `formats`."
        )
    found[0].load()(what, tokenizer, template, rows, offset, chars, html)
