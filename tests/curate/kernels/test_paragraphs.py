"""Pieces of documents: they cover the text, begin where a twin by regular expressions says, and count characters."""

from __future__ import annotations

import itertools
import re

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curate.kernels.paragraphs import pieces
from curate.kernels.strings import views

WHITE = " \t\n\v\f\r"


def naive(text: str, breaks: int) -> list[str]:
    """Pieces with the line breaks behind them; white space at the start belongs to the first."""
    if not text:
        return []
    if not text.strip(WHITE):
        return [text]
    lead = len(text) - len(text.lstrip(WHITE))
    gap = rf"[ \t\v\f\r]*(?:\n[ \t\v\f\r]*){{{breaks},}}"
    ends = [m.end() for m in re.finditer(gap, text[lead:]) if m.end() < len(text) - lead]
    cuts = [0, *(lead + end for end in ends), len(text)]
    return [text[a:b] for a, b in itertools.pairwise(cuts)]


@pytest.mark.parametrize("breaks", [1, 2])
@settings(max_examples=80, deadline=None)
@given(st.lists(st.text("ab\n\n \t\r\u00e9\u4e2d", max_size=30), max_size=5))
@example(["", "a\nb\n\nc", "\n\n x y\n \n z", " \n", "plain"])
def test_equals_naive(breaks: int, texts: list[str]) -> None:
    column = pa.array(["before", *texts], pa.large_string())[1:]
    data, offsets = views(column)
    cut = pieces(data, offsets, breaks)
    ours = [data[a:b].tobytes().decode() for a, b in zip(cut.offsets, cut.offsets[1:], strict=False)]
    expected = [(d, piece) for d, text in enumerate(texts) for piece in naive(text, breaks)]
    assert list(zip(cut.doc.tolist(), ours, strict=True)) == expected
    assert cut.chars.tolist() == [sum(c not in WHITE for c in piece) for piece in ours]
