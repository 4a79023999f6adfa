"""One model, loaded and asked: what `curate eval` and the node `evaluate` share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from curate.executors import cpu_compute
from train.evaluation.evaluate import TaskResult
from train.evaluation.tasks import Task


@dataclass(frozen=True)
class Asking:
    """How a model is asked."""

    chat: bool = False  # questions that are answered in words go through the chat template
    device: str = "auto"  # auto: the first GPU, else the CPU
    dtype: str = "auto"  # auto: bfloat16 on a GPU, float32 on a CPU
    batch_tokens: int = 16_384
    max_length: int | None = None  # None: what the model reads
    harness: str = "curate"  # or lm-eval


class Telling(Protocol):
    """Progress: items done of a task, and signs of life between them."""

    def __call__(self, task: str, done: int, total: int) -> None: ...

    def tick(self) -> None: ...


def ask(folder: str, tasks: Sequence[Task], how: Asking, tell: Telling) -> list[TaskResult]:
    """Load the model of a folder (or `hub:name`) and ask it every task, in order."""
    cpu_compute.set_up()
    import torch
    from transformers import AutoTokenizer

    from train.evaluation.answering import FolderAnswerer
    from train.evaluation.evaluate import evaluate
    from train.evaluation.harness import ask_lm_eval
    from train.evaluation.scorer import Scorer
    from train.models import load_model

    place = ("cuda" if torch.cuda.is_available() else "cpu") if how.device == "auto" else how.device
    kind = ("bfloat16" if place.startswith("cuda") else "float32") if how.dtype == "auto" else how.dtype
    model = load_model(folder, getattr(torch, kind)).to(place).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder.removeprefix("hub:"), trust_remote_code=False)
    if how.harness == "lm-eval":
        return list(ask_lm_eval(model, tokenizer, list(tasks), how.max_length))
    scorer = Scorer(model, tokenizer, how.batch_tokens, how.max_length)
    writes = any(task.kind in ("answer", "code", "judged") for task in tasks)
    device = "cuda" if place.startswith("cuda") else "cpu"
    answerer = FolderAnswerer(folder, how.chat, tell.tick, dtype=kind, device=device) if writes else None
    return evaluate(scorer, tasks, answerer, tell)
