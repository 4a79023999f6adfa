"""Every bound of the fineweb rules: one value on each side and the bound itself; reasons, values, columns."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from curate import steps
from curate.apply import outcomes
from curate.steps.fineweb_rules import FineWeb

OFF: dict[str, Any] = {
    "min_terminal_punctuation": None, "max_short_lines": None, "max_duplicate_line_chars": None, "max_newlines_per_word": None,
}  # fmt: skip
PROSE = "A line of prose that is long enough to be one.\nAnd another line of prose, longer than thirty characters."


def table(*texts: str | None) -> pa.Table:
    return pa.table({"text": pa.array(texts, pa.large_string())})


def verdict(text: str | None, **settings: Any) -> tuple[str | None, float | None]:
    (outcome,) = outcomes(FineWeb(**settings), table(text).to_batches())
    assert outcome.verdict is not None and outcome.verdict.value is not None
    assert outcome.verdict.keep.to_pylist() == [outcome.verdict.reason[0].as_py() is None]
    return outcome.verdict.reason[0].as_py(), outcome.verdict.value[0].as_py()


@pytest.mark.parametrize(
    ("setting", "bound", "reason", "texts"),
    [
        (
            "min_terminal_punctuation",
            0.5,
            "fineweb.few_terminal_punctuation",
            {"a.\nb. \nc": 1 / 3, "a\u3002\n\n \nb": 0.5, "a!\nb?\nc": 2 / 3},
        ),
        (
            "max_short_lines",
            0.5,
            "fineweb.short_lines",
            {"abc\nabcd\nabcd": 1 / 3, "\u4e2d\u4e2d\u4e2d\n\nabcd": 0.5, "abc\nab\nabcd": 2 / 3},
        ),
        (
            "max_duplicate_line_chars",
            0.25,
            "fineweb.duplicate_lines",
            {"ab\nab\ncdefgh": 0.2, "ab\nab\ncdef\n ": 2 / 9, "ab\nab\ncdef": 0.25, "a\na": 0.5},
        ),
        ("max_newlines_per_word", 0.5, "fineweb.newlines", {"a b c\n": 1 / 3, "a\nb": 0.5, "a\n\nb": 1.0}),
    ],
)
def test_bounds(setting: str, bound: float, reason: str, texts: dict[str, float]) -> None:
    for text, number in texts.items():
        outside = number < bound if setting.startswith("min") else number > bound
        assert verdict(text, **(OFF | {setting: bound}), short_line_chars=3) == ((reason, number) if outside else (None, None))
        assert verdict(text, **OFF) == (None, None)


def test_defaults() -> None:
    assert verdict(PROSE) == (None, None)
    assert verdict("Home\nAbout us\nContact.") == ("fineweb.short_lines", 1.0)
    assert verdict("x" * 30 + ".", max_newlines_per_word=None) == (None, None)
    assert verdict("x" * 29 + ".") == ("fineweb.short_lines", 1.0)


def test_documents_without_a_line_are_dropped() -> None:
    for text in ("", "\n", " \t\n\u3000", None):
        assert verdict(text, **OFF) == ("fineweb.empty", 0)


def test_no_terminal_punctuation_at_all_can_be_allowed() -> None:
    verse = "\n".join("a line of verse that carries no mark at its end" + "x" * i for i in range(12))
    assert verdict(verse) == ("fineweb.few_terminal_punctuation", 0)
    assert verdict(verse, allow_no_terminal_punctuation=True) == (None, None)
    some = verse + "."
    assert verdict(some, allow_no_terminal_punctuation=True) == ("fineweb.few_terminal_punctuation", 1 / 12)


def test_annotate_adds_columns_and_drops_nothing() -> None:
    given = table("ab.\nab.\n", "", None)
    step = FineWeb(mode="annotate")
    result = steps.fineweb(given, mode="annotate")
    assert result.column("text").equals(given.column("text"))
    assert {name: result.schema.field(name).type for name in result.column_names if name != "text"} == dict(step.adds())
    assert step.drops() == ()
    assert result.drop_columns("text").to_pylist()[:2] == [
        {
            "fineweb_keep": False, "fineweb_reason": "fineweb.short_lines", "fineweb_lines": 2, "fineweb_terminal_punctuation_fraction": 1.0,
            "fineweb_short_line_fraction": 1.0, "fineweb_duplicate_line_char_fraction": 0.5, "fineweb_newlines_per_word": 0.5,
        },
        {
            "fineweb_keep": False, "fineweb_reason": "fineweb.empty", "fineweb_lines": 0, "fineweb_terminal_punctuation_fraction": None,
            "fineweb_short_line_fraction": None, "fineweb_duplicate_line_char_fraction": None, "fineweb_newlines_per_word": None,
        },
    ]  # fmt: skip


def test_drop_mode_and_reasons() -> None:
    assert steps.fineweb(table("menu", PROSE)).to_pylist() == [{"text": PROSE}]
    assert steps.fineweb(table()).num_rows == 0
    assert FineWeb(max_short_lines=None).drops() == (
        "fineweb.empty", "fineweb.few_terminal_punctuation", "fineweb.duplicate_lines", "fineweb.newlines",
    )  # fmt: skip


@pytest.mark.parametrize("settings", [{"min_terminal_punctuation": -0.1}, {"max_short_lines": 2}, {"short_line_chars": -1}, {"words": "x"}])
def test_settings_are_checked(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FineWeb(**settings)
