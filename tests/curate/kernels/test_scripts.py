"""Scripts of documents: exact cases, and equal to counting by Unicode's own names."""

from __future__ import annotations

import unicodedata

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels.scripts import codes, scripts
from curate.kernels.strings import views

CASES = {
    "hello w\u00f6rld, this": "Latn", "\u3053\u308c\u306f\u65e5\u672c\u8a9e\u3067\u3059": "Jpan", "\u4e2d\u6587\u5b57": "Hani",
    "\ud55c\uad6d\uc5b4 \u6f22\u5b57": "Hang", "\u043f\u0440\u0438\u0432\u0435\u0442 hello": "Cyrl", "123 !? \U0001f600": "Zyyy", "": "Zyyy",
    "\u0e44\u0e17\u0e22": "Thai", "\u0627\u0644\u0639\u0631\u0628\u064a\u0629": "Arab", "\u0928\u092e\u0938\u094d\u0924\u0947": "Deva",
    "\u0395\u03bb\u03bb": "Grek", "abcdefgh[[[[{{{{@@@@````ZZZZ": "Latn", "\u6f22" * 19 + "\u306e": "Jpan", "\u6f22" * 20 + "\u306e": "Hani",
}  # fmt: skip
PREFIXES = {"LATIN": "Latn", "CYRILLIC": "Cyrl", "GREEK": "Grek", "ARABIC": "Arab"}


def of(texts: list[str]) -> list[str]:
    return [codes()[number] for number in scripts(*views(pa.array(texts, pa.large_string()))).tolist()]


def test_cases() -> None:
    assert dict(zip(CASES, of(list(CASES)), strict=True)) == CASES
    assert len(codes()) == 256 and codes()[-1] == "Jpan" and codes()[0] == "Zyyy"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("abzAZ@[`{~09 \n\u00e9\u0436\u044f\u03b1\u0628", max_size=40), max_size=5))
def test_equals_counting_by_name(texts: list[str]) -> None:
    for text, script in zip(texts, of(texts), strict=True):
        found = [PREFIXES[unicodedata.name(c).split()[0]] for c in text if c.isalpha()]
        most = max((found.count(s) for s in found), default=0)
        assert script == "Zyyy" if not found else found.count(script) == most


def test_slices_and_nulls() -> None:
    column = pa.array(["\u0436", None, "abc", "\u4e2d"], pa.large_string())
    assert [codes()[n] for n in scripts(*views(column[1:]))] == ["Zyyy", "Latn", "Hani"]
