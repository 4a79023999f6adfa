"""`rounds:`: a block unrolled, with carry-over, values of each round, controls, and every mistake at its line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import curate as toolkit
from curate.errors import RecipeError
from curate.executors import local, process
from curate.executors.process import is_as_new
from curate.recipe import load_recipe
from curate.recipe_nodes import DatasetNode, SpecialNode
from curate.runner import Silent

RECIPE = """
name: loop
datasets:
  gold: {read: {jsonl: gold.jsonl, format: prompt_completion, id: id}}
  after: {from: "rows@last", steps: []}
rounds:
  n: 3
  start: {policy: gold}
  next: {policy: rows}
  control: [random, no_new_rows]
  datasets:
    pool: {read: {jsonl: "pool-{round}.jsonl", format: ultrafeedback, id: id}, steps: [{score: {verifier: {length: {min: {rounds: [1, 2]}}}}}]}
    rows: {from: pool, steps: [{select_best: {require: {length: 1}}}]}
    seen: {round_ledger: {pool: pool, rows: rows, by: length, before: [seen@previous]}}
    train: {gather: {datasets: [gold, rows@all]}}
    start: {gather: {datasets: [policy]}}
"""


def write(folder: Path, text: str = RECIPE) -> str:
    (folder / "gold.jsonl").write_text(json.dumps({"id": "g", "prompt": "q", "completion": "gold answer"}) + "\n")
    for number in (1, 2, 3):
        rows = [
            {
                "id": f"p{number}.{n}",
                "instruction": f"question {number} {n}",
                "completions": [{"response": f"word {k} of {n} in {number}", "model": "m", "overall_score": k} for k in range(3)],
            }
            for n in range(4)
        ]
        (folder / f"pool-{number}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    path = folder / "loop.yaml"
    path.write_text(text)
    return str(path)


def test_names_and_meanings(tmp_path: Path) -> None:
    nodes = load_recipe(write(tmp_path)).nodes
    assert {n for n in nodes if "." not in n} == {
        "gold",
        "after",
        *(f"{b}@{k}" for b in ("pool", "rows", "seen", "train", "start") for k in (1, 2, 3)),
    }
    assert {n.partition(".")[0] for n in nodes if n.endswith(".random")} == {
        f"{b}@{k}" for b in ("pool", "rows", "seen", "train", "start") for k in (1, 2, 3)
    }
    assert {n.partition(".")[0] for n in nodes if n.endswith(".no_new_rows")} == {
        f"{b}@{k}" for b in ("rows", "train", "start") for k in (1, 2, 3)
    }

    def inputs(name: str) -> tuple[str, ...]:
        node = nodes[name]
        assert isinstance(node, SpecialNode)
        return node.node.inputs()

    assert inputs("train@2") == ("gold", "rows@1", "rows@2") and inputs("train@2.random") == ("gold", "rows@1.random", "rows@2.random")
    assert inputs("start@1") == ("gold",) and inputs("start@3") == ("rows@2",) and inputs("start@1.random") == ("gold",)
    assert inputs("rows@2.random") == ("pool@2.random", "rows@2") and inputs("rows@2.no_new_rows") == ("rows@2",)
    assert inputs("seen@1") == ("pool@1", "rows@1") and inputs("seen@2") == ("pool@2", "rows@2", "seen@1")
    first, third, after = nodes["pool@1"], nodes["pool@3"], nodes["after"]
    assert (
        isinstance(first, DatasetNode)
        and isinstance(third, DatasetNode)
        and isinstance(after, DatasetNode)
        and first.reader
        and third.reader
    )
    assert first.reader.paths[0].endswith("pool-1.jsonl") and third.reader.paths[0].endswith("pool-3.jsonl")
    verifiers = [node.steps[0].model_dump()["verifier"]["length"]["min"] for node in (first, third)]
    assert verifiers == [1, 2] and after.upstream == "rows@3"


def test_only_names_of_nodes_are_replaced(tmp_path: Path) -> None:
    """A column, a step, a folder called like a node stay what they are."""
    write(tmp_path)
    path = tmp_path / "words.yaml"
    path.write_text("""
name: words
rounds:
  n: 2
  datasets:
    text: {read: {jsonl: "pool-{round}.jsonl", format: ultrafeedback, id: id}, steps: [{dedup_exact: {by: text}}]}
    dedup_exact: {from: text, steps: [dedup_exact, {score: {verifier: {length: {min: 1}}, score_name: text}}, {select_best: text}]}
    tokens: {from: dedup_exact, steps: [{tokenize: tok}]}
    mixed: {blend: {stages: [{rows: 3, weights: {tokens: 1, dedup_exact@all: 2}}]}}
  models:
    tok: {train: tokenizer, data: text@now, vocab_size: 300}
