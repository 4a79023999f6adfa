"""Every bound of gopher_quality: one value on each side and the bound itself; reasons, values, columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from curate import steps
from curate.apply import outcomes
from curate.step import Verdict
from curate.steps.bounds import Bound, judge
from curate.steps.quality import GopherQuality

OFF: dict[str, Any] = {
    "min_words": None, "max_words": None, "min_mean_word_length": None, "max_mean_word_length": None, "max_hashes_per_word": None,
    "max_ellipses_per_word": None, "max_bullet_lines": None, "max_ellipsis_lines": None, "min_words_with_letters": None, "min_stop_words": None,
}  # fmt: skip
PROSE = "the cat sat with a dog of some kind and they have to be friends that day. " * 5


def table(*texts: str | None) -> pa.Table:
    return pa.table({"text": pa.array(texts, pa.large_string())})


def verdict(text: str | None, **settings: Any) -> tuple[str | None, float | None]:
    (outcome,) = outcomes(GopherQuality(**settings), table(text).to_batches())
    assert isinstance(outcome.verdict, Verdict)
    assert outcome.verdict.keep.to_pylist() == [outcome.verdict.reason[0].as_py() is None]
    assert outcome.verdict.value is not None
    return outcome.verdict.reason[0].as_py(), outcome.verdict.value[0].as_py()


@pytest.mark.parametrize(
    ("setting", "bound", "reason", "texts"),
    [  # texts with the number below, at and above the bound
        ("min_words", 3, "gopher.too_short", {"a b . !": 2, "a b . c": 3, "a b c d": 4}),
        ("max_words", 3, "gopher.too_long", {"a b . !": 2, "a b . c": 3, "a b c d": 4}),
        ("min_mean_word_length", 3, "gopher.short_words", {"ab abc !!!!!": 2.5, "ab abcd !": 3, "abc abcd": 3.5}),
        ("max_mean_word_length", 3, "gopher.long_words", {"ab abc !!!!!": 2.5, "ab abcd !": 3, "abc abcd": 3.5}),
        ("max_hashes_per_word", 0.5, "gopher.hashes", {"a b # d e": 0.2, "a # b #": 0.5, "## #": 1.5}),
        ("max_ellipses_per_word", 0.5, "gopher.ellipses", {"a... b c": 0.25, "a\u2026 b...": 0.5, "... \u2026\u2026": 1.5}),
        ("max_bullet_lines", 0.5, "gopher.bullets", {"a\nb\n- c": 1 / 3, " - a\nb": 0.5, "- a\n \u2022b\nc": 2 / 3}),
        ("max_ellipsis_lines", 0.5, "gopher.ellipsis_lines", {"a\nb\nc...": 1 / 3, "a... \nb": 0.5, "a...\nb\u2026\nc": 2 / 3}),
        ("min_words_with_letters", 0.5, "gopher.few_letters", {"a 1 .": 1 / 3, "a 1": 0.5, "a b1 1": 2 / 3}),
        ("min_stop_words", 2, "gopher.few_stop_words", {"the the The": 1, "the of": 2, "the of and": 3}),
    ],
)
def test_bounds(setting: str, bound: float, reason: str, texts: dict[str, float]) -> None:
    for text, number in texts.items():
        outside = number < bound if setting.startswith("min") else number > bound
        assert verdict(text, **(OFF | {setting: bound})) == ((reason, number) if outside else (None, None))
        assert verdict(text, **OFF) == (None, None)


def test_defaults_keep_prose_and_report_the_first_bound_crossed() -> None:
    assert verdict(PROSE) == (None, None)
    assert verdict("too short, and # of # stop # words") == ("gopher.too_short", 6)
    assert verdict("") == ("gopher.too_short", 0)
    assert verdict(None) == ("gopher.too_short", 0)
    assert verdict(PROSE + "#" * 12, min_words=1) == ("gopher.hashes", 12 / 91)


def test_zero_is_a_bound() -> None:
    assert verdict("a # b", **(OFF | {"max_hashes_per_word": 0})) == ("gopher.hashes", 1 / 3)
    assert verdict("a", **(OFF | {"max_words": 0})) == ("gopher.too_long", 1)


def test_undefined_shares_cross_no_bound() -> None:
    for text in ("", "\n \n", None):
        assert verdict(text, min_words=None, min_stop_words=None) == (None, None)
    assert verdict("... !!", **(OFF | {"min_mean_word_length": 3, "max_mean_word_length": 10})) == (None, None)


def test_stop_words_of_another_language() -> None:
    assert verdict("der Hund und die Katze", **(OFF | {"min_stop_words": 3}), stop_words=("der", "die", "und")) == (None, None)
    assert verdict("der Hund und Der", **(OFF | {"min_stop_words": 3}), stop_words=("der", "die", "und")) == ("gopher.few_stop_words", 2)


def test_the_split_is_a_setting() -> None:
    assert verdict("one, two", **(OFF | {"max_words": 2})) == (None, None)
    assert verdict("a\u4e2d\u6587b", **(OFF | {"max_words": 2})) == ("gopher.too_long", 4)
    assert verdict("a\u4e2d\u6587b", words="whitespace", **(OFF | {"max_words": 2})) == (None, None)


def test_annotate_adds_columns_and_drops_nothing() -> None:
    given = table(PROSE, "# ... the", "", None)
    step = GopherQuality(mode="annotate")
    result = steps.gopher_quality(given, mode="annotate")
    assert result.column("text").equals(given.column("text"))
    assert {name: result.schema.field(name).type for name in result.column_names if name != "text"} == dict(step.adds())
    assert step.drops() == ()
    assert result.select([n for n in result.column_names if n != "text"]).to_pylist()[1:3] == [
        {
            "gopher_quality_keep": False, "gopher_quality_reason": "gopher.too_short", "gopher_words": 1, "gopher_mean_word_length": 3.0,
            "gopher_hashes_per_word": 1 / 3, "gopher_ellipses_per_word": 1 / 3, "gopher_bullet_line_fraction": 0.0,
            "gopher_ellipsis_line_fraction": 0.0, "gopher_letter_word_fraction": 1 / 3, "gopher_stop_words": 1,
        },
        {
            "gopher_quality_keep": False, "gopher_quality_reason": "gopher.too_short", "gopher_words": 0, "gopher_mean_word_length": None,
            "gopher_hashes_per_word": None, "gopher_ellipses_per_word": None, "gopher_bullet_line_fraction": None,
            "gopher_ellipsis_line_fraction": None, "gopher_letter_word_fraction": None, "gopher_stop_words": 0,
        },
    ]  # fmt: skip


def test_drop_mode_drops_rows_and_adds_nothing() -> None:
    assert steps.gopher_quality(table("short", PROSE)).to_pylist() == [{"text": PROSE}]
    assert steps.gopher_quality(table()).num_rows == 0
    assert GopherQuality(max_hashes_per_word=None).drops() == (
        "gopher.too_short", "gopher.too_long", "gopher.short_words", "gopher.long_words", "gopher.ellipses", "gopher.bullets",
        "gopher.ellipsis_lines", "gopher.few_letters", "gopher.few_stop_words",
    )  # fmt: skip


def test_any_split_into_batches_gives_the_same() -> None:
    whole = table(*[PROSE, "x", None, "- a\n- b", PROSE + "...", ""] * 3)
    step = GopherQuality(mode="annotate", min_words=2)
    expected = pa.Table.from_batches([o.batch for o in outcomes(step, whole.combine_chunks().to_batches())])
    for size in (1, 4, 7):
        parts = [whole.combine_chunks().to_batches()[0].slice(i, size) for i in range(0, len(whole), size)]
        assert pa.Table.from_batches([o.batch for o in outcomes(step, parts)]).combine_chunks().equals(expected.combine_chunks())


@pytest.mark.parametrize(
    "settings", [{"min_words": -1}, {"max_bullet_lines": 1.1}, {"words": "spacy"}, {"stop_words": [""]}, {"minwords": 3}]
)
def test_settings_are_checked(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        GopherQuality(**settings)


def test_stop_words_count_once_or_wherever_they_stand_and_in_any_case_where_asked() -> None:
    text, settings = "the the The OF", {**OFF, "min_stop_words": 9}
    assert verdict(text, **settings) == ("gopher.few_stop_words", 1)
    assert verdict(text, **settings, stop_words_by="occurrence") == ("gopher.few_stop_words", 2)
    assert verdict(text, **settings, stop_words_case="ignore") == ("gopher.few_stop_words", 2)
    assert verdict(text, **settings, stop_words_by="occurrence", stop_words_case="ignore") == ("gopher.few_stop_words", 4)
    assert verdict(text, **settings, stop_words=("The",), stop_words_case="ignore") == ("gopher.few_stop_words", 1)


def test_a_verdict_is_the_same_whether_measured_or_not() -> None:
    numbers = np.array([0.0, 1.0, 2.0, np.nan, 3.0])
    bounds = (Bound("a.low", numbers, at_least=1), Bound("a.none", numbers), Bound("a.high", numbers, at_least=0, at_most=2))
    with_, without = judge(bounds, 5), judge(bounds, 5, measure=False)
    assert with_.keep.to_pylist() == without.keep.to_pylist() == [False, True, True, True, False]
    assert with_.reason.to_pylist() == without.reason.to_pylist() == ["a.low", None, None, None, "a.high"]
    assert with_.value is not None and without.value is not None
    assert with_.value.to_pylist() == without.value.to_pylist() == [0.0, None, None, None, 3.0]
    assert [m.reason for m in with_.measured] == ["a.low", "a.high"] and not without.measured
