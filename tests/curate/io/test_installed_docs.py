"""Documentation of installed packages: the fast docstring scanner against `ast`, splits, bounds."""

from __future__ import annotations

import ast
import inspect
import sys
from pathlib import Path
from typing import Any

import pytest

from curate.errors import DataError
from curate.io.docstrings import docstrings
from curate.io.installed_docs import InstalledDocsReader

SOURCE = '''#!/usr/bin/env python
# comment "with" quotes
"""Module."""
X = {"a": """not this""", 'b':
    'nor this'}
class A(B[int], metaclass=C):
    """Class A.

        deeper

    as before
    """
    async def f(self, x: "quoted" = ")", *, y={"k": [1, (2, 3)]}) -> dict[str, int]:
        r"""Raw \\d."""
        """a second string"""
    def g(self): "One line."
    def h(self):
        if self:
            """nor this"""
    def i(self):  # why
        # more
        'single \\u00e9'
    def j(self):
        b"bytes"
    def k(self):
        f"{self}"
    def l(self):
        "joined".join(self)
def top(
    a,
    b=lambda: 0,
):
    """Top."""
    text = """
def fake():
    \'\'\'no\'\'\'
"""
'''


def reference(source: str) -> list[str]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = [ast.get_docstring(node) for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]
    return sorted(" ".join(text.split()) for text in found if text and text.strip())


def ours(source: str) -> list[str]:
    return sorted(" ".join(d.text.split()) for d in docstrings(source))


def test_scanner() -> None:
    found = list(docstrings(SOURCE))
    assert [(d.name, d.text) for d in found] == [
        ("", "Module."),
        ("A", "Class A.\n\n    deeper\n\nas before"),
        ("A.f", r"Raw \d."),
        ("A.g", "One line."),
        ("A.i", "single é"),
        ("top", "Top."),
    ]
    assert ours(SOURCE) == reference(SOURCE)


def test_scanner_equals_ast_on_the_standard_library() -> None:
    folder = Path(inspect.__file__).parent
    same = missed = more = 0
    for path in sorted(folder.glob("*.py"))[::3]:
        source = path.read_text(encoding="utf-8")
        expected, got = reference(source), ours(source)
        same += len(set(expected) & set(got))
        missed += len(set(expected) - set(got))
        more += len(set(got) - set(expected))
    assert same > 500
    assert missed + more <= same // 100


def test_hostile_sources() -> None:
    for source in (
        "(" * 100_000,
        "def f(" * 20_000,
        '"""' * 30_001,
        "def f(a=(((((1))))):\n '''d'''",
        "'" * 50_000,
        "\n" * 100_000,
        "def f(a" + "(b)" * 20_000 + "\n '''x'''",
    ):
        list(docstrings(source))


def documents(**settings: Any) -> list[dict[str, Any]]:
    reader = InstalledDocsReader(**settings)
    return [row for s in reader.splits("/nowhere") for r in reader.read(s, "docs") for row in r.batch.to_pylist()]


def test_packages() -> None:
    before = set(sys.modules)
    rows = documents(packages=("pydantic", "rich"), standard_library=False)
    assert not any(m.startswith("rich") for m in set(sys.modules) - before)
    assert {r["source"] for r in rows} == {"pydantic", "rich"}
    assert len({r["id"] for r in rows}) == len(rows)
    texts = [r["text"] for r in rows]
    assert any("Permission is hereby granted" in t for t in texts)
    assert any("@" in t and "Data validation using Python type hints" in t for t in texts)
    assert rows == documents(packages=("pydantic", "rich"), standard_library=False)


def test_max_mb_and_splits() -> None:
    reader = InstalledDocsReader(paths="rich", max_mb=0.5)
    splits = reader.splits("/")
    assert [s.path for s in splits] == ["python", "rich"]
    rows = documents(paths="rich", max_mb=0.5)
    size = sum(len(r["text"].encode()) for r in rows)
    assert 300_000 < size < 800_000 and {r["source"] for r in rows} == {"python", "rich"}
    many = reader.splits("/", 100_000)
    assert len(many) > 2
    assert [row for s in many for r in reader.read(s, "docs") for row in r.batch.to_pylist()] == rows


def test_missing_package() -> None:
    with pytest.raises(DataError, match="'no-such-package' is not installed"):
        InstalledDocsReader(packages="no-such-package").splits("/")
