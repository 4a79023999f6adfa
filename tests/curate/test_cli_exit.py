"""How the command ends: exit codes, what is written at the end, and who called it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from curate.cli import script

FULL = Path("/dev/full")


def run(*words: str, **how: object) -> subprocess.CompletedProcess[str]:
    given = {"capture_output": True, **how}
    return subprocess.run([sys.executable, *words], text=True, check=False, **given)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize("words", [["--version"], ["steps"], ["steps", "--json"]])
def test_a_full_disk_is_one_line(words: list[str]) -> None:
    if not FULL.exists():
        pytest.skip("no /dev/full on this system")
    with FULL.open("w") as full:
        done = run("-m", "curate", *words, stdout=full, stderr=subprocess.PIPE, capture_output=False)
    assert done.returncode == 1
    assert done.stderr == "curate: output could not be written: No space left on device. Free some space and run the same command again.\n"


def test_a_reader_that_leaves_is_told_nothing() -> None:
    taken, given = os.pipe()
    os.close(taken)
    done = run("-m", "curate", "schema", stdout=given, stderr=subprocess.PIPE, capture_output=False)
    os.close(given)
    assert (done.returncode, done.stderr) == (1, "")  # as typer ends then


def test_functions_of_atexit_are_called_and_the_code_stays(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import atexit; atexit.register(lambda: print('at the end'))")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    done = run("-m", "curate", "steps", "nothing_like_it", env=environment)
    assert (done.returncode, done.stdout) == (2, "at the end\n")


def test_a_profiler_gets_its_figures() -> None:
    done = run("-m", "cProfile", "-m", "curate", "--version")
    assert done.returncode == 0 and "function calls" in done.stdout


def test_a_program_that_calls_it_goes_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["curate", "--version"])
    with pytest.raises(SystemExit) as ended:
        script()
    assert not ended.value.code and capsys.readouterr().out.startswith("curate ")
