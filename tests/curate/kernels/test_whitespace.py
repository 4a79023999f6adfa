"""White space equals Python's, code point by code point."""

from __future__ import annotations

import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.whitespace import space_width, strip


def test_every_code_point_is_white_space_where_python_says_so() -> None:
    text = [chr(c) for c in range(sys.maxunicode + 1) if not 0xD800 <= c < 0xE000]
    differing = []
    for char in text:
        if ord(char) > 0x3100 and not char.isspace() and ord(char) % 97:
            continue  # a sample of the rest: their first byte or second byte settles it
        raw = np.frombuffer(char.encode(), np.uint8)
        if space_width(raw, 0, len(raw)) != (len(raw) if char.isspace() else 0):
            differing.append(hex(ord(char)))
    assert differing == []


@given(st.text(alphabet="a \n\t\x1f\x85\u00a0\u1680\u2003\u2028\u205f\u3000\ufeff\u200b\u00e9\u4e2d\U0001d7ce"), st.integers(0, 3))
def test_strip_is_that_of_python(text: str, before: int) -> None:
    raw = text.encode()
    data = np.frombuffer(b"x" * before + raw + b" ", np.uint8)
    start, end = strip(data, before, before + len(raw))
    assert data[start:end].tobytes().decode() == text.strip()
