"""Counts of code against the naive twin, and encoded data at its bounds."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels import codestats
from curate.kernels.characters import character_bits
from curate.kernels.strings import views
from tests.reference.codestats import counts


def run(texts: list[str]) -> np.ndarray:  # type: ignore[type-arg]
    data, offsets = views(pa.array(texts, pa.large_string()))
    out = np.zeros((len(texts), codestats.COLUMNS), np.int64)
    codestats.count_code(data, offsets, character_bits(), out)
    return out


@given(
    st.lists(
        st.one_of(st.sampled_from(["def f(x):", "\n", " ", "é", "中文", "²", "_", "= 1", "\t"]), st.text(max_size=3)), max_size=30
    ).map("".join)
)
def test_lines_and_characters_equal_the_twin(text: str) -> None:
    assert tuple(run(["\n", text, "x"])[1][:5]) == counts(text)[:5]


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        ("A" * 64, 64), ("A" * 63, 0), ("x = '" + "Qk" * 40 + "'", 80), ("AB\n" * 22, 66),
        ("de ad be ef de ad be ef", 23), ("de ad be ef de ad be", 0), ("0xde, 0xad,0xbe,0xef, 0xde,0xad,0xbe,0xef;", 41),
        (r"\xde\xad\xbe\xef\xde\xad\xbe\xef", 32), (r"\xde\xad\xbe\xef\xde\xad\xbe", 0), ("deadbeefdeadbeef", 0), ("say de ad be ef de ad be ef.", 23),
        (r"\u0041" * 8, 48), (r"\u0041" * 7, 0), ("", 0), ("de", 0), ("\\", 0),
    ],
)  # fmt: skip
def test_encoded_data(text: str, encoded: int) -> None:
    made = run([text])[0]
    assert made[codestats.ENCODED] == made[codestats.LONGEST_ENCODED] == encoded
    assert tuple(made) == counts(text)


def test_hostile_documents() -> None:
    made = run(["a" * 1_000_000, "\\" * 1_000_000, "0x" * 500_000, "de " * 300_000, "\n" * 1_000_000])
    assert made[:, codestats.CHARS].tolist() == [1_000_000, 1_000_000, 1_000_000, 900_000, 1_000_000]
