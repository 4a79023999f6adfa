"""curate tune: what is cut, what is near, and that thresholds after annotation compute nothing again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from curate.report.tuning import Bounded, Columns, Question, examine
from tests.curate.engine_case import curate

WORDS = "the be to of and that have with some other words here in a row again"


def question(values: list[float], survives: str, bound: float | None, step: str = "s", column: str = "c") -> Question:
    return Question(step, 0, column, "x", survives, bound, True, np.array(values, np.float64))  # type: ignore[arg-type]


def ask(questions: list[Question], n: int, examples: int = 2) -> list[Bounded]:
    return examine(questions, Columns([f"d{i}" for i in range(n)], [f"text {i}" for i in range(n)], ["s"] * n), examples)


def test_shares_and_neighbours() -> None:
    values = [1.0, 2.0, 3.0, 4.0, float("nan")]
    low, high = ask([question(values, "at_least", 2.0), question(values, "at_most", 3.5)], 5)
    assert (low.dropped, low.dropped_only, high.dropped) == (0.2, 0.2, 0.2)
    assert [e.id for e in low.survivors] == ["d1", "d2"] and [e.id for e in low.victims] == ["d0"]
    assert [e.id for e in high.survivors] == ["d2", "d1"] and high.documents == 4 and high.quantiles["0.5"] == 2.5
    assert sum(low.histogram) == 4


def test_dropped_by_two_bounds_counts_for_neither_alone() -> None:
    first, second = ask([question([1, 5], "at_most", 2), question([1, 5], "at_most", 3)], 2)
    assert (first.dropped, first.dropped_only, second.dropped_only) == (0.5, 0.0, 0.0)


def test_no_bound_and_no_numbers() -> None:
    none, empty = ask([question([1, 2], "at_most", None), question([float("nan")] * 2, "at_most", 1)], 2)
    assert none.dropped == 0 and len(none.survivors) == 2 and not none.victims
    assert empty.documents == 0 and empty.quantiles == {} and sum(empty.histogram) == 0


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    rows = [{"id": f"r{i}", "text": f"{WORDS} {i} <b>&amp;</b>. " * (1 + i % 9)} for i in range(300)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump({"name": "r", "datasets": {"web": {"read": {"jsonl": "in.jsonl"}, "steps": [
        "clean", {"gopher_quality": {"min_words": 60, "words": "whitespace"}}, {"madlad": {"min_sentences": 3, "rules": ["length", "cursed"]}},
        {"filter": "length(text) > 5"}, "dedup_exact"]}}}))  # fmt: skip
    return path


def test_command_and_its_advice(recipe: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    done = curate("tune", recipe, "--out", tmp_path / "out", "--sample", "100000", "--json", "--html", page, "--examples", "3")
    web = json.loads(done.stdout.splitlines()[-1])["datasets"]["web"]
    assert web["documents"] == 300 and web["left_out"] == ["filter", "dedup_exact"]
    signals = {(s["column"], s["setting"]): s for s in web["signals"]}
    few = signals["gopher_words", "min_words"]
    assert 0 < few["dropped"] < 1 and len(few["victims"]) == len(few["survivors"]) == 3
    assert max(v["value"] for v in few["victims"]) < 60 <= min(s["value"] for s in few["survivors"])
    assert "gopher_words" in done.stderr and "only it" in done.stderr
    html = page.read_text()
    assert "<script" not in html and "&lt;b&gt;" not in html and "gopher_words" in html

    # The advice is YAML of a recipe that keeps the same documents as the bounds did.
    steps = yaml.safe_load(web["advice"])
    assert steps[0] == {"gopher_quality": {"words": "whitespace", "mode": "annotate"}}
    changed = yaml.safe_load(recipe.read_text())
    changed["datasets"]["web"]["steps"] = ["clean", *steps]
    advised, plain = tmp_path / "advised.yaml", tmp_path / "plain.yaml"
    advised.write_text(yaml.safe_dump(changed))
    changed["datasets"]["web"]["steps"] = ["clean", *yaml.safe_load(recipe.read_text())["datasets"]["web"]["steps"][1:3]]
    plain.write_text(yaml.safe_dump(changed))
    kept = [
        json.loads(curate("run", r, "--out", tmp_path / f"o{k}", "--json").stdout)["datasets"]["web"]["rows_out"]
        for k, r in enumerate((advised, plain))
    ]
    assert kept[0] == kept[1] == sum(1 for i in range(300) if 1 + i % 9 >= 4)


def test_thresholds_after_annotation_reuse_the_annotated_stage(recipe: Path, tmp_path: Path) -> None:
    content = yaml.safe_load(recipe.read_text())

    def rows(bound: int) -> tuple[int, set[str]]:
        content["datasets"]["web"]["steps"] = [
            "clean",
            {"gopher_quality": {"mode": "annotate", "checkpoint": True}},
            {"filter": f"gopher_words >= {bound}"},
        ]
        recipe.write_text(yaml.safe_dump(content))
        summary = json.loads(curate("run", recipe, "--out", tmp_path / "out", "--json").stdout)
        stages = {f.name for f in (tmp_path / "out" / ".stages").iterdir()}
        assert summary["tasks"]["run"] == (1 if bound != 20 else 2) and summary["tasks"]["reused"] == (1 if bound != 20 else 0)
        return summary["datasets"]["web"]["rows_out"], stages

    first, before = rows(20)
    second, after = rows(60)
    assert first > second > 0
    assert len(after - before) == 1 and before < after  # one new stage: the filter's


def test_mistakes(recipe: Path, tmp_path: Path) -> None:
    done = curate("tune", recipe, "--out", tmp_path / "out", "--step", "madlat", "-q", check=False)
    assert done.returncode == 2 and "Did you mean 'madlad'" in done.stderr
    recipe.write_text(yaml.safe_dump({"name": "r", "datasets": {"web": {"read": {"jsonl": "in.jsonl"}, "steps": ["clean"]}}}))
    done = curate("tune", recipe, "--out", tmp_path / "out", check=False)
    assert done.returncode == 2 and "No step of this recipe has a number" in done.stderr
