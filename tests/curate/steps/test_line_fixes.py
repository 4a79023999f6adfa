"""line_rules: what becomes of text, both sides of every bound, columns."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from curate.apply import outcomes
from curate.steps.line_fixes import LineRules

LOOSE: dict[str, Any] = {"max_removed_words": None}


def clean(text: str | None, **settings: Any) -> tuple[str | None, str | None]:
    """(text afterwards, reason of the drop)."""
    batch = pa.RecordBatch.from_pydict({"text": pa.array(["before it", text, "after it"], pa.large_string())})
    outcome = outcomes(LineRules(**settings), [batch])[0]
    assert outcome.verdict is not None
    return outcome.batch.column("text").to_pylist()[1], outcome.verdict.reason.to_pylist()[1]


@pytest.mark.parametrize(
    ("line", "settings", "stays"),
    [
        ("ABcd", {"max_uppercase": 0.5}, True), ("ABCd", {"max_uppercase": 0.5}, False), ("ABCd", {"max_uppercase": 0.75}, True), ("ABCD", {"max_uppercase": None}, True),
        ("12ab", {"max_digits": 0.5}, True), ("123b", {"max_digits": 0.5}, False), ("1234", {}, False), ("1234", {"max_digits": None}, True),
        ("3 likes", {}, False), ("3 likes", {"remove_counters": False}, True), ("3 likes of it", {}, True),
        ("one", {"min_words": 2}, False), ("one two", {"min_words": 2}, True), ("one two", {"min_words": 3}, False), ("one", {"min_words": 1}, True),
        ("items in cart", {}, False), ("items in cart", {"remove_navigation": False}, True), ("items in cart", {"max_navigation_words": 2}, True),
        ("items in cart", {"max_navigation_words": 3}, False),
    ],
)  # fmt: skip
def test_lines(line: str, settings: dict[str, Any], stays: bool) -> None:
    given = {"min_words": None, **LOOSE, **settings}
    first, last = "the first line", "the last line"
    assert clean(f"{first}\n{line}\n{last}", **given)[0] == (f"{first}\n{line}\n{last}" if stays else f"{first}\n{last}")


def test_phrases_leave_the_rest_of_their_line() -> None:
    assert clean("We have items in cart now\nAll news. Read more...\nSign-in to see", **LOOSE)[0] == "We have now\nAll news.\nto see"


@pytest.mark.parametrize(("bound", "reason"), [(0.1, None), (0.09, "line_rules.removed_words"), (0.11, None), (None, None)])
def test_share_of_words_removed(bound: float | None, reason: str | None) -> None:
    text = "one two three four five six seven eight nine\nten"
    assert clean(text, max_removed_words=bound) == (text if reason else text[:-4], reason)


def test_share_of_bytes_and_what_is_left() -> None:
    text = "ééé éé\nx"
    assert clean(text, max_removed_bytes=2 / 13, **LOOSE)[1] is None
    assert clean(text, max_removed_bytes=0.15, **LOOSE)[1] == "line_rules.removed_bytes"
    assert clean("MENU\nHOME", **LOOSE) == ("MENU\nHOME", "line_rules.nothing_left")
    assert clean("", **LOOSE) == ("", None) and clean(None, **LOOSE)[1] is None


def test_annotation_changes_no_text() -> None:
    batch = pa.RecordBatch.from_pydict({"text": pa.array(["MENU\nsome words here\n3 likes\nx"], pa.large_string())})
    row = outcomes(LineRules(mode="annotate"), [batch])[0].batch.to_pylist()[0]
    assert row["text"] == "MENU\nsome words here\n3 likes\nx" and row["line_rules_reason"] == "line_rules.removed_words"
    assert [row[f"line_rules_{k}"] for k in ("lines", "upper_case_lines", "counter_lines", "short_lines")] == [4, 1, 1, 1]
    assert row["line_rules_removed_words"] == pytest.approx(4 / 7)
