"""Repeated runs of words and bytes go, as a dict of all runs in Python says."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from curate.apply import outcomes, run_step
from curate.kernels.anchors import anchors
from curate.steps.substrings import EMPTY, DedupSubstrings
from tests.curate.steps.phases import run
from tests.reference import substrings as twin

WORDS = ["a", "b", "c", "\u00e9", "\u4e2d"]
GAPS = [" ", " ", " ", "  ", "\n", " \n\n", "\u3000"]
few = st.integers(1, 3).flatmap(
    lambda k: st.lists(st.lists(st.tuples(st.sampled_from(WORDS[:k]), st.sampled_from(GAPS)), max_size=25), min_size=1, max_size=5)
)
PIECES = ["abcdefgh", "ijkl", "\u4e2d\u6587", "\u00e9", "x", "\U0001f600", " ", "abcdefghijkl"]


def table(values: list[str | None]) -> pa.Table:
    return pa.table({"id": [f"d{i}" for i in range(len(values))], "text": pa.array(values, pa.large_string())})


def left(step: DedupSubstrings, values: list[str]) -> list[str]:
    """Texts after the step, also those that it drops for being empty."""
    (outcome,) = outcomes(step, table([*values]).to_batches())
    outcome.batch.validate(full=True)
    found = outcome.batch.column("text").to_pylist()
    assert outcome.verdict is not None
    expected = [EMPTY if new != old and not new.strip() else None for old, new in zip(values, found, strict=True)]
    assert outcome.verdict.reason.to_pylist() == expected
    return list(found)


@settings(deadline=None, max_examples=120)
@given(few, st.integers(2, 6), st.booleans())
def test_words_equal_the_twin(documents: list[list[tuple[str, str]]], n: int, keep_first: bool) -> None:
    texts = ["".join(word + gap for word, gap in document) for document in documents]
    assert left(DedupSubstrings(min_length=n, keep_first=keep_first), texts) == twin.without_words(texts, n, keep_first)


@settings(deadline=None, max_examples=120)
@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=14).map("".join), min_size=1, max_size=5), st.integers(16, 20), st.booleans())
def test_bytes_equal_the_twin(texts: list[str], n: int, keep_first: bool) -> None:
    step = DedupSubstrings(min_length=n, keep_first=keep_first, unit="byte")
    assert left(step, texts) == twin.without_bytes(texts, n, keep_first)


@pytest.mark.parametrize("n", [2, 3, 8, 50])
def test_anchors_are_the_smallest_hashes_of_their_runs(n: int) -> None:
    tokens = np.random.default_rng(n).integers(0, 3 if n < 50 else 100, 2000).astype(np.uint64)
    found = anchors(tokens, np.array([0, 1, 700, 2000]), n)
    runs = np.concatenate([np.arange(a, b + 1) for a, b in zip(found.first, found.last, strict=True)])
    assert runs.tolist() == [*range(1, 700 - n + 1), *range(700, 2000 - n + 1)]  # each run has one
    key = {int(r): int(k) for k, a, b in zip(found.key, found.first, found.last, strict=True) for r in range(a, b + 1)}
    same: dict[bytes, int] = {}
    for r in runs.tolist():
        assert same.setdefault(tokens[r : r + n].tobytes(), key[r]) == key[r]
    if n == 50:
        assert len(found.key) < 2.4 * 2000 / (n - 25 + 2)


@pytest.mark.parametrize("keep_first", [True, False])
def test_planted_runs_in_noise(keep_first: bool) -> None:
    rng = random.Random(1)
    shared = [" ".join(rng.choices("abcdefghij", k=rng.randint(15, 60))) for _ in range(8)]
    texts = []
    for _ in range(60):
        noise = [" ".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(0, 60))) for _ in range(3)]
        texts.append(f"{noise[0]} {rng.choice(shared)} {noise[1]} {rng.choice(shared)[rng.randint(0, 9) :]} {noise[2]}")
    for n in (5, 20):
        assert left(DedupSubstrings(min_length=n, keep_first=keep_first), texts) == twin.without_words(texts, n, keep_first)


def test_bound_itself() -> None:
    run_of_five = "one two three four five"
    for n, gone in ((4, True), (5, True), (6, False)):
        found = left(DedupSubstrings(min_length=n), [run_of_five, f"x {run_of_five} y"])
        assert found[1] == ("x y" if gone else f"x {run_of_five} y")


@pytest.mark.parametrize("unit", ["word", "byte"])
def test_batches_partitions_and_record_order_do_not_matter(unit: Any) -> None:
    rng = random.Random(2)
    parts = [" ".join(rng.choices("abcde", k=12)) for _ in range(12)]
    whole = table([" ".join(rng.choices(parts, k=4)) + f" own {i}" for i in range(50)])
    step = DedupSubstrings(min_length=16, unit=unit)
    expected = run(step, whole)
    assert expected.column("text").to_pylist() != whole.column("text").to_pylist()
    for cuts, partitions, shuffle in [((1, 20), 1, None), ((), 5, 1), ((9, 10, 31), 3, 2)]:
        assert run(step, whole, cuts, partitions, shuffle).to_pylist() == expected.to_pylist()


def test_annotate_changes_nothing() -> None:
    step = DedupSubstrings(min_length=2, mode="annotate")
    found = run_step(step, table(["a b", "a b c", "a b", None]))
    assert found.column("text").to_pylist() == ["a b", "a b c", "a b", None]
    assert found.column("dedup_substrings_keep").to_pylist() == [True, True, False, True]
    assert found.column("dedup_substrings_removed").to_pylist() == [0.0, 0.8, 1.0, 0.0]


def test_hostile_texts_are_linear() -> None:
    n = 1 << 19
    assert left(DedupSubstrings(min_length=50, unit="byte"), ["a" * n, "ab" * n]) == ["a", "ab"]
    assert left(DedupSubstrings(), ["a " * n, "b" * n]) == ["a", "b" * n]
    same = " ".join(f"w{i}" for i in range(60))
    assert left(DedupSubstrings(), [same] * 20_000) == [same] + [""] * 19_999


@pytest.mark.parametrize("wrong", [{"min_length": 1}, {"unit": "token"}, {"unit": "byte", "min_length": 15}, {"min_length": 10_001}])
def test_settings_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DedupSubstrings(**wrong)
