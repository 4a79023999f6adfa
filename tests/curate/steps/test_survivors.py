"""Who stays: every policy, missing values and ties."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pytest
from pydantic import ValidationError

from curate.apply import run_step
from curate.errors import StepError
from curate.steps.exact import DedupExact
from curate.steps.survivors import claim_order, claims, keep_column, policy, ranks


def survivor(keep: Any, values: pa.Array | None = None, ids: list[str] | None = None, texts: list[str] | None = None) -> str:
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


@pytest.mark.parametrize("keep", ["", "last", "newest:", "highest", "first:date", "Longest"])
def test_unknown_policy_is_refused(keep: str) -> None:
    with pytest.raises(ValidationError, match="must be first, longest, newest, "):
        DedupExact(keep=keep)


@pytest.mark.parametrize(
    "keep", [{}, {"newest": "a", "highest": "b"}, {"source_priority": []}, {"source_priority": ["a", "a"]}, {"newest": ""}, {"oldest": "a"}]
)
def test_a_policy_by_column_needs_exactly_one(keep: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DedupExact.model_validate({"keep": keep})


def test_columns_by_key_mean_what_the_short_form_means() -> None:
    assert survivor({"highest": "rating"}, pa.array([1, 3, 2])) == "d1"
    assert survivor({"newest": "rating"}, pa.array(["2020", "2021", ""])) == "d1"
    again = DedupExact.model_validate(DedupExact.model_validate({"keep": {"highest": "rating"}}).model_dump(mode="json"))
    assert policy(again.keep) == policy("highest:rating") and keep_column(again.keep) == "rating"


def test_newest_alone_reads_the_column_date() -> None:
    assert keep_column("newest") == "date"
    table = pa.table({"id": ["a", "b"], "text": ["same"] * 2, "date": ["2020-01-01", "2021-01-01"]})
    assert run_step(DedupExact(keep="newest"), table).column("id").to_pylist() == ["b"]


def test_a_key_of_meta_is_text_for_newest_and_a_number_for_highest() -> None:
    meta = ['{"n": 9, "day": "2024-05-01"}', '{"n": 10.5, "day": "2024-06-01"}', '{"n": "none"}', "no JSON", None]
    table = pa.table({"id": [f"d{i}" for i in range(5)], "text": ["same"] * 5, "meta": meta})
    for keep, expected in (("highest:meta.n", "d1"), ({"newest": "meta.day"}, "d1"), ("highest:meta.day", "d0"), ("newest:meta.n", "d2")):
        step = DedupExact.model_validate({"keep": keep})
        assert "meta" in step.reads() and run_step(step, table).column("id").to_pylist() == [expected]


def test_source_priority_and_what_is_not_listed() -> None:
    keep = DedupExact.model_validate({"keep": {"source_priority": ["books", "wiki"]}})
    assert keep_column(keep.keep) == "source"
    for sources, expected in [(["web", "wiki", "books"], "d2"), (["web", "wiki", None], "d1"), (["web", None, "other"], "d0")]:
        table = pa.table({"id": ["d0", "d1", "d2"], "text": ["same"] * 3, "source": sources})
        assert run_step(keep, table).column("id").to_pylist() == [expected]


@pytest.mark.parametrize(
    ("keep", "values"),
    [
        ("highest:rating", [3.0, -1.5, 0.0, -0.0, None, 1e300, -1e300, float("nan"), 3.0]),
        ("newest:rating", ["2024", "2023-12", None, "", "2024-01-01"]),
        ("longest", None),
        ("first", None),
    ],
)
def test_short_claims_agree_with_the_order(keep: str, values: list[Any] | None) -> None:
    n = len(values or "abcd")
    texts = ["x" * (i * 7 % 4) for i in range(n)]
    batch = pa.record_batch({"id": [f"d{i}" for i in range(n)], "text": pa.array(texts, pa.large_string()), "_row": pa.array(range(n))})
    if values is not None:
        batch = batch.append_column("rating", pa.array(values))
    claim, _ = claims(batch, keep)
    table = pa.table([*ranks(batch, keep), batch.column("id"), batch.column("_row")], names=["rank", "rank_text", "id", "_row"])
    order = pa.compute.sort_indices(table, sort_keys=claim_order(keep)).to_pylist()
    assert (np.diff(claim[order].astype(float)) >= 0).all()
