"""The broken input set, end to end: every readable row comes through, every unreadable one is a quarantine row."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import zstandard

import curate as toolkit
from tests.curate.engine_case import curate


def row(i: object, text: object) -> bytes:
    return json.dumps({"id": i, "text": text}).encode() + b"\n"


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], int]:
    """(folder, ids that must come through in order of files, unreadable rows)."""
    folder = tmp_path_factory.mktemp("broken")
    data = folder / "in"
    data.mkdir()
    good: list[str] = []
    body = b"".join(row(f"a{i}", f"document number {i}") for i in range(2000))
    (data / "a.jsonl.gz").write_bytes(gzip.compress(body)[:-3000])  # truncated: some rows readable, the rest is one
    (data / "b.jsonl.zst").write_bytes(zstandard.ZstdCompressor().compress(body.replace(b'"a', b'"b'))[:-500])
    (data / "c.jsonl").write_bytes(row("c0", "whole") + b'{"id": "c1", "text": "ha')  # half a line
    (data / "d.jsonl").write_bytes(row("d0", "fine") + b'{"id": "d1", "text": "caf\xe9"}\n' + row("d2", "fine again"))
    (data / "e.jsonl").write_bytes(row("e0", "with \x00 inside") + b'{"id": "e1", "text": "raw \x00 nul"}\n')
    (data / "f.jsonl").write_bytes(row("f0", "before") + row("f1", "x" * 100_000_000) + row("f2", "after"))
    (data / "g.jsonl").write_bytes(b"")
    (data / "h.jsonl").write_bytes(b'{"id": "h0", "content": "wrong column"}\n' + row("h1", 42) + row("h2", ["list"]) + row("h3", "ok"))
    (data / "i.jsonl").write_bytes(row("same", "one") + row("same", "two") + row("same", "two"))
    good += ["c0", "d0", "d2", "e0", "f0", "f2", "h3", "same", "same", "same"]
    (folder / "r.yaml").write_text('name: r\nmax_quarantine: 0.5\nread: {jsonl: "in/*"}\nsteps: []\n')
    return folder, good, 1 + 1 + 1 + 1 + 1 + 1 + 3


def test_every_row_is_accounted_for(broken: tuple[Path, list[str], int]) -> None:
    folder, good, unreadable = broken
    done = curate("run", folder / "r.yaml", "--out", folder / "out", "--json", "--workers", "2")
    assert "Traceback" not in done.stderr
    entry = json.loads(done.stdout.splitlines()[-1])["datasets"]["r"]
    ids = toolkit.read_dataset(folder / "out" / "r").column("id").to_pylist()
    assert [i for i in ids if i[0] not in "ab"] == good
    for letter in "ab":
        found = [i for i in ids if i[0] == letter]
        assert found == [f"{letter}{i}" for i in range(len(found))]
    assert sum(i[0] == "a" for i in ids) > 100
    assert entry["quarantined"] == unreadable
    assert entry["rows_in"] == entry["rows_out"] + unreadable == len(ids) + unreadable
    rows = quarantine(folder / "out" / "r")
    assert {Path(r["file"]).name[0] for r in rows} == set("abcdefh")
    offsets = {r["file"]: r["offset"] for r in rows if Path(r["file"]).name[0] in "cdef"}
    assert offsets == {"c.jsonl": len(row("c0", "whole")), "d.jsonl": len(row("d0", "fine")), "e.jsonl": len(row("e0", "with \x00 inside")),
                       "f.jsonl": len(row("f0", "before"))}  # fmt: skip
    assert all(len(r["bytes"]) < 50_000 and r["error"] for r in rows)


def quarantine(dataset: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in sorted((dataset / "quarantine").iterdir()) for line in file.read_text().splitlines()]


def test_bound_decides_the_exit_code(broken: tuple[Path, list[str], int]) -> None:
    folder, _, _ = broken
    done = curate("run", folder / "r.yaml", "--out", folder / "strict", "--set", "max_quarantine=0.001", check=False)
    assert done.returncode == 1
    assert "could not be read; max_quarantine allows 0.10%" in done.stderr and "Traceback" not in done.stderr
    assert not (folder / "strict" / "r").exists()


def test_missing_input_is_a_wrong_recipe(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text('name: r\nread: {jsonl: "nothing/*.jsonl"}\nsteps: []\n')
    done = curate("run", tmp_path / "r.yaml", "--out", tmp_path / "out", check=False)
    assert done.returncode == 2 and "r.yaml:2:" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_file_that_vanishes_is_named(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in "abc":
        (tmp_path / "in" / f"{name}.jsonl").write_bytes(row(name, "text"))
    plugin = tmp_path / "vanish.py"
    plugin.write_text(
        "import shutil\nfrom typing import ClassVar\nfrom curate.step import Outcome, Step\n"
        "class Vanish(Step):\n    'Remove the input.'\n    name: ClassVar[str] = 'vanish'\n    folder: str\n"
        "    def bind(self, ctx):\n        shutil.rmtree(self.folder, ignore_errors=True)\n        return lambda batch: Outcome(batch)\n"
    )
    recipe = tmp_path / "r.yaml"
    recipe.write_text(f'name: r\nread: {{jsonl: "in/*.jsonl"}}\nsteps:\n  - vanish: {{folder: "{tmp_path / "in"}"}}\n')
    done = curate("run", recipe, "--out", tmp_path / "out", "--plugin", plugin, check=False)
    assert done.returncode == 1 and "a.jsonl" in done.stderr and "Traceback" not in done.stderr


def test_full_disk_stops_with_a_clear_error_and_resumes(tmp_path: Path) -> None:
    """On a file system of 2 MB: exit 1, no half output; with room again, the same command finishes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = (
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(disk)], capture_output=True, check=False)
        if shutil.which("mount")
        else None
    )
    if mounted is None or mounted.returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        (tmp_path / "in.jsonl").write_bytes(b"".join(row(str(i), os.urandom(500).hex()) for i in range(5000)))
        recipe = tmp_path / "r.yaml"
        recipe.write_text("name: r\nread: {jsonl: in.jsonl}\nsteps: []\n")
        done = curate("run", recipe, "--out", disk / "out", check=False)
        assert done.returncode == 1 and "No space left on device" in done.stderr and "Traceback" not in done.stderr
        assert not (disk / "out" / "r").exists()
        subprocess.run(["mount", "-o", "remount,size=50m", str(disk)], check=True)
        curate("run", recipe, "--out", disk / "out")
        assert toolkit.read_dataset(disk / "out" / "r").num_rows == 5000
    finally:
        subprocess.run(["umount", str(disk)], check=False)


def test_ctrl_c_is_130_and_resumable(tmp_path: Path) -> None:
    import signal
    import time

    from tests.curate.engine_case import PLUGIN, run_json, write_inputs, write_recipe

    write_inputs(tmp_path, files=2, rows=2000)
    recipe = write_recipe(tmp_path)
    command = [
        sys.executable,
        "-m",
        "curate",
        "run",
        str(recipe),
        "--out",
        str(tmp_path / "out"),
        "--plugin",
        PLUGIN,
        "--set",
        "steps.slow.seconds=5",
    ]
    run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "out").glob(".stages/case.out-*")) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(run.pid, signal.SIGINT)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 130 and "run the same command to go on" in errors and "Traceback" not in errors
    assert run_json(recipe, tmp_path / "out")["tasks"]["reused"] > 0
