"""Every executor gives the same bytes and figures, survives a poison document, and reports errors in the same words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import curate as toolkit
from curate import registry
from curate.errors import StepError
from tests.curate.engine_case import PLUGIN, RECIPE, figures, tree_digest, write_inputs, write_recipe

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::ResourceWarning", "ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("executors")
    write_inputs(folder, files=3, rows=12_000)
    rows = (folder / "in1.jsonl").read_text().splitlines()
    rows[4321] = json.dumps({"id": "bad", "text": "this one holds poison and is long enough"})
    (folder / "in1.jsonl").write_text("\n".join(rows) + "\n")
    recipe = write_recipe(folder)
    toolkit.run(recipe, out=folder / "reference", plugins=[PLUGIN], workers=1)
    return folder, recipe


@pytest.mark.parametrize("name", registry.names("executors"))
def test_same_bytes_and_errors(case: tuple[Path, Path], tmp_path: Path, name: str) -> None:
    if name == "ray":
        pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    folder, recipe = case
    result = toolkit.run(recipe, out=tmp_path / name, plugins=[PLUGIN], workers=2, executor=name)
    assert tree_digest(tmp_path / name / "case") == tree_digest(folder / "reference" / "case")
    assert figures(tmp_path / name) == figures(folder / "reference")
    assert result["case"].figures["quarantined"] == 1
    broken = folder / "broken.yaml"
    broken.write_text(RECIPE.replace("  - killer\n", "  - broken\n"))
    with pytest.raises(StepError, match="Step broken failed: ValueError: the moon is not made of cheese"):
        toolkit.run(broken, out=tmp_path / name, plugins=[PLUGIN], workers=2, executor=name)
