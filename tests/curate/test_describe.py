"""What `curate steps` says, and the JSON Schema for editors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from curate import presets, registry
from curate.describe import Parameter, describe_step, list_steps
from curate.errors import RecipeError
from curate.recipe import load_recipe
from curate.recipe_nodes import DatasetNode
from curate.recipe_schema import json_schema


@pytest.mark.usefixtures("stand_ins")
def test_list_of_steps() -> None:
    assert [(row.name, row.kind) for row in list_steps()] == [
        ("clean", "map"), ("language", "filter"), ("filter", "map"), ("dedup_minhash", "corpus"), ("decontaminate", "map"),
        ("tokenize", "map"),
    ]  # fmt: skip
    assert [row.summary for row in list_steps()][:2] == ["Tidy text.", "keep documents of some languages"]


@pytest.mark.usefixtures("stand_ins")
def test_card_of_a_step() -> None:
    card = describe_step("language")
    assert card.parameters[0] == Parameter("keep", "a list of text", "[]", False, "codes")
    assert card.parameters[1] == Parameter("min_score", "a number above 0 and at most 1, or null", "0.65", False, "score that survives")
    assert [p.name for p in card.parameters] == ["keep", "min_score", "mode", "checkpoint"]
    assert (card.adds, card.annotates) == ({}, {"lang_code": "string", "lang_score": "double"})
    assert (card.reads, card.drops, card.origin, card.shorthand) == (("text",), ("language.low_score",), "a paper", "keep")
    text = card.text()
    assert text.startswith("language  (filter)\n  keep documents of some languages\n  Source: a paper\n")
    assert "  min_score   0.65        a number above 0 and at most 1, or null\n              score that survives\n" in text
    assert "Annotates lang_code (string), lang_score (double)\nDrops     language.low_score" in text


@pytest.mark.usefixtures("stand_ins")
def test_card_of_a_step_with_required_settings() -> None:
    card = describe_step("filter")
    assert card.parameters[0] == Parameter("expression", "text, not empty", "", True, "SQL")
    assert card.reads == ()
    assert "  expression  required    text, not empty" in card.text()
    assert describe_step("tokenize").removes == ("text",)
    assert describe_step("clean").details == "Says more here."


@pytest.mark.usefixtures("stand_ins")
def test_unknown_step() -> None:
    with pytest.raises(RecipeError, match=r"unknown step 'clena'. Did you mean 'clean'\? `curate steps` lists all 6."):
        describe_step("clena")


GOOD = """
name: x
seed: 1
datasets:
  web:
    read: {jsonl: "crawl/*.jsonl", text: content}
    steps: [clean, {language: {keep: [en], min_score: 0.7}}, {language: [en]}, {filter: a > 1}, {clean: }]
    write: jsonl
  docs: {read: {installed_docs: {max_mb: 3}}, keep_dropped: all}
  text: {read: {text: ["a/*"]}}
  tokens: {from: web, steps: [{tokenize: tok}]}
  blend: {mix: {stages: [{tokens: 900, weights: {tokens: 1.0}}]}}
models:
  tok: {train: tokenizer, data: web}
"""


def valid(text: str) -> bool:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return not list(jsonschema.Draft202012Validator(schema).iter_errors(yaml.safe_load(text)))


@pytest.mark.usefixtures("stand_ins")
def test_schema_takes_good_recipes() -> None:
    assert valid(GOOD)
    assert valid("read: {jsonl: [a, b]}\nsteps: [clean]\nmax_quarantine: 0.5\n")


@pytest.mark.usefixtures("stand_ins")
@pytest.mark.parametrize(
    "change",
    [
        ("seed: 1", "seed: -1"), ("seed: 1", "sed: 1"), ("clean,", "claen,"), ("min_score: 0.7", "min_score: 7"),
        ("keep: [en]", "kep: [en]"),
        ("write: jsonl", "write: jsn"), ("max_mb: 3", "max_mb: 0"), ("train: tokenizer", "train: tokeniser"), ("  web:", "  w b:"),
        ("text: content", "txt: content"), ("{from: web, ", "{"), ("tokens: 900,", ""), ("data: web", "vocab_size: 300"),
    ],
)  # fmt: skip
def test_schema_refuses_mistakes(change: tuple[str, str]) -> None:
    assert change[0] in GOOD
    assert not valid(GOOD.replace(*change))


def test_every_real_step_is_described_whole() -> None:
    """Each registered step has a summary and a description of every setting; the schema holds them all."""
    for row in list_steps():
        if row.kind:
            card = describe_step(row.name)
            assert card.summary, row.name
            assert [p.name for p in card.parameters if not p.description] == [], row.name
            assert card.name in card.text()
    schema: dict[str, Any] = json_schema()
    assert json.loads(json.dumps(schema)) == schema
    assert set(registry.names("steps")) <= set(schema["$defs"]["step"]["anyOf"][1]["properties"])


def test_every_preset_makes_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{}\n")
    for name in presets.names():
        preset = presets.load(name)
        assert preset.summary and preset.source, name
        (tmp_path / "r.yaml").write_text(f"read: {{jsonl: a.jsonl}}\nsteps: [{{preset: {name}}}]\n")
        node = load_recipe(str(tmp_path / "r.yaml")).nodes["r"]
        assert isinstance(node, DatasetNode) and node.steps, name


def test_unknown_preset_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        presets.load("../recipe")
