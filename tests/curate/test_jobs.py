"""Tasks and keys: a function of the files and settings, of nothing else."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.fingerprint import canonical, digest
from curate.io.reader import Split
from curate.jobs import group, make_job
from curate.plan import make_plan
from curate.recipe import load_recipe
from tests.curate.engine_case import PLUGIN, write_inputs, write_recipe


@given(st.lists(st.integers(0, 50)), st.integers(1, 60))
def test_groups_keep_order_and_size(sizes: list[int], target: int) -> None:
    splits = [Split(f"/x/{i}", str(i), size, "f") for i, size in enumerate(sizes)]
    tasks = group(splits, target)
    assert [s for task in tasks for s in task] == splits
    assert all(task for task in tasks)
    for task in tasks:
        assert sum(s.size for s in task) <= target or len(task) == 1
    for left, right in pairwise(tasks):
        assert sum(s.size for s in left) + right[0].size > target


def key(folder: Path, *settings: str) -> str:
    plan = make_plan(load_recipe(str(folder / "case.yaml"), settings, [PLUGIN]))
    return make_job(plan.stages[0], plan, {}).key


def test_key_depends_on_content_and_not_on_place(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    write_inputs(tmp_path / "a", files=2, rows=50)
    write_recipe(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    shutil.move(tmp_path / "b", tmp_path / "elsewhere")
    original = key(tmp_path / "a")
    assert key(tmp_path / "elsewhere") == original, "same files and settings elsewhere"
    assert key(tmp_path / "a", "max_quarantine=0.5") == original, "a bound that changes no byte"
    assert key(tmp_path / "a", "steps.long_enough.min_chars=21") != original
    assert key(tmp_path / "a", "seed=3") != original
    (tmp_path / "a" / "in0.jsonl").touch()
    assert key(tmp_path / "a") != original, "a file was written again"


def test_canonical_form_refuses_what_has_none() -> None:
    assert canonical({"b": [1, 2.5, None], "a": {"x": "ü"}}) == '{"a":{"x":"ü"},"b":[1,2.5,null]}'.encode()
    assert digest({"a": 1}) == digest({"a": 1})
    for wrong in (float("nan"), object(), {1: 2}, lambda: 0):
        with pytest.raises(TypeError):
            canonical(wrong)
