"""Selections: every rule total and deterministic, no NaN winner, no pair with itself, budgets met, equal to the naive twin."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.apply import outcomes, run_step
from curate.errors import DataError
from curate.step import Outcome
from formats.batches import from_batch, to_batch
from formats.records import Candidate, Message, Record, ToolCall, text_view
from formats.selection.best import SelectBest
from formats.selection.pairs import SelectPairs
from formats.selection.pass_rate import PassRate
from tests.reference import selection as naive

SCORE = st.one_of(st.none(), st.just(math.nan), st.sampled_from([0.0, 0.5, 1.0, -1.0, math.inf, -math.inf]))
CANDIDATE = st.fixed_dictionaries(
    {
        "text": st.sampled_from(["", " ", "a", "bb", "ccc", "a b c d"]),
        "scores": st.fixed_dictionaries({"r": SCORE, "m": SCORE}),
        "cut": st.booleans(),
    }
)
ROWS = st.lists(st.lists(CANDIDATE, max_size=6), max_size=5)
RULES = ("best_worst", "best_random", "best_second", "worst_sigma", "adjacent", "right_wrong", "all")


def batch(rows: list[list[dict[str, Any]]]) -> pa.RecordBatch:
    made = [
        Record(
            [Message("user", f"q{n}")],
            [
                Candidate(
                    [Message("assistant", c["text"])], scores=dict(c["scores"]), finish_reason="length" if c["cut"] else "stop", sample=at
                )
                for at, c in enumerate(row)
            ],
        )
        for n, row in enumerate(rows)
    ]
    return to_batch(made, [f"id{n}" for n in range(len(rows))], "s")


def scored(*values: float | None, texts: str = "abcdefgh", cut: tuple[int, ...] = ()) -> list[dict[str, Any]]:
    return [{"text": texts[n], "scores": {"r": v, "m": 1.0}, "cut": n in cut} for n, v in enumerate(values)]


def one(step: Any, rows: list[list[dict[str, Any]]]) -> Outcome:
    (found,) = outcomes(step, [batch(rows)])
    return found


def answers(outcome: Outcome) -> list[tuple[str, str]]:
    assert outcome.expanded is not None
    made = outcome.expanded.batch
    names = made.column("select_of").to_pylist()
    return [(name, r.messages[-1].content or "") for name, r in zip(names, from_batch(made), strict=True)]


def pairs(outcome: Outcome) -> list[tuple[str, str]]:
    assert outcome.expanded is not None
    return [
        (r.candidates[0].messages[0].content or "", r.candidates[1].messages[0].content or "") for r in from_batch(outcome.expanded.batch)
    ]


@settings(max_examples=60, deadline=None)
@given(
    ROWS,
    st.sampled_from(["first", "frequent", "shortest"]),
    st.one_of(st.none(), st.integers(1, 3)),
    st.sampled_from([None, 0.0, 0.5]),
    st.booleans(),
)
def test_best_is_the_twin(rows: list[list[dict[str, Any]]], ties: Any, top: int | None, least: float | None, gate: bool) -> None:
    require = {"m": 0.5} if gate else {}
    step = SelectBest(by="r", require=require, min_score=least, top=top, ties=ties)  # type: ignore[call-arg]
    found = one(step, rows)
    expected = naive.best(rows, "r", require, least, top, ties)
    counts: dict[str, int] = {}
    for row in expected:
        for name in row:
            counts[f"candidates.{name}"] = counts.get(f"candidates.{name}", 0) + 1
    assert (found.counts or {}).get("s", {}) == counts  # every candidate has one outcome
    wanted = {(f"id{n}", c["text"]) for n, row in enumerate(rows) for c, o in zip(row, expected[n], strict=True) if o == "chosen"}
    made = answers(found)
    assert set(made) == wanted and len(made) == len(wanted)
    assert found.verdict is not None and found.expanded is not None
    keep = found.verdict.keep.to_pylist()
    assert keep == ["chosen" in row for row in expected]
    for n, row in enumerate(expected):
        furthest = max((naive.OUTCOMES.index(o) for o in row), default=-1)
        reason = None if keep[n] else "select_best." + (naive.OUTCOMES[furthest] if furthest >= 0 else "no_candidates")
        assert found.verdict.reason.to_pylist()[n] == reason
    assert sorted(set(found.expanded.parents.to_pylist())) == [n for n, k in enumerate(keep) if k]
    values = found.expanded.batch.column("select_value").to_pylist()
    assert not any(v is None or math.isnan(v) for v in values)
    for record, view in zip(from_batch(found.expanded.batch), found.expanded.batch.column("text").to_pylist(), strict=True):
        assert text_view(record) == view


@settings(max_examples=60, deadline=None)
@given(ROWS, st.sampled_from(RULES), st.integers(1, 4))
def test_pairs_are_sound(rows: list[list[dict[str, Any]]], rule: Any, most: int) -> None:
    step = SelectPairs(rule=rule, by="r", right=0.5, max_pairs=most)  # type: ignore[call-arg]
    found = one(step, rows)
    assert found.expanded is not None and found.verdict is not None
    made = from_batch(found.expanded.batch)
    parents = found.expanded.parents.to_pylist()
    for record, margin in zip(made, found.expanded.batch.column("pair_margin").to_pylist(), strict=True):
        better, worse = record.candidates
        assert (better.rank, worse.rank) == (0, 1) and better.messages != worse.messages
        high, low = (better.scores or {})["r"], (worse.scores or {})["r"]
        assert high is not None and low is not None and high > low and margin > 0
        assert "length" not in (better.finish_reason, worse.finish_reason)
        assert text_view(record)
    assert max((parents.count(p) for p in parents), default=0) <= most
    assert [p in parents for p in range(len(rows))] == found.verdict.keep.to_pylist()
    identities = found.expanded.batch.column("pair_id").to_pylist()
    assert len(set(identities)) == len(identities)
    for n, row in enumerate(rows):  # a row with two distinct usable answers of different value always has its pair
        usable = {
            c["text"]: c["scores"]["r"]
            for c in row
            if c["scores"]["r"] is not None and not math.isnan(c["scores"]["r"]) and not c["cut"] and c["text"].strip()
        }
        best = {
            t: max(
                c["scores"]["r"]
                for c in row
                if c["text"] == t and c["scores"]["r"] is not None and not math.isnan(c["scores"]["r"]) and not c["cut"]
            )
            for t in usable
        }
        if rule != "right_wrong":
            assert (n in parents) == (len(set(best.values())) > 1)


def test_rules_choose_what_they_say() -> None:
    rows = [scored(3.0, 1.0, 2.0, 0.0, 2.0)]
    expected = {
        "best_worst": [("a", "d")], "best_second": [("a", "c")], "adjacent": [("a", "c"), ("e", "b"), ("b", "d")],
        "right_wrong": [("a", "b"), ("c", "d")], "worst_sigma": [("a", "d")],
    }  # fmt: skip
    for rule, wanted in expected.items():
        assert pairs(one(SelectPairs(rule=rule, by="r", right=2.0, max_pairs=9), rows)) == wanted, rule  # type: ignore[call-arg, arg-type]
    near_mean = [
        scored(10.0, 9.0, 8.0, 5.0, -40.0)
    ]  # mean -1.6, deviation 19.3: minus one sigma is -20.9, next to -40; minus half of it is 5
    assert pairs(one(SelectPairs(rule="worst_sigma", sigma=0.3, by="r"), near_mean)) == [("a", "d")]  # type: ignore[call-arg]
    assert len(pairs(one(SelectPairs(rule="all", by="r", max_pairs=100), rows))) == 9  # type: ignore[call-arg]
    random = {pairs(one(SelectPairs(rule="best_random", by="r"), [scored(3.0, 1.0, 2.0, 0.0)] * 30))[n] for n in range(30)}  # type: ignore[call-arg]
    assert random == {("a", "b"), ("a", "c"), ("a", "d")}


@pytest.mark.parametrize("largest", [math.inf, 1e308])
def test_infinite_scores_rank_first_by_every_rule(largest: float) -> None:
    row = scored(0.0, largest, 1.0, -largest)
    for rule in RULES:
        made = pairs(one(SelectPairs(rule=rule, by="r", right=0.5, max_pairs=1), [row]))  # type: ignore[call-arg]
        assert made[0][0] == "b" and made[0][1] in "acd", rule
    for combine in ("mean", "min", "ranks", "zscores"):
        step = SelectBest(by=["r", "m"], combine=combine)  # type: ignore[call-arg, arg-type]
        assert answers(one(step, [row]))[0][1] == "b", combine


def test_bounds_of_pairs_from_both_sides() -> None:
    def reasons(row: list[dict[str, Any]], **bound: Any) -> list[str | None]:
        verdict = one(SelectPairs(by="r", **bound), [row]).verdict
        assert verdict is not None
        return [None if r is None else r.partition(".")[2] for r in verdict.reason.to_pylist()]

    row = scored(2.0, 1.0, texts=["aaaa", "bb"])  # type: ignore[arg-type]
    assert reasons(row, min_margin=1.0) == [None] and reasons(row, min_margin=1.01) == ["margin"]
    assert reasons(row, max_margin=1.0) == [None] and reasons(row, max_margin=0.99) == ["margin"]
    assert reasons(row, max_length_ratio=2.0) == [None] and reasons(row, max_length_ratio=1.99) == ["length"]
    assert reasons(row, min_chosen=2.0) == [None] and reasons(row, min_chosen=2.01) == ["floor"]
    assert reasons(scored(1.0, 1.0)) == ["tied"] and reasons(scored(1.0, 0.5, texts="aa")) == ["alone"]
    assert reasons(scored(None, math.nan)) == ["unscored"] and reasons([]) == ["no_candidates"]
    assert reasons(scored(1.0, 0.5, cut=(0, 1))) == ["truncated"]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.floats(-5, 5), min_size=1, max_size=4), min_size=1, max_size=8),
    st.integers(1, 40),
    st.sampled_from(["value", "random"]),
)
def test_budget_is_met_exactly(values: list[list[float]], budget: int, by: Any) -> None:
    rows = [scored(*row) for row in values]
    free = answers(one(SelectBest(by="r", top=None), rows))  # type: ignore[call-arg]
    made = answers(one(SelectBest(by="r", top=None, budget=budget, budget_by=by), rows))  # type: ignore[call-arg]
    assert len(made) == min(budget, len(free)) and set(made) <= set(free)
    if by == "value":
        all_values = sorted((v for row in values for v in row), reverse=True)
        chosen = sorted((row["scores"]["r"] for n, rr in enumerate(rows) for row in rr if (f"id{n}", row["text"]) in made), reverse=True)
        assert chosen == all_values[: len(made)]


def test_shares_scales_and_lengths_look_at_the_whole_pool() -> None:
    rows = [scored(*(float(10 * n + k) for k in range(4))) for n in range(4)]
    made = answers(one(SelectBest(by="r", top=None, top_share=0.25), rows))  # type: ignore[call-arg]
    assert sorted(name for name, _ in made) == ["id3"] * 4
    halves = [batch(rows).slice(0, 2), batch(rows).slice(2)]
    parts = outcomes(SelectBest(by="r", top=None, top_share=0.25), halves)  # type: ignore[call-arg]
    assert [a for o in parts for a in answers(o)] == made
    long = [[{"text": "x" * n, "scores": {"r": n + (0.5 if n == 2 else 0.0), "m": 1.0}, "cut": False} for n in (1, 2, 8)]] * 3
    assert answers(one(SelectBest(by="r"), long))[0][1] == "x" * 8  # type: ignore[call-arg]
    assert answers(one(SelectBest(by="r", debias_length=True), long))[0][1] == "xx"  # type: ignore[call-arg]
    assert answers(one(SelectBest(by="r", length_penalty=2.0), long))[0][1] == "x"  # type: ignore[call-arg]
    two = [[{"text": t, "scores": {"r": r, "m": m}, "cut": False} for t, r, m in (("a", 0.0, 100.0), ("b", 1.0, 99.0), ("c", 0.9, 100.0))]]
    chosen = {c: answers(one(SelectBest(by=["r", "m"], combine=c), two))[0][1] for c in ("mean", "min", "ranks", "zscores")}  # type: ignore[call-arg]
    assert chosen == {"mean": "c", "min": "b", "ranks": "c", "zscores": "c"}


def test_near_answers_count_once_and_other_turns_too() -> None:
    near = [
        {"text": t, "scores": {"r": v, "m": 1.0}, "cut": False}
        for t, v in (("one two three four five", 1.0), ("one two three four six", 2.0), ("else", 0.0))
    ]
    assert len(answers(one(SelectBest(by="r", top=None), [near]))) == 3  # type: ignore[call-arg]
    made = answers(one(SelectBest(by="r", top=None, max_similarity=0.4), [near]))  # type: ignore[call-arg]
    assert [a for _, a in made] == ["one two three four six", "else"]
    calls = [
        Candidate(
            [Message("assistant", None, tool_calls=[ToolCall("f", a)]), Message("tool", "4"), Message("assistant", "4")], scores={"r": s}
        )
        for a, s in (("{}", 1.0), ("[]", 2.0), ("{}", 3.0))
    ]
    (found,) = outcomes(SelectBest(by="r", top=None), [to_batch([Record([Message("user", "q")], calls)], ["x"])])  # type: ignore[call-arg]
    assert found.expanded is not None
    assert [r.messages[1].tool_calls[0].arguments for r in from_batch(found.expanded.batch)] == ["{}", "[]"]  # type: ignore[index]
    assert found.expanded.batch.column("id").to_pylist() == ["x", "x-1"]
    assert [text_view(r) for r in from_batch(found.expanded.batch)] == found.expanded.batch.column("text").to_pylist()


def test_pass_rates_and_their_bounds() -> None:
    rows = [scored(*([1.0] * n + [0.0] * (4 - n))) for n in range(5)] + [scored(None, None), []]
    for row in rows:
        for at, candidate in enumerate(row):
            candidate["text"] = str(at)
    found = one(PassRate(by="r", min_rate=0.25, max_rate=0.75), rows)  # type: ignore[call-arg]
    assert found.verdict is not None and found.verdict.keep.to_pylist() == [False, False, True, False, False, False, False]
    assert [r and r.partition(".")[2] for r in found.verdict.reason.to_pylist()] == ["too_hard"] * 2 + [None] + ["too_easy"] * 2 + [
        "unscored"
    ] * 2
    wide = one(PassRate(by="r", min_rate=0.25, max_rate=0.75, inclusive=True), rows)  # type: ignore[call-arg]
    assert wide.verdict is not None and wide.verdict.keep.to_pylist() == [False, True, True, True, False, False, False]
    assert found.counts == {"s": {"none_pass": 1, "some_pass": 3, "all_pass": 1, "none_scored": 2}}
    assert found.batch.column("pass_rate").to_pylist() == [0, 0.25, 0.5, 0.75, 1, None, None]
    marked = run_step(PassRate(by="r", mode="annotate"), pa.Table.from_batches([batch(rows)]))  # type: ignore[call-arg]
    assert len(marked) == 7 and marked.column("pass_rate_keep").to_pylist()[2]


def test_mistakes_are_told() -> None:
    rows = [scored(1.0, 2.0)]
    with pytest.raises(DataError, match=r"no candidate has a score 'reward'.*There are: r, m"):
        one(SelectBest(by="reward"), rows)  # type: ignore[call-arg]
    for wrong in ({"by": ["r", "r"]}, {"min_score": 1.0}, {"top_share": 0.5}, {"length_penalty": 1.0}, {"by": "r", "max_similarity": 1.0}):
        with pytest.raises(ValueError):
            SelectBest(**wrong)
    for wrong in ({}, {"by": "r", "min_margin": 2.0, "max_margin": 1.0}, {"by": "r", "keep_truncated": True}):
        with pytest.raises(ValueError):
            SelectPairs(**wrong)  # type: ignore[arg-type]


def test_random_ties_follow_from_seed_and_id_alone() -> None:
    rows = [scored(1.0, 1.0, 1.0) for _ in range(40)]
    step = SelectBest(by="r", ties="random")  # type: ignore[call-arg]
    whole = answers(one(step, rows))
    again = [a for o in outcomes(step, [batch(rows).slice(at, 10) for at in range(0, 40, 10)]) for a in answers(o)]
    assert whole == again and len({a for _, a in whole}) == 3
    assert np.mean([a == "a" for _, a in whole]) < 0.7
