"""Hugging Face classifiers: probabilities and regressions equal to a plain call, batches, truncation, what is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pytest

from curate.apply import run_step
from curate.errors import MissingDependency, RecipeError
from curate.steps.safety import Toxicity
from curate.steps.transformer_scores import HfClassifier
from tests.curate.steps.small_models import BAD, GOOD, save_transformer

TEXTS: list[str | None] = [*GOOD, *BAD, "", None, "river " * 200]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    return tmp_path_factory.mktemp("hf")


@pytest.fixture(scope="module")
def model(folder: Path) -> str:
    return str(save_transformer(folder / "two"))


def table(texts: list[str | None] = TEXTS) -> pa.Table:
    n = len(texts)
    return pa.table(
        {"id": [f"d{i}" for i in range(n)], "text": pa.array(texts, pa.large_string()), "source": ["s"] * n, "meta": ["{}"] * n}
    )


def plain(model: str, max_tokens: int) -> list[list[float]]:
    """Logits of every text alone, in the least code."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer, network = AutoTokenizer.from_pretrained(model), AutoModelForSequenceClassification.from_pretrained(model).eval()
    with torch.inference_mode():
        return [
            network(**tokenizer(t or "", truncation=True, max_length=max_tokens, return_tensors="pt")).logits[0].tolist() for t in TEXTS
        ]


def test_probability_of_a_label(model: str) -> None:
    import math

    step = HfClassifier(model=model, label="hq", max_tokens=32, device="cpu")
    made = run_step(step, table()).column("hf_classifier_score").to_pylist()
    expected = [1 / (1 + math.exp(lq - hq)) for lq, hq in plain(model, 32)]
    assert made == pytest.approx(expected, abs=1e-6) and len(set(made[:6])) == 6
    batched = run_step(HfClassifier(model=model, label="hq", max_tokens=32, device="cpu", batch_size=4), table())
    assert batched.column("hf_classifier_score").to_pylist() == pytest.approx(made, abs=1e-5)
    alone = [run_step(step, table([t])).column("hf_classifier_score")[0].as_py() for t in TEXTS]
    assert alone == made


def test_regression_threshold_and_top(folder: Path) -> None:
    model = str(save_transformer(folder / "one", labels=1))
    settings = {"model": model, "max_tokens": 32, "device": "cpu"}
    scores = run_step(HfClassifier(**settings), table()).column("hf_classifier_score").to_pylist()  # type: ignore[arg-type]
    assert scores == pytest.approx([one for (one,) in plain(model, 32)], abs=1e-6)
    bound = sorted(scores)[4]
    kept = run_step(HfClassifier(**settings, min_score=bound), table())  # type: ignore[arg-type]
    assert len(kept) == sum(s >= bound for s in scores)
    top = run_step(HfClassifier(**settings, top_fraction=0.3), table())  # type: ignore[arg-type]
    assert sorted(top.column("hf_classifier_score").to_pylist()) == sorted(scores)[-3:]


def test_as_a_safety_signal(model: str) -> None:
    made = run_step(Toxicity(classifier=model, label="lq", max_score=0.5), table())
    assert made.column("toxicity_keep").to_pylist() == [s <= 0.5 for s in made.column("toxicity_score").to_pylist()]


def test_mistakes(model: str, folder: Path) -> None:
    with pytest.raises(RecipeError, match=r"no label 'good'\. It has: lq, hq"):
        run_step(HfClassifier(model=model, label="good"), table())
    with pytest.raises(RecipeError, match="several labels, say which"):
        run_step(HfClassifier(model=model), table())
    with pytest.raises(RecipeError, match="can't be loaded"):
        (folder / "empty").mkdir()
        run_step(HfClassifier(model=str(folder / "empty")), table())


def test_a_name_of_the_hub_needs_a_revision() -> None:
    with pytest.raises(RecipeError, match="give its commit as revision"):
        HfClassifier(model="someone/quality-model").assets()


def test_without_transformers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependency, match=r"pip install 'curate\[train\]'"):
        run_step(HfClassifier(model=str(tmp_path)), table())
