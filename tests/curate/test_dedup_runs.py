"""Deduplication through the engine: the same documents stay for any workers, layout and order of files; what was found is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import curate as toolkit
from tests.curate.engine_case import tree_digest

KEEPS = {"longest": "longest", "highest": "{highest: rating}", "newest": "newest", "priority": "{source_priority: [b, a]}"}


def corpus() -> list[dict[str, Any]]:
    """Families of edited copies, exact copies and ties, every id once."""
    rng = np.random.default_rng(3)
    rows: list[dict[str, Any]] = []
    for family in range(120):
        base = [f"w{i}" for i in rng.integers(0, 4000, int(rng.integers(20, 120)))]
        for copy in range(4):
            words = [w if rng.random() > 0.01 * (copy % 3) else "edited" for w in base]
            rows.append(
                {"id": f"d{family}.{copy}", "text": " ".join(words), "source": "ab"[copy % 2], "rating": copy % 2, "date": f"202{copy % 3}"}
            )
    rows += [
        {"id": f"e{i}", "text": t, "source": "c", "rating": 0, "date": "2020"} for i, t in enumerate(["", "", "?", "one", "One!", "one"])
    ]
    return [rows[i] for i in rng.permutation(len(rows))]


def write(folder: Path, rows: list[dict[str, Any]], files: int) -> None:
    folder.mkdir()
    for n in range(files):
        text = "".join(json.dumps(r) + "\n" for r in rows[n * len(rows) // files : (n + 1) * len(rows) // files])
        (folder / f"in{n:02}.jsonl").write_text(text)


def run(folder: Path, out: str, step: str, workers: int = 1) -> toolkit.Result:
    recipe = folder / f"{out}.yaml"
    columns = "{rating: int, date: string}"
    recipe.write_text(
        f'name: web\nread: {{jsonl: "in*.jsonl", id: id, source: source, columns: {columns}}}\nsteps:\n  - dedup_minhash: {step}\n'
    )
    return toolkit.run(recipe, out=folder / out, workers=workers)


def kept(result: toolkit.Result) -> list[tuple[str, str]]:
    table = result["web"].table()
    return sorted(zip(table.column("id").to_pylist(), table.column("text").to_pylist(), strict=True))


@pytest.fixture
def small_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many tasks and many partitions for little text."""
    monkeypatch.setattr("curate.jobs.MIN_TASK_BYTES", 20_000)
    monkeypatch.setattr("curate.jobs.PARTITION_BYTES", 20_000)


@pytest.mark.parametrize("keep", sorted(KEEPS))
def test_the_same_documents_stay_whatever_the_order_and_number_of_files(tmp_path: Path, small_tasks: None, keep: str) -> None:
    rows = corpus()
    write(tmp_path / "a", rows, 5)
    write(tmp_path / "b", rows[::-1], 1)
    step = f"{{keep: {KEEPS[keep]}}}"
    a, b = run(tmp_path / "a", "out", step), run(tmp_path / "b", "out", step)
    assert kept(a) == kept(b) and 100 < len(kept(a)) < len(rows) - 100
    ledgers = [pq.read_table(tmp_path / f / "out" / "web" / "ledger").to_pylist() for f in "ab"]
    first, second = (sorted((r["id"], r["value"], r["partner"]) for r in ledger) for ledger in ledgers)
    assert first == second, "the proof of every removal is the same too"
    ids = {i for i, _ in kept(a)}
    assert all(r[2] in ids and r[1] >= 0.8 for r in first)


def test_bytes_do_not_depend_on_workers(tmp_path: Path, small_tasks: None) -> None:
    write(tmp_path / "a", corpus(), 5)
    for keep in ("first", "longest"):
        one, two = (run(tmp_path / "a", f"{keep}{n}", f"{{keep: {keep}, mode: annotate}}", n) for n in (1, 2))
        assert one.tasks["run"] > 20
        assert tree_digest(tmp_path / "a" / f"{keep}1" / "web") == tree_digest(tmp_path / "a" / f"{keep}2" / "web")
        assert one.manifest["datasets"] == two.manifest["datasets"]


def test_layout_does_not_matter_to_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rows in sorted-path order: five files and eight tasks, or one file and one task."""
    rows = corpus()
    write(tmp_path / "a", rows, 5)
    write(tmp_path / "b", rows, 1)
    b = run(tmp_path / "b", "out", "{keep: first}")
    monkeypatch.setattr("curate.jobs.MIN_TASK_BYTES", 20_000)
    monkeypatch.setattr("curate.jobs.PARTITION_BYTES", 20_000)
    assert kept(run(tmp_path / "a", "out", "{keep: first}")) == kept(b)


def test_manifest_and_plan_tell_what_was_promised_and_found(tmp_path: Path, small_tasks: None) -> None:
    write(tmp_path / "a", corpus(), 2)
    result = run(tmp_path / "a", "out", "{recall: 0.9}")
    found = result.manifest["datasets"]["web"]["findings"]["dedup_minhash"]
    assert (found["bands"], found["rows"], found["expected_recall_at_threshold"]) == (13, 8, 0.9081)
    assert found["removed"] == result["web"].figures["dropped"]["dedup_minhash.near_duplicate"]
    assert found["pairs_compared"] - found["pairs_at_threshold"] == found["pairs_rejected"] >= 0
    from curate.recipe import load_recipe
    from curate.runner import forecast

    steps = [name for stage in forecast(load_recipe(tmp_path / "a" / "out.yaml"), tmp_path / "other") for name in stage["steps"]]
    assert "dedup_minhash.bands (13 bands x 8, expected recall 0.908 at 0.8)" in steps
