"""Sentences of a line are counted by the rule of the naive twin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels.sentences import count_sentences
from tests.reference.c4 import CLOSERS, MARKS, WIDE_MARKS, sentences

PIECES = [*MARKS, *WIDE_MARKS, *CLOSERS, " ", "\u3000", "a", "\u00e9", "\u4e2d", "\u0627", "\u3001", "\uff0c", "word " * 12, "x" * 60]


def count(line: str) -> int:
    data = np.frombuffer(line.encode() or b" ", np.uint8)
    return int(count_sentences(data, 0, len(line.encode())))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", 0), ("  ", 0), ("no mark", 1), ("One. Two.", 2), ("One.Two.", 1), ("Pi is 3.14 today.", 1), ("Mr. Smith left.", 2),
        ('He said "go." Then left.', 2), ("(Yes.) No?!", 2), ("What... is it", 2), ("\u597d\u3002\u771f\uff01\u597d", 3),
        ("\u300c\u597d\u3002\u300d\u4ed6\u8bf4\u3002", 2), ("\u0915\u0964 \u0916", 2), ("e.g. this", 2), ("e.g this", 1), (". . .", 3),
    ],
)  # fmt: skip
def test_known_lines(line: str, expected: int) -> None:
    assert count(line) == len(sentences(line)) == expected


@settings(deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join), st.integers(0, 70))
def test_lines_equal_the_twin(line: str, behind: int) -> None:
    """With anything behind the line: the kernel must not look past its end."""
    size = len(line.encode())
    data = np.frombuffer(line.encode() + b". " * behind + b".", np.uint8)
    assert count_sentences(data, 0, size) == len(sentences(line))


@pytest.mark.parametrize("unit", [".", ". ", '."', "\u3002", "\u061f ", "a", " ", "\u00bb"])
def test_long_lines(unit: str) -> None:
    line = unit * 100_000
    assert count(line) == len(sentences(line))
