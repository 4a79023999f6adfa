"""`curate classifier train` on small files: the model, the figures, the report, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import fasttext
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from curate.classifiers.from_files import train_from_files
from curate.classifiers.training import Settings
from curate.cli.app import build_app
from curate.errors import DataError, RecipeError
from curate.kernels.langid import Identifier
from curate.kernels.strings import views
from curate.steps.fasttext_file import load

SMALL = Settings(dim=8, lr=0.5, epochs=10, word_ngrams=2, buckets=500)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classes")
    kinds = {
        "good": "the study of rivers and towns explains growth",
        "bad": "click here cheap casino free money now",
        "code": "def return import class self",
    }
    for name, line in kinds.items():
        words = line.split()
        rows = [{"text": " ".join(words[(i * k + k) % len(words)] for k in range(1, 9)) + f" {name[0]}{i}"} for i in range(200)]
        rows += [{"text": "  \n"}, {"text": f"the {name} ONE  twice"}, {"text": f"The {name} one twice"}]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return folder


def test_report_and_model(files: Path, tmp_path: Path) -> None:
    out = tmp_path / "m" / "quality.bin"
    made = train_from_files({"hq": [str(files / "good.jsonl")], "lq": [str(files / "ba*.jsonl")]}, out, SMALL, held_out=0.25)
    assert json.loads(out.with_suffix(".json").read_text()) == made
    held, trained = made["held_out"], made["trained_on"]
    assert sum(trained["documents"].values()) + held["documents"] == 404
    assert 60 < held["documents"] < 140 and held["accuracy"] > 0.95 and held["labels"]["hq"]["roc_auc"] > 0.99
    assert made["notes"] == [
        "2 of 404 documents are copies of another one of their class (lower case, white space folded)",
        "2 documents without a word were left out",
    ]
    if out.with_suffix(".html").exists():
        assert "Calibration" in out.with_suffix(".html").read_text()
    again = tmp_path / "again.bin"
    train_from_files({"hq": [str(files / "good.jsonl")], "lq": [str(files / "bad.jsonl")]}, again, SMALL, held_out=0.25)
    assert again.read_bytes() == out.read_bytes()


def test_fasttext_loads_the_file(files: Path, tmp_path: Path) -> None:
    out = tmp_path / "three.bin"
    settings = Settings(dim=5, lr=0.5, word_ngrams=3, min_chars=2, max_chars=3, min_count=2, buckets=300)
    train_from_files({name: [str(files / f"{name}.jsonl")] for name in ("good", "bad", "code")}, out, settings, held_out=0)
    theirs, ours = fasttext.load_model(str(out)), Identifier(load(str(out)))
    texts = ["the study of casino return", "unseen words größe only", "def self", "free money now now now"]
    scores = ours.probabilities(*views(pa.array(texts, pa.large_string())))
    for text, row in zip(texts, scores, strict=True):
        labels, chances = theirs.predict(text, k=3)
        expected = {label.removeprefix("__label__"): chance for label, chance in zip(labels, chances, strict=True)}
        assert dict(zip(ours.labels, row.tolist(), strict=True)) == pytest.approx(expected, abs=1e-6)


def test_text_in_two_classes_is_noted(tmp_path: Path) -> None:
    for name in ("a", "b"):
        rows = [{"text": "the same text in both"}, *({"text": f"{name} text {i}"} for i in range(20))]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    made = train_from_files({n: [str(tmp_path / f"{n}.jsonl")] for n in "ab"}, tmp_path / "m.bin", SMALL, held_out=0.3)
    assert made["notes"] == ["1 texts stand in more than one class: no model can be right on both"]


def test_a_sample_of_the_text(files: Path, tmp_path: Path) -> None:
    inputs = {"hq": [str(files / "good.jsonl")], "lq": [str(files / "bad.jsonl")]}
    made = train_from_files(inputs, tmp_path / "m.bin", SMALL, held_out=0, max_bytes=6_000)
    assert 20 < made["trained_on"]["documents"]["hq"] < 180
    assert made["held_out"] is None


def test_mistakes(files: Path, tmp_path: Path) -> None:
    good, bad, out = str(files / "good.jsonl"), str(files / "bad.jsonl"), tmp_path / "m.bin"
    with pytest.raises(RecipeError, match="at least two classes, got hq"):
        train_from_files({"hq": [good]}, out, SMALL)
    with pytest.raises(RecipeError, match="one word without white space, got 'a b'"):
        train_from_files({"hq": [good], "a b": [bad]}, out, SMALL)
    with pytest.raises(DataError, match="too few documents"):
        train_from_files({"hq": [good], "lq": [bad]}, out, SMALL, held_out=0.0001)
    assert not out.exists()


def test_command(files: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.bin"
    arguments = ["classifier", "train", "--positive", str(files / "good.jsonl"), "--negative", str(files / "bad.jsonl"), "-o", str(out),
                 "--dim", "8", "--lr", "0.5", "--label", f"code={files / 'code.jsonl'}", "--held-out", "0.2"]  # fmt: skip
    done = CliRunner().invoke(build_app(arguments), [*arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0
    assert json.loads(done.stdout.splitlines()[-1])["labels"] == ["hq", "lq", "code"]
    assert "ROC-AUC" in done.stderr and "keeping the top of 'hq'" in done.stderr
    refused = CliRunner().invoke(build_app(arguments), arguments)
    assert isinstance(refused.exception, RecipeError) and "--force" in str(refused.exception)
    broken = CliRunner().invoke(build_app(arguments), [*arguments, "--force", "--label", "no-path"])
    assert isinstance(broken.exception, RecipeError) and "NAME=PATH" in str(broken.exception)
