"""`curate train FILE`: one model outside of a recipe.

FILE is YAML with what stands behind a name in a recipe's `models:` (or `models:` with one entry); `seed:` may stand beside:

    train: pretrain
    model: {preset: llama-160m}
    data: runs/web/pretrain_mix

`data` and other inputs are folders, files, or RUN/NAME (a run below `runs/`); relative paths start at FILE, then at the working folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curate.cli.output import JsonOption, emit

if TYPE_CHECKING:
    from curate.node import NodeInput
    from curate.recipe_yaml import Item, Problems
    from train.node import ModelNode, TrainJob

DONE = "training.json"
SKIPPED = {"dropped", "ledger", "quarantine"}


def _show_presets(wanted: bool) -> None:
    if wanted:
        from train.cost import gpu_table, preset_table

        for lines in (preset_table(), gpu_table()):
            widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
            typer.echo("\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines))
            typer.echo("")
        raise typer.Exit


def train(
    file: Annotated[Path, typer.Argument(help="YAML: one entry of a recipe's `models:`.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the model. Default: models/<name of FILE>.")] = None,
    processes: Annotated[int | None, typer.Option("--processes", min=1, help="Default: one for each GPU. Under torchrun: its own.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Override a value: optimizer.lr=0.001", metavar="K=V")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only print parameters, FLOPs, memory, time and money.")] = False,
    gpu: Annotated[str | None, typer.Option("--gpu", help="With --plan: the GPU to count time and money for, such as h100.")] = None,
    price: Annotated[float | None, typer.Option("--price", min=0, help="With --plan: dollars an hour of that GPU.")] = None,
    presets: Annotated[
        bool,
        typer.Option(
            "--presets", is_eager=True, callback=_show_presets, help="Only print the shapes of models and the GPUs that are known."
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Train anew where the folder has a model of other settings.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a model; after an interruption the same command goes on from the last checkpoint."""
    from curate.errors import Interrupted, RecipeError
    from train.launch import run_job
    from train.progress import Line

    if not plan and (gpu is not None or price is not None):
        raise RecipeError("--gpu and --price are for --plan: they decide nothing of the training.")
    name, seed, node, folder = load(file, [*(set_ or ()), *told_of_plan(gpu, price)])
    inputs = {wanted: find_input(wanted, folder) for wanted in node.inputs()}
    if plan:
        lines = node.forecast(inputs, True)
        if as_json:
            emit({"model": name, "plan": lines})
        else:
            typer.echo("\n".join(lines))
        return
    target = (out or Path("models") / name).absolute()
    work = target / "checkpoints"
    work.mkdir(parents=True, exist_ok=True)
    with _held(target):
        job = node.job(inputs, target, work, seed, name)
        if _finished(target, job):
            info: dict[str, Any] = json.loads((target / DONE).read_bytes())["info"]
            typer.echo(f"{target} is this model already", err=True)
        else:
            if (target / DONE).exists():
                if not force:
                    raise RecipeError(f"{target} has a model of other settings or data. Choose another --out, or --force to replace it.")
                _clear(target, work)
            try:
                info = run_job(job, processes, Line(name))
            except KeyboardInterrupt as error:
                raise Interrupted("interrupted before the first step was done; run the same command again") from error
    if os.environ.get("RANK", "0") == "0":
        if as_json:
            emit({"model": str(target), "info": info})
        else:
            typer.echo(f"wrote {target}", err=True)


def told_of_plan(gpu: str | None, price: float | None) -> list[str]:
    """Overrides that tell a model what its plan is for."""
    given = {"gpu": gpu, "price": price}
    return [f"{key}={json.dumps(value)}" for key, value in given.items() if value is not None]


