"""Phrases are found in any case, wherever they stand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels import phrases

EVERY = {
    "lorem ipsum": phrases.LOREM_IPSUM,
    "javascript": phrases.JAVASCRIPT,
    "{": phrases.CURLY_BRACKET,
    **dict.fromkeys(("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies"), phrases.POLICY),
}
PARTS = [
    "lorem",
    " ",
    "ipsum",
    "java",
    "script",
    "terms of",
    "use",
    "s",
    "of",
    "cookie",
    "coo\u212aie",
    "policy",
    "polic",
    "y",
    "JAV",
    "{",
    "\u2122",
]


def naive(line: str) -> int:
    lower = line.lower()
    return sum({bit for phrase, bit in EVERY.items() if phrase in lower})


def find(line: str) -> int:
    data = np.frombuffer(line.encode() or b" ", np.uint8)
    return int(phrases.find_phrases(data, 0, len(line.encode())))


@pytest.mark.parametrize("phrase", EVERY)
def test_a_phrase_is_found_at_every_place_of_a_block(phrase: str) -> None:
    for pad in range(70):
        for behind in (0, 70):
            line = "-" * pad + phrase.title() + "-" * behind
            assert find(line) == EVERY[phrase]
            assert find(line.replace(phrase.title()[-1], "", 1)) == naive(line.replace(phrase.title()[-1], "", 1))


@settings(deadline=None)
@given(st.lists(st.sampled_from(PARTS), max_size=20).map("".join), st.integers(0, 70))
def test_lines_equal_the_twin(line: str, behind: int) -> None:
    data = np.frombuffer(line.encode() + b"{ javascript" * behind + b"{", np.uint8)
    assert phrases.find_phrases(data, 0, len(line.encode())) == naive(line)


def test_only_the_kelvin_sign_lowers_into_a_phrase() -> None:
    into_ascii = {c for c in map(chr, range(128, 0x110000)) if any(x.isascii() and x.isalpha() for x in c.lower())}
    assert into_ascii == {"\u0130", "\u212a"}  # the first becomes two characters, and no phrase ends in "i"
    assert find("use coo\u212aies and so on" + "-" * 70) == phrases.POLICY


def test_a_long_line_is_searched_once() -> None:
    line = "javascrip" * 100_000
    assert find(line) == 0
    assert find(line + "t") == phrases.JAVASCRIPT
