"""Who stays: every policy, missing values and ties."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from curate.apply import run_step
from curate.errors import StepError
from curate.steps.exact import DedupExact


def survivor(keep: str, values: pa.Array | None = None, ids: list[str] | None = None, texts: list[str] | None = None) -> str:
    n = len(values if values is not None else texts or ids or [])
    columns: dict[str, Any] = {"id": ids or [f"d{i}" for i in range(n)], "text": texts or ["same"] * n}
    if values is not None:
        columns["rating"] = values
    (kept,) = run_step(DedupExact(by="normalized_text", keep=keep), pa.table(columns)).column("id").to_pylist()
    return str(kept)


def test_first_is_the_first_row_whatever_the_id() -> None:
    assert survivor("first", ids=["z", "a"]) == "z"


def test_longest_counts_characters() -> None:
    assert survivor("longest", texts=["\u00e9", " \u00c9 ", "\u00c9 "]) == "d1"
    assert survivor("longest", ids=["z", "b", "c"]) == "b"  # ties go to the smaller id


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([1, 3, 2]), "d1"),
        (pa.array([None, -1.5, float("nan")]), "d1"),
        (pa.array([2.0, 2.0, None]), "d0"),
        (pa.array([None, None]), "d0"),
        (pa.array([None, None], pa.int64()), "d0"),
        (pa.array([False, True]), "d1"),
        (pa.array([-(2**40), -(2**41)]), "d0"),
        (pa.array([1, 2], pa.decimal128(5, 1)), "d1"),
    ],
)
def test_highest(values: pa.Array, expected: str) -> None:
    assert survivor("highest:rating", values) == expected


@pytest.mark.parametrize(
    "values",
    [
        pa.array([dt.date(2020, 1, 1), dt.date(2024, 1, 1), None]),
        pa.array([dt.datetime(2020, 1, 1), dt.datetime(2020, 1, 1, 0, 0, 0, 1), None], pa.timestamp("us")),
        pa.array([1, 10**9, None], pa.timestamp("ns", "UTC")),
        pa.array(["2020-01-01", "2024-01-01T00:00:00Z", None]),
        pa.array(["2020", "2021", ""], pa.large_string()),
        pa.array([5, 6, None]),
    ],
)
def test_newest(values: pa.Array) -> None:
    assert survivor("newest:rating", values) == "d1"


@pytest.mark.parametrize(("keep", "values"), [("highest:rating", pa.array(["a", "b"])), ("newest:rating", pa.array([[1], [2]]))])
def test_unfit_column_is_named(keep: str, values: pa.Array) -> None:
    with pytest.raises(StepError, match="'rating'"):
        survivor(keep, values)


@pytest.mark.parametrize("keep", ["", "last", "newest", "newest:", "highest", "first:date", "Longest"])
def test_unknown_policy_is_refused(keep: str) -> None:
    with pytest.raises(ValidationError, match="must be first, longest, newest:COLUMN or highest:COLUMN"):
        DedupExact(keep=keep)
