"""The scan of `clean` flags a superset: no repair changes a text that it did not flag. And blanks go as in Python."""

from __future__ import annotations

import sys
import unicodedata
from itertools import pairwise

import ftfy
import numpy as np
import pyarrow as pa
import pytest
from ftfy.badness import BADNESS_RE, MOJIBAKE_CATEGORIES, is_bad
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curate.kernels import repairs
from curate.kernels.repairs import BLANKS, COMPOSE, ENTITY, INVISIBLE, LINE_ENDS, MOJIBAKE, TAG, Scanner, composing_blocks, trimmed
from curate.kernels.strings import views
from curate.steps import html_leftovers, text_repairs

BY_FLAG = {
    MOJIBAKE: text_repairs.mojibake,
    ENTITY: html_leftovers.entities,
    TAG: html_leftovers.tags,
    INVISIBLE: text_repairs.invisible,
    COMPOSE: text_repairs.compose,
    LINE_ENDS: text_repairs.line_ends,
    BLANKS: text_repairs.blanks,
}
# Characters of ftfy's rules, letters those rules name alone, and some of everything else.
MARKS = "".join("".join(c for c in text if c != "-") for text in MOJIBAKE_CATEGORIES.values()) + "".join(
    c for c in BADNESS_RE.pattern if c > "~"
)
ANY = st.one_of(
    st.sampled_from(sorted(set(MARKS))),
    st.sampled_from([*" aZ9.\n\t\r&;#<>/!=\"'`x", "amp", "lt", "&#39;", "<b>", "</b>", "<br>", "<!--", "-->"]),
    st.sampled_from(
        [
            "\u0301",
            "\u0327",
            "e",
            "\u1100",
            "\u1161",
            "\u11a8",
            "\u200b",
            "\u200d",
            "\ufeff",
            "\xa0",
            "\xad",
            "\x85",
            "\u2028",
            "\u0915",
            "\U0001f469",
        ]
    ),
    st.characters(exclude_categories=("Cs",)),
)
TEXTS = st.lists(ANY, max_size=25).map("".join)


@pytest.fixture(scope="module")
def scanner() -> Scanner:
    return Scanner()


def flags(scanner: Scanner, text: str) -> int:
    return int(scanner(*views(pa.array([text], pa.large_string())))[0])


@settings(max_examples=1500, deadline=None)
@given(TEXTS)
@example("\u0153\n")
@example("a \n")
@example("a\xa0")
@example("x" * 40 + "&" + "a" * 32 + ";")
def test_no_repair_changes_an_unflagged_text(text: str) -> None:
    flagged = flags(SCANNER, text)
    for flag, repair in BY_FLAG.items():
        if not flagged & flag:
            assert repair(text) == text, (flag, repair.__name__)


@settings(max_examples=1500, deadline=None)
@given(TEXTS)
def test_mojibake_flag_covers_what_ftfy_would_change(text: str) -> None:
    if not flags(SCANNER, text) & MOJIBAKE:
        assert not is_bad(text) and ftfy.fix_encoding(text) == text


SCANNER = Scanner()


def test_every_rule_of_ftfy_is_flagged(scanner: Scanner) -> None:
    """For each two characters that ftfy's rules name, in several surroundings."""
    characters = sorted(set(MARKS) | set(" aZ"))
    texts = [left + a + b + right for a in characters if a > "~" for b in characters for left, right in (("", ""), ("a", "z"), (" ", " "))]
    found = scanner(*views(pa.array(texts, pa.large_string()))) & MOJIBAKE
    missed = [text for text, flag in zip(texts, found.tolist(), strict=True) if not flag and is_bad(text)]
    assert missed == []
    assert 0 < np.count_nonzero(found) < len(texts) / 2, "the flag must also spare"


@pytest.mark.parametrize(
    "text",
    ["sch\u00f6n gr\u00f6\u00dfe na\u00efve cr\u00e9\u00e9e \u00abo\u00f9\u00bb", "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440", "\u4f60\u597d\uff0c\u4e16\u754c", "caf\u00e9 \u2013 \u201cquote\u201d it\u2019s 5 \u20ac",
     "\uc548\ub155\ud558\uc138\uc694", "plain ASCII, a < b && c; x & y", "a\tb\n  indented\n\n\nthree", "1\u00b0 \u00a7 5 \u00bd"],
)  # fmt: skip
def test_clean_text_is_spared(scanner: Scanner, text: str) -> None:
    assert flags(scanner, text) == 0


def test_unknown_form_of_rule_flags_everything_beyond_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    class Grouped:
        pattern = "(?:a|b)+"

    monkeypatch.setattr("ftfy.badness.BADNESS_RE", Grouped)
    careful = Scanner()
    assert flags(careful, "plain") & MOJIBAKE == 0
    assert all(flags(careful, f"x{c}y") & MOJIBAKE for c in ("\u00e9", "\u4e2d", "\U0001f600"))


def test_composing_blocks_hold_every_character_that_nfc_looks_at() -> None:
    blocks = composing_blocks()
    seconds = {*range(0x1161, 0x1176), *range(0x11A8, 0x11C3)}
    for code in range(sys.maxunicode + 1):
        parts = unicodedata.decomposition(chr(code)).split()
        if len(parts) == 2 and not parts[0].startswith("<") and unicodedata.normalize("NFC", chr(code)) == chr(code):
            seconds.add(int(parts[1], 16))
    every = [c for c in range(sys.maxunicode + 1) if not 0xD800 <= c < 0xE000]
    active = {c for c in every if unicodedata.combining(chr(c)) or not unicodedata.is_normalized("NFC", chr(c))} | seconds
    assert {code for code in active if not blocks[code >> 4]} == set()
    assert blocks[: 0x300 >> 4].sum() == 0 and blocks[0x2010 >> 4] == 0 and blocks[0x4E00 >> 4 : 0xA000 >> 4].sum() == 0


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text(alphabet=["a", " ", "\t", "\xa0", "\n", "\u00e9", "\u4e2d", "\u00c2"], max_size=30), max_size=4), st.integers(0, 3))
def test_trimming_equals_python(texts: list[str], cut: int) -> None:
    column = pa.array(texts, pa.large_string())[cut:]
    data, offsets = trimmed(*views(column))
    raw = data.tobytes()
    assert [raw[a:z].decode() for a, z in pairwise(offsets)] == [text_repairs.blanks(t) for t in texts[cut:]]


def test_slices_and_hostile_texts(scanner: Scanner) -> None:
    texts = [
        "&amp;",
        "plain",
        "<b>",
        "\u0153" * 300_000,
        "&" * 1_000_000,
        "<" * 1_000_000,
        " " * 1_000_000,
        "\n" * 1_000_000,
        "\U0010ffff" * 250_000,
    ]
    column = pa.array(texts, pa.large_string())
    whole = scanner(*views(column))
    assert whole[:3].tolist() == [ENTITY, 0, TAG]
    assert scanner(*views(column[1:3])).tolist() == [0, TAG]
    assert repairs.trimmed(*views(column[6:8]))[1].tolist() == [0, 0, 3]
