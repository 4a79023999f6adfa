"""Runs of bytes that go from real texts are those that a suffix array finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.dedup_substrings import compare, real_texts


@pytest.mark.parametrize("n", [50, 200])
def test_equals_a_suffix_array(real_data: Path, n: int) -> None:
    pytest.importorskip("pydivsufsort")
    found = compare(real_texts(1), n)
    assert found["bytes_left"] < found["bytes"]
    print(found)
