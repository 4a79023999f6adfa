"""Perplexity under a tiny ARPA model whose figures are worked out by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pydantic
import pytest

from curate.apply import outcomes, run_step
from curate.errors import MissingDependency, RecipeError
from curate.steps.ngram_models import Perplexity, ccnet_normalized
from tests.curate.steps.small_models import save_arpa

# Sums of log10 and tokens: "the river" -0.3 -0.2 (-0.125 - 1.5); "river" (-0.5 - 0.9) (-0.125 - 1.5); unknown (-0.5 - 1) -1.5
THE_RIVER, RIVER, UNKNOWN = 10 ** (2.125 / 3), 10 ** (3.025 / 2), 10 ** (3.0 / 2)


@pytest.fixture(scope="module")
def arpa(tmp_path_factory: pytest.TempPathFactory) -> str:
    pytest.importorskip("kenlm")
    return str(save_arpa(tmp_path_factory.mktemp("arpa") / "tiny.arpa"))


def table(texts: list[str | None]) -> pa.Table:
    return pa.table({"text": pa.array(texts, pa.large_string())})


def test_perplexity_by_hand(arpa: str) -> None:
    made = (
        run_step(Perplexity(model=arpa), table(["the river", "river", "xx", "  the \t river ", "", " \n\n", None]))
        .column("perplexity")
        .to_pylist()
    )
    assert made[:4] == pytest.approx([THE_RIVER, RIVER, UNKNOWN, THE_RIVER], rel=1e-6)
    assert made[4:] == [None, None, None]
    (both,) = run_step(Perplexity(model=arpa), table(["the river\n\nxx\n"])).column("perplexity").to_pylist()
    assert both == pytest.approx(10 ** ((2.125 + 3.0) / 5), rel=1e-6)


def test_bounds_and_buckets(arpa: str) -> None:
    exact = run_step(Perplexity(model=arpa), table(["river"])).column("perplexity")[0].as_py()
    for bound, kept in ((exact, True), (exact * 0.999, False), (exact * 1.001, True)):
        (outcome,) = outcomes(Perplexity(model=arpa, max_perplexity=bound), table(["river", ""]).to_batches())
        assert outcome.verdict is not None and outcome.verdict.keep.to_pylist() == [kept, True]
    (low,) = outcomes(Perplexity(model=arpa, min_perplexity=exact * 1.001), table(["river"]).to_batches())
    assert low.verdict is not None and low.verdict.reason.to_pylist() == ["perplexity.too_low"]
    step = Perplexity(model=arpa, head=THE_RIVER * 1.0001, tail=32, max_perplexity=6, mode="annotate")
    made = run_step(step, table(["the river", "river", "xx", ""]))
    assert made.column("perplexity_bucket").to_pylist() == ["head", "tail", "middle", None]
    assert made.column("perplexity_reason").to_pylist() == [None, "perplexity.too_high", "perplexity.too_high", None]


def test_normalization_of_ccnet(arpa: str) -> None:
    assert ccnet_normalized("  Élan 12\x07，“Ça” — 3…\u200b ") == 'elan 00,"ca"  -  0...\u200b'
    assert ccnet_normalized(" \t") == ""
    made = run_step(Perplexity(model=arpa, normalize="ccnet"), table(["THE Ríver"])).column("perplexity")[0].as_py()
    assert made == pytest.approx(THE_RIVER, rel=1e-6)


def test_sentencepiece(arpa: str, tmp_path: Path) -> None:
    sentencepiece = pytest.importorskip("sentencepiece")
    import io

    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the river", "the town", "a river"] * 20),
        model_writer=written,
        vocab_size=22,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    pieces = tmp_path / "sp.model"
    pieces.write_bytes(written.getvalue())
    (made,) = run_step(Perplexity(model=arpa, sentencepiece=str(pieces)), table(["the river"])).column("perplexity").to_pylist()
    cut = sentencepiece.SentencePieceProcessor(model_proto=written.getvalue()).encode("the river", out_type=str)
    (same,) = run_step(Perplexity(model=arpa), table([" ".join(cut)])).column("perplexity").to_pylist()
    assert made == same and made != pytest.approx(THE_RIVER)


def test_mistakes(arpa: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(pydantic.ValidationError, match="given together"):
        Perplexity(model=arpa, head=3)
    with pytest.raises(pydantic.ValidationError, match="head must be at most tail"):
        Perplexity(model=arpa, head=4, tail=3)
    with pytest.raises(pydantic.ValidationError, match="nothing would be kept"):
        Perplexity(model=arpa, min_perplexity=4, max_perplexity=3)
    broken = tmp_path / "broken.arpa"
    broken.write_text("no model")
    with pytest.raises(RecipeError, match="can't be loaded as a KenLM model"):
        run_step(Perplexity(model=str(broken)), table(["x"]))
    monkeypatch.setitem(sys.modules, "kenlm", None)
    with pytest.raises(MissingDependency, match=r"pip install 'curate\[kenlm\]'"):
        run_step(Perplexity(model=arpa), table(["x"]))
