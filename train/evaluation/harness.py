"""The same files through lm-eval (0.4.13): its own prompts aside, everything is lm-eval's, from encoding to what it counts.

What it asks: multiple choice and continuations. Whole documents are scored there by windows that do not overlap, and answers with other rules
of stopping; those are not the same question, so they are refused here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from curate.errors import MissingDependency, RecipeError
from train.evaluation.evaluate import TaskResult
from train.evaluation.items import Item, delimiter
from train.evaluation.metrics import choice_scores
from train.evaluation.tasks import Task

KINDS = {"choice": "multiple_choice", "continuation": "loglikelihood"}
BATCH_ROWS = 16


def ask_lm_eval(model: Any, tokenizer: Any, tasks: Sequence[Task], max_length: int | None = None) -> list[TaskResult]:
    """Have lm-eval ask a loaded model. Raises RecipeError for kinds that it asks in another way, MissingDependency without lm-eval."""
    wrong = [t.name for t in tasks if t.kind not in KINDS or any(i.contexts for i in t.items)]
    if wrong:
        raise RecipeError(
            f"--harness lm-eval asks multiple choice and continuations; not {', '.join(wrong)}. Ask those with --harness curate."
        )
    try:
        from lm_eval.evaluator import evaluate
        from lm_eval.models.huggingface import HFLM
    except ModuleNotFoundError as error:
        raise MissingDependency.extra(error.name or "lm_eval", "eval", "--harness lm-eval") from error
    lm = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=BATCH_ROWS, max_length=max_length)
    made = {task.name: _task(task) for task in tasks}
    found = evaluate(lm=lm, task_dict=made, bootstrap_iters=0, log_samples=True, verbosity="ERROR")
    return [_result(task, found["results"][task.name], found["samples"][task.name]) for task in tasks]


def _task(task: Task) -> Any:
    """The items as a task of lm-eval, without anything fetched."""
    from datasets import Dataset
    from lm_eval.api.task import ConfigurableTask

    blanks = {_blank(item) for item in task.items}
    shared = blanks.pop() if len(blanks) == 1 else ""
    mixed = bool(blanks) or task.kind != "choice"  # lm-eval sets its delimiter before choices only
    rows = [
        {
            "prompt": item.prompt,
            "choices": [(_blank(item) if mixed else "") + c for c in item.choices],
            "gold": item.gold[0] if item.gold else 0,
            "target": (_blank(item) if mixed else "") + (item.answers[0] if item.answers else ""),
        }
        for item in task.items
    ]
    metrics = ("acc", "acc_norm", "acc_bytes") if task.kind == "choice" else ("acc", "perplexity")
    choice = {"doc_to_choice": "choices", "doc_to_target": "gold"} if task.kind == "choice" else {"doc_to_target": "{{target}}"}
    return ConfigurableTask(
        config={
            "task": task.name,
            "custom_dataset": lambda **_: {"test": Dataset.from_list(rows)},
            "test_split": "test",
            "output_type": KINDS[task.kind],
            "doc_to_text": "{{prompt}}",
            "target_delimiter": "" if mixed else shared,
            "num_fewshot": 0,  # solved items stand in the prompt already
            "metric_list": [{"metric": m} for m in metrics],
            **choice,
        }
    )


def _blank(item: Item) -> str:
    return delimiter(item.prompt, item.choices[0] if item.choices else item.answers[0])


def _result(task: Task, figures: dict[str, Any], samples: list[dict[str, Any]]) -> TaskResult:
    """lm-eval's figures, and its answers as rows like ours."""
    samples = sorted(samples, key=lambda s: int(s["doc_id"]))
    rows: list[dict[str, Any]] = []
    for item, sample in zip(task.items, samples, strict=True):
        said = sample["filtered_resps"]
        if task.kind == "choice":
            logprobs = [float(ll) for ll, _ in said]
            own = choice_scores(item, logprobs, [0] * len(logprobs))
            rows.append({"gold": item.gold[0], **own, "logprobs": logprobs, "acc": float(sample["acc"]), "value": float(sample["acc"])})
        else:
            logprob, greedy = said[0]
            rows.append({"value": float(greedy), "acc": float(greedy), "logprob": float(logprob)})
    named = {k.removesuffix(",none"): v for k, v in figures.items() if isinstance(v, float) and "stderr" not in k and not math.isnan(v)}
    return TaskResult(task.name, task.kind, task.digest, "acc", {**named, "items": len(rows), "harness": "lm-eval"}, rows, task.skipped)
