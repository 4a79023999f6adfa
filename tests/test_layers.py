"""Imports run one way, the public names are the intended ones, and `import curate` stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import curate

ROOT = Path(__file__).resolve().parents[1]

# Who may import what inside curate, by first folder or module name. Missing: anything.
ALLOWED = {
    "kernels": {"kernels", "errors"},
    "errors": set(),
    "schema": set(),
    "fingerprint": set(),
    "step": set(),
    "ranges": set(),
    "io": {"io", "errors", "schema", "kernels", "registry"},
    "languages": {"languages", "errors", "recipe_yaml", "registry"},
    "steps": {
        "steps",
        "figures",
        "fingerprint",
        "duplicate_index",
        "ranges",
        "languages",
        "kernels",
        "step",
        "schema",
        "errors",
        "registry",
        "apply",
        "io",
        "tokens",
        "context",
        "paths",
        "recipe_paths",
    },
    "tokens": {"tokens", "registry", "node", "step", "schema", "errors", "kernels", "io", "context"},
    "duplicate_index": {"errors", "fingerprint", "store"},
    "store": {"errors"},
    "executors": {"executors", "errors", "worker", "kernels"},
    "worker": {
        "worker",
        "tokens",
        "apply",
        "context",
        "distributions",
        "errors",
        "exchange",
        "figures",
        "fingerprint",
        "io",
        "node",
        "plugins",
        "registry",
        "schema",
        "step",
        "store",
    },
    "plan": {"errors", "recipe_nodes", "step"},
}


def imports(path: Path) -> set[str]:
    """Dotted names that a file imports, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def place(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


SOURCES = sorted((ROOT / "curate").rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    here = place(".".join(path.relative_to(ROOT).with_suffix("").parts))
    used = {m for m in imports(path) if m.partition(".")[0] in ("curate", "formats", "train")}
    assert not [m for m in used if not m.startswith("curate")], "curate must not import formats or train"
    if path.name != "transformer_scores.py":  # inside a function: the one step that runs Hugging Face models
        assert "torch" not in {m.partition(".")[0] for m in imports(path)}
    if here in ALLOWED:
        names = {p.stem for p in (ROOT / "curate").iterdir()}
        wrong = {place(m) for m in used if place(m) in names} - ALLOWED[here] - {here}
        assert not wrong, f"{here} must not import {sorted(wrong)}"


def module_level(path: Path) -> set[str]:
    """Packages that a file imports when it is imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = [n for n in tree.body if isinstance(n, (ast.Import, ast.ImportFrom))]
    names = [a.name for n in found if isinstance(n, ast.Import) for a in n.names] + [
        n.module or "" for n in found if isinstance(n, ast.ImportFrom)
    ]
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize(
    "name", ["__init__", "command", "cost", "evaluation/settings", "gpus", "launch", "node", "pretrain", "shapes", "spec"]
)
def test_settings_of_training_need_no_torch(name: str) -> None:
    """`curate validate` and `curate plan` import node kinds, and torch takes seconds."""
    assert not {"torch", "transformers", "numpy", "pyarrow"} & module_level(ROOT / "train" / f"{name}.py")


def test_only_train_imports_torch_at_module_level() -> None:
    for path in (ROOT / "formats").rglob("*.py"):
        assert not {"torch", "transformers"} & module_level(path), path


def test_public_names() -> None:
    assert sorted(curate.__all__) == [
        "CurateError", "DataError", "RecipeError", "Result", "RunError", "StepError", "load_recipe", "read_dataset", "run", "steps",
    ]  # fmt: skip
    for name in curate.__all__:
        assert getattr(curate, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = curate.no_such_name


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import curate", ("numpy", "pyarrow", "pydantic", "polars", "numba", "rich", "typer")),
        ("import curate.steps.benchmark_index", ("numba",)),  # the parent reads a kept index after every run
        ("import curate.api, curate.recipe", ("numba", "polars", "tokenizers", "torch", "spacy", "ftfy", "phonenumbers")),
        ("from curate.cli.app import build_app; build_app(['run'])", ("pyarrow", "numba", "polars", "numpy", "pydantic")),
        ("from curate.cli.app import build_app; build_app(['--help'])", ("pyarrow", "numba", "polars", "numpy", "torch")),
    ],
)
def test_nothing_heavy_is_imported_early(code: str, absent: tuple[str, ...]) -> None:
    done = subprocess.run([sys.executable, "-c", f"{code}; import sys; print(*sys.modules)"], capture_output=True, text=True, check=True)
    assert not set(absent) & set(done.stdout.split())
