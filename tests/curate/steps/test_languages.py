"""`language`: codes, bounds on both sides, reasons, annotate mode, models of one's own, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from curate.apply import outcomes, run_step
from curate.errors import RecipeError
from curate.steps.languages import UNKNOWN, Language, lid_176_path
from tests.reference import langid as reference

ENGLISH, GERMAN = "This is a plain English sentence about the weather.", "Dies ist ein deutscher Satz \u00fcber das Wetter."
TEXTS = [ENGLISH, GERMAN, "", None, "42 :-)", ENGLISH]


def batch(texts: list[str | None] = TEXTS) -> pa.RecordBatch:
    return pa.record_batch({"text": pa.array(texts, pa.large_string())})


def test_adds_columns_and_drops_nothing_by_default() -> None:
    (outcome,) = outcomes(Language(), [batch()])
    assert outcome.verdict is None and Language().drops() == ()
    codes = outcome.batch.column("lang_code").to_pylist()
    assert codes[:4] == ["en", "de", UNKNOWN, UNKNOWN] and codes[5] == "en"
    scores = outcome.batch.column("lang_score")
    assert scores.type == pa.float64() and scores[2].as_py() == 0.0 and scores[0] == scores[5]
    values = scores.to_numpy()
    assert (values == values.astype(np.float32)).all(), "a score is the model's float32"


def test_keeps_listed_languages() -> None:
    step = Language(keep=("en",))
    (outcome,) = outcomes(step, [batch()])
    assert outcome.verdict is not None
    assert outcome.verdict.keep.to_pylist() == [True, False, False, False, False, True]
    reasons = outcome.verdict.reason.to_pylist()
    assert reasons[0] is None and reasons[1:4] == ["language.not_kept"] * 3
    assert set(reasons) - {None} <= set(step.drops())
    assert outcome.verdict.value is not None
    assert outcome.verdict.value.to_pylist()[0] is None and outcome.verdict.value[1] == outcome.batch.column("lang_score")[1]


def test_min_score_is_the_lowest_score_kept() -> None:
    score = outcomes(Language(), [batch([ENGLISH])])[0].batch.column("lang_score")[0].as_py()
    for bound, kept in ((score, True), (np.nextafter(score, 0), True), (np.nextafter(score, 1), False), (None, True), (0, True)):
        (outcome,) = outcomes(Language(keep="en", min_score=bound), [batch([ENGLISH])])
        assert outcome.verdict is not None
        assert outcome.verdict.keep.to_pylist() == [kept], bound
        assert outcome.verdict.reason.to_pylist() == [None if kept else "language.low_score"]


def test_undetermined_text_can_be_kept() -> None:
    (outcome,) = outcomes(Language(keep=(UNKNOWN,), min_score=None), [batch(["", ENGLISH])])
    assert outcome.verdict is not None and outcome.verdict.keep.to_pylist() == [True, False]


def test_annotate_says_what_drop_would_do() -> None:
    dropped = run_step(Language(keep="en"), pa.Table.from_batches([batch()]))
    noted = run_step(Language(keep="en", mode="annotate"), pa.Table.from_batches([batch()]))
    assert noted.num_rows == len(TEXTS) and noted.column("text").equals(pa.chunked_array([batch().column("text")]))
    assert noted.filter(noted.column("language_keep")).select(["text", "lang_code", "lang_score"]).equals(dropped)
    assert noted.column("language_reason").to_pylist()[:2] == [None, "language.not_kept"]
    assert {f.name for f in noted.schema} == {"text", *Language(mode="annotate").adds()}


def test_any_split_gives_the_same() -> None:
    whole = run_step(Language(), pa.Table.from_batches([batch()]))
    for cut in range(len(TEXTS) + 1):
        parts = [o.batch for o in outcomes(Language(), [batch().slice(0, cut), batch().slice(cut)])]
        assert pa.Table.from_batches(parts).combine_chunks().equals(whole.combine_chunks())


def test_runs_another_model(tmp_path: Path) -> None:
    path = tmp_path / "own.bin"
    path.write_bytes(reference.made_up(["the"], 3))
    step = Language(model=str(path), keep=("l0", "l1", "l2"), min_score=None)
    assert step.assets()[0].uri == str(path)
    (outcome,) = outcomes(step, [batch(["the cat"])])
    assert outcome.batch.column("lang_code")[0].as_py() in ("l0", "l1", "l2")
    with pytest.raises(RecipeError, match="no language 'en'"):
        outcomes(Language(model=str(path), keep=("en",)), [batch()])


def test_shipped_model_is_an_asset() -> None:
    assert Language().assets()[0].uri == str(lid_176_path()) and lid_176_path().stat().st_size == 938_013


def test_refuses_wrong_settings() -> None:
    for wrong in (
        {"keep": "eng"},
        {"keep": ["en", "xx"]},
        {"min_score": 0.8},
        {"keep": "en", "min_score": 1.01},
        {"keep": "en", "min_score": -0.01},
    ):
        with pytest.raises(ValidationError):
            Language(**wrong)  # type: ignore[arg-type]
    assert Language(min_score=0.65).keep is None and Language(keep="en", min_score=1).min_score == 1
