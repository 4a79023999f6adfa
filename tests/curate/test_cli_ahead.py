"""Processes that start before the command line is read: only where the words say plainly what will be wanted, and none is left behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import typer

from curate.cli import ahead
from curate.cli.app import build_app
from curate.executors.local import LocalExecutor

needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="looks for processes in /proc")


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("run a.yaml", ("a.yaml", {})),
        ("run -q a.yaml --out x --workers=2", ("a.yaml", {"--out": "x", "--workers": "2"})),
        ("--json run --executor local a.yaml", ("a.yaml", {"--executor": "local"})),
        ("run --set datasets.a.max=3 a.yaml", ("a.yaml", {"--set": "datasets.a.max=3"})),
        ("run a.yaml --executor ray", None),
        ("run a.yaml --workers 0", None),
        ("run a.yaml --workers two", None),
        ("run a.yaml --workers ²", None),
        ("run a.yaml --workers", None),
        ("run a.yaml --help", None),
        ("run a.yaml --wrokers 2", None),
        ("run a.yaml b.yaml", None),
        ("run", None),
        ("plan a.yaml", None),
        ("", None),
    ],
)
def test_what_a_command_line_asks_for(line: str, asked: object) -> None:
    assert ahead._asked(line.split()) == asked


def test_all_options_of_the_command_are_known() -> None:
    command = typer.main.get_command(build_app(["run"])).commands["run"]  # type: ignore[attr-defined]
    valued = {word for p in command.params if p.param_type_name == "option" and not p.is_flag for word in p.opts}
    flags = {word for p in command.params if p.param_type_name == "option" and p.is_flag for word in p.opts}
    assert (valued, flags) == (ahead.WITH_VALUE, ahead.FLAGS)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    file = tmp_path / "a.yaml"
    file.write_text("")
    return file


def started(executor: object) -> list[int]:
    """Process ids of an executor's processes that were not waited for."""
    assert isinstance(executor, LocalExecutor)
    nursery = [executor._nursery._process.pid] if executor._nursery is not None else []
    return nursery or [worker.process.pid for worker in executor._pool]  # type: ignore[union-attr]


def is_child(process: int) -> bool:
    return f"\nPPid:\t{os.getpid()}\n" in Path(f"/proc/{process}/status").read_text() if Path(f"/proc/{process}").exists() else False


@needs_proc
def test_the_command_takes_what_it_wants(recipe: Path) -> None:
    with ahead.starting(["run", str(recipe), "--out", str(recipe.parent / "out"), "--workers", "2"]):
        executor = ahead.take("local", 2)
        running = started(executor)
        assert running
        assert not started(ahead.take("local", 2)), "taken once"
    assert all(map(is_child, running)), "whoever took it ends it"
    with executor:
        pass
    assert not any(map(is_child, running))


@needs_proc
@pytest.mark.parametrize(("name", "workers"), [("local", 3), ("local", None)])
def test_another_wish_gets_an_executor_of_its_own_and_what_nobody_took_ends(recipe: Path, name: str, workers: int | None) -> None:
    with ahead.starting(["run", str(recipe), "--out", str(recipe.parent / "out"), "--workers", "1"]):
        running = started(ahead._started[0][1])
        assert running and not started(ahead.take(name, workers))
    assert not any(map(is_child, running)) and not ahead._started


def test_nothing_starts_for_a_finished_run_or_a_missing_recipe(recipe: Path) -> None:
    (recipe.parent / "out").mkdir()
    (recipe.parent / "out" / "manifest.json").write_text("{}")
    for words in (["run", str(recipe), "--out", str(recipe.parent / "out")], ["run", str(recipe.parent / "none.yaml")]):
        with ahead.starting(words):
            assert not started(ahead._started[0][1])
