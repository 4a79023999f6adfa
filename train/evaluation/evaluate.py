"""Tasks x model -> results: figures of each task, and a line for every item, so that two models can be compared item by item."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from curate.errors import RecipeError
from formats.selection.statistics import pass_at_k
from train.evaluation.items import LETTERS, Item
from train.evaluation.metrics import bits_by_domain, bleu, choice_scores, classification, rouge
from train.evaluation.scorer import Scorer
from train.evaluation.tasks import Task

KS = (1, 2, 4, 5, 8, 10, 16, 25, 32, 50, 64, 100, 128, 256, 512, 1000)  # of pass@k
Tell = Callable[[str, int, int], None]  # task, items done since the last call, items of the task
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class TaskResult:
    """What one task gave."""

    task: str
    kind: str
    digest: str
    main: str  # name of the figure that tables show
    figures: Mapping[str, Any]
    rows: Rows = field(repr=False)  # one for each item, in order
    skipped: int = 0

    def values(self) -> list[float]:
        """The main figure of every item; for texts bits, whose mean is weighted by bytes. NaN where an item has none (a judge's unread reply)."""
        return [math.nan if row["value"] is None else float(row["value"]) for row in self.rows]

    def weights(self) -> list[float]:
        """Bytes of texts, 1 for other items."""
        return [float(row.get("bytes", 1)) if self.kind == "text" else 1.0 for row in self.rows]


class Answerer:
    """Writes answers to prompts: what generated tasks need beside the scorer."""

    def answers(self, prompts: Sequence[str], task: Task) -> list[list[str]]:
        """For each prompt as many texts as the task wants samples."""
        raise NotImplementedError


def evaluate(scorer: Scorer, tasks: Sequence[Task], answerer: Answerer | None = None, tell: Tell | None = None) -> list[TaskResult]:
    """Ask a model all tasks, in order. Raises RecipeError where a task must generate and there is no answerer."""
    return [_one(scorer, task, answerer, tell) for task in tasks]


def _one(scorer: Scorer, task: Task, answerer: Answerer | None, tell: Tell | None) -> TaskResult:
    def told(done: int) -> None:
        if tell is not None:
            tell(task.name, done, len(task.items))

    if task.kind == "text":
        main, figures, rows = _texts(scorer, task, told)
    elif task.kind == "choice":
        main, figures, rows = _choices(scorer, task, told)
    elif task.kind == "continuation":
        main, figures, rows = _continuations(scorer, task, told)
    elif answerer is None:
        raise RecipeError(
            f"{task.name}: the model must write answers here, which needs a model folder. Leave the task out during training."
        )
    elif task.kind == "judged":
        main, figures, rows = _answered(answerer, task, told)
    else:
        main, figures, rows = _generated(answerer, task, told)
    return TaskResult(task.name, task.kind, task.digest, main, figures, rows, task.skipped)


def _texts(scorer: Scorer, task: Task, told: Callable[[int], None]) -> tuple[str, dict[str, Any], Rows]:
    found = scorer.documents([i.prompt for i in task.items], task.settings.stride, told)
    rows = [
        {"domain": i.domain, "nats": s.nats, "tokens": s.tokens, "bytes": s.bytes, "value": s.nats / math.log(2)}
        for i, s in zip(task.items, found, strict=True)
    ]
    by_domain = bits_by_domain(rows)
    figures = {
        **by_domain.pop(""),
        "domains": by_domain,
        "window": scorer.max_length,
        "stride": task.settings.stride or scorer.max_length // 2,
    }
    return "bits_per_byte", figures, rows


def _choices(scorer: Scorer, task: Task, told: Callable[[int], None]) -> tuple[str, dict[str, Any], Rows]:
    pairs = [(item.contexts[i] if item.contexts else item.prompt, c) for item in task.items for i, c in enumerate(item.choices)]
    likelihoods = iter(scorer.continuations(pairs))
    rows: Rows = []
    for item in task.items:
        mine = [next(likelihoods) for _ in item.choices]
        scores = choice_scores(item, [x.logprob for x in mine], [x.tokens for x in mine])
        rows.append({"gold": item.gold[0], **scores, "logprobs": [x.logprob for x in mine], "domain": item.domain, "value": scores["acc"]})
        told(1)
    figures: dict[str, Any] = {name: _mean(rows, name) for name in ("acc", "acc_norm", "acc_bytes", "mc2") if all(name in r for r in rows)}
    figures["bits_per_byte_gold"] = math.fsum(r["bits_gold"] for r in rows) / max(1, sum(r["bytes_gold"] for r in rows))
    figures["items"] = len(rows)
    figures["chance"] = math.fsum(1 / (len(i.choices) - len(i.gold) + 1) for i in task.items) / len(rows)
    labels = task.items[0].choices
    if task.closed and not set(labels) <= set(LETTERS):
        figures["classification"] = classification([r["pick"] for r in rows], [r["gold"] for r in rows], labels)
    domains = {i.domain for i in task.items}
    if 1 < len(domains) <= 200:
        figures["domains"] = {d: {"acc": _mean([r for r in rows if r["domain"] == d], "acc")} for d in sorted(domains)}
    return "acc", figures, rows


def _continuations(scorer: Scorer, task: Task, told: Callable[[int], None]) -> tuple[str, dict[str, Any], Rows]:
    found = scorer.continuations([(i.prompt, i.answers[0]) for i in task.items], told)
    rows: Rows = [
        {"value": float(x.greedy), "acc": float(x.greedy), "logprob": x.logprob, "tokens": x.tokens, "domain": i.domain}
        for i, x in zip(task.items, found, strict=True)
    ]
    tokens = sum(r["tokens"] for r in rows)
    perplexity = math.exp(min(700.0, -math.fsum(r["logprob"] for r in rows) / max(1, tokens)))
    by_word = math.exp(min(700.0, -_mean(rows, "logprob")))  # lm-eval's `perplexity` of LAMBADA: one word an item
    return "acc", {"acc": _mean(rows, "acc"), "perplexity": perplexity, "perplexity_per_item": by_word, "items": len(rows)}, rows


def _generated(answerer: Answerer, task: Task, told: Callable[[int], None]) -> tuple[str, dict[str, Any], Rows]:
    written = answerer.answers([i.prompt for i in task.items], task)
    name, score = _metric(task)
    rows: Rows = []
    for item, answers in zip(task.items, written, strict=True):
        values = [score(item, a) for a in answers]
        rows.append({"value": math.fsum(values) / len(values), "values": values, "answers": answers, "domain": item.domain})
        told(1)
    figures: dict[str, Any] = {name: _mean(rows, "value"), "items": len(rows), "samples": task.settings.samples}
    n = task.settings.samples
    if n > 1 and all(v in (0.0, 1.0) for r in rows for v in r["values"]):
        counts, passed = np.full(len(rows), n), np.array([int(sum(r["values"])) for r in rows])
        figures["pass@k"] = {str(k): pass_at_k(counts, passed, k) for k in KS if k <= n}
    if name == "bleu":
        figures.update(bleu([a for r in rows for a in r["answers"]], [i.answers for i in task.items for _ in range(task.settings.samples)]))
    return name, figures, rows


def _answered(answerer: Answerer, task: Task, told: Callable[[int], None]) -> tuple[str, dict[str, Any], Rows]:
    """Answers that train.evaluation.judging compares when all models have been asked."""
    written = answerer.answers([i.prompt for i in task.items], task)
    rows: Rows = [{"value": None, "answers": answers, "domain": i.domain} for i, answers in zip(task.items, written, strict=True)]
    told(len(rows))
    return "win_rate", {"items": len(rows)}, rows


def _metric(task: Task) -> tuple[str, Callable[[Item, str], float]]:
    """Name of what is counted, and a function from (item, answer) to a number. BLEU counts the corpus; its items have ROUGE-L's place."""
    from formats.scoring.verifier import verifier

    name = task.settings.metric or ("code" if task.kind == "code" else "exact")
    if name in ("rouge", "bleu"):
        return name, lambda item, answer: rouge(answer, item.answers)["rouge_l"] if name == "rouge" else 0.0
    settings: dict[str, Any] = {} if task.settings.pattern is None else {"pattern": task.settings.pattern}
    if name == "code":
        human_eval = "entry_point" in task.items[0].row
        settings |= {"tests": "test", "prefix": "prompt", "entry_point": "entry_point"} if human_eval else {"tests": "test_list"}
    found = verifier(name, settings)
    found.prepare()

    def score(item: Item, answer: str) -> float:
        row = {**item.row, "answer": list(item.answers)} if name in ("exact", "f1") else dict(item.row)
        value = found.check(item.prompt, answer, row)
        return 0.0 if value is None else float(value)

    return name, score


def _mean(rows: Sequence[Mapping[str, Any]], name: str) -> float:
    return math.fsum(float(r[name]) for r in rows) / len(rows) if rows else math.nan


def save(results: Sequence[TaskResult], folder: Path, about: Mapping[str, Any]) -> Path:
    """Write evaluation.json and a file of items for each task into a folder; returns the first. Old results of the same tasks are replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    for result in results:
        lines = "".join(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in result.rows)
        _write(folder / f"items-{_file_name(result.task)}.jsonl", lines)
    path = folder / "evaluation.json"
    before = json.loads(path.read_text("utf-8"))["tasks"] if path.exists() else {}
    tasks = {**before, **{r.task: {"kind": r.kind, "digest": r.digest, "main": r.main, "skipped": r.skipped, **r.figures} for r in results}}
    _write(path, json.dumps({**about, "tasks": tasks}, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
    return path


def load(folder: Path) -> list[TaskResult]:
    """Results that `save` wrote. Raises RecipeError where there are none."""
    path = folder / "evaluation.json"
    if not path.is_file():
        raise RecipeError(f"{folder} has no evaluation.json: `curate eval` writes it.")
    found = []
    for name, entry in json.loads(path.read_text("utf-8"))["tasks"].items():
        lines = (folder / f"items-{_file_name(name)}.jsonl").read_text("utf-8").splitlines()
        figures = {k: v for k, v in entry.items() if k not in ("kind", "digest", "main", "skipped")}
        found.append(
            TaskResult(name, entry["kind"], entry["digest"], entry["main"], figures, [json.loads(line) for line in lines], entry["skipped"])
        )
    return found


def _file_name(task: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in task)


def _write(path: Path, text: str) -> None:
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(text, "utf-8")
    os.replace(scratch, path)
