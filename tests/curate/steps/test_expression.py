"""`filter`: conditions on columns, nulls, columns it reads, and every condition it refuses."""

from __future__ import annotations

import subprocess
import sys

import pyarrow as pa
import pytest
from pydantic import ValidationError

from curate.apply import outcomes, run_step
from curate.errors import StepError
from curate.steps.expression import Filter

TABLE = pa.table(
    {
        "text": pa.array(["a", "bb", "ccc", None], pa.large_string()),
        "lang_code": ["en", "de", None, "en"],
        "lang_score": [0.65, 0.7, 0.9, None],
        "n": pa.array([1, 2, 3, 4], pa.int64()),
        "good": [True, False, None, True],
    }
)
CASES = {
    "lang_score > 0.65": [0, 1, 1, 0],
    "lang_score >= 0.65": [1, 1, 1, 0],
    "lang_score < 0.7 or lang_score is null": [1, 0, 0, 1],
    "lang_score >= 0.65 and n >= 2": [0, 1, 1, 0],
    "n between 2 and 3": [0, 1, 1, 0],
    "n in (1, 4)": [1, 0, 0, 1],
    "lang_code in ('en', 'fr')": [1, 0, 0, 1],
    "lang_code not in ('en')": [0, 1, 0, 0],
    "coalesce(lang_code, 'xx') != 'en'": [0, 1, 1, 0],
    "good": [1, 0, 0, 1],
    "not good": [0, 1, 0, 0],
    "text like '%b%'": [0, 1, 0, 0],
    "length(text) = 3": [0, 0, 1, 0],
    "n % 2 = 0": [0, 1, 0, 1],
    "case when n > 2 then good else true end": [1, 1, 0, 1],
    'abs("n" - 3) < 1': [0, 0, 1, 0],
    "lang_code = 'now' or n = 1": [1, 0, 0, 0],
}


@pytest.mark.parametrize("where", CASES)
def test_keeps_rows_where_the_condition_is_true(where: str) -> None:
    (outcome,) = outcomes(Filter(where=where), TABLE.to_batches())
    assert outcome.verdict is not None
    assert outcome.verdict.keep.to_pylist() == [bool(x) for x in CASES[where]]
    assert outcome.verdict.reason.to_pylist() == [None if x else "filter.false" for x in CASES[where]]


def test_reads_the_columns_it_names() -> None:
    assert Filter(where="lang_score > 0.7 and (n >= 50 or n is null)").reads() == {"lang_score", "n"}
    assert Filter(where='"odd name" = 1').reads() == {"odd name"}


def test_annotate_says_what_drop_would_do() -> None:
    noted = run_step(Filter(where="n > 2", mode="annotate"), TABLE)
    assert noted.column("filter_keep").to_pylist() == [False, False, True, True]
    assert noted.column("filter_reason").to_pylist() == ["filter.false", "filter.false", None, None]
    assert noted.drop_columns(["filter_keep", "filter_reason"]).equals(TABLE)


REFUSED = {
    "": "at least 1 character",
    "lang_score >": "no SQL expression",
    "select 1": "no SQL expression",
    "n > 1; drop table x": "no SQL expression",
    "n in (select n from other)": "no SQL expression",
    "read_csv('/etc/passwd') is null": "no SQL expression",
    "1 = 1": "names no column",
    "n > avg(n)": "other documents",
    "sum(n) > 3": "other documents",
    "count(*) > n": "other documents",
    "row_number() over (order by n) > 1": "other documents",
    "max(n) over (partition by lang_code) > 1": "other documents",
    "lag(n) over (order by n) > 1": "other documents",
    "rank() over (order by n) > 1": "other documents",
    "first_value(n) over () > 1": "other documents",
    "_row > 1": "engine's own column",
    "n > current_date": "depend on when it runs",
    "n < NOW()": "depend on when it runs",
}


@pytest.mark.parametrize("where", REFUSED)
def test_refuses_conditions_it_cannot_answer_for(where: str) -> None:
    with pytest.raises(ValidationError, match=REFUSED[where]):
        Filter(where=where)


def test_says_what_is_wrong_with_the_types() -> None:
    for where in ("text > 1", "n + 1"):
        with pytest.raises(StepError, match="filter: "):
            run_step(Filter(where=where), TABLE)


def test_a_constant_for_all_rows_is_no_condition_of_a_row() -> None:
    (outcome,) = outcomes(Filter(where="n > 1 or true"), TABLE.to_batches())
    assert outcome.verdict is not None and outcome.verdict.keep.to_pylist() == [True] * 4


def test_polars_is_imported_only_for_a_filter() -> None:
    code = "import sys, curate.steps.expression as e; assert 'polars' not in sys.modules; e.Filter(where='a > 1'); assert 'polars' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
