"""The shipped class table holds what its sources say, for every code point."""

from __future__ import annotations

import sys
import unicodedata

import numpy as np
import pytest

from curate.kernels import tables

EVERY = [c for c in range(sys.maxunicode + 1) if not 0xD800 <= c < 0xE000]


def bits() -> np.ndarray:
    stage1, stage2 = tables.classes()
    codes = np.arange(sys.maxunicode + 1)
    return stage2[stage1[codes >> 8].astype(int) * 256 + (codes & 255)]


def marked(bit: int) -> set[int]:
    return set(np.nonzero(bits() & bit)[0].tolist())


def test_spaces_and_line_breaks_are_python_s() -> None:
    assert marked(tables.SPACE) == {c for c in EVERY if chr(c).isspace()}
    assert marked(tables.LINE_BREAK) == {c for c in EVERY if len(f"a{chr(c)}b".splitlines()) == 2}


def test_letters_agree_with_python_where_it_knows_the_character() -> None:
    known = [c for c in EVERY if unicodedata.category(chr(c)) != "Cn"]
    letters = marked(tables.LETTER)
    assert [hex(c) for c in known if (c in letters) != chr(c).isalpha()] == []


def test_words_are_letters_marks_numbers_and_underscore_but_not_cjk() -> None:
    word, single = marked(tables.WORD), marked(tables.SINGLE)
    assert not word & single
    wanted = {c for c in EVERY if unicodedata.category(chr(c))[0] in "LMN" or chr(c) == "_"}
    assert wanted <= word | single
    assert {c for c in word if unicodedata.category(chr(c)) != "Cn"} == wanted - single
    assert {ord(c) for c in "\u3042\u30a2\u6f22\uf900\U00020000"} <= single
    assert not {ord(c) for c in "a\uac00\u0e01"} & single


def test_symbols_and_terminal_marks_are_datatrove_s() -> None:
    text = pytest.importorskip("datatrove.utils.text")
    assert marked(tables.SYMBOL) == {ord(c) for c in text.PUNCTUATION_SET}
    assert marked(tables.TERMINAL) == {ord(c) for c in text.TERMINAL_PUNCTUATION}


def test_the_committed_file_is_what_the_script_makes() -> None:
    pytest.importorskip("datatrove")
    from curate.kernels.build_tables import classes, two_stages

    made = two_stages(classes())
    if not all(np.array_equal(a, b) for a, b in zip(made, tables.classes(), strict=True)):
        # A newer `regex` knows more characters: only code points that Python doesn't know may differ.
        stage1, stage2 = made
        codes = np.array([c for c in EVERY if unicodedata.category(chr(c)) != "Cn"])
        assert np.array_equal(stage2[stage1[codes >> 8].astype(int) * 256 + (codes & 255)], bits()[codes])


def test_blank_split_makes_everything_but_space_a_word() -> None:
    stage1, stage2 = tables.blank_split_classes()
    assert stage1 is tables.classes().stage1
    assert not (stage2 & (tables.SINGLE | tables.JOINER))[(stage2 & tables.SPACE) == 0].any()
    assert ((stage2 & tables.WORD != 0) == (stage2 & tables.SPACE == 0)).all()
