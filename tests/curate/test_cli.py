"""The command line on a small run: what each command prints and how it exits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from curate.registry import STEPS
from tests.curate.engine_case import PLUGIN, curate, run_json, write_inputs, write_recipe


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("cli")
    write_inputs(folder, files=2, rows=500)
    recipe = write_recipe(folder)
    run_json(recipe, folder / "out")
    return folder / "out", recipe


def test_summary_is_a_funnel_and_json_is_the_last_line(run: tuple[Path, Path]) -> None:
    out, recipe = run
    done = curate("run", recipe, "--out", out, "--plugin", PLUGIN)
    assert "1,000 in" in done.stdout and "dedup_exact" in done.stdout and "0 tasks run" in done.stdout
    done = curate("run", recipe, "--out", out, "--plugin", PLUGIN, "--json")
    assert len(done.stdout.splitlines()) == 1
    summary = json.loads(done.stdout)
    assert set(summary) == {"recipe", "out", "seconds", "tasks", "datasets", "models"}
    assert set(summary["tasks"]) == {"run", "reused", "failed"}
    expected = {"path", "rows_in", "created", "rows_out", "dropped", "merged", "quarantined", "bytes", "tokens"}
    assert set(summary["datasets"]["case"]) == expected
    assert Path(summary["datasets"]["case"]["path"]).is_dir()


def test_status(run: tuple[Path, Path]) -> None:
    out, _ = run
    text = curate("status", out).stdout
    assert ": finished" in text and "case.out-" in text
    stages = [line.split() for line in text.splitlines()[1:]]
    assert all(line[1:4:2] == [line[3], line[3]] and line[2::2] == ["of", "tasks"] for line in stages)
    assert [line[0].split("-")[0] for line in stages][:: len(stages) - 1] == ["case.1", "case.out"]  # as they ran
    done = curate("status", out.parent, check=False)
    assert done.returncode == 2 and "is not a run folder" in done.stderr


def test_inspect(run: tuple[Path, Path]) -> None:
    out, _ = run
    rows = [json.loads(line) for line in curate("inspect", out / "case", "-n", "3", "--json").stdout.splitlines()]
    assert len(rows) == 3 and rows[0].keys() == {"id", "text", "source", "meta"}
    where = curate("inspect", out / "case", "--where", "id = '0-7'", "--columns", "id", "--json").stdout
    assert where == "" or json.loads(where) == {"id": "0-7"}
    dropped = [json.loads(line) for line in curate("inspect", out / "case", "--dropped", "-n", "2", "--json").stdout.splitlines()]
    assert {"drop_step", "drop_reason", "drop_value", "drop_partner"} <= dropped[0].keys()
    stage = next((out / ".stages").glob("case.1-*"))
    assert "SHOUT" not in curate("inspect", stage, "-n", "1").stdout
    for wrong in (
        ["inspect", out / "nothing"],
        ["inspect", out / "case", "--where", "no_such > 1"],
        ["inspect", out / "case", "--quarantine"],
    ):
        done = curate(*wrong, check=False)
        assert done.returncode == 2 and "Traceback" not in done.stderr and done.stderr.startswith("curate: ")


def test_control_characters_of_data_stay_out_of_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(json.dumps({"text": "\x1b[31mred\x07 [bold]markup[/bold]"}) + "\n")
    shown = curate("inspect", tmp_path / "x.jsonl").stdout
    assert "\x1b[31m" not in shown and "\\x1b[31mred\\x07 [bold]markup[/bold]" in shown


def test_plan_and_validate(run: tuple[Path, Path]) -> None:
    out, recipe = run
    plan = json.loads(curate("plan", recipe, "--out", out, "--plugin", PLUGIN, "--json").stdout)
    assert [s["label"] for s in plan["stages"]] == ["case.1", "case.dedup_exact.groups", "case.out"]
    assert {s["state"] for s in plan["stages"]} == {"done"}
    assert plan["without"] == {"case": ["decontamination", "removal of personal data"]}
    text = curate("plan", recipe, "--out", out.parent / "new", "--plugin", PLUGIN).stdout
    assert "later" in text and not (out.parent / "new").exists()
    assert "no mistakes: case" in curate("validate", recipe, "--plugin", PLUGIN).stdout


def test_wrong_recipe_is_one_screen_with_every_mistake(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(
        "datasets:\n  a:\n    from: b\n    steps: [gopher_qualty]\n  b:\n    from: a\n    steps:\n"
        "      - dedup_minhash: {bands: 20x}\n      - filter: \"no_such_column > 1\"\n"
        "  c:\n    read: {jsonl: \"missing/*.jsonl\"}\n    stepz: []\n"
    )  # fmt: skip
    before = sorted(tmp_path.iterdir())
    for command in ("validate", "run", "plan"):
        done = curate(command, tmp_path / "bad.yaml", check=False, cwd=tmp_path)
        assert done.returncode == 2 and "Traceback" not in done.stderr
        lines = done.stderr.strip().splitlines()
        assert len(lines) >= 5 and all("bad.yaml:" in line for line in lines)
        for part in ("gopher_quality", "bands", "stepz", "missing/*.jsonl"):
            assert part in done.stderr, part
    assert sorted(tmp_path.iterdir()) == before


def test_init_steps_schema(tmp_path: Path) -> None:
    curate("init", "mine.yaml", "--data", "d/*.jsonl", cwd=tmp_path)
    assert "d/*.jsonl" in (tmp_path / "mine.yaml").read_text()
    (tmp_path / "d").mkdir()
    data = curate("init", "d", cwd=tmp_path, check=False)
    assert data.returncode == 2 and "curate init recipe.yaml --data d" in data.stderr
    pattern = curate("init", "d/*.jsonl", cwd=tmp_path, check=False)
    assert pattern.returncode == 2 and "curate init recipe.yaml --data 'd/*.jsonl'" in pattern.stderr
    assert not list((tmp_path / "d").iterdir())
    done = curate("init", "mine.yaml", cwd=tmp_path, check=False)
    assert done.returncode == 2 and "exists" in done.stderr
    listing = curate("steps").stdout
    assert all(name in listing for name in STEPS)
    card = json.loads(curate("steps", "dedup_minhash", "--json").stdout)
    assert card["kind"] == "corpus" and {p["name"] for p in card["parameters"]} >= {"bands", "rows", "threshold", "keep"}
    done = curate("steps", "dedup_minhas", check=False)
    assert done.returncode == 2 and "Did you mean 'dedup_minhash'" in done.stderr
    assert json.loads(curate("schema").stdout)["type"] == "object"


def test_tokenizer_train(run: tuple[Path, Path], tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    out, _ = run
    for number, source in enumerate((out / "case", out.parent / "in*.jsonl")):
        curate("tokenizer", "train", source, "--vocab-size", "300", "-o", tmp_path / f"{number}.json")
        assert Tokenizer.from_file(str(tmp_path / f"{number}.json")).get_vocab_size() <= 300
    done = curate("tokenizer", "train", "x.docx", "--vocab-size", "300", "-o", tmp_path / "x.json", check=False)
    assert done.returncode == 2 and "can't be told from its name" in done.stderr
