"""`language`: codes, bounds on both sides, reasons, annotate mode, models of one's own, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from curate.apply import outcomes, run_step
from curate.errors import RecipeError
from curate.kernels.fasttext_model import BadModel
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


LONG = GERMAN + " Es regnet schon wieder."  # above the characters of a paragraph that is judged
MIXED = f"{ENGLISH}\n\n{LONG}\n\nshort"


def columns(step: Language, texts: list[str | None]) -> dict[str, list[object]]:
    (outcome,) = outcomes(step, [batch(texts)])
    assert {f.name: f.type for f in outcome.batch.schema if f.name != "text"} == step.adds()
    return outcome.batch.to_pydict()


def test_lists_the_likeliest_languages() -> None:
    found = columns(Language(top_k=3), TEXTS)
    for code, score, top in zip(found["lang_code"], found["lang_score"], found["lang_top"], strict=True):
        assert isinstance(top, list) and len(top) == (0 if code == UNKNOWN else 3)
        if top:
            assert (top[0]["code"], top[0]["score"]) == (code, score)
            assert [t["score"] for t in top] == sorted((t["score"] for t in top), reverse=True)
    assert columns(Language(), TEXTS)["lang_code"] == found["lang_code"]


def test_names_the_script() -> None:
    texts = [ENGLISH, "\u042d\u0442\u043e", None, "12"]
    assert columns(Language(script=True), texts)["lang_script"] == ["Latn", "Cyrl", "Zyyy", "Zyyy"]


def test_judges_paragraphs() -> None:
    found = columns(Language(by="paragraph"), [MIXED, ENGLISH, "", f"{ENGLISH}\n{LONG}\n \n{LONG}", "a\n\nb"])
    shares = found["lang_shares"][0]
    assert isinstance(shares, list) and [s["code"] for s in shares] == ["de", "en", UNKNOWN]
    sizes = [sum(not c.isspace() for c in text) for text in (LONG, ENGLISH, "short")]
    assert [s["share"] for s in shares] == pytest.approx([size / sum(sizes) for size in sizes])
    assert found["lang_code"] == ["de", "en", UNKNOWN, "de", UNKNOWN] and found["lang_mixed"][:3] == [True, False, False]
    assert found["lang_shares"][1:3] == [[{"code": "en", "share": 1.0}], []]
    assert found["lang_shares"][4] == [{"code": UNKNOWN, "share": 1.0}] and found["lang_score"][4] == 0.0
    single = columns(Language(), [LONG])["lang_score"][0]
    assert found["lang_score"][0] == pytest.approx(single)
    by_line = columns(Language(by="line"), [f"{ENGLISH}\n{LONG}\n{LONG}"])
    assert by_line["lang_code"] == ["de"] and by_line["lang_mixed"] == [True]


def test_bounds_of_paragraphs() -> None:
    size = sum(not c.isspace() for c in ENGLISH)
    for fewest, code in ((size, "en"), (size + 1, UNKNOWN)):
        assert columns(Language(by="paragraph", min_paragraph_chars=fewest), [ENGLISH])["lang_code"] == [code]
    share = sum(not c.isspace() for c in LONG) / sum(not c.isspace() for c in LONG + ENGLISH)
    text = f"{ENGLISH}\n\n{LONG}"
    for bound, mixed in ((share, False), (share + 1e-9, True), (0, False), (1, True)):
        assert columns(Language(by="paragraph", mixed_below=bound), [text])["lang_mixed"] == [mixed], bound
    for score, expected in ((0.65, ["de", "en"]), ({"en": 1}, ["de", UNKNOWN]), ({"default": 1, "en": 0.5}, ["en", UNKNOWN])):
        shares = columns(Language(by="paragraph", min_score=score), [text])["lang_shares"][0]  # type: ignore[arg-type]
        assert isinstance(shares, list) and [s["code"] for s in shares] == expected


def test_mixed_documents_can_be_dropped() -> None:
    step = Language(by="paragraph", drop_mixed=True)
    (outcome,) = outcomes(step, [batch([MIXED, ENGLISH, ""])])
    assert step.drops() == ("language.mixed",) and outcome.verdict is not None
    assert outcome.verdict.reason.to_pylist() == ["language.mixed", None, None]
    noted = columns(Language(by="paragraph", drop_mixed=True, mode="annotate", keep="de"), [MIXED, ENGLISH])
    assert noted["language_reason"] == ["language.mixed", "language.not_kept"]


def test_bounds_by_language(tmp_path: Path) -> None:
    scores = dict(zip(("en", "de"), columns(Language(), [ENGLISH, GERMAN])["lang_score"], strict=True))

    def reasons(step: Language) -> list[object]:
        (outcome,) = outcomes(step, [batch([ENGLISH, GERMAN])])
        assert outcome.verdict is not None and {*outcome.verdict.reason.to_pylist()} - {None} <= set(step.drops())
        return outcome.verdict.reason.to_pylist()

    above = {code: float(np.nextafter(score, 2)) for code, score in scores.items()}  # type: ignore[call-overload]
    assert reasons(Language(min_score={"en": above["en"]})) == ["language.low_score", None]
    assert reasons(Language(min_score=scores)) == [None, None]
    assert reasons(Language(min_score={"de": 0.1, "default": above["en"]})) == ["language.low_score", None]
    assert reasons(Language(keep="de", min_score={"de": above["de"]})) == ["language.not_kept", "language.low_score"]
    path = tmp_path / "bounds.yaml"
    path.write_text(f"extends: fineweb2\nlanguages:\n  de: {{language: {{min_score: {above['de']}}}}}\n")
    step = Language(min_score=str(path))
    assert reasons(step) == [None, "language.low_score"]
    assert [Path(asset.uri).name for asset in step.assets()] == ["lid.176.ftz", "bounds.yaml", "fineweb2.yaml"]
    path.write_text("languages:\n  de: {language: {min_score: 7}}\n")
    with pytest.raises(ValidationError, match="expected a number in"):
        Language(min_score=str(path))


def test_broken_models_are_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.bin"
    for content in (b"", b"nonsense", reference.made_up(["the"], 3)[:-1]):
        path.write_bytes(content)
        with pytest.raises(BadModel, match=r"broken\.bin"):
            outcomes(Language(model=str(path)), [batch()])
    with pytest.raises(RecipeError, match="can't be opened"):
        outcomes(Language(model=str(tmp_path / "missing.bin")), [batch()])


def test_any_split_gives_the_same_with_everything() -> None:
    texts = [*TEXTS, MIXED, "a\n\n" + GERMAN]
    for step in (Language(by="paragraph", script=True), Language(top_k=2, script=True)):
        whole = run_step(step, pa.Table.from_batches([batch(texts)])).combine_chunks()
        for cut in range(len(texts) + 1):
            parts = [o.batch for o in outcomes(step, [batch(texts).slice(0, cut), batch(texts).slice(cut)])]
            assert pa.Table.from_batches(parts).combine_chunks().to_pylist() == whole.to_pylist()


def test_refuses_wrong_settings() -> None:
    for wrong in (
        {"drop_mixed": True},
        {"by": "paragraph", "top_k": 2},
        {"min_score": {"xx": 0.5}},
        {"min_score": {"en": 1.5}},
        {"min_score": "no_such_file"},
        {"top_k": 101},
        {"min_paragraph_chars": 0},
        {"keep": "eng"},
        {"keep": ["en", "xx"]},
        {"min_score": 0.8},
        {"keep": "en", "min_score": 1.01},
        {"keep": "en", "min_score": -0.01},
    ):
        with pytest.raises(ValidationError):
            Language(**wrong)  # type: ignore[arg-type]
    assert Language(min_score=0.65).keep is None and Language(keep="en", min_score=1).min_score == 1
