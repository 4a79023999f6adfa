"""Where metrics go beside metrics.jsonl: TensorBoard and W&B. A sink is a function of (step, numbers by name), and of step -1 at the end.

A run that goes on after an interruption goes on in the same curves: TensorBoard drops what comes after the checkpoint, W&B is told the
same run (its id stands in the folder with the checkpoints).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from curate.errors import MissingDependency

Sink = Callable[[int, Mapping[str, float]], None]
EXTRAS = {"tensorboard": "train", "wandb": "wandb"}  # of curate's, that bring the packages
RUN_ID = "wandb_run.txt"


def check_sinks(names: list[str]) -> None:
    """Raise MissingDependency where a package is not installed. Imports none."""
    for name in names:
        MissingDependency.check((name,), EXTRAS[name], f"track: {name}")


def open_sink(name: str, work: Path, run: str, settings: Mapping[str, Any], start: int) -> Sink:
    """run: name for people; start: the first step that will come"""
    check_sinks([name])
    return _tensorboard(work, start) if name == "tensorboard" else _wandb(work, run, settings)


def _tensorboard(work: Path, start: int) -> Sink:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(work / "tensorboard"), purge_step=start or None)

    def write(step: int, values: Mapping[str, float]) -> None:
        for key, value in values.items():
            writer.add_scalar(key, value, step)
        if step < 0:
            writer.close()

    return write


def _wandb(work: Path, name: str, settings: Mapping[str, Any]) -> Sink:
    import wandb

    known = work / RUN_ID
    before = known.read_text("utf-8") if known.exists() else None
    run = wandb.init(project="curate", name=name, dir=str(work), config=dict(settings), resume="allow", id=before)
    known.write_text(run.id, "utf-8")

    def write(step: int, values: Mapping[str, float]) -> None:
        if step < 0:
            run.finish()
        else:
            run.log(dict(values), step=step)

    return write
