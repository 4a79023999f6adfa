"""`curate ablate` from files to a verdict, with models of a few seconds; and what it refuses."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="train needs torch")

from typer.testing import CliRunner

from curate.cli.app import build_app
from curate.errors import RecipeError
from train.ablation import apart
from train.ablation.apart import how_many
from train.ablation.arms import Study, epochs, equal_shares, unique_windows, variant_data
from train.ablation.settings import load

RECIPE = """
name: corpus
datasets:
  base: {read: {jsonl: real.jsonl}}
  docs: {read: {jsonl: real.jsonl}}
  docs_tokens: {from: docs, steps: [{tokenize: {tokenizer: tok}}]}
  order: {mix: {seq_len: 32, stages: [{tokens: 8k, weights: {docs_tokens: 1}}], max_epochs: {docs_tokens: 8}}}
models:
  tok: {train: tokenizer, data: base, vocab_size: 300}
"""
FILE = """
recipe: corpus.yaml
mix: order
variants:
  noise: {set: ["datasets.docs.read.jsonl=noise.jsonl"]}
  real: {}
model: {preset: llama-tiny, layers: 1, width: 32, ffn: 64}
tokens: 8k
seeds: 3
train: {batch_tokens: 512, optimizer: {lr: 0.01}, prove_isolation: false}
evaluate: [held_out.jsonl]
"""


def write(folder: Path) -> Path:
    """Sentences with an order that can be learnt, noise of the same letters, and held-out sentences of two domains."""
    chance = random.Random(0)
    words = ["the cat", "sat on", "a mat", "and saw", "the dog"]
    real = [" ".join(words[(i + start) % 5] for i in range(30)) for start in range(5) for _ in range(12)]
    noise = ["".join(chance.sample(text, len(text))) for text in real]
    for name, texts in (("real", real), ("noise", noise)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps({"id": f"{i}", "text": t}) + "\n" for i, t in enumerate(texts)), "utf-8")
    held = [{"text": " ".join(words[(i * 1 + s) % 5] for i in range(20)), "source": "ab"[s % 2]} for s in range(5)]
    (folder / "held_out.jsonl").write_text("".join(json.dumps(r) + "\n" for r in held), "utf-8")
    (folder / "corpus.yaml").write_text(RECIPE, "utf-8")
    (folder / "pays.yaml").write_text(FILE, "utf-8")
    return folder / "pays.yaml"


def test_order_is_better_than_noise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = write(tmp_path)
    command = ["ablate", str(file), "--out", str(tmp_path / "out"), "--workers", "1", "--at-once", "1", "--json"]
    result = CliRunner().invoke(build_app(command), command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["documents"] == {"a": 3, "b": 2}
    for d in found["differences"]:
        assert (d["better"], d["than"], d["verdict"]) == ("real", "noise", "better") and min(d["by_seed"]) > 0.3
    for domains in found["bits_per_byte"].values():
        assert all(len(values) == 3 and len(set(values)) == 3 for values in domains.values())  # seeds differ
    page = (tmp_path / "out" / "ablation.md").read_text("utf-8")
    assert "real is better than noise on every domain (a, b)." in page
    models = {m["folder"] for m in found["models"]}
    assert len(models) == 6 and not list((tmp_path / "out").glob("models/*/checkpoints"))
    stamps = {m: (tmp_path / "out" / m / "arm.json").stat().st_mtime_ns for m in models}
    again = CliRunner().invoke(build_app(command), [*command, "--at-once", "2"], catch_exceptions=False)
    assert json.loads(again.stdout.splitlines()[-1]) == found and not (tmp_path / "out" / ".apart").exists()
    assert stamps == {m: (tmp_path / "out" / m / "arm.json").stat().st_mtime_ns for m in models}  # nothing is trained twice


def test_variants_cut_down_to_the_same_tokens(tmp_path: Path) -> None:
    """`noise` twice as large as `real`: without windows left out it is read half as often."""
    file = write(tmp_path)
    noise = (tmp_path / "noise.jsonl").read_text("utf-8").splitlines(keepends=True)
    (tmp_path / "noise.jsonl").write_text("".join(noise + [line.replace('"id": "', '"id": "again-') for line in noise]), "utf-8")
    study = Study(load(file), str(tmp_path), tmp_path / "out", 1)
    made = {v: variant_data(study, v, 1) for v in ("noise", "real")}
    before = {v: unique_windows(data) for v, data in made.items()}
    left_out = equal_shares(made)
    assert before["noise"] > 2 * before["real"] and left_out.keys() == {"noise"}
    cut = variant_data(replace(study, left_out=left_out), "noise", 1)
    assert unique_windows(cut) == before["real"] and epochs(cut) == epochs(made["real"])
    with pytest.raises(RecipeError, match="the mix of noise holds data out already"):
        equal_shares({"noise": cut, "real": made["real"]})


def test_how_many_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart.os, "sched_getaffinity", lambda pid: range(32))
    monkeypatch.setattr(apart.os.path, "exists", lambda path: False)
    assert [how_many(None, n) for n in (2, 20)] == [2, 8] and how_many(12, 20) == 12 and how_many(12, 4) == 4
    monkeypatch.setattr(apart.os.path, "exists", lambda path: path == "/dev/nvidiactl")
    assert how_many(None, 20) == 1 and how_many(3, 20) == 3


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("seeds: 3", "seeds: 2"), "at least 3 seeds"),
        (("seeds: 3", "seeds: [1, 1, 2]"), "seeds must differ"),
        (("train: {", "train: {tokens: 5, "), "train.tokens is decided by the ablation"),
        (("real: {}", "real: {data: x, set: [a=1]}"), "not both"),
        (("real: {}", "real: {data: x}\nsame_unique_tokens: true"), "real is a finished mix, which can't be cut down"),
        (("mix: order\n", ""), "`recipe` and `mix` are needed for noise, real"),
        (("seeds: 3", "seeds: 3\ncompare: [[reel, noise]]"), "compare names 'reel'"),
        (("preset: llama-tiny", "preset: llama-tny"), "llama-tiny"),
        (("tokens: 8k", "tokens: many"), "tokens"),
    ],
)
def test_mistakes_are_told_before_anything_runs(change: tuple[str, str], says: str, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(FILE.replace(*change), "utf-8")
    with pytest.raises(RecipeError, match=says):
        load(path)
