"""Exact deduplication equals a dict in Python."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from curate.apply import outcomes, run_step
from curate.steps.exact import REASON, DedupExact
from tests.curate.steps.phases import run
from tests.reference.shingles import normalized

pieces = st.one_of(st.none(), st.sampled_from(["", " ", "a", "A", "a b", "A\u00a0 b", "\u00c9", "\u00e9", "c" * 40]))


def table(texts: list[str | None], **more: Any) -> pa.Table:
    return pa.table({"id": [f"d{i}" for i in range(len(texts))], "text": pa.array(texts, pa.large_string()), **more})


def kept(step: DedupExact, given_table: pa.Table) -> list[str]:
    return list(run_step(step, given_table).column("id").to_pylist())


@settings(deadline=None)
@given(st.lists(pieces, max_size=20), st.sampled_from(["text", "normalized_text", "group"]))
def test_first_of_each_value_stays(values: list[str | None], by: str) -> None:
    seen: dict[str, str] = {}
    expected = []
    for i, value in enumerate(values):
        key = normalized(value or "") if by == "normalized_text" else value or ""
        if by == "group" and not key:
            expected.append(f"d{i}")
        elif key not in seen:
            seen[key] = f"d{i}"
            expected.append(f"d{i}")
    columns = table(values) if by != "group" else table(["same"] * len(values), group=pa.array(values, pa.string()))
    assert kept(DedupExact(by=by), columns) == expected


def test_empty_texts_are_equal_texts_but_empty_values_are_not_equal() -> None:
    assert kept(DedupExact(), table(["", None, "x"])) == ["d0", "d2"]
    assert kept(DedupExact(by="url"), table(["x"] * 4, url=["", None, "", None])) == ["d0", "d1", "d2", "d3"]


def test_columns_that_are_not_text() -> None:
    assert kept(DedupExact(by="number"), table(["x"] * 4, number=[1, 2, 1, None])) == ["d0", "d1", "d3"]


def test_verdict_names_reason_and_partner() -> None:
    (outcome,) = outcomes(DedupExact(keep="longest"), table(["x", "x", "y"]).to_batches())
    assert outcome.verdict is not None and outcome.verdict.partner is not None
    assert outcome.verdict.keep.to_pylist() == [True, False, True]
    assert outcome.verdict.reason.to_pylist() == [None, REASON, None]
    assert outcome.verdict.partner.to_pylist() == [None, "d0", None]


def test_annotate_keeps_every_row() -> None:
    step = DedupExact(mode="annotate")
    result = run_step(step, table(["x", "y", "x", "x", None]))
    assert result.column("text").to_pylist() == ["x", "y", "x", "x", None]
    assert result.column("dedup_exact_keep").to_pylist() == [True, True, False, False, True]
    assert result.column("dedup_exact_reason").to_pylist() == [None, None, REASON, REASON, None]
    assert result.column("exact_dup_cluster").to_pylist() == ["d0", "d1", "d0", "d0", "d4"]
    assert result.column("exact_dup_size").to_pylist() == [3, 1, 3, 3, 1]
    assert result.column("exact_dup_of").to_pylist() == [None, None, "d0", "d0", None]
    assert {n: result.schema.field(n).type for n in step.adds()} == dict(step.adds())
    assert step.drops() == () and DedupExact().drops() == (REASON,) and not DedupExact().adds()


@pytest.mark.parametrize("keep", ["first", "longest", "highest:rating"])
def test_batches_partitions_and_record_order_do_not_matter(keep: str, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"text {i * i % 17}" for i in range(120)]
    whole = table([*texts], rating=pa.array([i * 7 % 5 for i in range(120)]))
    step = DedupExact(keep=keep)
    expected = run(step, whole)
    assert len(expected) == len(set(texts))
    monkeypatch.setattr("curate.steps.exact_groups.BLOCK_ROWS", 7)
    for cuts, partitions, shuffle in [((1, 60), 1, None), ((), 5, 1), ((30, 31, 90), 3, 2)]:
        assert run(step, whole, cuts, partitions, shuffle).to_pylist() == expected.to_pylist()


@pytest.mark.parametrize("keep", ["longest", {"highest": "rating"}, {"newest": "day"}, {"source_priority": ["b", "a"]}])
def test_the_order_of_documents_decides_nothing_but_for_first(keep: Any) -> None:
    """Ties among them: the smaller id stays."""
    make = np.random.default_rng(1)
    n = 300
    given_table = pa.table(
        {
            "id": [f"d{i:03}" for i in range(n)],
            "text": [f"{' ' * int(make.integers(3))}T{int(make.integers(60))}" for _ in range(n)],
            "rating": make.integers(0, 3, n),
            "day": [f"2020-0{d}" for d in make.integers(1, 4, n)],
            "source": make.choice(["a", "b", "c"], n),
        }
    )
    step = DedupExact(by="normalized_text", within="source" if keep == "longest" else None, keep=keep, mode="annotate")
    expected = run(step, given_table).sort_by("id").drop_columns(["_row"])
    assert 50 < expected.column("dedup_exact_keep").to_pylist().count(True) < n
    for seed in (2, 3):
        other = given_table.take(np.random.default_rng(seed).permutation(n))
        assert run(step, other, (100,), 3).sort_by("id").drop_columns(["_row"]).equals(expected)


def test_many_identical_documents() -> None:
    n = 200_000
    ids = pa.array([f"d{n - i}" for i in range(n)])
    result = run_step(DedupExact(keep="longest"), pa.table({"id": ids, "text": pa.array(["same text"] * n, pa.large_string())}))
    assert result.column("id").to_pylist() == ["d1"]


def test_no_rows() -> None:
    assert len(run_step(DedupExact(), table([]))) == 0
    assert "exact_dup_of" in run_step(DedupExact(mode="annotate"), table([])).column_names


@pytest.mark.parametrize("by", ["", "  ", [], ["text", ""]])
def test_by_must_name_something(by: str) -> None:
    with pytest.raises(ValidationError, match="name of a column"):
        DedupExact(by=by)


def test_reads_what_the_settings_name() -> None:
    assert DedupExact(by="url", keep="newest:date").reads() == {"id", "text", "url", "date"}
    hashes = DedupExact(by="url", keep="newest:date").phases()[0]
    assert hashes.columns == {"id", "url", "date"}
    assert "text" in DedupExact(by="url", keep="longest").phases()[0].columns
    assert DedupExact(by=["meta.url", "text"], within="lang_code").reads() == {"id", "text", "meta", "lang_code"}


def test_urls_are_compared_in_canonical_form() -> None:
    urls = ["http://A.org/x/?utm_source=m#top", "https://a.org/x", None, "https://a.org/X", "", "not a url", " not a url"]
    assert kept(DedupExact(by="url"), table(["t"] * 7, url=urls)) == ["d0", "d2", "d3", "d4", "d5"]
    meta = pa.array([json.dumps({"url": u}) for u in urls], pa.large_string())
    assert kept(DedupExact(by="meta.url"), table(["t"] * 7, meta=meta)) == ["d0", "d2", "d3", "d4", "d5"]
    assert len(kept(DedupExact(by="address"), table(["t"] * 7, address=urls))) == 7


def test_several_columns() -> None:
    columns = table(["x", "x", "x", "y", "x"], a=["1", "1", None, "1", "11"], b=["2", "2", "2", "2", ""])
    assert kept(DedupExact(by=["a", "b"]), columns) == ["d0", "d2", "d4"]
    assert kept(DedupExact(by=["text", "a"]), columns) == ["d0", "d2", "d3", "d4"]
    assert kept(DedupExact(by=["a", "b"]), table(["x", "x"], a=["1", "12"], b=["23", "3"])) == ["d0", "d1"]


def test_within_a_column() -> None:
    columns = table(["x"] * 6, source=["a", "b", "a", None, "", None])
    assert kept(DedupExact(within="source"), columns) == ["d0", "d1", "d3", "d4"]
    assert kept(DedupExact(by="normalized_text", within="source", keep="longest"), columns) == ["d0", "d1", "d3", "d4"]


def test_normalize_names_what_is_folded() -> None:
    texts: list[str | None] = ["Page 12, end", "page 12 end", "Page 7, end", "page  7  END!", "p a g e"]
    assert kept(DedupExact(normalize=["digits"]), table(texts)) == ["d0", "d1", "d3", "d4"]
    assert kept(DedupExact(normalize=["case", "punctuation"]), table(texts)) == ["d0", "d2", "d4"]
    assert kept(DedupExact(normalize=["case", "whitespace", "punctuation", "digits"]), table(texts)) == ["d0", "d4"]


BLOOM = {"expected": 1000, "false_positive": 1e-6}


def test_bloom_drops_repeats_whatever_the_layout() -> None:
    texts: list[str | None] = [f"text {i * i % 997}" for i in range(2000)]
    step, whole = DedupExact(bloom=BLOOM), table(texts)
    expected = run_step(DedupExact(), whole).column("id").to_pylist()
    assert run(step, whole).column("id").to_pylist() == expected
    assert run(step, whole, cuts=(1, 700, 701), shuffle=3).column("id").to_pylist() == expected
    annotated = run_step(DedupExact(bloom=BLOOM, mode="annotate"), whole)
    assert annotated.filter(annotated.column("dedup_exact_keep")).column("id").to_pylist() == expected
    assert set(annotated.column_names) - set(whole.column_names) == {"dedup_exact_keep", "dedup_exact_reason"}


def test_bloom_says_when_it_is_too_small() -> None:
    small = DedupExact(bloom={"expected": 10, "false_positive": 0.01})
    assert "warnings" not in small.findings({"values_in_the_filter": 10})
    assert "larger bloom.expected" in small.findings({"values_in_the_filter": 100})["warnings"][0]
    with pytest.raises(ValidationError, match="keep the first"):
        DedupExact(bloom=BLOOM, keep="longest")
