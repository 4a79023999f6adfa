"""pipelines/text_to_chat.yaml made smaller: every node from text to figures of a model, in one run; and that its questions are true."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
pytest.importorskip("torch")
pytest.importorskip("trl")

from curate.errors import RecipeError
from curate.executors.executor import Executor
from curate.recipe import load_recipe
from curate.report.card import load_about, model_card
from curate.report.run_folder import open_run
from curate.runner import run_recipe
from curate.worker import execute

pytestmark = pytest.mark.filterwarnings("ignore")  # torch, transformers and trl warn about each other

PIPELINES = Path(__file__).parents[2] / "pipelines"
RECIPE = PIPELINES / "text_to_chat.yaml"
SMALLER = (
    "datasets.docs.read.installed_docs.max_mb=0.4",
    "datasets.pretrain_mix.mix.stages.0.tokens=8k",
    "datasets.pool.steps.generate.samples=4",
    "datasets.judged.evaluate.limit=40",
    "models.tok.vocab_size=1024",
    "models.base.model={preset: llama-tiny, layers: 1, width: 48, ffn: 96, heads: 2}",
    "models.base.prove_isolation=false",
    "models.chat.steps=70",
    "models.chat.lr=1.0e-2",
    "models.better.steps=10",
    "models.final.steps=4",
)


class Here(Executor):
    """Tasks one after the other in this process: torch is imported once, where `local` starts a process for each model."""

    def run(self, job_path: str, tasks: Sequence[int], progress: Any, whole_machine: bool = False) -> None:
        for task in tasks:
            execute(job_path, task, lambda *_: None)
            progress(task, 0, 0)


def questions() -> Any:
    """The module that writes the questions, which no package holds."""
    spec = importlib.util.spec_from_file_location("questions", PIPELINES / "text_to_chat" / "questions.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_questions_are_true_and_stand_in_one_file() -> None:
    made = questions()
    for name, module, kind in made.facts():
        value = getattr(importlib.import_module(module), name)
        assert kind == ("class" if isinstance(value, type) else "function" if callable(value) else "constant"), name
    asked: list[str] = []
    for name, rows in made.rows(0).items():
        written = [json.loads(line) for line in (RECIPE.parent / "text_to_chat" / f"{name}.jsonl").read_text().splitlines()]
        assert written == rows
        asked += [row["messages"][0]["content"] if "messages" in row else row.get("prompt") or row["question"] for row in rows]
    assert len(set(asked)) == len(asked) == 842


def test_from_text_to_figures_of_a_model(tmp_path: Path) -> None:
    manifest = run_recipe(load_recipe(str(RECIPE), SMALLER), tmp_path / "run", Here()).manifest
    entries = {**manifest["datasets"], **manifest["models"]}
    assert set(entries) == set(load_recipe(str(RECIPE)).nodes) and len(entries) == 15
    for entry in manifest["datasets"].values():
        if entry["rows_in"] is not None:
            left = entry["rows_out"] + sum(entry["dropped"].values()) + entry["merged"] + entry["quarantined"]
            assert entry["rows_in"] + entry["created"] == left, entry
    assert (entries["chats"]["rows_out"], entries["prompts"]["rows_out"], entries["pool"]["rows_out"]) == (260, 388, 388)
    assert entries["right"]["rows_out"] >= entries["pairs"]["rows_out"] > 0
    assert entries["more_chats"]["rows_out"] == 260 + entries["right"]["rows_out"]

    notes = {
        name: json.loads((tmp_path / "run" / name / "training.json").read_text())["lineage"] for name in ("base", "chat", "better", "final")
    }
    for model, data in (("base", "pretrain_mix"), ("chat", "chats"), ("better", "more_chats"), ("final", "pairs")):
        assert notes[model]["data"]["name"] == data
        assert notes[model]["data"]["digest"] == entries[data]["digest"]

    judged = json.loads((tmp_path / "run" / "judged" / "evaluation.json").read_text())
    assert set(judged["models"]) == {"chat", "better", "final"} and set(judged["compared"]) == {"better", "final"}
    assert judged["digests"]["final"] == entries["final"]["digest"]
    for name, tasks in judged["models"].items():
        assert {task: (f["main"], f["items"]) for task, f in tasks.items()} == {"told": ("exact", 40), "untold": ("exact", 40)}
        rows = [json.loads(line) for line in (tmp_path / "run" / "judged" / name / "items-told.jsonl").read_text().splitlines()]
        assert sum(row["value"] for row in rows) / 40 == tasks["told"]["exact"] == entries["judged"]["info"]["figures"][name]["told"]
    assert judged["models"]["chat"]["told"]["exact"] > 0.1
    card = model_card(open_run(tmp_path / "run"), "final", load_about(tmp_path / "none.yaml"))
    assert f"- `judged`, told: exact {judged['models']['final']['told']['exact']:.4f}\n" in card


def test_what_evaluate_refuses(tmp_path: Path) -> None:
    """Names that are no nodes, files that are not there, a model named twice: told before anything runs."""
    for change, message in (
        ("datasets.judged.evaluate.models=[chat, chatt]", "'judged' reads 'chatt', which is no node of this recipe. Did you mean 'chat'"),
        ("datasets.judged.evaluate.models=[chat, chat]", "'chat' is named twice"),
        ("datasets.judged.evaluate.tasks=[nowhere.yaml]", "there is no file or folder 'nowhere.yaml'"),
        ("datasets.judged.evaluate.limit=0", "limit"),
    ):
        with pytest.raises(RecipeError, match=message):
            load_recipe(str(RECIPE), (change,))
    files = load_recipe(str(RECIPE)).nodes["judged"].node.assets()  # type: ignore[union-attr]
    assert [Path(f.uri).name for f in files] == ["tasks.yaml", "told.jsonl", "untold.jsonl"]
