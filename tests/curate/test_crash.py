"""Kill -9 at random moments, then run again: the same bytes as a run that nobody disturbed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from curate.worker.marks import Marks
from tests.curate.engine_case import PLUGIN, RECIPE, figures, run_json, tree_digest, write_inputs, write_recipe

KILLS = 20


def start(recipe: Path, out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "curate", "run", str(recipe), "--out", str(out), "--plugin", PLUGIN, "--quiet", "--workers", "2"]
    return subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def children(parent: int) -> list[int]:
    """Processes below `parent`: what forks the workers, and the workers."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == parent:
                found += [int(folder.name), *children(int(folder.name))]
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, float]:
    folder = tmp_path_factory.mktemp("crash")
    write_inputs(folder, files=4, rows=12_000)
    recipe = write_recipe(folder)
    started = time.monotonic()
    run_json(recipe, folder / "calm", "--workers", "2")
    return folder, recipe, time.monotonic() - started


def test_kill_of_the_process_group_at_random_moments(undisturbed: tuple[Path, Path, float]) -> None:
    folder, recipe, seconds = undisturbed
    moments = random.Random(5)
    killed, out = 0, folder / "killed0"
    for round_ in range(KILLS):
        run = start(recipe, out)
        time.sleep(moments.uniform(0.2, seconds))
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
            killed += 1
        run.wait()
        if run.returncode == 0:  # it finished between two kills: go on with a fresh folder
            assert tree_digest(out / "case") == tree_digest(folder / "calm" / "case")
            out = folder / f"killed{round_ + 1}"
    assert killed >= KILLS // 4
    run_json(recipe, out)
    assert tree_digest(out / "case") == tree_digest(folder / "calm" / "case")
    assert figures(out) == figures(folder / "calm")


def test_kill_of_single_workers(undisturbed: tuple[Path, Path, float]) -> None:
    folder, recipe, seconds = undisturbed
    moments = random.Random(6)
    out = folder / "workers"
    run = start(recipe, out)
    deadline = time.monotonic() + 20 * seconds
    killed = 0
    while run.poll() is None and time.monotonic() < deadline:
        time.sleep(moments.uniform(0.1, 0.5))
        workers = children(run.pid)
        if workers and killed < 8:
            os.kill(moments.choice(workers), signal.SIGKILL)
            killed += 1
    assert run.wait() == 0 and killed > 0
    assert tree_digest(out / "case") == tree_digest(folder / "calm" / "case")
    assert figures(out) == figures(folder / "calm")


def test_a_batch_that_goes_through_in_slices_changes_no_byte(tmp_path: Path) -> None:
    """Two filters in the stage that is interrupted: their drops must be booked in the order of an undisturbed run."""
    write_inputs(tmp_path, files=2, rows=4000)
    once = tmp_path / "tripped"
    steps = f"  - slow: {{seconds: 0.0}}\n  - trips: {{once: {once}}}\n  - long_enough: {{min_chars: 90}}\n"
    for keep_dropped in ("sample", "all"):
        text = RECIPE.replace("  - slow: {seconds: 0.02}\n", steps).replace("read:", f"keep_dropped: {keep_dropped}\nread:")
        recipe = write_recipe(tmp_path, text)
        once.unlink(missing_ok=True)
        run_json(recipe, tmp_path / f"tripped-{keep_dropped}")
        assert once.exists()
        run_json(recipe, tmp_path / f"calm-{keep_dropped}")
        assert tree_digest(tmp_path / f"tripped-{keep_dropped}" / "case") == tree_digest(tmp_path / f"calm-{keep_dropped}" / "case")


def crash(path: Path, batch: int, rows: int, poison: set[int]) -> bool:
    """One attempt at a batch: True where it died on a poison row."""
    marks = Marks(path)
    for start_, stop, deaths in marks.slices(batch, rows):
        marks.flying(batch, start_, stop, deaths)
        if poison & set(range(start_, stop)):
            return True
    marks.flying(-1, 0, 0)
    return False


@pytest.mark.parametrize(
    ("rows", "poison"), [(1, {0}), (7, {6}), (64, {63}), (65, {0, 64}), (5000, {0, 1, 2999, 4999}), (65_536, {40_000})]
)
def test_marks_find_exactly_the_poison(tmp_path: Path, rows: int, poison: set[int]) -> None:
    path = tmp_path / "marker"
    deaths = 0
    while crash(path, 3, rows, poison):
        deaths += 1
        assert deaths <= 6 * len(poison)
    assert Marks(path).poisoned(3) == sorted(poison)


@pytest.mark.parametrize("rows", [1, 63, 64, 65, 1000])
def test_slices_cover_every_row_once(tmp_path: Path, rows: int) -> None:
    path = tmp_path / "marker"
    Marks(path).flying(2, 0, rows)
    for _ in range(4):
        marks = Marks(path)
        pieces = marks.slices(2, rows)
        covered = [r for a, b, _ in pieces for r in range(a, b)] + marks.poisoned(2)
        assert sorted(covered) == list(range(rows))
        assert marks.slices(1, 10) == [(0, 10, 0)]
        if not pieces:
            break
        a, b, deaths = next(p for p in pieces if p[1] - p[0] == min(q[1] - q[0] for q in pieces))
        marks.flying(2, a, b, deaths)


def test_a_kill_from_outside_condemns_no_row(tmp_path: Path) -> None:
    path = tmp_path / "marker"
    for piece in [(0, 1000), (100, 116), (105, 106), (105, 106)]:  # died once in each, alone twice
        marks = Marks(path)
        marks.flying(4, *piece, deaths=next(d for a, b, d in [*marks.slices(4, 1000), (*piece, 0)] if (a, b) == piece))
    assert Marks(path).poisoned(4) == []
