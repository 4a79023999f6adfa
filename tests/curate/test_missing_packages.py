"""What an extra brings is looked for before the first stage, not when its turn comes."""

from __future__ import annotations

from pathlib import Path

import pytest

import curate
from curate.errors import MissingDependency
from curate.tokens.node import TokenizerNode

WITH_MODEL = """
datasets: {docs: {read: {jsonl: "*.jsonl"}}}
models: {tok: {train: tokenizer, data: docs, vocab_size: 300}}
"""


def test_a_node_without_its_package_stops_the_run_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "some words"}\n', "utf-8")
    (tmp_path / "r.yaml").write_text(WITH_MODEL, "utf-8")
    monkeypatch.setattr(TokenizerNode, "packages", ("json", "no_such_package"))
    monkeypatch.setattr(TokenizerNode, "extra", "train")
    says = r"tok \(train:tokenizer\) needs the package 'no_such_package', which is not installed. Run: pip install 'curate\[train\]'"
    with pytest.raises(MissingDependency, match=says):
        curate.run(tmp_path / "r.yaml", out=tmp_path / "out", workers=1)
    assert not (tmp_path / "out").exists()
    curate.run(tmp_path / "r.yaml", out=tmp_path / "out", workers=1, only=["docs"])  # what needs it not goes on
    assert (tmp_path / "out" / "docs").exists()
