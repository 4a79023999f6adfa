"""Every recipe in pipelines/ runs; the quickstart's figures hold."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import curate as toolkit
from curate.recipe import load_recipe

PIPELINES = Path(__file__).resolve().parents[1] / "pipelines"

ENGLISH = (
    "The committee met in the afternoon and decided that the old bridge over the river would be repaired before winter. "
    "Many people had asked for it, and the engineers said that the stones could be saved with some care. "
)
CHINESE = "委员会下午开会，决定在冬天以前修好河上的老桥。很多人都提出过这个要求，工程师说只要小心，石头可以保留下来。"


def variety(base: str, count: int, seed: int) -> list[str]:
    """Documents that are no near-duplicates of each other: sentences of shuffled pieces."""
    make = random.Random(seed)
    parts = base.split(" ") if " " in base else list(base.replace("，", "").replace("。", ""))
    joiner, stop = (" ", ". ") if " " in base else ("", "。")
    texts = []
    for _ in range(count):
        sentences = [joiner.join(make.sample(parts, min(14, len(parts)))).strip(" .,").capitalize() for _ in range(12)]
        texts.append(stop.join(sentences) + stop.strip())
    return texts


@pytest.fixture
def crawl(tmp_path: Path) -> Path:
    for name, base in (("en", ENGLISH), ("zh", CHINESE)):
        with open(tmp_path / f"{name}.jsonl", "w", encoding="utf-8") as file:
            for number, text in enumerate(variety(base, 300, 7)):
                file.write(json.dumps({"id": f"{name}{number}", "text": text}, ensure_ascii=False) + "\n")
    return tmp_path


@pytest.mark.parametrize(("recipe", "language"), [("web_en.yaml", "en"), ("web_zh.yaml", "zh")])
def test_web_recipes(crawl: Path, recipe: str, language: str) -> None:
    settings = [
        f"datasets.web.read.jsonl={crawl / language}.jsonl",
        "datasets.pretrain_mix.mix.seq_len=128",
        "datasets.pretrain_mix.mix.stages=[{tokens: 2k, weights: {web_tokens: 1.0}}, {tokens: 1k, weights: {web_tokens: 1.0}, anneal: linear}]",
        "models.tok.vocab_size=600",
    ]
    result = toolkit.run(PIPELINES / recipe, out=crawl / "out", set=settings, workers=2)
    for entry in result.manifest["datasets"].values():
        balanced(entry)
    web = result["web"].figures
    assert web["rows_in"] == 300
    assert web["rows_out"] > 100, web["dropped"]
    assert result["web_tokens"].figures["tokens"] > 3000
    assert result["pretrain_mix"].figures["tokens"] > 0


def balanced(entry: dict[str, Any]) -> None:
    if entry["rows_in"] is not None:
        assert (
            entry["rows_in"] + entry["created"]
            == entry["rows_out"] + sum(entry["dropped"].values()) + entry["merged"] + entry["quarantined"]
        )


def test_quickstart(tmp_path: Path) -> None:
    result = toolkit.run(PIPELINES / "quickstart.yaml", out=tmp_path / "out", workers=2)
    for entry in result.manifest["datasets"].values():
        balanced(entry)
    assert result["docs_tokens"].figures["tokens"] >= 300_000
    assert result["docs_tokens"].figures["rows_out"] == result["docs"].figures["rows_out"] > 300
    table = result["docs_tokens"].table()
    assert sum(table.column("n_tokens").to_pylist()) == result["docs_tokens"].figures["tokens"]
    again = toolkit.run(PIPELINES / "quickstart.yaml", out=tmp_path / "out", workers=2)
    assert again.tasks["run"] == 0 and again.tasks["reused"] == sum(result.tasks.values())


def test_rejection_sampling_recipe_is_valid_on_generated_problems(tmp_path: Path) -> None:
    """Its run takes minutes: tests/bench/rejection_sampling.py."""
    subprocess.run([sys.executable, str(PIPELINES / "arithmetic.py"), "--seed", "3", "-o", str(tmp_path / "arithmetic")], check=True)
    path = tmp_path / "recipe.yaml"
    path.write_text((PIPELINES / "rejection_sampling_math.yaml").read_text())
    nodes = load_recipe(str(path)).nodes
    assert {"pool@1", "rows@3", "rows@3.random", "sft@3.no_new_rows", "ledger@2"} <= set(nodes)
    files = {f.stem: [json.loads(line) for line in f.read_text().splitlines()] for f in (tmp_path / "arithmetic").glob("*.jsonl")}
    assert {name: len(rows) for name, rows in files.items()} == {
        "heldout": 1000,
        "seed": 450,
        "prompts-1": 1500,
        "prompts-2": 1500,
        "prompts-3": 1500,
    }
    prompts = [row["prompt"] for rows in files.values() for row in rows]
    assert len(prompts) == len(set(prompts))
    parts = [re.fullmatch(r"(\d{2,3})([+-])(\d{2,3})=", row["prompt"]) for row in files["heldout"]]
    sums = [int(m[1]) + (1 if m[2] == "+" else -1) * int(m[3]) for m in parts if m]
    assert sums == [int(row["answer"]) for row in files["heldout"]]


def test_every_recipe_is_known_here() -> None:
    assert {p.name for p in PIPELINES.glob("*.yaml")} == {
        "quickstart.yaml",
        "rejection_sampling_math.yaml",
        "text_to_chat.yaml",
        "web_en.yaml",
        "web_zh.yaml",
    }


def test_starter_recipe_is_valid(tmp_path: Path) -> None:
    from curate.cli.starter import starter

    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.jsonl").write_text('{"text": "x"}\n')
    (tmp_path / "r.yaml").write_text(starter("mine", "r.yaml", "data/*.jsonl"))
    assert list(load_recipe(str(tmp_path / "r.yaml")).nodes) == ["web"]


@pytest.mark.parametrize("name", sorted(path.name for path in PIPELINES.glob("*.yaml")))
def test_the_schema_for_editors_takes_what_we_ship(name: str) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="the JSON Schema validator is in the extra synth")
    from curate.recipe_schema import json_schema
    from curate.recipe_yaml import Problems, parse_file

    problems = Problems(name)
    tree = parse_file(str(PIPELINES / name), problems)
    assert not problems.found
    jsonschema.Draft202012Validator(json_schema()).validate(tree.plain())
