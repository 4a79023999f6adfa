"""Tasks out, votes back: every vote lands on the answer that was shown, whichever side it stood on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from curate.cli.app import build_app
from curate.errors import DataError
from formats.annotation.label_studio import annotated, merged, read_votes, tasks
from formats.batches import from_batch, to_batch
from formats.records import Candidate, Message, Record, text_of


def record(identity: str, *answers: str, scores: tuple[float | None, ...] = ()) -> Record:
    made = [Candidate([Message("assistant", a)], model="m", sample=n) for n, a in enumerate(answers)]
    for candidate, score in zip(made, scores, strict=False):
        candidate.scores = {"rm": score}
    return Record([Message("system", "be kind"), Message("user", f"prompt {identity}")], made, id=identity)


def annotation(by: int, **value: Any) -> dict[str, Any]:
    kinds = {"selected": "pairwise", "rating": "rating", "choices": "choices"}
    result = [{"type": kinds[k], "value": {k: v}, "from_name": "x", "to_name": "y", "id": "1"} for k, v in value.items()]
    return {"id": 1, "completed_by": by, "was_cancelled": False, "result": result}


def picked(task: dict[str, Any], text: str, by: int = 1) -> dict[str, Any]:
    """The annotation of somebody who prefers this answer."""
    return annotation(by, selected="left" if task["data"]["left"] == text else "right")


def test_tasks_show_each_answer_once_and_both_sides() -> None:
    (task,) = tasks([record("a", "x", "y", "x", scores=(1.0, 3.0, 2.0))], "comparison", score="rm")
    assert task["data"]["prompt"] == "[system] be kind\n\nprompt a"
    assert {task["data"]["left"], task["data"]["right"]} == {"x", "y"} and sorted(task["data"]["answers"]) == [0, 1]
    assert [t["data"]["answer"] for t in tasks([record("a", "x", "y", "x")], "rating")] == ["x", "y"]
    assert list(tasks([record("a", "x", "x")], "comparison")) == []
    many = list(tasks([record(str(n), "x", "y") for n in range(200)], "comparison"))
    assert 60 < sum(t["data"]["left"] == "x" for t in many) < 140
    assert len(list(tasks([record("a", "x", "y", "z")], "comparison", "all"))) == 3
    assert len(list(tasks([record("a", "x", "y", "z")], "comparison", "adjacent"))) == 2
    assert list(tasks([record("a", "x", "y", scores=(None, 1.0))], "comparison", score="rm")) == []
    with pytest.raises(DataError, match="without an id"):
        list(tasks([record("", "x", "y")], "comparison"))


@given(st.lists(st.sampled_from(["good", "bad", "tie"]), min_size=1, max_size=5))
def test_votes_land_on_the_answer_that_was_shown(said: list[str]) -> None:
    pool = [record("a", "good", "bad"), record("b", "bad", "good")]
    made = list(tasks(pool, "comparison"))
    for task in made:
        task["annotations"] = [annotation(n, choices=["tie"]) if s == "tie" else picked(task, s, n) for n, s in enumerate(said)]
    votes = read_votes(json.loads(json.dumps(made)))
    share = sum({"good": 1.0, "bad": 0.0, "tie": 0.5}[s] for s in said) / len(said)
    for one in (*annotated(votes), *merged(pool, votes)):
        found = {text_of(c.messages[0]): (c.scores or {})["human"] for c in one.candidates}
        assert found == {"good": pytest.approx(share), "bad": pytest.approx(1 - share)}
        assert all(len((c.extra or {})["votes"]) == len(said) for c in one.candidates)
    assert votes.counts["votes"] == 2 * len(said) and votes.counts["ties"] == 2 * said.count("tie")


def test_ranks_and_ties() -> None:
    made = list(tasks([record("a", "x", "y", "z")], "rating"))
    for task, stars in zip(made, ([5, 4], [2], [4, 5]), strict=True):
        task["annotations"] = [annotation(n, rating=s) for n, s in enumerate(stars)]
    votes = read_votes(made)
    (one,) = annotated(votes)
    assert [(c.rank, (c.scores or {})["human"]) for c in one.candidates] == [(0, 4.5), (1, 2.0), (0, 4.5)]
    assert votes.agreement() == 0.0


def test_what_says_nothing_is_counted() -> None:
    made = list(tasks([record(n, "x", "y") for n in "abcd"], "comparison"))
    made[0]["annotations"] = [{**annotation(1, selected="left"), "was_cancelled": True}]
    made[1]["annotations"] = [annotation(1), picked(made[1], "x", 2), picked(made[1], "x", 3), picked(made[1], "y", 4)]
    made[2]["annotations"] = [annotation(1, selected="middle")]
    votes = read_votes(made)
    assert votes.counts == {"tasks": 4, "votes": 3, "cancelled": 1, "empty": 2, "unannotated": 3, "ties": 0}
    assert [r.id for r in annotated(votes)] == ["b"]
    assert votes.agreement() == pytest.approx(1 / 3)


def test_flat_exports() -> None:
    (task,) = tasks([record("a", "x", "y")], "comparison")
    side = "left" if task["data"]["left"] == "x" else "right"
    rows = [
        {**task["data"], "comparison": side, "annotator": 7},
        {**task["data"], "comparison": {"selected": side}},
        {**task["data"], "tie": "tie"},
    ]
    (one,) = annotated(read_votes(rows))
    assert {text_of(c.messages[0]): (c.scores or {})["human"] for c in one.candidates} == {
        "x": pytest.approx(2.5 / 3),
        "y": pytest.approx(0.5 / 3),
    }


def test_another_pool_is_refused() -> None:
    (task,) = tasks([record("a", "x", "y")], "comparison")
    task["annotations"] = [picked(task, "x")]
    with pytest.raises(DataError, match="is not the one that was annotated"):
        list(merged([record("a", "other", "y")], read_votes([task])))
    with pytest.raises(DataError, match="1 annotated records are not in the pool"):
        list(merged([record("b", "x", "y")], read_votes([task])))
    with pytest.raises(DataError, match="Import tasks that"):
        read_votes([{"data": {"text": "x"}}])


def test_the_command(tmp_path: Path) -> None:
    pool = tmp_path / "part-00000.parquet"
    pq.write_table(pa.Table.from_batches([to_batch([record(n, "x", "y", scores=(0.0, 1.0)) for n in "abc"])]), pool)
    call = CliRunner().invoke
    done = call(build_app(["label-studio"]), ["label-studio", "export", str(tmp_path), "-o", str(tmp_path / "tasks.json"), "--score", "rm"])
    assert done.exit_code == 0, done.output
    assert "<Pairwise" in (tmp_path / "tasks.xml").read_text()
    made = json.loads((tmp_path / "tasks.json").read_text())
    for task in made:
        task["annotations"] = [picked(task, "y")]
    (tmp_path / "export.json").write_text(json.dumps(made))
    given = ["label-studio", "import", str(tmp_path / "export.json"), "-o"]
    done = call(build_app(["label-studio"]), [*given, str(tmp_path / "pairs.jsonl"), "--to", "preference"])
    assert done.exit_code == 0 and "3 votes on 3 tasks" in done.output
    rows = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text().splitlines()]
    assert [(r["id"], r["chosen"][-1]["content"], r["rejected"][-1]["content"]) for r in rows] == [(n, "y", "x") for n in "abc"]
    done = call(build_app(["label-studio"]), [*given, str(tmp_path / "pool.parquet"), "--pool", str(pool)])
    assert done.exit_code == 0, done.output
    (first, *_) = from_batch(pq.read_table(tmp_path / "pool.parquet").to_batches()[0])
    assert [c.scores for c in first.candidates] == [{"rm": 0.0, "human": 0.0}, {"rm": 1.0, "human": 1.0}]
    assert [c.sample for c in first.candidates] == [0, 1]


def test_a_pool_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{}\n", "utf-8")
    pq.write_table(pa.table({"text": ["x"]}), tmp_path / "rows.parquet")
    for name, says in (("rows.jsonl", "is no Parquet file"), ("rows.parquet", "candidates"), ("none", "there is no dataset here")):
        for command in (["label-studio", "export", str(tmp_path / name), "-o", str(tmp_path / "t.json")], ["pool", str(tmp_path / name)]):
            with pytest.raises(DataError, match=says):
                CliRunner().invoke(build_app(command), command, catch_exceptions=False)
