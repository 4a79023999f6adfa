"""A user's own steps from a local file."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa
import pytest

from curate import registry
from curate.apply import run_step
from curate.errors import RecipeError
from curate.plugins import load_plugin, load_plugins, plugin_digest

pytestmark = pytest.mark.usefixtures("stand_ins")

PLUGIN = """
from typing import ClassVar
from pydantic import Field
from curate.plugins import per_document
from curate.step import Step

class Base(Step):
    pass

class Mine(Base):
    name: ClassVar[str] = "mine"
    size: int = Field(3, ge=1, description="how much")

Same = Mine

@per_document("tidy")
def tidy(text):
    if "spam" in text:
        return False
    return text.strip() if text else None
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(PLUGIN)
    return path


def test_steps_of_a_file(plugin: Path) -> None:
    (loaded,) = load_plugins([str(plugin)])
    assert sorted(loaded.steps) == ["mine", "tidy"]
    assert loaded.sha256 == hashlib.sha256(PLUGIN.encode()).hexdigest()
    assert registry.names("steps")[-2:] == ["mine", "tidy"]
    assert registry.load("steps", "mine")(size=4).size == 4
    assert plugin_digest(loaded.steps["tidy"]) == loaded.sha256
    assert plugin_digest(registry.load("steps", "clean")) == ""


def test_same_content_is_loaded_once_and_new_content_anew(plugin: Path) -> None:
    first = load_plugin(str(plugin))
    assert load_plugin(str(plugin)) is first
    plugin.write_text(PLUGIN + "\n")
    second = load_plugin(str(plugin))
    assert second.sha256 != first.sha256
    assert registry.load("steps", "mine") is second.steps["mine"]


def test_per_document(plugin: Path) -> None:
    step = load_plugin(str(plugin)).steps["tidy"]()
    table = pa.table({"id": ["a", "b", "c", "d"], "text": pa.array([" x ", "spam", None, ""], pa.large_string())})
    assert step.drops() == ("tidy.rejected",)
    assert run_step(step, table).to_pydict() == {"id": ["a", "c", "d"], "text": ["x", None, ""]}
    assert run_step(step, table.slice(1, 2)).to_pydict() == {"id": ["c"], "text": [None]}
    assert run_step(step, table.slice(0, 0)).num_rows == 0


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1\n", "mine.py: defines no step"),
        ("from curate.step import Step\n", "mine.py: defines no step"),
        ("x = 1\ny = (\n", "mine.py:2: the plugin does not load: SyntaxError"),
        ("def f():\n    1 / 0\n\nf()\n", "mine.py:2: the plugin does not load: ZeroDivisionError"),
        ("raise SystemExit(3)\n", "mine.py:1: the plugin does not load: SystemExit: 3"),
        ("from curate.plugins import per_document\n@per_document('clean')\ndef f(t): return t\n", "a step 'clean' exists already"),
        ("from curate.plugins import per_document\n@per_document('a b')\ndef f(t): return t\n", "has the name 'a b'; expected letters"),
        ("from curate.plugins import per_document as p\n@p('a')\ndef f(t): return t\n@p('a')\ndef g(t): return t\n",
         "two steps have the name 'a'"),
    ],
)  # fmt: skip
def test_wrong_plugins(tmp_path: Path, source: str, message: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(source)
    with pytest.raises(RecipeError) as error:
        load_plugin(str(path))
    assert message in str(error.value)


def test_two_files_with_one_name(plugin: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.py"
    other.write_text("from curate.plugins import per_document\n@per_document('mine')\ndef f(t): return t\n")
    load_plugin(str(plugin))
    with pytest.raises(RecipeError, match="a step 'mine' exists already"):
        load_plugin(str(other))


def test_not_python(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(RecipeError, match="is no plugin; expected a Python file"):
        load_plugin(str(tmp_path / "mine.txt"))
