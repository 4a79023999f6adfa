"""Sizes for `curate plan`: from a sample's figures where there are some, else from bytes."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from curate.cli.estimates import GUESSED, estimates, text_share
from curate.cli.planning import plan_record
from curate.io.jsonl import JsonlReader
from curate.recipe import load_recipe

RECIPE = """
name: r
datasets:
  web: {read: {jsonl: "in.jsonl"}, steps: [dedup_exact]}
  t: {from: web, steps: [{tokenize: tok}]}
  m: {mix: {seq_len: 8, stages: [{tokens: 1k, weights: [t]}]}}
models:
  tok: {train: tokenizer, data: web, vocab_size: 300}
"""


def test_from_a_sample(tmp_path: Path) -> None:
    lines = "".join(json.dumps({"text": "x" * 80, "id": str(i)}) + "\n" for i in range(1000))
    (tmp_path / "in.jsonl").write_text(lines)
    (tmp_path / "r.yaml").write_text(RECIPE)
    recipe = load_recipe(str(tmp_path / "r.yaml"), (), ())
    stages = [{"node": "web", "bytes": len(lines)}]
    guessed, basis = estimates(recipe, stages, tmp_path / "out")
    assert basis == GUESSED and guessed["t"].tokens == guessed["web"].tokens == int(len(lines) / 4.3)
    figures = {
        "web": {"bytes_in": 800, "rows_out": 5, "tokens": 0, "bytes": 400},
        "t": {"bytes_in": 400, "rows_out": 5, "tokens": 100, "bytes": 0},
    }
    (tmp_path / "out@sample").mkdir()
    (tmp_path / "out@sample" / "manifest.json").write_text(json.dumps({"datasets": figures}))
    found, basis = estimates(recipe, stages, tmp_path / "out")
    assert basis == "a run over a sample, out@sample"
    assert [(found[n].rows, found[n].tokens, found[n].bytes) for n in ("web", "t")] == [(500, 0, 40_000), (500, 10_000, 0)]
    record = plan_record(recipe, tmp_path / "out", ())
    assert record["basis"] == basis and record["nodes"]["m"][1].split()[:2] == ["t", "~10,000"]


def test_text_in_files(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "é" * 100}) + "\n")
    with gzip.open(tmp_path / "b.jsonl.gz", "wt") as file:
        file.write(json.dumps({"text": "y" * 50_000}) + "\n")
    assert 0.1 < text_share(JsonlReader(paths=(str(tmp_path / "a.jsonl"),)), str(tmp_path)) < 1
    assert text_share(JsonlReader(paths=(str(tmp_path / "b.jsonl.gz"),)), str(tmp_path)) > 100
    assert text_share(JsonlReader(paths=(str(tmp_path / "none.jsonl"),)), str(tmp_path)) == 1.0
