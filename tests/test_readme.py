"""What the README shows works: its recipe, its commands, its Python."""

from __future__ import annotations

import json
import random
import re
import shlex
from pathlib import Path

import pytest

from tests.curate.engine_case import WORDS, curate

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def crawl(tmp_path: Path) -> Path:
    import zstandard

    make = random.Random(2)
    (tmp_path / "crawl").mkdir()
    (tmp_path / "benchmarks").mkdir()
    rows = [
        {"doc_id": str(i), "text": " ".join(make.choices(WORDS, k=80)), "content": " ".join(make.choices(WORDS, k=80))} for i in range(200)
    ]
    body = "".join(json.dumps(r) + "\n" for r in rows).encode()
    (tmp_path / "crawl" / "a.jsonl.zst").write_bytes(zstandard.ZstdCompressor().compress(body))
    (tmp_path / "benchmarks" / "b.jsonl").write_text(
        '{"question": "one two three four five six seven eight nine ten eleven twelve thirteen"}\n'
    )
    return tmp_path


def test_own_text_commands(crawl: Path) -> None:
    (commands,) = (b for b in blocks("sh") if "curate init" in b)
    for line in commands.splitlines():
        arguments = shlex.split(line, comments=True)
        assert arguments[0] == "curate"
        done = curate(*arguments[1:], cwd=crawl)
        assert "Traceback" not in done.stderr


TINY = """
name: quickstart
datasets:
  docs: {read: {jsonl: crawl/a.jsonl.zst}, steps: [dedup_exact]}
  docs_tokens: {from: docs, steps: [{tokenize: {tokenizer: tok}}]}
  pretrain_mix: {mix: {seq_len: 64, stages: [{tokens: 8k, weights: {docs_tokens: 1}}]}}
models:
  tok: {train: tokenizer, data: docs, vocab_size: 400, special_tokens: ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]}
"""


def test_python_and_conversation_commands(crawl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python blocks and the commands on conversations, with a small recipe in the quickstart's place."""
    monkeypatch.chdir(crawl)
    (crawl / "pipelines").mkdir()
    (crawl / "pipelines" / "quickstart.yaml").write_text(TINY.replace("crawl/", "../crawl/"))
    known: dict[str, object] = {}
    for block in blocks("python"):
        exec(compile(block.replace("start=32", "start=0"), "README.md", "exec"), known)
    assert known["table"].num_rows == 200 and known["kept"].num_rows == 0  # type: ignore[attr-defined]  # all have 80 words
    assert known["batch"].tokens.shape == (8, 64)  # type: ignore[attr-defined]  # one rank of two
    rows = [{"conversations": [{"from": "human", "value": "Well?"}, {"from": "gpt", "value": f"Yes {n}."}]} for n in range(9)]
    (crawl / "chat.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (crawl / "tok.json").write_bytes((crawl / "runs" / "quickstart" / "tok" / "tokenizer.json").read_bytes())
    (commands,) = (b for b in blocks("sh") if "curate convert" in b)
    for line in commands.splitlines():
        assert "Traceback" not in curate(*shlex.split(line, comments=True)[1:], cwd=crawl).stderr


def test_recipe_is_valid(crawl: Path) -> None:
    (recipe,) = blocks("yaml")
    (crawl / "r.yaml").write_text(recipe)
    assert "no mistakes" in curate("validate", "r.yaml", cwd=crawl).stdout


def test_commands_of_the_table_exist() -> None:
    shown = curate("--help").stdout
    for name in ("init", "validate", "plan", "run", "status", "inspect", "steps", "schema", "gc", "tokenizer"):
        assert name in shown and f"`{name}" in README.replace("` `", "`, `").replace(" [NAME]", "")


def test_install_commands_are_those_of_ci() -> None:
    ci = (ROOT / ".ci" / "run").read_text()
    assert "pip install . && curate run pipelines/quickstart.yaml" in README
    assert "pip install -c constraints.txt -e '.[dev]' && pytest" in README
    assert "-c constraints.txt -e '.[dev]'" in ci and 'install -q "$scratch/source"' in ci
