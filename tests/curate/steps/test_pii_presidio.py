"""`engine: presidio`: pattern recognisers without a model, recognisers of one's own, merging, missing models."""

from __future__ import annotations

import pyarrow as pa
import pytest
from pydantic import ValidationError

from curate.apply import run_step
from curate.errors import MissingDependency
from curate.steps import pii_presidio
from curate.steps.personal_data import PersonalData
from curate.steps.pii_presidio import PresidioSettings

pytest.importorskip("presidio_analyzer")


def table(*texts: str | None, **columns: list[str | None]) -> pa.Table:
    return pa.table({"text": pa.array(texts, pa.large_string()), **columns})


def spans(text: str, **fields: object) -> list[tuple[str, str]]:
    step = PersonalData(mode="annotate", **fields)  # type: ignore[arg-type]
    return [(s["type"], text[s["start"] : s["end"]]) for s in run_step(step, table(text)).column("pii_spans")[0].as_py()]


def test_patterns_work_without_a_model_and_offsets_are_code_points() -> None:
    text = "\u4f60\u597d \U0001f600 mail jane@corp.com, card 4111111111111111"
    assert spans(text, engine="presidio") == [("email", "jane@corp.com"), ("card", "4111111111111111")]


def test_context_words_raise_scores() -> None:
    own = {"entity": "BADGE", "patterns": [{"regex": r"\bB[0-9]{5}\b", "score": 0.2}], "context": ["badge"]}
    settings = PresidioSettings(recognizers=(own,), entities=("BADGE",))  # type: ignore[arg-type]
    assert spans("my badge is B12345 today", engine="presidio", presidio=settings) == [("badge", "B12345")]
    assert spans("the road B12345 is closed", engine="presidio", presidio=settings) == []


def test_own_entities_have_actions_and_a_second_run_changes_nothing() -> None:
    own = {"entity": "BADGE", "patterns": [{"regex": r"\bB[0-9]{5}\b", "score": 0.9}]}
    settings = PresidioSettings(recognizers=(own,))  # type: ignore[arg-type]
    texts = table("B12345 and jane@corp.com", None, "nothing")
    for action, expected in (("tag", "<BADGE> and <EMAIL>"), ("mask", "****** and <EMAIL>")):
        step = PersonalData(engine=("fast", "presidio"), email="tag", entities={"badge": action}, presidio=settings)  # type: ignore[dict-item]
        once = run_step(step, texts)
        assert once.column("text").to_pylist() == [expected, None, "nothing"]
        assert run_step(step, once).equals(once)
    dropping = PersonalData(engine=("presidio",), entities={"BADGE": "drop_document"}, presidio=settings)
    assert dropping.drops() == ("pii.badge",)
    assert run_step(dropping, texts).column("text").to_pylist() == [None, "nothing"]


def test_fast_finds_win_where_both_engines_find_something() -> None:
    text = "passport 912803456, IBAN gb29nwbk60161331926819, call 541-754-3010 ext. 12"
    both = spans(text, engine=("fast", "presidio"))
    assert ("iban", "gb29nwbk60161331926819") in both and ("phone", "541-754-3010 ext. 12") in both
    assert ("us_passport", "912803456") in both
    assert sum(name == "phone" for name, _ in both) == 1


def test_bounds_by_entity() -> None:
    settings = PresidioSettings(min_scores={"EMAIL_ADDRESS": 1.0}, min_score=0.9)
    assert spans("jane@corp.com", engine="presidio", presidio=settings) == [("email", "jane@corp.com")]
    assert spans("541-754-3010", engine="presidio", presidio=settings) == []


def test_documents_are_read_in_their_language() -> None:
    settings = PresidioSettings(models={"en": "blank", "es": "blank"}, language_column="lang_code")
    step = PersonalData(mode="annotate", engine=("presidio",), presidio=settings)
    assert "lang_code" in step.reads()
    texts = table("NIF 12345678Z", "NIF 12345678Z", lang_code=["es", None])
    found = [[s["type"] for s in row] for row in run_step(step, texts).column("pii_spans").to_pylist()]
    assert "es_nif" in found[0] and "es_nif" not in found[1]


def test_long_documents_are_cut_at_white_space(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pii_presidio, "PIECE_CHARS", 50)
    text = "\u00fc words " * 30 + "jane@corp.com" + " and more" * 20 + " joe@corp.com"
    assert spans(text, engine="presidio") == [("email", "jane@corp.com"), ("email", "joe@corp.com")]


def test_missing_models_are_named_with_how_to_get_them() -> None:
    with pytest.raises(MissingDependency, match="python -m spacy download xx_no_such_model"):
        spans("x", engine="presidio", presidio=PresidioSettings(models={"en": "spacy:xx_no_such_model"}))
    with pytest.raises(ValidationError, match="spacy:NAME"):
        PresidioSettings(models={"en": "bert"})
    with pytest.raises(ValidationError, match="no regular expression"):
        PresidioSettings(recognizers=({"entity": "BADGE", "patterns": [{"regex": "("}]},))  # type: ignore[arg-type]
    with pytest.raises(MissingDependency, match="gliner"):
        spans("x", engine="presidio", presidio=PresidioSettings(models={"en": "gliner:no/such-model"}))
