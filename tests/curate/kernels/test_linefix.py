"""Line clean-up against its naive twin: parts of lines put together at random, and any text."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels import linefix
from curate.kernels.characters import character_bits
from curate.kernels.strings import views
from tests.reference.linefix import Rules, clean, words

PARTS = [
    "word", "WORD", "Two words", "3 likes", "1,204.5k  SHARES!", "- ٣ views -", "3likes", "3 likes of us", "items in cart", " Items In Cart",
    "\u2003items in cart", "Read more...", "read more\u00e9\u00e9x", "read more..", "Sign-in", "sign-in\u00a0", "sign-in ", " sign-in", "2", "²²", "123  ", "ÄÖü", "é", "\t", " ",
    "\u00a0", "\u2028", "\x1c", "\x00", "\n", "\n", "\n\n", "中文", "a b c d e f g h i j k", "_x", "5k views", "7m\u2003views", "8 kviews", "items in items in cart cart",
]  # fmt: skip
texts = st.lists(st.one_of(st.sampled_from(PARTS), st.text(max_size=4)), max_size=14).map("".join)
SETTINGS = [
    Rules(),
    Rules(max_uppercase=None, max_digits=None, min_words=None),
    Rules(remove_counters=False, remove_navigation=False, min_words=1),
    Rules(max_uppercase=0.25, max_digits=0.5, remove_counters=False, min_words=3, max_navigation_words=3),
]


def run(documents: list[str], rules: Rules) -> tuple[list[str], np.ndarray]:  # type: ignore[type-arg]
    data, offsets = views(pa.array(documents, pa.large_string()))
    size = int(offsets[-1] - offsets[0])
    work, out, made = np.empty(size + 1, np.uint8), np.empty(size + 1, np.uint8), np.zeros(len(documents) + 1, np.int64)
    counts = np.zeros((len(documents), linefix.COLUMNS), np.int64)
    linefix.clean_lines(
        data, offsets, character_bits(), linefix.COUNTERS * rules.remove_counters | linefix.NAVIGATION * rules.remove_navigation,
        2.0 if rules.max_uppercase is None else rules.max_uppercase, 2.0 if rules.max_digits is None else rules.max_digits,
        -1 if rules.min_words is None else rules.min_words, rules.max_navigation_words, work, out, made, counts,
    )  # fmt: skip
    return [out[a:b].tobytes().decode() for a, b in pairwise(made)], counts


@pytest.mark.parametrize("rules", SETTINGS)
@given(texts)
def test_equals_the_twin(rules: Rules, text: str) -> None:
    made, counts = run(["before\n", text, "after it"], rules)
    expected = clean(text, rules)
    assert made[1] == expected
    assert counts[1, linefix.WORDS_BEFORE] == words(text) and counts[1, linefix.WORDS_AFTER] == words(expected)
    assert counts[1, linefix.LINES] == text.count("\n") + 1


def test_hostile_documents_stay_linear() -> None:
    big = ["a" * 1_000_000, "\n" * 1_000_000, "A" * 1_000_000, "1 " * 500_000, "items in cart" * 70_000, "9" * 1_000_000 + " likes"]
    made, _ = run(big, Rules(min_words=None))
    assert made[0] == big[0] and made[1] == made[2] == "" and made[5] == ""
