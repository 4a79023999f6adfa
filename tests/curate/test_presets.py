"""Every preset holds steps of the registry with settings that they accept, in the published order."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from curate import presets, registry
from curate.recipe import load_recipe
from curate.recipe_nodes import DatasetNode

ORDER = {
    "gopher": ["gopher_quality", "gopher_repetition", "dedup_minhash"],
    "c4": ["language", "c4", "dedup_exact"],
    "fineweb": ["language", "gopher_repetition", "gopher_quality", "c4", "fineweb", "dedup_minhash", "pii"],
    "fineweb2": ["language", "dedup_minhash", "gopher_repetition", "fineweb", "gopher_quality", "clean", "pii"],
    "c4_dclm": ["c4", "dedup_exact", "language"],
    "dclm": ["language", "gopher_quality", "gopher_repetition", "dedup_minhash"],
}


def steps(name: str) -> list[tuple[str, dict[str, object]]]:
    text = (Path(presets.__file__).parent / f"{name}.yaml").read_text()
    entries = [{entry: None} if isinstance(entry, str) else entry for entry in yaml.safe_load(text)["steps"]]
    return [(step, settings or {}) for entry in entries for step, settings in entry.items()]


def test_the_presets_are_those_of_the_documentation() -> None:
    assert presets.names() == sorted(ORDER)


@pytest.mark.parametrize("name", ORDER)
def test_steps_stand_in_the_published_order(name: str) -> None:
    assert [step for step, _ in steps(name)] == ORDER[name]
    preset = presets.load(name)
    assert preset.summary and "arXiv" in preset.source
    assert len(preset.steps) == len(ORDER[name])


@pytest.mark.parametrize("name", ORDER)
def test_steps_accept_their_settings(name: str) -> None:
    for step, settings in steps(name):
        built = registry.load("steps", step).model_validate(settings)
        assert set(settings) == built.model_fields_set


@pytest.mark.parametrize("name", ORDER)
def test_a_recipe_can_be_one_line_of_steps(name: str, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "a"}\n')
    (tmp_path / "r.yaml").write_text(f"name: r\nread: {{jsonl: in.jsonl}}\nsteps: [{{preset: {name}}}]\n")
    node = load_recipe(str(tmp_path / "r.yaml")).nodes["r"]
    assert isinstance(node, DatasetNode)
    assert [step.name for step in node.steps] == ORDER[name]
