"""Final answers, taken as they are marked."""

from __future__ import annotations

import pytest

from formats.answers import boxed, final_answer, normalised

CASES = [
    (r"so \boxed{42}", "42", "boxed"),
    (r"first \boxed{1}, then \boxed{\frac{1}{2}} done", r"\frac{1}{2}", "boxed"),
    (r"\boxed{a\}b}", r"a\}b", "boxed"),
    (r"\boxed{open and \boxed{7}", "7", "boxed"),
    (r"\fbox{9}", "9", "boxed"),
    (r"thus \boxed 5.", "5", "boxed"),
    ("Tom has 3+4=7\n#### 1,234", "1,234", "hashes"),
    ("#### 1\nno\n####  2  ", "2", "hashes"),
    ("The answer is (B).", "B", "choice"),
    ("Answer: c", "C", "choice"),
    ("Some thoughts.\n**D**", "D", "choice"),
    ("We add.\nThe answer is 12 apples.", "12 apples", "phrase"),
    ("Final answer: **x = 3**", "x = 3", "phrase"),
]


@pytest.mark.parametrize(("text", "answer", "kind"), CASES)
def test_found(text: str, answer: str, kind: str) -> None:
    assert final_answer(text) == (answer, kind)


def test_not_found() -> None:
    for text in ("", "just words", "##### heading", r"\boxed{never closed", "A heading\nwith more than a letter"):
        assert final_answer(text) is None
    assert final_answer(r"\boxed{1}", ("hashes",)) is None and boxed("\\boxed") is None


def test_spellings_that_are_equal() -> None:
    assert normalised("$1,234.$") == normalised("1234") == "1234"
    assert normalised(r"\text{north}") == "north" and normalised(r"50\%") == "50%" and normalised("1,2") == "1,2"
    assert normalised(r"\$12") == "12"


def test_many_marks_cost_little() -> None:
    assert final_answer("\\boxed{" * 200_000) is None
    assert final_answer("\\boxed{" * 100_000 + "1" + "}" * 100_000) == ("1", "boxed")
