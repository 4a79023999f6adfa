"""`by_language`: each document's own settings, rows in their order, reasons in theirs; and the files of settings."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pytest
from pydantic import ValidationError

from curate.apply import outcomes, run_step
from curate.errors import RecipeError
from curate.languages import load, shipped
from curate.steps.language_filters import ByLanguage
from curate.steps.quality import GopherQuality

FILE = """
summary: for tests
common: {gopher_quality: {min_stop_words: 1, min_mean_word_length: null}}
languages:
  en: {also: [eng_Latn], gopher_quality: {min_words: 3, stop_words: [the]}}
  de: {gopher_quality: {min_words: 5, stop_words: [der, die]}, language: {min_score: 0.5}}
"""
ROWS = [
    ("the cat sat", "en"), ("der Hund und die Katze", "de"), ("the cat", "en"), ("der Hund schl\u00e4ft nicht", "de"), ("un deux", "fr"),
    ("a cat sat", "eng_Latn"), ("", None), ("the cat sat", "eng_Latn"), ("le chat", "und"), ("Hund und Katze oder Maus", "de"),
]  # fmt: skip
EXPECTED = [None, None, "gopher.too_short", "gopher.too_short", "U", "gopher.few_stop_words", "U", None, "U", "gopher.few_stop_words"]


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "languages.yaml"
    path.write_text(FILE)
    return str(path)


def batch(rows: list[tuple[str, str | None]] = ROWS) -> pa.RecordBatch:
    texts, codes = zip(*rows, strict=True)
    numbers = pa.array(range(len(rows)))
    return pa.record_batch({"text": pa.array(texts, pa.large_string()), "lang_code": pa.array(codes, pa.string()), "number": numbers})


def reasons(step: ByLanguage, rows: list[tuple[str, str | None]] = ROWS) -> list[str | None]:
    (outcome,) = outcomes(step, [batch(rows)])
    assert outcome.batch.equals(batch(rows)) and outcome.verdict is not None
    found: list[str | None] = outcome.verdict.reason.to_pylist()
    assert {*found} - {None} <= set(step.drops())
    assert outcome.verdict.keep.to_pylist() == [reason is None for reason in found]
    return found


def test_each_language_has_its_settings(file: str) -> None:
    for unlisted, reason in (("keep", None), ("drop", "by_language.unlisted"), ("default", "gopher.too_short")):
        step = ByLanguage(settings=file, steps=("gopher_quality",), unlisted=unlisted)  # type: ignore[arg-type]
        assert reasons(step) == [reason if expected == "U" else expected for expected in EXPECTED]


def test_settings_of_the_file_win(file: str) -> None:
    step = ByLanguage(settings=file, steps=({"gopher_quality": {"min_words": 1, "max_words": 3}},), unlisted="keep")
    found = reasons(step)
    assert found[2] == "gopher.too_short" and found[1] == "gopher.too_long" and found[0] is None


def test_equals_the_filter_alone_on_one_language(file: str) -> None:
    rows = [row for row in ROWS if row[1] == "de"]
    alone = GopherQuality(min_words=5, stop_words=("der", "die"), min_stop_words=1, min_mean_word_length=None)
    (expected,) = outcomes(alone, [batch(rows)])
    (found,) = outcomes(ByLanguage(settings=file, steps=("gopher_quality",)), [batch(rows)])
    assert expected.verdict is not None and found.verdict is not None
    assert found.verdict.keep.equals(expected.verdict.keep) and found.verdict.reason.equals(expected.verdict.reason)
    assert found.verdict.value == expected.verdict.value


def test_the_first_filter_decides(file: str) -> None:
    rows = [("x", "en"), ("the cat sat.", "en"), ("the cat sat", "en")]
    assert reasons(ByLanguage(settings=file, steps=("fineweb", "gopher_quality")), rows)[0] == "fineweb.few_terminal_punctuation"
    assert reasons(ByLanguage(settings=file, steps=("gopher_quality", "fineweb")), rows)[0] == "gopher.too_short"


def test_annotate_adds_columns_and_any_split_gives_the_same(file: str) -> None:
    step = ByLanguage(settings=file, steps=("gopher_quality", "fineweb"), mode="annotate")
    whole = run_step(step, pa.Table.from_batches([batch()])).combine_chunks()
    assert whole.drop_columns(list(step.adds())).to_pylist() == batch().to_pylist() and step.drops() == ()
    for cut in range(len(ROWS) + 1):
        parts = [o.batch for o in outcomes(step, [batch().slice(0, cut), batch().slice(cut)])]
        assert pa.Table.from_batches(parts).combine_chunks().equals(whole)


def test_refuses_wrong_settings(file: str, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    for content, message in (
        ("[]", "expected a mapping"), ("langages: {}", "Did you mean 'languages'"), ("languages: {de: 3}", "languages.de"),
        ("languages: {de: {gopher_quality: 3}}", "de.gopher_quality"), ("languages: {de: {also: x}}", "list of codes"),
        ("extends: nothing_here", "extends"), (f"extends: {bad}", "extend each other"), ("languages: {de: [", "bad.yaml"),
        ("languages: {de: {gopher_quality: {min_words: -1}}}", "languages.de.gopher_quality.min_words"),
        ("languages: {de: {gopher_quality: {min_word: 1}}}", "min_word"),
    ):  # fmt: skip
        bad.write_text(content)
        with pytest.raises(ValidationError, match=message):
            ByLanguage(settings=str(bad))
    for wrong in (("gopher_qualty",), ("dedup_exact",), ("by_language",), ({"fineweb": {}, "gopher_quality": {}},), ()):
        with pytest.raises(ValidationError):
            ByLanguage(settings=file, steps=wrong)  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="Did you mean 'fineweb2'"):
        load("fineweb")


def test_files_extend_each_other(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(
        "extends: fineweb2\nlanguages:\n  deu_Latn: {gopher_quality: {min_words: 7}}\n  gsw: {fineweb: {max_short_lines: 0.5}}\n"
    )
    own, base = load(str(path)), load("fineweb2")
    german, before = own.of("de"), base.of("de")
    assert german is not None and before is not None and own.of("deu_Latn") is german
    assert german["gopher_quality"] == {**before["gopher_quality"], "min_words": 7} and german["fineweb"] == before["fineweb"]
    assert own.of("gsw") == {"fineweb": {"max_short_lines": 0.5}} and own.of("fr") == base.of("fr") and own.of(None) is None
    path.write_text("extends: fineweb2\nlanguages: {de: {gopher_quality: {min_words: 8}}}\n")
    os.utime(path, (1, 1))  # another time stamp: an edited file is read again
    assert (load(str(path)).of("de") or {})["gopher_quality"]["min_words"] == 8


def test_the_shipped_file() -> None:
    assert shipped() == ["fineweb2"]
    file = load("fineweb2")
    assert len(file.by_code) == 80
    largest = "en zh hi es ar fr bn pt ru ur id de ja mr te tr ta vi ko fa it th gu pl uk nl ro el cs hu sv"
    for code in largest.split():
        settings = file.of(code)
        assert settings is not None and len(settings["gopher_quality"]["stop_words"]) >= 8, code
    german = file.of("deu_Latn") or {}
    assert german["language"] == {"min_score": 0.821} and german["gopher_quality"]["max_mean_word_length"] == 15
    assert german["fineweb"]["max_duplicate_line_chars"] == 0.1 and german["gopher_repetition"]["max_duplicate_paragraph_fraction"] is None
    assert file.numbers("language", "min_score")["cmn_Hani"] == 0.692
    step = ByLanguage()
    assert {"lang_code", "text"} == step.reads() and len(step.assets()) == 1