def load(file: Path, overrides: tuple[str, ...] | list[str] = ()) -> tuple[str, int, ModelNode, str]:
    """(name, seed, node, folder where paths start). Raises RecipeError with every mistake."""
    from curate import recipe_paths, registry
    from curate.recipe_overrides import apply_override
    from curate.recipe_yaml import Problems, parse_file
    from curate.settings import build

    problems = Problems(str(file))
    tree = parse_file(str(file), problems)
    for override in overrides:
        tree = apply_override(tree, override, problems)
    name, entry = _entry(tree, file.stem, problems)
    problems.raise_all()
    seed = tree.value["seed"].value if "seed" in tree.value else 0
    kind, folder = f"train:{entry.value['train'].value}", str(file.absolute().parent)
    known = [k for k in registry.names("nodes") if k.startswith("train:")]
    if kind not in known:
        near = registry.nearest(kind, known) or f" There are: {', '.join(k.removeprefix('train:') for k in known)}."
        problems.add(entry.value["train"].mark, f"unknown kind of training {entry.value['train'].value!r}.{near}")
    problems.raise_all()
    cls = registry.load("nodes", kind)
    given = recipe_paths.resolve(cls, entry.without("train", "seed"), folder, (), name, problems)
    node = build(cls, given, name, problems)
    problems.raise_all()
    assert node is not None
    return name, int(seed), node, folder


def _entry(tree: Item, stem: str, problems: Problems) -> tuple[str, Item]:
    """Name and mapping of the one model that the file describes."""
    if tree.is_mapping and "models" in tree.value:
        models = tree.value["models"]
        if models.is_mapping and len(models.value) == 1:
            name, entry = next(iter(models.value.items()))
            if entry.is_mapping and "train" in entry.value:
                return str(name), entry
        problems.add(models.mark, "models must have one entry with 'train'. A recipe of several is for `curate run`.")
    elif not tree.is_mapping or "train" not in tree.value:
        problems.add(tree.mark, "must be a mapping with 'train', the kind of training, as an entry of a recipe's 'models'.")
    return stem, tree


def find_input(given: str, folder: str) -> NodeInput:
    """A finished dataset, mix or model by its path, or as RUN/NAME."""
    from curate.errors import RecipeError

    places = [Path(folder) / Path(given).expanduser(), Path(given).expanduser(), Path("runs") / given]
    found = next((p for p in places if p.exists()), None)
    if found is None:
        raise RecipeError(f"{given!r} is neither a folder nor a dataset of a run: looked for {', '.join(str(p) for p in places)}.")
    return as_input(given, found.absolute())


def as_input(name: str, path: Path) -> NodeInput:
    """A folder or file as the runner of a recipe would hand it over."""
    from curate.fingerprint import digest, file_checksum
    from curate.node import NodeInput

    if path.is_file():
        return NodeInput(name, str(path.parent), (str(path),), digest([path.name, file_checksum(str(path))]))
    files = sorted(
        f for f in path.rglob("*") if f.is_file() and not f.name.startswith(("_", ".")) and not SKIPPED & set(f.relative_to(path).parts)
    )
    parts = tuple(str(f) for f in files)
    about, mix = path / "_dataset.json", path / "mix.json"
    if about.is_file():
        entry = json.loads(about.read_bytes())
        return NodeInput(name, str(path), parts, entry["digest"], entry["rows_out"], entry["tokens"], entry.get("bytes", 0))
    if mix.is_file():
        stages = json.loads(mix.read_bytes())["stages"]
        windows, tokens = (sum(stage[key] for stage in stages) for key in ("windows", "tokens"))
        return NodeInput(name, str(path), parts, file_checksum(str(mix)), windows, tokens)
    return NodeInput(name, str(path), parts, digest([[str(f.relative_to(path)), file_checksum(str(f))] for f in files]))


def _finished(target: Path, job: TrainJob) -> bool:
    try:
        return bool(json.loads((target / DONE).read_bytes()).get("identity") == job.identity())
    except (OSError, ValueError):
        return False


def _clear(target: Path, work: Path) -> None:
    """Remove an old model and its checkpoints."""
    import shutil

    shutil.rmtree(work)
    for file in target.iterdir():
        if file.is_file() and file.name != ".lock":
            file.unlink()
    work.mkdir()


@contextmanager
def _held(target: Path) -> Iterator[None]:
    """Keep other commands out of the folder. Ranks of torchrun share it."""
    from curate.store import held

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        yield
        return
    with held(target, f"{target} is in use by {{holder}}. Wait for it to end, or choose another --out."):
        yield
