"""Tasks asked while a model is trained: the weights of a step, put into a model of their own.

What is asked is a copy in the form that a checkpoint has (its types of numbers, transformers' own attention, no hooks, nothing compiled),
so the figures are those of `curate eval` on a checkpoint of the step, and the trained model is not touched: not its mode, its gradients,
nor the random state. The copy takes 2 bytes a weight on a GPU and 4 on a CPU, as long as the tasks last.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.initialization import no_init_weights

from curate.errors import RecipeError
from train.evaluation.evaluate import TaskResult, evaluate
from train.evaluation.scorer import Scorer
from train.evaluation.settings import TaskEvaluation

Say = Callable[[str], None]


class During:
    """The tasks of a run, loaded once, so that a mistake in them shows before the first step."""

    def __init__(self, settings: TaskEvaluation, tokenizer: str | Any | None, written: torch.dtype) -> None:
        """tokenizer: of transformers, its folder, or a name on the hub; written: type of numbers of the model's folder"""
        if tokenizer is None:
            raise RecipeError(
                "evaluate: no tokenizer is known, and tasks are texts. Name the one that the data was made with (`tokenizer:`)."
            )
        self.settings, self.written = settings, written
        self.device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
        self.tasks = settings.load()
        if isinstance(tokenizer, (str, Path)):
            name, _, revision = (str(tokenizer), "", "") if Path(tokenizer).is_dir() else str(tokenizer).partition("@")
            tokenizer = AutoTokenizer.from_pretrained(name, revision=revision or None, trust_remote_code=False)
        self.tokenizer = tokenizer

    def ask(self, config: Any, weights: Mapping[str, Tensor], say: Say, rank: int = 0, size: int = 1) -> list[TaskResult]:
        """Results of every size-th task from `rank` on, in order.

        config: of the model; weights: all of them by name, whole, on any device
        """
        mine = self.tasks[rank::size]
        if not mine:
            return []
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            model = self._copy(config, weights)
            scorer = Scorer(model, self.tokenizer, self.settings.batch_tokens, self.settings.max_length)
            return evaluate(scorer, mine, None, _Counted(say))

    def _copy(self, config: Any, weights: Mapping[str, Tensor]) -> PreTrainedModel:
        own = copy.deepcopy(config)
        own._attn_implementation = None  # transformers' choice, as for a folder that is loaded
        own.use_cache = False
        if getattr(own, "distributed_config", None) is not None:
            own.distributed_config = None  # the copy is whole
        computed = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        with no_init_weights():
            model: PreTrainedModel = AutoModelForCausalLM.from_config(own, dtype=computed)
        model.tie_weights()
        model = model.to(self.device).eval()
        with torch.no_grad():
            for name, p in model.named_parameters():
                p.copy_(weights[name].to(self.written))
        return model


class _Counted:
    """Items done, said in words."""

    def __init__(self, say: Say) -> None:
        self._say, self._task, self._done = say, "", 0

    def __call__(self, task: str, done: int, total: int) -> None:
        self._done = done + (self._done if task == self._task else 0)
        self._task = task
        self._say(f"evaluating, {task}: {self._done:,} of {total:,} items")


def as_metrics(results: Sequence[TaskResult]) -> dict[str, Any]:
    """{task: {figure: number}} for metrics.jsonl: the numbers of each task, and its main one under `main`."""
    found: dict[str, Any] = {}
    for r in sorted(results, key=lambda r: r.task):
        numbers = {k: v for k, v in r.figures.items() if isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v)}
        domains = {d: v[r.main] for d, v in r.figures.get("domains", {}).items()}
        found[r.task] = {"main": r.main, **numbers, **({"domains": domains} if len(domains) > 1 else {})}
    return found


def last_figures(metrics: Path) -> dict[str, Any]:
    """{"evaluation": {steps, tasks}} of the newest evaluation in metrics.jsonl, for the manifest; {} where there is none."""
    if not metrics.is_file():
        return {}
    with open(metrics, encoding="utf-8") as file:
        found = [json.loads(line) for line in file if '"evaluation"' in line]
    asked = [line for line in found if "evaluation" in line]
    return {"evaluation": {"steps": asked[-1]["step"] + 1, "tasks": asked[-1]["evaluation"]}} if asked else {}
