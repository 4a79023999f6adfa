"""Figures of pools against sums over all subsets; controls, gathered rows and the report on a small pool."""

from __future__ import annotations

import json
import math
import re
from itertools import combinations
from pathlib import Path
from typing import Any
from xml.dom.minidom import parseString

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.apply import run_step
from curate.context import WorkContext
from curate.errors import DataError
from curate.node import NodeInput
from formats.batches import to_batch
from formats.records import Candidate, Message, Record
from formats.selection.best import SelectBest
from formats.selection.control import ControlNode
from formats.selection.gather import GatherNode
from formats.selection.ledger import RoundLedger
from formats.selection.page import html_page
from formats.selection.pool import pool_of
from formats.selection.report import lines, report
from formats.selection.statistics import agreement, best_of_n, correlation, divergence_bound, paired_gain, pass_at_k

SCORES: list[list[float | None]] = [[1.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 0.0, 0.0]]


def pool_table(rows: list[list[float | None]]) -> pa.Table:
    made = [
        Record(
            [Message("user", f"q{n}")],
            [Candidate([Message("assistant", f"answer {n}.{k}")], scores={"r": v}, sample=k, tokens=k + 1) for k, v in enumerate(row)],
        )
        for n, row in enumerate(rows)
    ]
    return pa.Table.from_batches([to_batch(made, [f"p{n}" for n in range(len(rows))], "s")])


def node(folder: Path, name: str, table: pa.Table) -> NodeInput:
    path = folder / f"{name}.parquet"
    pq.write_table(table, path)
    return NodeInput(name, str(folder), (str(path),), "", len(table))


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_pass_at_k_and_best_of_n_are_means_over_all_subsets(k: int) -> None:
    group = np.repeat(np.arange(4), 4)
    score = np.array(SCORES, float).ravel()
    passed = np.array([sum(v == 1 for v in row) for row in SCORES])
    subsets = [[max(v or 0.0 for v in c) for c in combinations(row, k)] for row in SCORES]
    expected = float(np.mean([np.mean(s) for s in subsets]))
    assert pass_at_k(np.full(4, 4), passed, k) == pytest.approx(expected)
    assert best_of_n(group, score, k) == pytest.approx(expected)
    odd = np.array([0.3, -2.0, 5.0, 1.0, math.nan])
    assert best_of_n(np.zeros(5, np.int64), odd, k) == pytest.approx(np.mean([max(c) for c in combinations(odd[:4].tolist(), k)]))


def test_what_can_not_be_known_is_none() -> None:
    assert pass_at_k(np.array([3]), np.array([1]), 4) is None and best_of_n(np.zeros(2, np.int64), np.array([1.0, math.nan]), 2) is None
    assert correlation(np.array([1.0]), np.array([1.0])) is None and correlation(np.ones(3), np.arange(3.0)) is None
    assert agreement(np.zeros(2, np.int64), np.ones(2), np.arange(2.0)) is None
    assert agreement(np.array([0, 0, 0, 1, 1]), np.array([1.0, 2, 3, 1, 2]), np.array([1.0, 3, 2, 2, 1])) == 0.5
    assert [round(divergence_bound(n), 2) for n in (4, 8, 16, 30, 64)] == [0.64, 1.20, 1.84, 2.43, 3.17]


def test_paired_gains() -> None:
    better, worse = [np.array([1.0] * 70 + [0.0] * 30)] * 3, [np.array([1.0] * 50 + [0.0] * 50)] * 3
    found = paired_gain(better, worse)
    assert found["mean"] == pytest.approx(0.2) and 0.1 < found["low"] < 0.2 < found["high"] < 0.3
    assert found["seeds_low"] == pytest.approx(0.2) and "seeds_low" not in paired_gain(better[:1], worse[:1])
    assert paired_gain(worse, worse)["low"] == 0


def test_a_control_has_the_size_and_nothing_of_the_scores(tmp_path: Path) -> None:
    table = pool_table([[float(k == n % 4) for k in range(4)] for n in range(40)])
    chosen = run_step(SelectBest(require={"r": 1}), table)  # type: ignore[call-arg]
    assert len(chosen) == 40
    inputs = {"pool": node(tmp_path, "pool", table), "rows": node(tmp_path, "rows", chosen)}
    drawn = {}
    for draw in ("random", "same_prompts", "none"):
        out = tmp_path / draw
        out.mkdir()
        result = ControlNode(pool="pool", like="rows", draw=draw).run(inputs, out, WorkContext(seed=1), lambda share, text: None)
        drawn[draw] = pq.read_table(out / "part-00000.parquet")
        assert drawn[draw].schema.remove_metadata() == chosen.schema.remove_metadata() and len(drawn[draw]) == result.rows_out
    assert len(drawn["none"]) == 0 and len(drawn["random"]) == 40
    assert sorted(drawn["same_prompts"].column("id").to_pylist()) == sorted(chosen.column("id").to_pylist())
    assert set(drawn["random"].column("select_of").to_pylist()) <= set(table.column("id").to_pylist())
    inputs["drawn"] = node(tmp_path, "drawn", drawn["random"])
    (tmp_path / "ledger").mkdir()
    ledger = RoundLedger(pool="pool", rows="drawn", by="r", also=["r"]).run(
        inputs, tmp_path / "ledger", WorkContext(), lambda share, text: None
    )
    right = {r["text"] for r in chosen.to_pylist()}
    assert ledger.info["accepted_that_pass"] == {"r": sum(r["text"] in right for r in drawn["random"].to_pylist())}
    assert 0 < sum(r["text"] in right for r in drawn["random"].to_pylist()) < 30  # about a quarter


