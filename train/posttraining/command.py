"""`curate doctor FILE`: the examination that every post-training run begins with, without the run."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from curate.cli.output import JsonOption, emit

_KINDS = {
    "sft": "sft",
    "dpo": "pairs",
    "reward": "pairs",
    "pairs": "pairs",
    "kto": "labelled",
    "grpo": "prompts",
    "rloo": "prompts",
    "prompts": "prompts",
}


def doctor(
    files: Annotated[
        list[str], typer.Argument(help="Files, folders or globs of rows in any format that `curate convert` reads, or rendered ones.")
    ],
    kind: Annotated[str | None, typer.Option("--kind", help="sft, dpo, reward, kto, grpo, rloo. Default: told by the rows.")] = None,
    tokenizer: Annotated[
        str | None, typer.Option("--tokenizer", help="Folder of a model or tokenizer; without one, token ids and masks are not looked at.")
    ] = None,
    template: Annotated[
        str | None, typer.Option("--template", help="chatml, llama3, ... a .jinja file, or none. Default: the tokenizer's own.")
    ] = None,
    source: Annotated[str | None, typer.Option("--from", help="Format to read. Default: told by content.")] = None,
    against: Annotated[list[str] | None, typer.Option("--against", help="Evaluation sets that must not be in the data.")] = None,
    max_length: Annotated[int | None, typer.Option("--max-length", min=1, help="Tokens of a row.")] = None,
    too_long: Annotated[str, typer.Option("--too-long", help="drop, cut_turns, keep_end.")] = "drop",
    allow: Annotated[
        list[str] | None, typer.Option("--allow", help="Share of rows that may have a defect.", metavar="DEFECT=SHARE")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Look for what would spoil a fine-tuning run: untrained stop tokens, empty or equal answers, contamination, ...

    Ends with status 1 where a run would be refused.
    """

    from curate.errors import RecipeError
    from train.posttraining.doctor import Doctor, check_names, kind_of
    from train.posttraining.rendering import Rendering, RowMaker

    if kind is not None and kind not in _KINDS:
        raise RecipeError(f"--kind must be one of {', '.join(_KINDS)}, got {kind!r}.")
    if too_long not in ("drop", "cut_turns", "keep_end"):
        raise RecipeError(f"--too-long must be drop, cut_turns or keep_end, got {too_long!r}.")
    shares = _shares(allow or [])
    check_names(shares)
    wanted: Any = _KINDS[kind] if kind is not None else kind_of(files)
    maker = None
    if tokenizer is not None:
        rendering = Rendering(template=template, max_length=max_length, too_long=too_long)  # type: ignore[arg-type]
        maker = RowMaker(wanted, tokenizer, rendering)
    found = Doctor(wanted, maker, tuple(against or ()))
    _look(found, files, source, not as_json)
    bad = found.findings.above(shares)
    if as_json:
        emit({"kind": wanted, **found.findings.as_json(), "refused_for": bad})
    else:
        typer.echo("\n".join(found.findings.lines(shares)))
    if bad:
        if not as_json:
            typer.echo(f"refused: {', '.join(bad)}", err=True)
        raise typer.Exit(1)


def _look(doctor: Any, files: list[str], source: str | None, shown: bool) -> None:
    """Run the examination, with progress where somebody looks."""
    import sys

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not (shown and sys.stderr.isatty()), transient=True) as bar:
        task = bar.add_task("looking", total=1.0)
        for _ in doctor.examine(files, lambda share, what: bar.update(task, completed=share, description=what), source):
            pass


def _shares(given: list[str]) -> dict[str, float]:
    from curate.errors import RecipeError

    made: dict[str, float] = {}
    for text in given:
        name, _, share = text.partition("=")
        try:
            made[name] = float(share)
        except ValueError:
            raise RecipeError(f"--allow takes DEFECT=SHARE, such as empty_answer=0.01, got {text!r}.") from None
        if not 0 <= made[name] <= 1:
            raise RecipeError(f"--allow {text}: a share lies between 0 and 1.")
    return made
