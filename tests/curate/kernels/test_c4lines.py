"""Cleaned pages, counts and verdicts equal the naive twin's."""

from __future__ import annotations

import unicodedata
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels import c4lines, phrases
from curate.kernels.strings import from_buffers, views
from tests.reference import c4 as reference

REASONS = ["c4.too_long", "c4.lorem_ipsum", "c4.curly_bracket", "c4.too_few_sentences", ""]

SETTINGS = [
    reference.Rules(),
    reference.Rules(terminal_punctuation=False, max_word_chars=10, min_sentences=1),
    reference.Rules(min_sentences=None, min_words_per_line=None, remove_citations=False),
    reference.Rules(terminal_punctuation=False, min_words_per_line=None, min_sentences=0, max_word_chars=None, drop_lorem_ipsum=False),
    reference.Rules(
        terminal_punctuation=False, min_words_per_line=1, min_sentences=1, drop_curly_bracket=False,
        remove_javascript_lines=False, remove_policy_lines=False,
    ),
    reference.Rules(semantics="dclm", min_words_per_line=5, min_sentences=3),
    reference.Rules(semantics="dclm", min_words_per_line=2, min_sentences=1, max_word_chars=64, max_page_chars=100),
    reference.Rules(semantics="dclm", terminal_punctuation=False, min_words_per_line=None, min_sentences=None, max_word_chars=70),
]  # fmt: skip

PIECES = [
    *" \n\r\x0b\x1c\x1f\x85\u2028\u3000\ufeff\u200b.?!\u3002\uff01\u061f\u0964'\")]\u201d\u300d{[\u0663\u0130\u212aab\u00e9\u4e2d",
    "\r\n", "...", "[1]", "[]", "[edit]", "[citation needed]", "[12\u06634]", "[\U0001d7d7]", "[citation", " The cat. ", " It is so! ",
    "lorem ipsum", "Lorem IPSUM", "JavaScript", "coo\u212aie policy", "use coo", "kies", "cookie policy", "terms of use", "x" * 12,
    "x" * 66, "\u4e2d" * 40, "word " * 13, "e\u0301" * 33,
]  # fmt: skip


def bits(rules: reference.Rules) -> int:
    switches = {
        c4lines.END_MARK: rules.terminal_punctuation,
        c4lines.CITATION: rules.remove_citations,
        c4lines.DCLM: rules.semantics == "dclm",
        phrases.LOREM_IPSUM: rules.drop_lorem_ipsum,
        phrases.JAVASCRIPT: rules.remove_javascript_lines,
        phrases.CURLY_BRACKET: rules.drop_curly_bracket,
        phrases.POLICY: rules.remove_policy_lines,
    }
    return sum(bit for bit, on in switches.items() if on)


def run(column: pa.LargeStringArray, rules: reference.Rules, everything: bool = False) -> list[reference.Page]:
    """Pages of the kernel; with `everything` it writes no text, and none is given."""
    data, offsets = views(column)
    n = len(column)
    out, out_offsets = np.zeros(max(1, int(offsets[-1] - offsets[0])), np.uint8), np.zeros(n + 1, np.int64)
    counts, verdict = np.zeros((n, c4lines.COLUMNS), np.int32), np.zeros(n, np.int8)
    settings = (rules.min_words_per_line, rules.max_word_chars, rules.min_sentences, rules.max_page_chars)
    bounds = [-1 if b is None else b for b in settings]
    c4lines.clean_pages(data, offsets, bits(rules), *bounds, everything, out, out_offsets, counts, verdict)
    texts = from_buffers(out, out_offsets).to_pylist()
    return [
        reference.Page(REASONS[v], text, dict(zip(reference.COUNTS, row.tolist(), strict=True)))
        for v, text, row in zip(verdict, texts, counts, strict=True)
    ]


def expected(column: pa.LargeStringArray, rules: reference.Rules, everything: bool = False) -> list[reference.Page]:
    pages = [reference.clean(text, rules, everything) for text in column.to_pylist()]
    return [replace(page, text="") for page in pages] if everything else pages


@pytest.mark.parametrize("rules", SETTINGS, ids=range(len(SETTINGS)))
@pytest.mark.parametrize("everything", [False, True])
def test_pages_equal_the_twin(rules: reference.Rules, everything: bool) -> None:
    @settings(max_examples=120, deadline=None)
    @given(st.lists(st.lists(st.sampled_from(PIECES), max_size=40).map("".join), min_size=1, max_size=6))
    def check(texts: list[str]) -> None:
        column = pa.array(texts, pa.large_string())
        assert run(column, rules, everything) == expected(column, rules, everything)

    check()


def test_decimal_digits_are_those_of_python() -> None:
    known = {zero + k for zero in c4lines.DIGIT_ZEROS.tolist() for k in range(10)}
    assert all(unicodedata.category(chr(c)) == "Nd" for c in known)
    if unicodedata.unidata_version == "14.0.0":
        assert {c for c in range(128, 0x110000) if unicodedata.category(chr(c)) == "Nd"} == known


def test_slices_and_hostile_text() -> None:
    hostile = [char * 500_000 for char in "a\n[.{\u3000"] + ["[1" * 100_000, "cookie " * 50_000 + "."]
    column = pa.array(["A b c. D e. F g. H i. J k.", *hostile, " End of it all. "], pa.large_string())
    rules = reference.Rules(min_sentences=1)
    whole = run(column, rules)
    assert whole == expected(column, rules)
    assert run(column.slice(3, 6), rules) == whole[3:9]


@pytest.mark.parametrize("pad", [0, 1, 61, 62, 63, 64, 65])
def test_what_stands_across_two_blocks_is_seen(pad: int) -> None:
    """Every mark, space, break and phrase at every place of a block, with and without 64 bytes behind it."""
    rules = reference.Rules(min_words_per_line=None, terminal_punctuation=False, min_sentences=0, max_word_chars=70)
    for piece in PIECES:
        texts = ["a" * pad + piece + "b c. d", "a" * pad + piece + "b c. d" + " e" * 70]
        column = pa.array(texts, pa.large_string())
        assert run(column, rules) == expected(column, rules)


@pytest.mark.parametrize("everything", [False, True])
def test_citations_anywhere_in_lines_of_any_length(everything: bool) -> None:
    """Lines are copied 32 bytes at once, around what is taken out of them, to the end of the buffer and not beyond."""
    rules = reference.Rules(min_words_per_line=None, min_sentences=0)
    texts = [f"{'ab ' * k}[{k}]{'c' * (7 * k % 70)}[x][edit] d.\n{'e' * k}[.\n\n [1]f." for k in range(0, 70, 3)]
    column = pa.array(texts, pa.large_string())
    assert run(column, rules, everything) == expected(column, rules, everything)
    for text in texts[:4]:
        one = pa.array([text], pa.large_string())
        assert run(one, rules, everything) == expected(one, rules, everything)
