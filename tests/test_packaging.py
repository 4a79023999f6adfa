"""What `pip install .` takes along is what lies in the tree: every package, and every file that is no source."""

from __future__ import annotations

import fnmatch
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
PACKAGES = sorted({p.parent.relative_to(ROOT) for top in ("curate", "formats", "train") for p in (ROOT / top).rglob("__init__.py")})


def test_every_package_is_listed() -> None:
    assert sorted(SETUPTOOLS["packages"]) == [".".join(package.parts) for package in PACKAGES]


def test_every_data_file_is_listed() -> None:
    for package in PACKAGES:
        patterns = SETUPTOOLS["package-data"].get(".".join(package.parts), [])
        files = [f.name for f in (ROOT / package).iterdir() if f.is_file() and f.suffix not in (".py", ".pyc")]
        assert [name for name in files if not any(fnmatch.fnmatch(name, pattern) for pattern in patterns)] == []
