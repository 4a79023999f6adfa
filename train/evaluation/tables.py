"""Results for people: a table of one or several models, with intervals, in the terminal and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from train.evaluation.bootstrap import Interval, ratio_interval
from train.evaluation.evaluate import TaskResult

LOWER_IS_BETTER = frozenset({"bits_per_byte", "perplexity"})


class Comparison(NamedTuple):
    """One task of a model against the same task of the first model."""

    task: str
    main: str
    difference: Interval
    verdict: str  # "better", "worse", "undecided", "equal"


def compare(first: Sequence[TaskResult], other: Sequence[TaskResult]) -> list[Comparison]:
    """Paired differences (other - first) of the main figure, for tasks that both were asked in the same form.

    Items are paired, so what makes one item harder than another for both models drops out. Undecided: the 95 % interval holds zero. Equal: every item is.
    """
    by_name = {r.task: r for r in other}
    found = []
    for a in first:
        b = by_name.get(a.task)
        if b is None or b.digest != a.digest or len(a.rows) != len(b.rows):
            continue
        known = [(p, q, w) for p, q, w in zip(a.values(), b.values(), a.weights(), strict=True) if not math.isnan(p + q)]
        difference = ratio_interval([q - p for p, q, _ in known], [w for *_, w in known])
        equal = all(p == q for p, q, _ in known)
        better = difference.value < 0 if a.main in LOWER_IS_BETTER else difference.value > 0
        found.append(Comparison(a.task, a.main, difference, _verdict(difference, better, equal)))
    return found


def _interval(result: TaskResult) -> Interval:
    """Of the main figure, over the items that have one."""
    known = [(v, w) for v, w in zip(result.values(), result.weights(), strict=True) if not math.isnan(v)]
    return ratio_interval([v for v, _ in known], [w for _, w in known])


def _verdict(difference: Interval, better: bool, equal: bool) -> str:
    if equal:
        return "equal"
    return "undecided" if not difference.decided else "better" if better else "worse"


def task_lines(results: Sequence[TaskResult]) -> list[list[str]]:
    """Header and a line for each task: figures with 95 % intervals of the main one."""
    lines = [["task", "items", "figure", "value", "95 %", "also"]]
    for r in results:
        interval = _interval(r)
        lines.append(
            [r.task, f"{len(r.rows):,}", r.main, _number(interval.value), f"{_number(interval.low)}..{_number(interval.high)}", _also(r)]
        )
    return lines


def comparison_lines(models: Mapping[str, Sequence[TaskResult]]) -> list[list[str]]:
    """Header and a line for each task: the first model's figure, then each other model's with its difference and verdict."""
    names = list(models)
    first = models[names[0]]
    compared = {name: {c.task: c for c in compare(first, models[name])} for name in names[1:]}
    lines = [["task", "figure", *names]]
    for result in first:
        cells = [_number(_interval(result).value)]
        for name in names[1:]:
            c = compared[name].get(result.task)
            if c is None:
                cells.append("asked otherwise" if any(r.task == result.task for r in models[name]) else "not asked")
                continue
            own = next(r for r in models[name] if r.task == result.task)
            d = c.difference
            value = _number(_interval(own).value)
            cells.append(f"{value} ({d.value:+.4f}, {d.low:+.4f}..{d.high:+.4f}: {c.verdict})")
        lines.append([result.task, result.main, *cells])
    return lines


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    rows = [f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines]
    return "\n".join([rows[0], f"|{' --- |' * len(lines[0])}", *rows[1:]])


def _also(result: TaskResult) -> str:
    f: Mapping[str, Any] = result.figures
    names = ("acc_norm", "acc_bytes", "mc2", "perplexity", "chance")
    parts = [f"{name} {_number(f[name])}" for name in names if name in f and (name, f[name]) != ("acc_bytes", f.get("acc_norm"))]
    if "classification" in f:
        parts.append(f"F1 {_number(f['classification']['f1'])}")
    fates = ("wins", "losses", "ties", "changed_with_order", "same_answers", "unread", "failed")
    parts += [f"{f[name]:,} {name.replace('_', ' ')}" for name in fates if f.get(name)]
    parts += [f"pass@{k} {_number(v)}" for k, v in f.get("pass@k", {}).items() if k != "1"]
    if result.kind == "text" and len(f["domains"]) <= 6:
        parts += [f"{d} {_number(v['bits_per_byte'])}" for d, v in f["domains"].items()]
    return ", ".join(parts)


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:,.1f}" if abs(value) >= 100 else f"{value:.4f}"
