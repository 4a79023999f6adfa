"""Win rates: what is asked, how replies count, and what is said where nothing can be compared."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from curate.errors import DataError, RecipeError
from tests.formats.generation.conftest import Start, start  # noqa: F401  a fixture
from tests.formats.generation.stub_server import Stub

pytest.importorskip("torch", reason="train needs torch")
from train.evaluation.evaluate import TaskResult
from train.evaluation.judging import check_opponents, judge, wilson
from train.evaluation.tables import compare, comparison_lines, task_lines
from train.evaluation.tasks import Task, load_tasks, task_files


class Judge(Stub):
    """Likes the longer answer, unless one of them names what to do."""

    def choose(self, body: dict[str, Any]) -> tuple[str, str]:
        self.stats["requests"] += 1
        asked: str = body["messages"][-1]["content"]
        a, b = asked.partition("[Answer A]\n")[2].partition("\n[End of answer A]")[0], asked.partition("[Answer B]\n")[2]
        b = b.partition("\n[End of answer B]")[0]
        for word, reply in (("first", "[[A]]"), ("tie", "Equal. [[C]]"), ("mumble", "Both are good [A]"), ("", "")):
            if word in a or word in b:
                return "", reply or f"I think.\n[[{'A' if len(a) > len(b) else 'B'}]]"
        raise AssertionError


def write(folder: Path, judge: str, rows: list[dict[str, str]]) -> list[Task]:
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    (folder / "tasks.yaml").write_text(f"tasks: [{{name: help, file: prompts.jsonl, judge: {judge}}}]", "utf-8")
    return load_tasks([str(folder / "tasks.yaml")])


def answered(task: Task, answers: list[str]) -> list[TaskResult]:
    rows = [{"value": None, "answers": [a], "domain": i.domain} for i, a in zip(task.items, answers, strict=True)]
    return [TaskResult(task.name, task.kind, task.digest, "win_rate", {}, rows)]


def test_every_fate_is_counted(tmp_path: Path, start: Start) -> None:  # noqa: F811
    url, stub = start(Judge())
    rows = [{"prompt": f"Say {n}."} for n in range(7)]
    tasks = write(tmp_path, f"{{model: {{server: '{url}', name: j}}, max_tokens: 50}}", rows)
    old = ["a", "long answer", "b", "same", "tie", "mumble", "b"]
    new = ["an answer", "short", "first", "same", "x", "y", "longer {question}"]
    results = {"old": answered(tasks[0], old), "new": answered(tasks[0], new)}
    found = judge(results, tasks, tmp_path / "kept", lambda share, text: None)
    figures = found["new"][0].figures
    assert [row["fate"] for row in found["new"][0].rows] == ["win", "loss", "order", "same", "tie", "unread", "win"]
    assert figures["win_rate"] == pytest.approx((2 + 3 * 0.5) / 6) and (figures["wins"], figures["losses"], figures["unread"]) == (2, 1, 1)
    assert figures["wins_of_decided"] == wilson(2, 3) and stub.stats["requests"] == 12
    again = judge(results, tasks, tmp_path / "kept", lambda share, text: None)
    assert again == found and stub.stats["requests"] == 12  # replies are kept
    (compared,) = compare(found["old"], found["new"])
    assert compared.difference.value == pytest.approx(figures["win_rate"] - 0.5) and compared.verdict == "undecided"
    assert task_lines(found["new"])[1][-1] == "2 wins, 1 losses, 1 ties, 1 changed with order, 1 same answers, 1 unread"
    assert comparison_lines(found)[1][2] == "0.5000"


def test_answers_in_the_rows_and_recorded_replies(tmp_path: Path) -> None:
    from formats.scoring.judges import pairwise_prompt

    pairs = [("good", "poor"), ("other", "best")]
    recorded = []
    for n, (mine, theirs) in enumerate(pairs):
        for (a, b), verdict in zip(((mine, theirs), (theirs, mine)), ("AB", "BA")[n], strict=True):
            recorded.append(
                {"prompt": pairwise_prompt("Sum it up.\n\nA text.", a, b, f"ref {n}", "Be strict."), "answers": [f"[[{verdict}]]"]}
            )
    (tmp_path / "replies.jsonl").write_text("".join(json.dumps(r) + "\n" for r in recorded[:3]), "utf-8")
    rows = [{"instruction": "Sum it up.", "input": "A text.", "output": theirs, "gold": f"ref {n}"} for n, (_, theirs) in enumerate(pairs)]
    settings = "model: {recorded: replies.jsonl}, against: output, reference: gold, criteria: Be strict."
    tasks = write(tmp_path, f"{{{settings}, max_failed: 0.5}}", rows)
    assert [Path(f).name for f in task_files([str(tmp_path / "tasks.yaml")])] == ["prompts.jsonl", "replies.jsonl", "tasks.yaml"]
    check_opponents(tasks, 1)
    results = {"one": answered(tasks[0], [mine for mine, _ in pairs])}
    found = judge(results, tasks, tmp_path / "kept", lambda share, text: None)["one"][0]
    assert [row["fate"] for row in found.rows] == ["win", "failed"] and found.figures["failed"] == 1 and found.figures["win_rate"] == 1.0
    assert math.isnan(found.values()[1])
    strict = write(tmp_path, f"{{{settings}}}", rows)
    with pytest.raises(DataError, match="1 not_recorded"):
        judge(results, strict, tmp_path / "kept", lambda share, text: None)


def test_what_is_refused(tmp_path: Path) -> None:
    (tmp_path / "replies.jsonl").touch()
    alone = write(tmp_path, "{model: {recorded: replies.jsonl}}", [{"prompt": "a"}])
    with pytest.raises(RecipeError, match=r"help: a judge compares answers of two.*against: FIELD"):
        check_opponents(alone, 1)
    for settings, message in (
        ("{model: {recorded: nowhere.jsonl}}", "there is no file .*nowhere.jsonl"),
        ("{model: nowhere}", "no config.json"),
        ("{model: {plugin: mine}}", "a plugin can't judge here"),
        ("{model: {recorded: replies.jsonl}}, shots: 2", "judge goes without shots"),
    ):
        with pytest.raises(RecipeError, match=message):
            write(tmp_path, settings, [{"prompt": "a"}])
    with pytest.raises(DataError, match="text is expected under 'output'"):
        write(tmp_path, "{model: {recorded: replies.jsonl}, against: output}", [{"prompt": "a"}])


def test_wilsons_interval() -> None:
    """Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29."""
    for successes, trials, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        made = wilson(successes, trials)
        assert made is not None and (made["low"], made["high"]) == pytest.approx((low, high), abs=5e-5)
    assert wilson(0, 0) is None
