"""c4: every bound and switch, what becomes of the text, columns."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from curate.apply import outcomes
from curate.steps.c4_rules import C4

FIVE = "It is one. It is two. It is three. It is four. It is five."
LOOSE: dict[str, Any] = {"terminal_punctuation": False, "min_words_per_line": None, "min_sentences": None, "max_word_chars": None}


def batch(*texts: str | None) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.large_string())})


def clean(step: C4, text: str | None) -> tuple[str | None, str | None]:
    """Return (text afterwards, reason of the drop)."""
    outcome = outcomes(step, [batch("before.", text, "after.")])[0]
    assert outcome.verdict is not None
    return outcome.batch.column("text").to_pylist()[1], outcome.verdict.reason.to_pylist()[1]


def test_lines_are_stripped_removed_and_joined() -> None:
    assert clean(C4(), f"  menu \r\n {FIVE}\t\n\n\nHe said [1] so.[2]\u2028Too few.\n") == (f"{FIVE}\nHe said  so.", None)


def test_a_dropped_page_keeps_its_text() -> None:
    assert clean(C4(), "  One line only. \n") == ("  One line only. \n", "c4.too_few_sentences")
    assert clean(C4(), f"{FIVE}\nBut lorem IPSUM is here.") == (f"{FIVE}\nBut lorem IPSUM is here.", "c4.lorem_ipsum")
    assert clean(C4(), f"{FIVE}\nBut code {{ is here.")[1] == "c4.curly_bracket"


def test_only_lines_that_would_stay_can_drop_the_page() -> None:
    assert clean(C4(), f"{FIVE}\nlorem ipsum {{") == (FIVE, None)


@pytest.mark.parametrize(
    ("setting", "value", "line", "stays"),
    [
        ("min_words_per_line", 3, "Three words here.", True),
        ("min_words_per_line", 4, "Three words here.", False),
        ("min_words_per_line", 2, "Three words here.", True),
        ("max_word_chars", 5, "w\u00f6rds of 5.", True),
        ("max_word_chars", 4, "w\u00f6rds of 5.", False),
        ("max_word_chars", 6, "w\u00f6rds of 5.", True),
        ("terminal_punctuation", True, 'It is "so"', True),
        ("terminal_punctuation", True, "It is so...", False),
        ("terminal_punctuation", True, "It is so", False),
        ("terminal_punctuation", False, "It is so", True),
        ("remove_javascript_lines", True, "Turn on JavaScript now.", False),
        ("remove_javascript_lines", False, "Turn on JavaScript now.", True),
        ("remove_policy_lines", True, "We USE cookies now.", False),
        ("remove_policy_lines", False, "We USE cookies now.", True),
    ],
)
def test_line_rules(setting: str, value: object, line: str, stays: bool) -> None:
    step = C4(**{**LOOSE, setting: value})
    assert clean(step, f"{line}\nThis is the end.") == ((f"{line}\n" if stays else "") + "This is the end.", None)


@pytest.mark.parametrize(("least", "reason"), [(4, None), (5, None), (6, "c4.too_few_sentences"), (None, None)])
def test_sentences_of_a_page(least: int | None, reason: str | None) -> None:
    assert clean(C4(min_sentences=least), FIVE) == (FIVE, reason)


def test_page_rules_can_be_switched_off() -> None:
    page = f"{FIVE}\nSome lorem ipsum {{ here."
    assert clean(C4(drop_lorem_ipsum=False, drop_curly_bracket=False), page) == (page, None)
    assert clean(C4(drop_lorem_ipsum=False), page)[1] == "c4.curly_bracket"
    assert clean(C4(remove_citations=False), f"{FIVE} So [1] it is.") == (f"{FIVE} So [1] it is.", None)


def test_empty_and_null_text() -> None:
    assert clean(C4(), "") == ("", "c4.too_few_sentences")
    assert clean(C4(), None) == (None, "c4.too_few_sentences")
    assert clean(C4(min_sentences=None), "") == ("", None)
    assert clean(C4(min_sentences=None), None) == (None, None)


def test_values_tell_how_many_sentences_there_were() -> None:
    verdict = outcomes(C4(), [batch("One here now. Two here now.", "x {y z.", FIVE)])[0].verdict
    assert verdict is not None and verdict.value is not None
    assert verdict.value.to_pylist() == [2.0, None, None]


def test_annotate_judges_the_text_it_would_have_left_and_leaves_it_alone() -> None:
    texts = [f"menu\n{FIVE}", "A { b c.\nAnd more of it.\nWe use cookies here.", "", None]
    step = C4(mode="annotate")
    given = batch(*texts)
    outcome = outcomes(step, [given])[0]
    assert outcome.verdict is None
    assert outcome.batch.column("text").equals(given.column("text"))
    assert {f.name: f.type for f in outcome.batch.schema if f.name != "text"} == dict(step.adds())
    rows = outcome.batch.to_pylist()
    assert [row["c4_keep"] for row in rows] == [True, False, False, False]
    assert [row["c4_reason"] for row in rows] == [None, "c4.curly_bracket", "c4.too_few_sentences", "c4.too_few_sentences"]
    assert [row["c4_sentences"] for row in rows] == [5, 1, 0, 0]
    assert [row["c4_lines"] for row in rows] == [2, 3, 0, 0]
    assert [row["c4_lines_kept"] for row in rows] == [1, 1, 0, 0]
    assert rows[0]["c4_lines_no_end_mark"] == rows[1]["c4_lines_curly_bracket"] == rows[1]["c4_lines_policy"] == 1


def test_reasons_are_declared() -> None:
    assert C4().drops() == ("c4.lorem_ipsum", "c4.curly_bracket", "c4.too_few_sentences")
    assert C4(min_sentences=None, drop_lorem_ipsum=False).drops() == ("c4.curly_bracket",)
    assert C4(mode="annotate").drops() == ()


@pytest.mark.parametrize(("setting", "value"), [("min_words_per_line", -1), ("max_word_chars", 0), ("min_sentences", -1)])
def test_settings_have_bounds(setting: str, value: int) -> None:
    with pytest.raises(ValidationError):
        C4(**{setting: value})


def test_the_readings_differ_where_documented() -> None:
    """Small pages by hand: lines cut at newlines alone, white space and empty lines kept, "'" no end mark, citations no words."""
    pages = ["  One two three four five. \n\nSix seven eight nine ten!", "It said 'one two three four five'", "One two three [1] four."]
    settings: dict[str, Any] = {"min_words_per_line": 5, "min_sentences": 0}
    table = pa.table({"text": pa.array(pages, pa.large_string())})
    texts = {}
    for semantics in ("datatrove", "dclm"):
        (outcome,) = outcomes(C4(semantics=semantics, **settings), table.to_batches())
        texts[semantics] = outcome.batch.column("text").to_pylist()
    assert texts["datatrove"] == ["One two three four five.\nSix seven eight nine ten!", pages[1], "One two three  four."]
    assert texts["dclm"] == ["One two three four five. \n\nSix seven eight nine ten!", "", ""]


def test_a_page_may_have_as_many_characters_as_the_bound() -> None:
    table = pa.table({"text": pa.array(["\u00e9" * 9 + ".", "\u00e9" * 10 + "."], pa.large_string())})
    step = C4(max_page_chars=10, min_words_per_line=None, min_sentences=None)
    (outcome,) = outcomes(step, table.to_batches())
    assert outcome.verdict is not None
    assert outcome.verdict.reason.to_pylist() == [None, "c4.too_long"]
    assert step.drops()[0] == "c4.too_long" and "c4.too_long" not in C4().drops()
