"""One variant with one seed: its mix, its model, the bits of every held-out document. What is finished is not done again."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
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


def held_out(ablation: Ablation, folder: str) -> list[Task]:
    """The tasks that judge. Raises DataError where one is not made of texts."""
    tasks = [load_task(TaskSettings(file=file), folder) for file in ablation.evaluate]
    for task in tasks:
        if task.kind != "text":
            raise DataError(f"evaluate: {task.name} holds items of kind {task.kind!r}; an ablation is judged by texts.")
    return tasks


def run_arm(
    ablation: Ablation, folder: str, out: Path, variant: str, seed: int, tasks: Sequence[Task], workers: int | None, progress: Progress
) -> Arm:
    """Make the variant's mix, train, and ask the model. folder: where the file's relative paths start."""
    data = variant_data(ablation, folder, out, variant, seed, workers)
    whole = ablation.tokens - ablation.tokens % seq_len(data)  # windows are whole, in the mix as well
    node = Pretrain(**{**ablation.train, "model": ablation.model.model_dump(exclude_none=True), "data": "data", "tokens": whole})
    target = out / "models" / f"{variant}-{seed}"
    work = target / "checkpoints"
    job = node.job({"data": data}, target, work, seed, f"{variant}, seed {seed}")
    wanted = hashlib.sha256(json.dumps([job.identity(), [t.digest for t in tasks]]).encode()).hexdigest()
    done = target / ARM
    if done.is_file() and json.loads(done.read_bytes())["identity"] == wanted:
        kept = {k: v for k, v in json.loads(done.read_bytes()).items() if k != "identity"}
        return Arm(**{**kept, "bits": tuple(kept["bits"])})
    info = run_job(job, None, progress)
    shutil.rmtree(work, ignore_errors=True)  # the model is done; its checkpoints are as large
    bits = ask(target, tasks, seq_len(data))
    arm = Arm(variant, seed, tuple(bits), str(target), epochs(data), int(info.get("parameters", 0)), float(info.get("seconds", 0.0)))
    scratch = done.with_name(f".{ARM}.{os.getpid()}")
    scratch.write_text(json.dumps({**vars(arm), "identity": wanted}), "utf-8")
    os.replace(scratch, done)
    return arm


def variant_data(ablation: Ablation, folder: str, out: Path, variant: str, seed: int, workers: int | None) -> NodeInput:
    """The finished mix of a variant. One that the recipe makes has its order by the seed; a mix that was finished before keeps its own."""
    settings = ablation.variants[variant]
    if settings.data is not None:
        return find_input(settings.data, folder)
    import curate

    assert ablation.recipe is not None and ablation.mix is not None
    overrides = [*settings.set, f"datasets.{ablation.mix}.mix.seed={seed}"]
    recipe = Path(folder) / Path(ablation.recipe).expanduser()
    result = curate.run(recipe, out=out / "data" / variant, set=overrides, only=[ablation.mix], workers=workers)
    return find_input(str(result.out / ablation.mix), folder)


def seq_len(data: NodeInput) -> int:
    """Tokens of a window of a mix. Raises RecipeError where the data are none."""
    path = Path(data.folder) / MIX
    if not path.is_file():
        raise RecipeError(f"{data.name!r} is no mix: {path} is not there. Name the mix of the recipe in `mix:`.")
    return int(json.loads(path.read_bytes())["seq_len"])


def tokenizer_digest(data: NodeInput) -> str:
    """Of the tokenizer that a mix's tokens come from."""
    return str(json.loads((Path(data.folder) / MIX).read_bytes())["tokenizer"].get("curate.tokenizer_sha256", ""))


def epochs(data: NodeInput) -> dict[str, float]:
    """How often the mix goes through each of its sources."""
    mix: dict[str, Any] = json.loads((Path(data.folder) / MIX).read_bytes())
    return {s["name"]: round(s["used"] / s["windows"], 3) if s["windows"] else math.nan for s in mix["sources"]}


def ask(model: Path, tasks: Sequence[Task], window: int) -> list[float]:
    """Bits of every document under a model."""
    import torch
    from transformers import AutoTokenizer

    from train.evaluation.scorer import Scorer
    from train.models import load_model

    place = "cuda" if torch.cuda.is_available() else "cpu"
    scorer = Scorer(load_model(model).to(place).eval(), AutoTokenizer.from_pretrained(model), max_length=window)
    return [s.nats / math.log(2) for task in tasks for s in scorer.documents([i.prompt for i in task.items])]