def test_gathered_rows(tmp_path: Path) -> None:
    first = run_step(SelectBest(by="r"), pool_table([[0.5, 0.1], [0.2, 0.9]]))  # type: ignore[call-arg]
    second = run_step(SelectBest(by="r", top=2), pool_table([[0.7, 0.4], [0.2, 0.9]]))  # type: ignore[call-arg]
    seed = pool_table([[]]).set_column(1, "text", pa.array(["gold"], pa.large_string()))
    inputs = {name: node(tmp_path, name, t) for name, t in (("seed", seed), ("one", first), ("two", second))}

    def gathered(**settings: Any) -> list[tuple[str | None, float | None]]:
        out = tmp_path / f"out{len(list(tmp_path.iterdir()))}"
        out.mkdir()
        GatherNode(datasets=["seed", "one", "two"], **settings).run(inputs, out, WorkContext(), lambda share, text: None)
        made = pq.read_table(out / "part-00000.parquet")
        return list(zip(made.column("select_of").to_pylist(), made.column("select_value").to_pylist(), strict=True))

    assert gathered() == [
        (None, None),
        ("p0", 0.5),
        ("p1", 0.9),
        ("p0", 0.4),
        ("p1", 0.2),
    ]  # equal turns once: 0.7 and 0.9 are the first round's
    assert gathered(top=1) == [(None, None), ("p0", 0.5), ("p1", 0.9)]
    assert len(gathered(distinct=False)) == 7
    wrong = node(tmp_path, "two", second.set_column(0, "id", pa.array(range(len(second)), pa.int64())))
    with pytest.raises(DataError, match="the column 'id' of two is int64"):
        GatherNode(datasets=["one", "two"]).run({**inputs, "two": wrong}, tmp_path, WorkContext(), lambda share, text: None)


def test_the_report_says_what_is_there() -> None:
    found = report(pool_of(pool_table([*SCORES, [None, None], []]).to_batches()[0]))
    one = found["scores"]["r"]
    assert (found["prompts"], found["candidates"], found["without_candidates"], one["null"]) == (6, 18, 1, 2)
    assert one["prompts"] == {"none_pass": 1, "all_pass": 1, "none_scored": 2}
    assert one["pass_at"]["1"] == pytest.approx(7 / 16) and one["best_of"]["4"]["score"] == pytest.approx(0.75)
    assert json.loads(json.dumps(found)) == found and any("pass@k" in line for line in lines(found))
    one = found["scores"]["r"]
    assert one["histogram"] == {"low": 0.0, "high": 1.0, "counts": [9, *[0] * 22, 7]} and sum(n for _, _, n in one["by_length"]) == 16
    page = html_page("<b>", {**found, "agreement": {"r and <s>": 0.25}})
    drawn = re.findall(r"<svg.*?</svg>", page, re.S)
    assert [parseString(svg).documentElement.getAttribute("aria-label") for svg in drawn] == [
        "distribution of the score", "pass at k", "best of n", "score by length", "agreement of scores"
    ]  # fmt: skip
    assert "<b>" not in page and "<s>" not in page and "<script" not in page


def test_the_ledger_has_tokens_and_cost(tmp_path: Path) -> None:
    pool, rows = node(tmp_path, "pool", pool_table(SCORES)), node(tmp_path, "rows", pool_table(SCORES[:1]))
    ledger = RoundLedger(pool="pool", rows="rows", by="r")
    without = ledger.run({"pool": pool, "rows": rows}, tmp_path, WorkContext(), lambda share, what: None).info
    assert without["tokens"] == 40 and without["accepted"] == 1 and "cost" not in without
    asked = {"generate": {"tokens_in": 7, "cost": 0.25}, "score": {"tokens_in": 3, "cost": 0.5}, "select_best": {"rows": 1}}
    (tmp_path / "_dataset.json").write_text(json.dumps({"findings": asked}))
    info = ledger.run({"pool": pool, "rows": rows}, tmp_path, WorkContext(), lambda share, what: None).info
    assert info == {**without, "tokens_in": 10, "cost": 0.75}
