"""Toxicity and nsfw signals: what lists count, bounds, languages, figures for the ledger."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import curate
from curate.apply import outcomes, run_step
from curate.kernels import listed_words, patterns
from curate.steps.safety import Nsfw, Toxicity
from tests.curate.steps.small_models import BAD, GOOD, save_classifier

UNHURRIED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure


def table(texts: list[str | None], **more: list[str | None]) -> pa.Table:
    n = len(texts)
    columns = {"id": [f"d{i}" for i in range(n)], "text": pa.array(texts, pa.large_string()), "source": ["web"] * n, "meta": ["{}"] * n}
    return pa.table(columns | {name: pa.array(values, pa.string()) for name, values in more.items()})


WORDS = ("darn", "what the heck", "Größe")


def test_counts_and_shares() -> None:
    made = run_step(
        Toxicity(words=WORDS), table(["darn, DARN and darnit", "What the heck? what  the heck", "GRÖSSE größe", "", None, "fine"])
    )
    assert made.column("toxicity_count").to_pylist() == [2, 1, 1, 0, 0, 0]
    assert made.column("toxicity_share").to_pylist() == [0.4, 1 / 7, 0.5, None, None, 0.0]  # marks are words of this split
    assert made.column("toxicity_keep").to_pylist() == [True] * 6
    assert "toxicity_score" not in made.column_names


@pytest.mark.parametrize(
    ("setting", "bound", "kept"),
    [("max_count", 1, False), ("max_count", 2, True), ("max_count", 3, True), ("max_share", 0.49, False), ("max_share", 0.5, True)],
)
def test_bounds(setting: str, bound: float, kept: bool) -> None:
    step = Nsfw(words=WORDS, mode="drop", **{setting: bound})  # type: ignore[arg-type]
    (outcome,) = outcomes(step, table(["darn DARN and so", ""]).to_batches())
    assert outcome.verdict is not None and outcome.verdict.keep.to_pylist() == [kept, True]
    assert outcome.batch.schema.names == ["id", "text", "source", "meta"]
    assert outcome.verdict.reason[0].as_py() in (None, f"nsfw.{setting.removeprefix('max_')}")


def test_a_list_for_each_language(tmp_path: Path) -> None:
    (tmp_path / "en.txt").write_text("# comment\ndarn\n\n")
    (tmp_path / "ja").write_text("だめ\n")
    step = Toxicity(files=(str(tmp_path / "en.txt"), str(tmp_path / "ja")), language_column="lang_code", max_count=0)
    texts = ["darn だめ", "darn だめだめ", "darn", "darn"]
    (outcome,) = outcomes(step, table(texts, lang_code=["en", "ja", "fr", None]).to_batches())
    assert outcome.batch.column("toxicity_count").to_pylist() == [1, 2, 0, 1]
    assert outcome.counts == {"web": {
        "en documents": 2, "en with listed words": 2, "en over a bound": 2, "ja documents": 1, "ja with listed words": 1, "ja over a bound": 1, "fr documents": 1,
    }}  # fmt: skip


def test_classifier_score(tmp_path: Path) -> None:
    model = str(save_classifier(tmp_path / "m.bin"))
    step = Toxicity(classifier=model, label="lq", max_score=0.5)
    made = run_step(step, table([*GOOD, *BAD, ""]))
    assert made.column("toxicity_keep").to_pylist() == [True] * 3 + [False] * 3 + [True]
    assert set(made.column("toxicity_reason").to_pylist()) == {None, "toxicity.score"}
    assert "toxicity_count" not in made.column_names
    score = made.column("toxicity_score")[3].as_py()
    for bound, kept in ((score, True), (score - 1e-6, False)):
        (outcome,) = outcomes(Toxicity(classifier=model, label="lq", max_score=bound, mode="drop"), table(BAD[:1]).to_batches())
        assert outcome.verdict is not None and outcome.verdict.keep.to_pylist() == [kept]


@UNHURRIED
@given(st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=4), st.text("ab -ä", max_size=30))
def test_occurrences_equal_a_slow_count(entries: list[str], text: str) -> None:
    machine = patterns.build([e.encode() for e in dict.fromkeys(entries)])
    for borders, pattern in ((patterns.ANYWHERE, "{}"), (patterns.WORD_BORDERS, r"(?<!\w){}(?!\w)")):
        ends = {i + len(e) for e in entries for i in range(len(text)) if re.compile(pattern.format(e)).match(text, i)}
        assert listed_words.occurrences(pa.array(["before", text]), machine, borders)[1] == len(ends)


def test_in_the_ledger(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "darn it"}\n{"text": "fine"}\n')
    recipe = tmp_path / "r.yaml"
    recipe.write_text("name: r\nread: {jsonl: in.jsonl}\nsteps:\n  - toxicity: {words: [darn], max_count: 0, mode: drop}\n")
    entry = curate.run(recipe, out=tmp_path / "out", workers=1).manifest["datasets"]["r"]
    assert entry["dropped"] == {"toxicity.count": 1}
    (line,) = [line for line in entry["funnel"] if line["step"] == "toxicity"]
    assert line["counts"] == {"r": {"en documents": 2, "en over a bound": 1, "en with listed words": 1}}


def test_mistakes() -> None:
    for given_, words in (
        ({}, "your own lists"),
        ({"words": WORDS, "max_score": 0.5}, "needs a classifier"),
        ({"classifier": "m.bin", "max_count": 1}, "need words or files"),
    ):
        with pytest.raises(pydantic.ValidationError, match=words):
            Toxicity(**given_)  # type: ignore[arg-type]
