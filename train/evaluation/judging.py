"""Win rate by a judge: the answers of two models to one prompt, compared by a third in both orders.

A win is 1, a loss 0, a tie 0.5; so is a judge who changes his mind with the order, and so are two equal answers, which are not asked about.
A reply that can't be read, or that never came, gives no number: such items are counted (`unread`, `failed`) and left out of the rate.
Method: Zheng et al. 2023 (MT-bench), sections 3.1 and 3.4; prompts and grammar of replies are those of `score: {judge}` (formats.scoring.judges).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from curate.context import WorkContext
from curate.errors import RecipeError
from formats.generation.asking import Limits, ask
from formats.generation.backend import Sampling
from formats.generation.models import make_backend
from formats.generation.prompts import user_prompt
from formats.scoring.judges import pair_outcome, pairwise_prompt, read_verdict
from train.evaluation.evaluate import TaskResult
from train.evaluation.items import Item
from train.evaluation.tasks import JudgeSettings, Task

WIN_RATE = "win_rate"
JUDGED = "judged"  # folder with the replies of judges
Z = 1.959963985  # two-sided 95 %
Say = Callable[[float, str], None]
Results = dict[str, list[TaskResult]]


def check_opponents(tasks: Sequence[Task], models: int) -> None:
    """Raise RecipeError where a task needs a second model and there is none."""
    for task in tasks:
        if task.settings.judge is not None and task.settings.judge.against is None and models < 2:
            raise RecipeError(
                f"{task.name}: a judge compares answers of two. Name a second model, or say in `judge: {{against: FIELD}}` which field of the "
                "rows holds answers to compare with."
            )


def judge(results: Mapping[str, Sequence[TaskResult]], tasks: Sequence[Task], kept: Path, say: Say) -> Results:
    """Results with the answers of judged tasks turned into win rates; others as they are.

    results: by model, all of the same tasks. Against the first model where a task names no field of its rows: that model has 0.5 by definition.
    kept: folder where the judge's replies stay, so that nothing is paid for twice
    """
    found = {name: list(mine) for name, mine in results.items()}
    first = next(iter(found))
    for at, task in enumerate(tasks):
        settings = task.settings.judge
        if settings is None:
            continue
        for name, mine in found.items():
            if settings.against is None and name == first:
                continue
            others = _answers(found[first][at]) if settings.against is None else [i.answers[0] for i in task.items]
            mine[at] = _compared(mine[at], task, settings, others, kept, say)
        if settings.against is None:
            found[first][at] = _baseline(found[first][at])
    return found


def _answers(result: TaskResult) -> list[str]:
    return [str(row["answers"][0]) for row in result.rows]


def _compared(result: TaskResult, task: Task, settings: JudgeSettings, others: Sequence[str], kept: Path, say: Say) -> TaskResult:
    """Both orders of every pair that differs."""
    answers = _answers(result)
    pairs = [(item, a, b) for item, a, b in zip(task.items, answers, others, strict=True) if a != b]
    texts = [
        pairwise_prompt(item.prompt, x, y, _reference(item, settings), settings.criteria)
        for item, a, b in pairs
        for x, y in ((a, b), (b, a))
    ]
    context = WorkContext()
    context.on_say = say
    replies = ask(
        [user_prompt(text) for text in texts], make_backend(settings.model, context),
        Sampling(temperature=settings.temperature, max_tokens=settings.max_tokens), kept,
        limits=Limits(max_failed=settings.max_failed), say=say,
    ) if texts else []  # fmt: skip
    read = iter(zip([r[0] for r in replies[::2]], [r[0] for r in replies[1::2]], strict=True))
    rows = [_row(row, a, b, None if a == b else next(read)) for row, a, b in zip(result.rows, answers, others, strict=True)]
    return replace(result, main=WIN_RATE, figures=figures_of(rows), rows=rows)


def _row(row: Mapping[str, Any], answer: str, other: str, replies: tuple[str | None, str | None] | None) -> dict[str, Any]:
    made = {"answers": [answer], "against": other, "domain": row["domain"]}
    if replies is None:
        return {**made, "value": 0.5, "verdicts": None, "fate": "same"}
    verdicts = [read_verdict(reply) for reply in replies]
    value = pair_outcome(verdicts[0], verdicts[1])
    if value is None:
        fate = "failed" if None in replies else "unread"
    elif value == 0.5:
        fate = "tie" if verdicts == ["C", "C"] else "order"
    else:
        fate = "win" if value else "loss"
    return {**made, "value": value, "verdicts": verdicts, "replies": list(replies), "fate": fate}


def figures_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The rate over items that were read, how it came about, and Wilson's interval of the wins among what was decided."""
    fates = [row["fate"] for row in rows]
    values = [row["value"] for row in rows if row["value"] is not None]
    wins, losses = fates.count("win"), fates.count("loss")
    return {
        WIN_RATE: math.fsum(values) / len(values) if values else None,
        "items": len(rows),
        "wins": wins,
        "losses": losses,
        "ties": fates.count("tie"),
        "changed_with_order": fates.count("order"),
        "same_answers": fates.count("same"),
        "unread": fates.count("unread"),
        "failed": fates.count("failed"),
        "wins_of_decided": wilson(wins, wins + losses),
        "characters": _mean([len(row["answers"][0]) for row in rows]),
        "characters_against": _mean([len(row["against"]) for row in rows]),
    }


def wilson(successes: int, trials: int) -> dict[str, float] | None:
    """A share with Wilson's 95 % interval (1927); None without trials."""
    if not trials:
        return None
    share, z2 = successes / trials, Z * Z / trials
    middle = (share + z2 / 2) / (1 + z2)
    half = Z / (1 + z2) * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials))
    return {"share": share, "low": max(0.0, middle - half), "high": min(1.0, middle + half)}


def _baseline(result: TaskResult) -> TaskResult:
    rows = [{**row, "value": 0.5} for row in result.rows]
    return replace(result, main=WIN_RATE, figures={WIN_RATE: 0.5, "items": len(rows), "baseline": True}, rows=rows)


def _reference(item: Item, settings: JudgeSettings) -> str | None:
    if settings.reference is None:
        return None
    value = item.row.get(settings.reference)
    if not isinstance(value, str):
        raise RecipeError(f"judge.reference: a row has no text in its field {settings.reference!r}: {item.prompt[:80]!r}.")
    return value


def _mean(values: Sequence[int]) -> float | None:
    return sum(values) / len(values) if values else None
