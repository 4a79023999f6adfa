"""Rows as JSON: few of them are written without polars, byte for byte as with it."""

from __future__ import annotations

import json
import sys

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.io import json_text
from curate.io.json_text import json_objects

TEXT = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
ROW = st.tuples(TEXT, TEXT, st.none() | st.integers(-(2**63), 2**63 - 1), st.none() | st.floats(width=64), st.none() | st.booleans())
NAMES = ["text", 'a "b"\n\x01\u00e9', "whole", "number", "yes"]
TYPES = [pa.string(), pa.large_string(), pa.int64(), pa.float64(), pa.bool_()]


@settings(max_examples=80, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=12))
def test_few_rows_are_written_as_polars_writes_them(rows: list[tuple[object, ...]]) -> None:
    made = {name: pa.array(values, kind) for name, values, kind in zip(NAMES, zip(*rows, strict=True), TYPES, strict=True)}
    batch = pa.record_batch({**made, "none": pa.nulls(len(rows))})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_text, "FEW_ROWS", 0)
        expected = json_objects(batch)
    assert json_objects(batch).equals(expected)
    assert json_objects(batch.slice(1)).equals(expected.slice(1))


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1e15, "1000000000000000.0"), (1e16, "1e+16"), (-0.0, "-0.0"), (1e-4, "0.0001"), (1.25e-5, "0.0000125"), (-1e-5, "-0.00001"), (1e-6, "1e-6"),
        (5e-324, "5e-324"), (1.7976931348623157e308, "1.7976931348623157e+308"), (float("nan"), "null"), (float("-inf"), "null"), (0.1, "0.1"),
    ],
)  # fmt: skip
def test_numbers_have_the_shortest_digits(number: float, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)  # an import would fail
    assert json_objects(pa.record_batch({"x": [number]})).to_pylist() == [f'{{"x":{text}}}']


def test_other_types_go_through_polars() -> None:
    batch = pa.record_batch({"x": pa.array([0.1], pa.float32()), "y": pa.array([[1, None]])})
    assert json.loads(json_objects(batch)[0].as_py()) == {"x": 0.1, "y": [1, None]}
