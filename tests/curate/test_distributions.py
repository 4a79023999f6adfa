"""Bins are exact, cover every number, and add up; the axis of a plot keeps every count and shows every bound."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.distributions import Distributions, count, edges
from curate.report.axis import axis
from curate.report.plots import histogram
from curate.step import Measured

NUMBERS = st.lists(st.floats(-1e12, 1e12, allow_subnormal=False) | st.floats(0, 1) | st.just(0.0) | st.just(-0.0), max_size=50)


@settings(max_examples=40)
@given(NUMBERS)
def test_every_number_lies_in_its_bin(numbers: list[float]) -> None:
    found = count(np.array([*numbers, np.nan]))
    assert sum(found.values()) == len(numbers)
    for value in numbers:
        (bin_,) = count(np.array([value]))
        low, high = edges(bin_)
        assert (low <= value < high) if value >= 0 else (low < value <= high)
        assert found[bin_] >= 1
        assert value == 0 or high - low <= abs(value) / 8 * 1.0001 or abs(value) < 1e-300


@settings(max_examples=40)
@given(NUMBERS, st.floats(-100, 1e6))
def test_the_axis_keeps_every_count_and_shows_the_bound(numbers: list[float], bound: float) -> None:
    values = np.array(numbers)
    bins = [[*edges(n), c, 0] for n, c in sorted(count(values).items(), key=lambda item: edges(item[0])[0])]
    made = axis(bins, bound)
    assert sum(bar.counts[0] for bar in made.bars) == len(numbers)
    assert made.start <= bound <= made.end or (made.octaves and bound <= made.start)
    assert all(a.high == b.low for a, b in zip(made.bars, made.bars[1:], strict=False))
    assert 0 <= made.place(bound) <= 1
    assert histogram(made, [bound], "x <b>", False).count("<b>") == 0


@pytest.mark.parametrize(("at_least", "at_most", "gone"), [(3.0, None, [1.0, 2.0]), (None, 3.0, [4.0]), (2.0, 3.0, [1.0, 4.0])])
def test_bounds_split_kept_and_dropped(at_least: float | None, at_most: float | None, gone: list[float]) -> None:
    numbers = np.array([1.0, 2.0, 3.0, 4.0, np.nan])
    whole, sliced = Distributions(["a"]), Distributions(["a"])
    whole.measured(0, [Measured("a.x", numbers, at_least, at_most)])
    for part in (numbers[:2], numbers[2:]):
        sliced.measured(0, [Measured("a.x", part, at_least, at_most)])
    assert whole.record() == sliced.record()
    bound = whole.record()["bounds"][0]
    assert Counter({int(k): v for k, v in bound["dropped"].items()}) == Counter(count(np.array(gone)))
    assert sum(bound["kept"].values()) == 4 - len(gone)


def test_lengths_and_languages() -> None:
    batch = pa.record_batch({"text": pa.array(["a", "bc", None, "bc"], pa.large_string()), "lang_code": ["en", "de", None, "en"]})
    found = Distributions(["language"])
    found.came_in(batch.select(["text"]))
    found.looked_at(0, batch)
    found.went_out(batch.slice(1, 1))
    record = found.record()
    assert sorted(record["lengths"]["read"].values()) == [1, 1, 2]
    assert record["languages"] == {"read": {"de": 1, "en": 2, "und": 1}, "kept": {"de": 1}}
