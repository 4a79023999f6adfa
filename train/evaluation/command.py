"""`curate eval MODEL... --tasks FILE...`: what models can do, and how sure a difference between them is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curate.cli.output import JsonOption, emit

if TYPE_CHECKING:
    from train.evaluation.evaluate import TaskResult


def eval_(
    models: Annotated[
        list[str], typer.Argument(help="Model folders, RUN/NAME, or hub names. With several the others are compared to the first.")
    ],
    tasks: Annotated[list[str], typer.Option("--tasks", "-t", help="Files of items, or YAML files of tasks; may be given several times.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for results. Default: evaluation/ in the model's folder.")] = None,
    chat: Annotated[bool, typer.Option("--chat", help="Send questions that are answered in words through the chat template.")] = False,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
    dtype: Annotated[str, typer.Option("--dtype", help="auto (bfloat16 on a GPU, float32 on a CPU), float32 or bfloat16.")] = "auto",
    batch_tokens: Annotated[int, typer.Option("--batch-tokens", min=64, help="Tokens in one batch.")] = 16_384,
    max_length: Annotated[int | None, typer.Option("--max-length", min=2, help="Longest sequence; default: the model's own.")] = None,
    harness: Annotated[str, typer.Option("--harness", help="curate, or lm-eval to have lm-eval ask the same files.")] = "curate",
    as_json: JsonOption = False,
) -> None:
    """Ask models the items of files, and print accuracy, bits per byte and what else the items allow."""
    from curate.errors import MissingDependency, RecipeError

    MissingDependency.check(("torch", "transformers"), "train", "curate eval")
    from train.evaluation.asking import Asking, ask
    from train.evaluation.evaluate import save
    from train.evaluation.judging import JUDGED, check_opponents, judge
    from train.evaluation.tasks import load_tasks
    from train.evaluation.terminal import Bar, show
    from train.progress import Line

    if harness not in ("curate", "lm-eval"):
        raise RecipeError(f"--harness is {harness!r}; there are curate and lm-eval.")
    if out is not None and len(models) > 1:
        raise RecipeError("--out takes the results of one model. Without it each model's folder gets its own.")
    loaded = load_tasks(tasks)
    how = Asking(chat, device, dtype, batch_tokens, max_length, harness)
    if len(set(models)) < len(models):
        raise RecipeError("a model is named twice.")
    check_opponents(loaded, len(models))
    folders = {name: _folder(name) for name in models}
    targets = {name: out or _results_folder(name, folder) for name, folder in folders.items()}
    results: dict[str, list[TaskResult]] = {}
    written: dict[str, str] = {}
    for name, folder in folders.items():
        with Bar(name, quiet=as_json) as bar:
            results[name] = ask(folder, loaded, how, bar)
        written[name] = str(save(results[name], targets[name], {"model": name, "harness": harness}))
    if any(task.settings.judge is not None for task in loaded):
        results = judge(results, loaded, targets[models[-1]] / JUDGED, Line("judge"))
        for name, found in results.items():
            save(found, targets[name], {"model": name, "harness": harness})
    if as_json:
        figures = {name: {r.task: {"main": r.main, **r.figures} for r in found} for name, found in results.items()}
        emit({"models": figures, "written": written})
        return
    show(results)
    for path in written.values():
        typer.echo(f"wrote {path}", err=True)


def _results_folder(name: str, folder: str) -> Path:
    return Path(folder) / "evaluation" if Path(folder).is_dir() else Path("evaluation") / name.replace("/", "_")


def _folder(name: str) -> str:
    """A model's folder: as given, below runs/, or a hub name."""
    from curate.errors import RecipeError

    for place in (Path(name).expanduser(), Path("runs") / name):
        if (place / "config.json").is_file():
            return str(place.resolve())
    if name.startswith("hub:") or (name.count("/") == 1 and not Path(name).exists() and not Path("runs", name.split("/")[0]).exists()):
        return name if name.startswith("hub:") else f"hub:{name}"
    raise RecipeError(f"{name!r} is no model: no config.json in {name} or runs/{name}. Give a model folder, RUN/NAME, or hub:org/name.")
