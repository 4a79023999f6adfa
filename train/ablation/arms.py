"""One variant with one seed: its mix, its model, the bits of every held-out document. What is finished is not done again."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curate.errors import DataError, RecipeError
from curate.node import NodeInput, Progress
from train.ablation.settings import Ablation
from train.command import find_input
from train.evaluation.tasks import Task, TaskSettings, load_task
from train.launch import run_job
from train.node import MIX
from train.pretrain import Pretrain

ARM = "arm.json"


@dataclass(frozen=True)
class Arm:
    """What one model gave."""

    variant: str
    seed: int
    bits: tuple[float, ...]  # one for each held-out document, in the order of the tasks
    model: str
    epochs: dict[str, float]  # by source of the mix
    parameters: int
    seconds: float
    unique_tokens: int = 0  # different ones that the mix can give


@dataclass(frozen=True)
class Study:
    """An ablation on this machine."""

    ablation: Ablation
    folder: str  # where the file's relative paths start
    out: Path
    workers: int | None  # processes that make the data
    left_out: Mapping[str, float] = field(default_factory=dict)  # share of the windows that a variant does without

    def target(self, variant: str, seed: int) -> Path:
        """Where a model goes."""
        return self.out / "models" / f"{variant}-{seed}"


def held_out(ablation: Ablation, folder: str) -> list[Task]:
    """The tasks that judge. Raises DataError where one is not made of texts."""
    tasks = [load_task(TaskSettings(file=file), folder) for file in ablation.evaluate]
    for task in tasks:
        if task.kind != "text":
            raise DataError(f"evaluate: {task.name} holds items of kind {task.kind!r}; an ablation is judged by texts.")
    return tasks


def run_arm(study: Study, variant: str, seed: int, tasks: Sequence[Task], progress: Progress) -> Arm:
    """Make the variant's mix, train, and ask the model."""
    ablation = study.ablation
    data = variant_data(study, variant, seed)
    whole = ablation.tokens - ablation.tokens % seq_len(data)  # windows are whole, in the mix as well
    node = Pretrain(**{**ablation.train, "model": ablation.model.model_dump(exclude_none=True), "data": "data", "tokens": whole})
    target = study.target(variant, seed)
    work = target / "checkpoints"
    job = node.job({"data": data}, target, work, seed, f"{variant}, seed {seed}")
    wanted = hashlib.sha256(json.dumps([job.identity(), [t.digest for t in tasks]]).encode()).hexdigest()
    done = target / ARM
    if done.is_file() and json.loads(done.read_bytes())["identity"] == wanted:
        return read_arm(target)
    info = run_job(job, None, progress)
    shutil.rmtree(work, ignore_errors=True)  # the model is done; its checkpoints are as large
    bits = ask(target, tasks, seq_len(data))
    unique = unique_windows(data) * seq_len(data)
    arm = Arm(
        variant, seed, tuple(bits), str(target), epochs(data), int(info.get("parameters", 0)), float(info.get("seconds", 0.0)), unique
    )
    scratch = done.with_name(f".{ARM}.{os.getpid()}")
    scratch.write_text(json.dumps({**vars(arm), "identity": wanted}), "utf-8")
    os.replace(scratch, done)
    return arm


def read_arm(target: Path) -> Arm:
    """A finished one."""
    kept = {k: v for k, v in json.loads((target / ARM).read_bytes()).items() if k != "identity"}
    return Arm(**{**kept, "bits": tuple(kept["bits"])})


def variant_data(study: Study, variant: str, seed: int) -> NodeInput:
    """The finished mix of a variant. One that the recipe makes has its order by the seed; a mix that was finished before keeps its own."""
    ablation = study.ablation
    settings = ablation.variants[variant]
    if settings.data is not None:
        return find_input(settings.data, study.folder)
    import curate

    assert ablation.recipe is not None and ablation.mix is not None
    overrides = [*settings.set, f"datasets.{ablation.mix}.mix.seed={seed}"]
    if study.left_out.get(variant):
        overrides.append(f"datasets.{ablation.mix}.mix.held_out={{share: {study.left_out[variant]!r}, by: windows}}")
    recipe = Path(study.folder) / Path(ablation.recipe).expanduser()
    result = curate.run(recipe, out=study.out / "data" / variant, set=overrides, only=[ablation.mix], workers=study.workers)
    return find_input(str(result.out / ablation.mix), study.folder)


def equal_shares(made: Mapping[str, NodeInput]) -> dict[str, float]:
    """Shares of windows that variants do without so that all have as many as the smallest.

    made: whole mixes by variant. Exact for a mix of one source, else within a window for each.
    """
    for name, data in made.items():
        if any(s["held_out"]["windows"] for s in _mix(data)["sources"]):
            raise RecipeError(
                f"same_unique_tokens: the mix of {name} holds data out already (held_out). Leave that out of the recipe here."
            )
    windows = {name: unique_windows(data) for name, data in made.items()}
    least = min(windows.values())
    # Half a window more: the mix rounds down, and a share is not exact.
    return {name: (count - least + 0.5) / count for name, count in windows.items() if count > least}


def _mix(data: NodeInput) -> dict[str, Any]:
    """What mix.json holds. Raises RecipeError where the data are none."""
    path = Path(data.folder) / MIX
    if not path.is_file():
        raise RecipeError(f"{data.name!r} is no mix: {path} is not there. Name the mix of the recipe in `mix:`.")
    found: dict[str, Any] = json.loads(path.read_bytes())
    return found


def seq_len(data: NodeInput) -> int:
    """Tokens of a window of a mix. Raises RecipeError where the data are none."""
    return int(_mix(data)["seq_len"])


def tokenizer_digest(data: NodeInput) -> str:
    """Of the tokenizer that a mix's tokens come from."""
    return str(_mix(data)["tokenizer"].get("curate.tokenizer_sha256", ""))


def unique_windows(data: NodeInput) -> int:
    """Windows of the sources that are read, each counted once."""
    return sum(s["windows"] for s in _mix(data)["sources"] if s["used"])


def epochs(data: NodeInput) -> dict[str, float]:
    """How often the mix goes through each of its sources."""
    return {s["name"]: round(s["used"] / s["windows"], 3) if s["windows"] else math.nan for s in _mix(data)["sources"]}


def ask(model: Path, tasks: Sequence[Task], window: int) -> list[float]:
    """Bits of every document under a model."""
    import torch
    from transformers import AutoTokenizer

    from train.evaluation.scorer import Scorer
    from train.models import load_model

    place = "cuda" if torch.cuda.is_available() else "cpu"
    scorer = Scorer(load_model(model).to(place).eval(), AutoTokenizer.from_pretrained(model), max_length=window)
    return [s.nats / math.log(2) for task in tasks for s in scorer.documents([i.prompt for i in task.items])]
