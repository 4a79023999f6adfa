"""Tutorial, how-to pages and README: their files are written and their commands are run, in order, in an empty folder.

    ```yaml recipe.yaml     a file of that name, in any language
    ```console              commands after `$ `; a line that ends in a backslash goes on
    <!-- data: NAME -->     a reader's own data: NAME of tests/docs/fixtures.py

`curate` runs in this process, with one worker. `vllm serve` starts a stub that speaks its API.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.docs.fixtures import FIXTURES
from tests.formats.generation.conftest import Start, start  # noqa: F401  # a fixture
from tests.formats.generation.stub_server import Stub

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [DOCS / "tutorial.md", *sorted((DOCS / "how-to").glob("*.md"))]
SERVER = "http://localhost:8000"
BLOCK = re.compile(r"^<!-- data: (?P<data>\w+) -->$|^```(?P<language>\w+)(?: (?P<file>\S+))?\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


class Part(NamedTuple):
    """Something to do: make data, write a file, run a command."""

    kind: str
    name: str
    body: str = ""


def parts(page: str) -> Iterator[Part]:
    """What a page tells its reader to do, in order."""
    for found in BLOCK.finditer(page):
        if found["data"]:
            yield Part("data", found["data"])
        elif found["language"] == "console":
            for line in found["body"].replace("\\\n", " ").splitlines():
                if line.startswith("$ "):
                    yield Part("command", line[2:].strip())
        elif found["file"]:
            yield Part("file", found["file"], found["body"])


class Sums(Stub):
    """Answers sums, every third time wrong."""

    def choose(self, body: dict[str, Any]) -> tuple[str, str]:
        super().choose(body)
        numbers = [int(n) for n in re.findall(r"\d+", body["messages"][-1]["content"])]
        return (
            "",
            f"{' + '.join(map(str, numbers))} makes {sum(numbers) + (body['seed'] % 3 == 0)}. The answer is {sum(numbers) + (body['seed'] % 3 == 0)}.",
        )


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_page(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], start: Start) -> None:  # noqa: F811
    text = page.read_text(encoding="utf-8")
    if "train: " in text and "$ curate eval" in text:
        pytest.importorskip("transformers")
    monkeypatch.chdir(tmp_path)
    address, ran = SERVER, 0
    for part in parts(text):
        if part.kind == "data":
            FIXTURES[part.name](tmp_path)
        elif part.kind == "file":
            Path(part.name).parent.mkdir(parents=True, exist_ok=True)
            Path(part.name).write_text(part.body.replace(SERVER, address), encoding="utf-8")
        else:
            words = shlex.split(part.name, comments=True)
            if words[:2] == ["vllm", "serve"]:
                address = start(Sums())[0].removesuffix("/v1")
            else:
                code, said = run(words, monkeypatch, capfd)
                assert code == 0, f"{page.name}: {part.name}\n{said}"
                ran += 1
    assert ran


def run(words: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Run a command of ours in this process; returns its exit status and what it printed."""
    from curate.cli import main

    assert words[0] == "curate", f"only curate is run here: {words}"
    if words[1] == "run":
        words = [*words, "--workers", "1"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    shown = capfd.readouterr()
    return int(ended.value.code or 0), shown.out + shown.err


def test_every_page_is_in_the_index_and_links_lead_somewhere() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    for page in DOCS.rglob("*.md"):
        if page.name != "README.md":
            assert f"({page.relative_to(DOCS).as_posix()})" in index, f"docs/README.md does not name {page.name}"
    for page in [ROOT / "README.md", *DOCS.rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_what_pages_import_from_datatrove_is_there() -> None:
    """The other tool's script on the page is not run, but its names and settings are those of the installed version."""
    if importlib.util.find_spec("datatrove") is None:
        pytest.skip("datatrove is not installed")
    where = Path(str(importlib.util.find_spec("datatrove").origin)).parent.parent  # type: ignore[union-attr]
    text = (DOCS / "how-to" / "move.md").read_text(encoding="utf-8")
    (script,) = (body for body in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "datatrove" in body)
    tree = ast.parse(script)
    names = {alias.name: node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert len(names) > 5
    for name, module in names.items():
        folder = where / str(module).replace(".", "/")
        sources = [folder.with_suffix(".py")] if folder.with_suffix(".py").exists() else sorted(folder.glob("*.py"))
        assert any(re.search(rf"^class {name}\b", source.read_text(), re.MULTILINE) for source in sources), name
