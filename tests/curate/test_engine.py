"""The engine on a small corpus: same bytes for any number of workers, reuse, edits, publication, errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import curate as toolkit
from curate.errors import DataError, RecipeError, StepError, StoreError
from curate.store import Store
from tests.curate.engine_case import PLUGIN, RECIPE, curate, figures, run_json, tree_digest, write_inputs, write_recipe


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path, dict[str, object]]]:
    """(folder, recipe, summary of an uninterrupted run with one worker in <folder>/one)."""
    folder = tmp_path_factory.mktemp("case")
    write_inputs(folder)
    recipe = write_recipe(folder)
    yield folder, recipe, run_json(recipe, folder / "one", "--workers", "1")


def expected_rows(folder: Path) -> list[tuple[str, str]]:
    """What the recipe must keep, computed the slow way."""
    seen: set[str] = set()
    kept = []
    for path in sorted(folder.glob("in*.jsonl")):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            text = row["text"].upper()
            if len(text) >= 20 and text not in seen:
                kept.append((row["id"], text))
            if len(text) >= 20:
                seen.add(text)
    return kept


def test_result_is_what_the_steps_say(case: tuple[Path, Path, dict[str, object]]) -> None:
    folder, _, summary = case
    table = toolkit.read_dataset(folder / "one" / "case")
    assert list(zip(table.column("id").to_pylist(), table.column("text").to_pylist(), strict=True)) == expected_rows(folder)
    assert table.column_names == ["id", "text", "source", "meta"]
    assert json.loads(table.column("meta")[0].as_py()).keys() == {"rank"}
    entry = summary["datasets"]["case"]  # type: ignore[index]
    assert entry["rows_in"] == 18_000
    assert entry["rows_in"] == entry["rows_out"] + sum(entry["dropped"].values()) + entry["quarantined"]
    assert set(entry["dropped"]) == {"long_enough.short", "dedup_exact.duplicate"}


def test_ledger_names_every_dropped_row(case: tuple[Path, Path, dict[str, object]]) -> None:
    folder, _, summary = case
    ledger = pq.read_table(folder / "one" / "case" / "ledger")
    entry = summary["datasets"]["case"]  # type: ignore[index]
    assert ledger.num_rows == sum(entry["dropped"].values())
    duplicates = [row for row in ledger.to_pylist() if row["reason"] == "dedup_exact.duplicate"]
    kept = {i for i, _ in expected_rows(folder)}
    assert duplicates and all(row["partner"] in kept for row in duplicates)


@pytest.mark.parametrize("workers", ["2", "4"])
def test_same_bytes_for_any_number_of_workers(case: tuple[Path, Path, dict[str, object]], workers: str) -> None:
    folder, recipe, _ = case
    out = folder / f"workers{workers}"
    run_json(recipe, out, "--workers", workers)
    assert tree_digest(out / "case") == tree_digest(folder / "one" / "case")
    assert figures(out) == figures(folder / "one")


def test_second_run_reuses_every_task(case: tuple[Path, Path, dict[str, object]]) -> None:
    folder, recipe, first = case
    before = tree_digest(folder / "one" / "case")
    again = run_json(recipe, folder / "one")
    total = first["tasks"]["run"] + first["tasks"]["reused"]  # type: ignore[index]
    assert again["tasks"] == {"run": 0, "reused": total, "failed": 0}
    assert again["datasets"] == first["datasets"]
    assert tree_digest(folder / "one" / "case") == before


def test_edit_reruns_the_stage_that_holds_it_and_what_follows(case: tuple[Path, Path, dict[str, object]], tmp_path: Path) -> None:
    folder, _, _ = case
    with_checkpoint = RECIPE.replace("  - shout\n", "  - shout: {checkpoint: true}\n").replace("    - killer\n", "")
    for link in folder.glob("in*.jsonl"):
        (tmp_path / link.name).symlink_to(link)
    recipe = write_recipe(tmp_path, with_checkpoint)
    first = run_json(recipe, tmp_path / "out")
    stages = json.loads((tmp_path / "out" / "manifest.json").read_text())["stages"]
    edited = run_json(recipe, tmp_path / "out", "--set", "steps.long_enough.min_chars=40")
    assert edited["tasks"]["reused"] == stages["case.1"]["tasks"]
    assert edited["datasets"]["case"]["rows_out"] < first["datasets"]["case"]["rows_out"]
    last = run_json(recipe, tmp_path / "out", "--set", "steps.long_enough.min_chars=40", "--set", "steps.slow.seconds=0.01")
    after = json.loads((tmp_path / "out" / "manifest.json").read_text())["stages"]
    assert last["tasks"]["run"] == after["case.out"]["tasks"]
    removed = curate("gc", tmp_path / "out").stdout
    assert "removed 0" not in removed
    assert (
        run_json(recipe, tmp_path / "out", "--set", "steps.long_enough.min_chars=40", "--set", "steps.slow.seconds=0.01")["tasks"]["run"]
        == 0
    )


def test_fewer_parts_leave_no_stale_part(tmp_path: Path) -> None:
    write_inputs(tmp_path, files=4, rows=12_000)
    recipe = write_recipe(tmp_path)
    run_json(recipe, tmp_path / "out")
    many = sorted(p.name for p in (tmp_path / "out" / "case").glob("part-*"))
    assert len(many) > 1
    for path in list(tmp_path.glob("in*.jsonl"))[1:]:
        path.unlink()
    run_json(recipe, tmp_path / "out")
    assert [p.name for p in (tmp_path / "out" / "case").glob("part-*")] == ["part-00000.parquet"]


def test_poison_document_is_found_and_quarantined(tmp_path: Path) -> None:
    write_inputs(tmp_path, files=2, rows=400)
    rows = (tmp_path / "in1.jsonl").read_text().splitlines()
    rows[123] = json.dumps({"id": "bad", "text": "this one holds poison and is long enough"})
    (tmp_path / "in1.jsonl").write_text("\n".join(rows) + "\n")
    summary = run_json(write_recipe(tmp_path), tmp_path / "out", "--workers", "2")
    assert summary["datasets"]["case"]["quarantined"] == 1
    (file,) = (tmp_path / "out" / "case" / "quarantine").iterdir()
    entry = json.loads(file.read_text())
    assert "killed its worker process" in entry["error"] and "'bad'" in entry["error"]
    expected = [row for row in expected_rows(tmp_path) if row[0] != "bad"]
    assert toolkit.read_dataset(tmp_path / "out" / "case").column("id").to_pylist() == [i for i, _ in expected]


def test_two_runs_in_one_folder(case: tuple[Path, Path, dict[str, object]], tmp_path: Path) -> None:
    _, recipe, _ = case
    with Store(tmp_path / "held").lock():
        done = curate("run", recipe, "--out", tmp_path / "held", "--plugin", PLUGIN, check=False)
    assert done.returncode == 1
    assert "is in use by process" in done.stderr and "Traceback" not in done.stderr
    with Store(tmp_path / "held").lock(), pytest.raises(StoreError, match="is in use by process"), Store(tmp_path / "held").lock():
        pass


def test_failing_step_names_itself(case: tuple[Path, Path, dict[str, object]], tmp_path: Path) -> None:
    folder, _, _ = case
    recipe = folder / "broken.yaml"
    recipe.write_text(RECIPE.replace("  - killer\n", "  - broken\n").replace("name: case", "name: broken"))
    with pytest.raises(StepError, match=r"Step broken failed: ValueError: the moon is not made of cheese"):
        toolkit.run(recipe, out=tmp_path / "out", plugins=[PLUGIN], workers=1)
    done = curate("run", recipe, "--out", tmp_path / "out", "--plugin", PLUGIN, check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    recipe.write_text(RECIPE.replace("  - killer\n", "  - loses\n").replace("name: case", "name: broken"))
    with pytest.raises(StepError, match=r"Step loses must return an Outcome with \d+ rows, got \d+"):
        toolkit.run(recipe, out=tmp_path / "out", plugins=[PLUGIN], workers=1)


def test_quarantine_beyond_the_bound_stops_the_run(tmp_path: Path) -> None:
    write_inputs(tmp_path, files=1, rows=100)
    with open(tmp_path / "in0.jsonl", "a") as file:
        file.write('{"id": "half", "text": "never en\n' * 5)
    recipe = write_recipe(tmp_path)
    with pytest.raises(DataError, match=r"5 of 105 rows \(4\.76%\) could not be read"):
        toolkit.run(recipe, out=tmp_path / "out", plugins=[PLUGIN], workers=1)
    result = toolkit.run(recipe, out=tmp_path / "out", plugins=[PLUGIN], workers=1, set=["max_quarantine=0.1"])
    assert result["case"].figures["quarantined"] == 5


def test_sample_keeps_away_from_real_results(case: tuple[Path, Path, dict[str, object]]) -> None:
    folder, recipe, _ = case
    before = tree_digest(folder / "one" / "case")
    summary = run_json(recipe, folder / "one", "--sample", "100")
    assert summary["out"].endswith("one@sample")
    assert 0 < summary["datasets"]["case"]["rows_in"] <= 104
    assert tree_digest(folder / "one" / "case") == before


def test_wrong_only_and_executor_are_recipe_errors(case: tuple[Path, Path, dict[str, object]], tmp_path: Path) -> None:
    _, recipe, _ = case
    with pytest.raises(RecipeError, match="--only names 'nothing'"):
        toolkit.run(recipe, out=tmp_path / "x", plugins=[PLUGIN], only=["nothing"])
    with pytest.raises(RecipeError, match=r"--executor 'rai' is unknown\. Did you mean 'ray'"):
        toolkit.run(recipe, out=tmp_path / "x", plugins=[PLUGIN], executor="rai")
    assert not (tmp_path / "x").exists()


def test_datasets_feed_each_other_in_every_form(tmp_path: Path) -> None:
    """jsonl-written and token datasets can be read by `from`, and a mix reads what comes of them."""
    from curate.loader import open_mix

    write_inputs(tmp_path, files=1, rows=2000)
    (tmp_path / "chain.yaml").write_text(
        "name: chain\n"
        "datasets:\n"
        '  a: {read: {jsonl: "in0.jsonl"}, steps: [dedup_exact], write: {format: jsonl}}\n'
        "  b: {from: a, steps: [dedup_minhash]}\n"
        "  t: {from: b, steps: [{tokenize: {tokenizer: tok}}]}\n"
        "  half: {from: t, steps: [{sample: {fraction: 0.5}}]}\n"
        "  m: {mix: {seq_len: 16, stages: [{tokens: 1k, weights: {t: 0.5, half: 0.5}}]}}\n"
        "models:\n"
        "  tok: {train: tokenizer, data: b, vocab_size: 300}\n"
    )
    result = toolkit.run(tmp_path / "chain.yaml", out=tmp_path / "out", workers=2)
    figures_of = {name: dataset.figures for name, dataset in result.datasets.items()}
    assert figures_of["b"]["rows_in"] == figures_of["a"]["rows_out"] < 2000
    assert figures_of["t"]["rows_out"] == figures_of["b"]["rows_out"] > figures_of["half"]["rows_out"] > 0
    assert sorted(p.name for p in (tmp_path / "out" / "a").glob("part-*")) == ["part-00000.jsonl.zst"]
    again = tmp_path / "again.yaml"
    again.write_text('name: again\nread: {jsonl: "out/a/part-*.jsonl.zst", source: source}\nsteps: []\n')
    reread = toolkit.run(again, out=tmp_path / "reread", workers=1)["again"].table()
    assert reread.num_rows == figures_of["a"]["rows_out"]
    mix = open_mix(tmp_path / "out" / "m")
    assert len(mix.window(0)) == 16
    assert {span.source for k in range(4) for span in mix.trace(k)}
    assert result["a"].table().num_rows == figures_of["a"]["rows_out"]
    whole = figures(tmp_path / "out")
    toolkit.run(tmp_path / "chain.yaml", out=tmp_path / "out", workers=2, only=["b"])
    assert figures(tmp_path / "out") == whole, "a run of one node keeps what is known of the others"
    assert "removed 0 folders" in curate("gc", tmp_path / "out").stdout
