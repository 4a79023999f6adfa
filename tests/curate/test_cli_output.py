"""--json, --quiet and --verbose on every command: JSON and nothing else on stdout, nothing on stderr, the documented keys."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer

import curate as toolkit
from curate.cli import main
from curate.cli.app import build_app
from curate.cli.output import OPTIONS, emit, to_json, uniform
from curate.cli.reference import PRINTS, commands, pages
from tests.curate.report.run_case import run_case

# Commands whose output needs more than the small run here; the test file that reads their JSON.
ELSEWHERE = {
    "eval": "tests/train/evaluation/test_scorer.py",
    "ablate": "tests/train/ablation/test_ablation.py",
    "render": "tests/formats/test_render_command.py",
}
INDEXED = "name: indexed\nread: {jsonl: web.jsonl}\nmax_quarantine: 0.05\nsteps: [{dedup_minhash: {index: near}}]\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from formats.batches import to_batch
    from formats.records import Candidate, Message, Record
    from tests.curate.tokens.test_foreign_files import tiktoken_file

    folder = tmp_path_factory.mktemp("commands")
    run_case(folder)
    (folder / "indexed.yaml").write_text(INDEXED)
    toolkit.run(folder / "indexed.yaml", out=folder / "indexed", workers=1)
    answers = [Candidate([Message("assistant", text)], scores={"right": value}) for text, value in (("yes", 1.0), ("no", 0.0))]
    record = Record([Message("user", "well?")], answers, id="a")
    pq.write_table(pa.Table.from_batches([to_batch([record])]), folder / "pool.parquet")
    chat = [{"prompt": f"What follows {n}?", "completion": f"{n + 1} does."} for n in range(9)]
    (folder / "chat.jsonl").write_text("".join(json.dumps(row) + "\n" for row in chat))
    tiktoken_file(folder / "x.tiktoken", folder)
    for label, text in (("good", "the bridge was repaired"), ("bad", "win cash now")):
        (folder / f"{label}.jsonl").write_text("".join(json.dumps({"text": f"{text} {n}"}) + "\n" for n in range(30)))
    (folder / "base.yaml").write_text("train: pretrain\nmodel: {preset: llama-tiny}\ndata: run/order\n")
    return folder


CASES: dict[str, str] = {
    "init": "new.yaml --data web.jsonl",
    "validate": "case.yaml",
    "plan": "case.yaml --out run",
    "run": "case.yaml --out run --workers 1",
    "status": "run",
    "inspect": "run/web --rows 2",
    "steps": "",
    "schema": "",
    "tune": "case.yaml --sample 40 --workers 1",
    "gc": "run",
    "export": "run/web_tokens --to parquet --out exported",
    "report": "run --plain --out r.html",
    "trace": "run --step 0 --batch 2",
    "verify": "run",
    "why": "run d7",
    "diff": "run run",
    "card": "run",
    "push": "run someone/name --dry-run",
    "tokenizer train": "web.jsonl --vocab-size 300 --out t.json",
    "tokenizer report": "web.jsonl --tokenizer run/tok/tokenizer.json --no-languages",
    "tokenizer convert": "x.tiktoken --split qwen2 --out q.json",
    "audit pii": "run --documents 20 --canaries 2",
    "audit dedup": "run --documents 20",
    "audit contamination": "run",
    "index info": "near",
    "index verify": "near",
    "index merge": "other near",
    "index reset": "near empty",
    "classifier train": "--positive good.jsonl --negative bad.jsonl --dim 4 --buckets 100 --epochs 1 --out c.bin",
    "convert": "chat.jsonl --to messages --out m.jsonl",
    "pool": "pool.parquet",
    "label-studio": "export pool.parquet --out tasks.json",
    "train": "base.yaml --plan",
    "doctor": "chat.jsonl --kind sft",
}


def call(words: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of a command, run in this process."""
    monkeypatch.setattr(sys, "argv", ["curate", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    shown = capfd.readouterr()
    return int(ended.value.code or 0), shown.out, shown.err


def test_every_command_has_a_case_and_the_three_options() -> None:
    assert set(CASES) | set(ELSEWHERE) == set(commands()) == set(PRINTS)
    for path in ELSEWHERE.values():
        assert '"--json"' in (Path(__file__).resolve().parents[2] / path).read_text()
    tree = typer.main.get_command(build_app([]))
    leaves = [leaf for c in tree.commands.values() for leaf in (c.commands.values() if hasattr(c, "commands") else [c])]  # type: ignore[attr-defined]
    assert len(leaves) >= len(CASES)
    for leaf in leaves:
        declared = [option for parameter in leaf.params for option in parameter.opts]
        assert all(declared.count(option) == 1 for option in OPTIONS), leaf.name


@pytest.mark.parametrize("name", CASES)
def test_json_is_all_that_is_printed(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    if name == "train":
        pytest.importorskip("torch")
    monkeypatch.chdir(folder)
    code, out, err = call([*name.split(), *CASES[name].split(), "--json", "--quiet"], monkeypatch, capfd)
    assert (code, err) == (0, "")
    values = [json.loads(line, parse_constant=lambda text: pytest.fail(f"{text} is no JSON")) for line in out.splitlines()]
    assert len(values) == (2 if name == "inspect" else 1)
    keys = ["model", "plan"] if name == "train" else PRINTS[name].split(";")[0].split(", ")  # what --plan prints
    if isinstance(values[0], dict) and all(re.fullmatch(r"\w+", key) for key in keys):
        assert set(values[0]) == set(keys)


@pytest.mark.parametrize(
    "words", ["validate case.yaml", "steps", "status run", "report run --plain -o q.html", "why run d7", "index info near"]
)
def test_quiet_prints_nothing(words: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(folder)
    assert call([*words.split(), "--quiet"], monkeypatch, capfd) == (0, "", "")


@pytest.mark.parametrize(
    ("words", "code", "kind"),
    [
        ("why run nobody", 2, "RecipeError"),
        ("validate bad.yaml", 2, "RecipeError"),
        ("why run", 2, "MissingParameter"),
        ("validate case.yaml --no-such", 2, "NoSuchOption"),
        ("no-such", 2, "UsageError"),
    ],
)
def test_errors_are_json_on_stderr_with_the_same_exit_code(
    words: str, code: int, kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    Path("bad.yaml").write_text("read: {jsonl: web.jsonl}\nsteps: [nope]\n")
    plain = call(words.split(), monkeypatch, capfd)
    assert (plain[0], plain[1]) == (code, "") and not plain[2].startswith("{")
    found, out, err = call([*words.split(), "--json"], monkeypatch, capfd)
    error = json.loads(err.splitlines()[-1])["error"]
    assert (found, out, error["exit_code"], error["kind"]) == (code, "", code, kind)
    if "bad.yaml" in words:
        assert error["problems"] == [{"message": error["problems"][0]["message"], "file": "bad.yaml", "line": 2}]
    _, _, told = call([*words.split(), "--verbose"], monkeypatch, capfd)
    assert ("Traceback" in told) == (kind == "RecipeError")


@pytest.mark.parametrize(
    ("typed", "offered"), [("curate wh", "why"), ("curate steps gopher_q", "gopher_quality"), ("curate why --no-w", "--no-windows")]
)
def test_the_shell_completes(typed: str, offered: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("_CURATE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split()) - 1))
    assert call([], monkeypatch, capfd) == (0, offered + "\n", "")


def test_what_json_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    emit({"a": float("nan"), "b": [float("inf"), 1.5], "c": Path("x")})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1.5], "c": "x"}
    assert to_json("\ud800").isascii()


def test_options_are_added_to_what_a_command_lacks() -> None:
    seen: dict[str, Any] = {}

    def command(name: str, machine: bool = typer.Option(False, "--json")) -> None:
        seen.update(name=name, machine=machine)

    made = uniform(command)
    made(name="x", machine=True, quiet=False, verbose=True)
    assert seen == {"name": "x", "machine": True} and uniform(made) is made


def test_the_reference_is_what_the_code_says() -> None:
    """Mend it with: python -m curate.cli.reference docs/reference"""
    folder = Path(__file__).resolve().parents[2] / "docs" / "reference"
    for name, text in pages().items():
        assert (folder / name).read_text(encoding="utf-8") == text, name