""")
    nodes = load_recipe(str(path)).nodes
    rows, tokens, mixed = nodes["dedup_exact@2"], nodes["tokens@2"], nodes["mixed@2"]
    assert isinstance(rows, DatasetNode) and isinstance(tokens, DatasetNode) and isinstance(mixed, SpecialNode)
    assert [s.name for s in rows.steps] == ["dedup_exact", "score", "select_best"] and rows.steps[2].by == "text"  # type: ignore[attr-defined]
    assert rows.upstream == "text@2" and tokens.steps[0].models() == ("tok@2",)
    assert mixed.node.inputs() == ("tokens@2", "dedup_exact@1", "dedup_exact@2")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("n: 3", "n: 0"), "rounds.n must be an integer in 1..1000, got 0"),
        (("next: {policy: rows}", "next: {policy: row}"), "names 'row', which is no node of the block. Did you mean 'rows'?"),
        (("start: {policy: gold}", "start: {}"), "must name the same things"),
        (("  control:", "  stop: sen\n  control:"), "rounds.stop must name a ledger of the block, got 'sen'"),
        (("  control:", "  controls:"), "rounds has no key 'controls'. Did you mean 'control'?"),
        (("[random, no_new_rows]", "[randomly]"), "there is no control 'randomly'"),
        (("{rounds: [1, 2]}", "{rounds: 1}"), "a value for each round is {rounds: [first, second, ...]}"),
        (("rows@all", "row@all"), "reads 'row@all', which is no node of this recipe"),
        (("    rows: {from: pool", "    rows: {from: pol"), "reads 'pol', which is no node"),
    ],
)
def test_mistakes(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    with pytest.raises(RecipeError) as error:
        load_recipe(write(tmp_path, RECIPE.replace(*change)))
    assert said in str(error.value) and "loop.yaml:" in str(error.value)


def test_values_can_be_set_before_unrolling(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path), ["rounds.n=1", "rounds.control=[]"])
    assert set(recipe.nodes) == {"gold", "after", "pool@1", "rows@1", "seen@1", "train@1", "start@1"}


def test_a_loop_runs_and_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[bool] = []

    class Counted(local._Worker):
        def __init__(self, wide: bool) -> None:
            started.append(wide)
            super().__init__(wide)

    monkeypatch.setattr(local, "_Worker", Counted)
    recipe = write(tmp_path)
    wanted = ["train@2", "seen@2", "rows@2.random", "rows@2.no_new_rows"]
    result = toolkit.run(recipe, out=tmp_path / "out", workers=1, only=wanted)
    made = result.manifest["datasets"]
    assert made["rows@2"]["rows_out"] == made["rows@2.random"]["rows_out"] == 4 and made["rows@2.no_new_rows"]["rows_out"] == 0
    assert made["train@2"]["rows_out"] == 9 and made["seen@2"]["info"]["accepted"] == 4 and made["seen@2"]["info"]["samples"] == 12
    assert sorted(started) == [False, True]  # nine nodes one after the other in one process: torch would be imported once
    again = toolkit.run(recipe, out=tmp_path / "out", workers=1, only=wanted)
    assert again.tasks["run"] == 0
    assert is_as_new()
    monkeypatch.setattr(process, "KEPT_BELOW", 0)
    assert not is_as_new()


def test_rounds_end_where_the_ledger_says_so(tmp_path: Path) -> None:
    """Round 2 passes fewer than round 1: there is no round 3, for the controls neither, and @last is round 2. A second run finds all of it."""
    text = RECIPE.replace("  control:", "  stop: seen\n  control:").replace("[random, no_new_rows]", "[random]")
    text = text.replace("{rounds: [1, 2]}", "{rounds: [1, 99]}").replace("require: {length: 1}", "by: length, min_score: 0")
    text = text.replace("before: [seen@previous]", "min_gain: {pass_rate: 0.01}, before: [seen@previous]")
    recipe = write(tmp_path, text)
    assert "pool@3" in load_recipe(recipe).nodes
    notes: list[str] = []

    class Notes(Silent):
        def note(self, text: str) -> None:
            notes.extend([text] if text.startswith("rounds") else [])

    result = toolkit.run(recipe, out=tmp_path / "out", workers=1, display=Notes())
    said = "pass_rate 0 is -1 from the round before, below min_gain {pass_rate: 0.01}: stop here"
    assert notes[-1] == f"rounds end after 2 of 3, as seen@2 says: {said}"
    made = result.manifest["datasets"]
    assert {n for n in made if "@" in n} == {
        f"{b}@{k}{arm}" for b in ("pool", "rows", "seen", "train", "start") for k in (1, 2) for arm in ("", ".random")
    }
    assert made["seen@2"]["info"]["stop"] == [said] and "stop" not in made["seen@1"]["info"] and made["after"]["from"] == "rows@2"
    assert result.manifest["rounds"] == {"asked": 3, "made": 2, "ended_by": "seen@2", "reasons": [said]}
    again = toolkit.run(recipe, out=tmp_path / "out", workers=1)
    assert again.tasks["run"] == 0 and again.manifest == result.manifest
    left = toolkit.run(recipe, out=tmp_path / "out", workers=1, only=["rows@3"], display=Notes())
    assert left.tasks["run"] == 0 and notes[-1] == notes[-2]


def test_rows_that_become_several_balance(tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / "one.yaml"
    path.write_text(
        "datasets:\n  rows: {read: {jsonl: pool-1.jsonl, format: ultrafeedback, id: id}, steps: [{score: {verifier: {length: {min: 1}}}}, "
        "{select_best: {top: 2}}, {dedup_exact: {by: text}}]}\n  pool: {read: {jsonl: pool-1.jsonl, format: ultrafeedback, id: id}}\n"
        "  chosen: {from: pool, steps: [{select_best: {top: 2, control: [random, no_new_rows]}}]}\n"
    )
    result = toolkit.run(path, out=tmp_path / "out", workers=1)
    entry = result.manifest["datasets"]["rows"]
    assert (entry["rows_in"], entry["created"], entry["rows_out"]) == (4, 4, 8)
    assert len(set(result["rows"].table().column("id").to_pylist())) == 8
    assert [result.manifest["datasets"][n]["rows_out"] for n in ("chosen", "chosen.random", "chosen.no_new_rows")] == [8, 8, 0]
