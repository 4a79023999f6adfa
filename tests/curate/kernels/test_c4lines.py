"""Cleaned pages, counts and verdicts equal the naive twin's."""

from __future__ import annotations

import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels import c4lines
from curate.kernels.strings import from_buffers, views
from tests.reference import c4 as reference

REASONS = ["c4.lorem_ipsum", "c4.curly_bracket", "c4.too_few_sentences", ""]

SETTINGS = [
    reference.Rules(),
    reference.Rules(terminal_punctuation=False, max_word_chars=10, min_sentences=1),
    reference.Rules(min_sentences=None, min_words_per_line=None, remove_citations=False),
    reference.Rules(terminal_punctuation=False, min_words_per_line=None, min_sentences=0, max_word_chars=None, drop_lorem_ipsum=False),
    reference.Rules(
        terminal_punctuation=False, min_words_per_line=1, min_sentences=1, drop_curly_bracket=False,
        remove_javascript_lines=False, remove_policy_lines=False,
    ),
]  # fmt: skip

PIECES = [
    *" \n\r\x0b\x1c\x1f\x85\u2028\u3000\ufeff\u200b.?!\u3002\uff01\u061f\u0964'\")]\u201d\u300d{[\u0663\u0130\u212aab\u00e9\u4e2d",
    "\r\n", "...", "[1]", "[]", "[edit]", "[citation needed]", "[12\u06634]", "[\U0001d7d7]", "[citation", " The cat. ", " It is so! ",
    "lorem ipsum", "Lorem IPSUM", "JavaScript", "coo\u212aie policy", "use coo", "kies", "cookie policy", "terms of use", "x" * 12,
]  # fmt: skip


def bits(rules: reference.Rules) -> int:
    switches = (
        rules.terminal_punctuation, rules.remove_citations, rules.drop_lorem_ipsum,
        rules.remove_javascript_lines, rules.drop_curly_bracket, rules.remove_policy_lines,
    )  # fmt: skip
    return sum(1 << k for k, on in enumerate(switches) if on)


def run(column: pa.LargeStringArray, rules: reference.Rules, everything: bool = False) -> list[reference.Page]:
    data, offsets = views(column)
    n = len(column)
    out, out_offsets = np.zeros(max(1, int(offsets[-1] - offsets[0])), np.uint8), np.zeros(n + 1, np.int64)
    counts, verdict = np.zeros((n, c4lines.COLUMNS), np.int32), np.zeros(n, np.int8)
    bounds = [-1 if b is None else b for b in (rules.min_words_per_line, rules.max_word_chars, rules.min_sentences)]
    c4lines.clean_pages(data, offsets, bits(rules), *bounds, everything, out, out_offsets, counts, verdict)
    names = list(reference.clean("", rules).counts)
    texts = from_buffers(out, out_offsets).to_pylist()
    return [
        reference.Page(REASONS[v], text, dict(zip(names, row.tolist(), strict=True)))
        for v, text, row in zip(verdict, texts, counts, strict=True)
    ]


@pytest.mark.parametrize("rules", SETTINGS, ids=range(len(SETTINGS)))
@pytest.mark.parametrize("everything", [False, True])
def test_pages_equal_the_twin(rules: reference.Rules, everything: bool) -> None:
    @settings(max_examples=120, deadline=None)
    @given(st.lists(st.lists(st.sampled_from(PIECES), max_size=40).map("".join), min_size=1, max_size=6))
    def check(texts: list[str]) -> None:
        got = run(pa.array(texts, pa.large_string()), rules, everything)
        assert got == [reference.clean(text, rules, everything) for text in texts]

    check()


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("", 0), ("  ", 0), ("no mark", 1), ("One. Two.", 2), ("One.Two.", 1), ("Pi is 3.14 today.", 1), ("Mr. Smith left.", 2),
        ('He said "go." Then left.', 2), ("(Yes.) No?!", 2), ("What... is it", 2), ("\u597d\u3002\u771f\uff01\u597d", 3),
        ("\u300c\u597d\u3002\u300d\u4ed6\u8bf4\u3002", 2), ("\u0915\u0964 \u0916", 2), ("e.g. this", 2), ("e.g this", 1), (". . .", 3),
    ],
)  # fmt: skip
def test_sentences_are_counted_by_the_rule(line: str, count: int) -> None:
    assert len(reference.sentences(line)) == count
    rules = reference.Rules(terminal_punctuation=False, min_words_per_line=None, min_sentences=0)
    assert run(pa.array([line], pa.large_string()), rules)[0].counts["sentences"] == count


def test_decimal_digits_are_those_of_python() -> None:
    known = {zero + k for zero in c4lines.DIGIT_ZEROS.tolist() for k in range(10)}
    assert all(unicodedata.category(chr(c)) == "Nd" for c in known)
    if unicodedata.unidata_version == "14.0.0":
        assert {c for c in range(128, 0x110000) if unicodedata.category(chr(c)) == "Nd"} == known


def test_only_the_kelvin_sign_lowers_into_a_phrase() -> None:
    into_ascii = {c for c in map(chr, range(128, 0x110000)) if any(x.isascii() and x.isalpha() for x in c.lower())}
    assert into_ascii == {"\u0130", "\u212a"}  # the first becomes two characters, and no phrase ends in "i"


def test_slices_and_hostile_text() -> None:
    hostile = [char * 500_000 for char in "a\n[.{\u3000"] + ["[1" * 100_000, "cookie " * 50_000 + "."]
    column = pa.array(["A b c. D e. F g. H i. J k.", *hostile, " End of it all. "], pa.large_string())
    rules = reference.Rules(min_sentences=1)
    whole = run(column, rules)
    assert whole == [reference.clean(text, rules) for text in column.to_pylist()]
    assert run(column.slice(3, 6), rules) == whole[3:9]
