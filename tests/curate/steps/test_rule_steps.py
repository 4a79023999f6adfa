"""bad_words, madlad, code and math: both sides of every bound, lists, languages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curate.apply import outcomes
from curate.context import WorkContext
from curate.step import Step
from curate.steps.code_rules import Code
from curate.steps.madlad_rules import Madlad
from curate.steps.math_rules import Math
from curate.steps.word_lists import BadWords

GOOD = "This is a sentence of some length."


def reason(step: Step, text: str | None, **columns: Any) -> str | None:
    batch = pa.RecordBatch.from_pydict({"id": ["a"], "text": pa.array([text], pa.large_string()), **{k: [v] for k, v in columns.items()}})
    verdict = outcomes(step, [batch])[0].verdict
    assert verdict is not None
    return verdict.reason.to_pylist()[0]  # type: ignore[no-any-return]


def test_bad_words_by_language(tmp_path: Path) -> None:
    (tmp_path / "de.txt").write_text("Mist\nso ein Ding\n", encoding="utf-8")
    step = BadWords(words=("heck",), files=(str(tmp_path / "de.txt"),), language_column="lang", allow=("MIST",))
    assert reason(step, "What the HECK!", lang="en") == reason(step, "What the heck", lang=None) == "bad_words.listed"
    assert reason(step, "heck", lang="de") is None and reason(step, "heck", lang="fr") is None
    assert reason(step, "Mist", lang="de") is None and reason(step, "So ein Ding, SO EIN DING.", lang="de") == "bad_words.listed"


def test_bad_words_bound_and_borders() -> None:
    text = "one, two; two"
    assert [reason(BadWords(words=("one", "two"), max_words=k), text) is None for k in (0, 1, 2)] == [False, False, True]
    assert reason(BadWords(words=("中",)), "a中b") is None
    assert reason(BadWords(words=("中",), default_language="zh"), "a中b") == "bad_words.listed"
    row = outcomes(BadWords(words=("two", "one"), mode="annotate"), [pa.RecordBatch.from_pydict({"id": ["a"], "text": [text]})])[
        0
    ].batch.to_pylist()[0]
    assert (row["bad_words_count"], row["bad_words_first"]) == (2, "one")


def test_bad_words_keeps_a_share_by_id() -> None:
    batch = pa.RecordBatch.from_pydict({"id": [f"d{i}" for i in range(2000)], "text": ["heck"] * 2000})
    keeps = []
    for context, seed in ((1, None), (2, 1), (1, 2)):
        verdict = outcomes(BadWords(words=("heck",), keep_fraction=0.25, seed=seed), [batch], WorkContext(seed=context))[0].verdict
        assert verdict is not None
        keeps.append(verdict.keep)
    assert 420 < keeps[0].true_count < 580 and keeps[0].equals(keeps[1]) and not keeps[0].equals(keeps[2])


@pytest.mark.parametrize(
    ("bad", "settings", "expected"),
    [
        (0, {}, None), (1, {}, None), (2, {}, "madlad.questionable"), (2, {"max_questionable": 2 / 6}, None), (2, {"max_questionable": None}, None),
        (2, {"rules": ["cursed"]}, None), (2, {"min_chars": 5}, None), (0, {"min_sentences": 6}, None), (0, {"min_sentences": 7}, "madlad.few_sentences"),
        (0, {"min_sentences": None}, None),
    ],
)  # fmt: skip
def test_madlad(bad: int, settings: dict[str, Any], expected: str | None) -> None:
    assert reason(Madlad(**settings), " ".join(["Short one."] * bad + [GOOD] * (6 - bad))) == expected


GERMAN = "Der alte Mann ging am Abend langsam nach Hause und dachte an das Meer."


@pytest.mark.parametrize(
    ("texts", "settings", "expected"),
    [
        (2, {}, None), (2, {"rules": ["language"]}, "madlad.questionable"), (1, {"rules": ["language"]}, None), (0, {"rules": ["language"]}, None),
        (2, {"rules": ["language"], "min_language_score": 1.0}, None), (6, {"rules": ["language"]}, None),
    ],
)  # fmt: skip
def test_madlad_sentences_in_another_language(texts: int, settings: dict[str, Any], expected: str | None) -> None:
    english = "The old man walked home slowly in the evening and thought about the sea."
    assert reason(Madlad(**settings), "  ".join([english] * (6 - texts) + [GERMAN] * texts)) == expected


@pytest.mark.parametrize(
    ("sentence", "rule"),
    [
        ("Aa Bb Cc Dd Ee Ff Gg hh ii jj kk ll", "list_case"), ("Aa Bb Cc Dd Ee Ff gg hh ii jj kk ll", None),
        ("Aa Bb Cc Dd Ee Ff Gg hh ii jj kk", None), ("a" * 19, "length"), ("a" * 20, None), ("b" * 500, None), ("b" * 501, "length"),
        ("abcdefgh 123 abcdefgh", None), ("abcdefgh 12345 abcdef", "technical"), ("Please Download the thing", "cursed"), ("we all went home then | ", "cursed"),
    ],
)  # fmt: skip
def test_madlad_sentences(sentence: str, rule: str | None) -> None:
    row = outcomes(Madlad(mode="annotate"), [pa.RecordBatch.from_pydict({"text": [sentence]})])[0].batch.to_pylist()[0]
    assert {k for k in ("list_case", "length", "technical", "cursed") if row[f"madlad_{k}"]} == ({rule} if rule else set())


CODE = "def f(x):\n    return x\n"


@pytest.mark.parametrize(
    ("text", "settings", "expected"),
    [
        (CODE, {}, None), ("x\n" * 9, {"max_lines": 10}, None), ("x\n" * 9, {"max_lines": 9}, "code.too_many_lines"),
        ("a" * 20, {"max_line_length": 20}, None), ("a" * 20, {"max_line_length": 19}, "code.long_line"), ("a" * 20, {"max_line_length": None}, None),
        ("aaaa", {"max_mean_line_length": 4}, None), ("aaaa", {"max_mean_line_length": 3.9}, "code.long_lines"),
        ("a---", {}, None), ("a----", {"min_alphabetic": None}, "code.few_alphanumeric"), ("1---", {}, "code.few_letters"), ("a1---", {"min_alphabetic": 0.2}, None),
        ("x = '" + "Qk" * 40 + "'", {}, "code.encoded_data"), ("x = '" + "Qk" * 40 + "'", {"max_encoded": 1}, None),
        ("x = '" + "Qk" * 40 + "'", {"max_encoded": 1, "max_encoded_string": 79}, "code.encoded_string"),
        (f"# AUTO-GENERATED by it\n{CODE}", {}, "code.generated"), (f"{CODE * 3}# auto-generated", {}, None), (f"# autogenerated\n{CODE}", {"max_generated_marks": 1}, None),
        ("<?xml version='1.0'?><abcdefgh/>", {}, "code.xml"), ("<?xml version='1.0'?><abcdefgh/>", {"max_xml_marks": None}, None),
        ("<html><script>var abc</script><p>text</p>", {}, "code.little_visible_text"), ("<html>" + "a b,\n" * 20, {}, None), ("<html>" + "a b,\n" * 19, {}, "code.short_visible_text"),
        ("", {}, None), (None, {}, None),
    ],
)  # fmt: skip
def test_code(text: str | None, settings: dict[str, Any], expected: str | None) -> None:
    assert reason(Code(**settings), text) == expected


def test_code_by_language() -> None:
    step = Code(language_column="lang", max_data_line_length=3000)
    assert reason(step, "1," * 1000, lang="Python") == "code.long_line"
    assert reason(step, "1," * 1000, lang="JSON") is None and reason(step, "1," * 2000, lang="JSON") == "code.long_line"
    assert reason(step, "<html>x", lang="Python") is None and reason(step, "<p>x</p>", lang="HTML") == "code.little_visible_text"
    assert reason(step, "<?xml version='1.0'?><abcdefgh/>", lang="XSLT") is None


PROSE = "words of no mathematics at all, " * 4


@pytest.mark.parametrize(
    ("text", "settings", "expected"),
    [
        (PROSE, {}, "math.no_math"), (PROSE + r"\frac", {}, None), (PROSE + "$x$", {}, None), (PROSE + "∑", {}, None), (PROSE, {"min_marks": None}, None),
        (r"\frac", {}, "math.too_short"), (r"\frac", {"min_chars": 5}, None), (r"\frac", {"min_chars": 6}, "math.too_short"),
        (PROSE + r"\ab \a", {"min_marks": 0, "min_commands": 1}, None), (PROSE + r"\ab \a", {"min_marks": 0, "min_commands": 2}, "math.few_commands"),
        (PROSE + "$x$ $$y$$", {"min_formulas": 2}, None), (PROSE + "$x$ $$y$$", {"min_formulas": 3}, "math.few_formulas"),
        ("∑" + "a" * 99, {"min_symbols": 0.01}, None), ("∑" + "a" * 99, {"min_symbols": 0.011}, "math.few_symbols"),
        ("∑" + "é" * 3 + "a" * 196, {}, None), ("∑" + "é" * 4 + "a" * 195, {}, "math.accents"), ("∑" + "é" * 4 + "a" * 195, {"max_accented": None}, None),
        ("", {}, None), (None, {}, None),
    ],
)  # fmt: skip
def test_math(text: str | None, settings: dict[str, Any], expected: str | None) -> None:
    assert reason(Math(**settings), text) == expected
