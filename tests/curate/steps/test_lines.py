"""Repeated lines, paragraphs and sentences go, as a set in Python says."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from curate.apply import outcomes, run_step
from curate.kernels.strings import views
from curate.kernels.text_units import units
from curate.steps.lines import EMPTY, UNITS, WORDS, DedupLines
from tests.curate.steps.phases import run
from tests.reference import lines as twin

PARTS = ["a", "A", "b b", "c.", "d! ", "e? f", "3.14", "\u4e2d\u3002", "\u6587", "\u00e9", "...", " ", "\n", "\n", "\n\n", "\t\n", "\r\n", "x.\u201d y",
         "\u3000", "\u2028", "12", "7", ".\n", "--"]  # fmt: skip
texts = st.lists(st.lists(st.sampled_from(PARTS), max_size=14).map("".join), max_size=6)
KINDS = st.sampled_from(["line", "paragraph", "sentence"])


def table(values: list[str | None], **more: Any) -> pa.Table:
    return pa.table({"id": [f"d{i}" for i in range(len(values))], "text": pa.array(values, pa.large_string()), **more})


def left(step: DedupLines, values: list[str | None], **more: Any) -> list[str]:
    return list(run_step(step, table(values, **more)).column("text").to_pylist())


@settings(deadline=None, max_examples=100)
@given(texts, KINDS)
def test_units_make_up_the_text(values: list[str], kind: Any) -> None:
    data, offsets = views(pa.array(values, pa.large_string()))
    found = units(data, offsets, kind)
    raw = data.tobytes()
    parts = [raw[a:b].decode() for a, b in zip(found.offsets[:-1], found.offsets[1:], strict=True)]
    for d, text in enumerate(values):
        assert parts[found.doc[d] : found.doc[d + 1]] == twin.units(text, kind)
    assert [raw[a:b].decode() for a, b in zip(found.starts, found.stops, strict=True)] == [p.strip() for p in parts]


@settings(deadline=None, max_examples=100)
@given(texts, KINDS, st.integers(1, 3), st.sets(st.sampled_from(["case", "whitespace", "punctuation", "digits"])))
def test_equals_the_twin(values: list[str], kind: Any, span: int, fold: set[Any]) -> None:
    step = DedupLines(unit=kind, span=span, normalize=tuple(sorted(fold)))
    expected = twin.without_repeats(values, kind, span, fold)
    found = outcomes(step, table([*values]).to_batches()) if values else []
    for outcome in found:
        assert outcome.batch.column("text").to_pylist() == expected
        outcome.batch.validate(full=True)
        assert outcome.verdict is not None
        reasons = [EMPTY if new != old and not new.strip() else None for old, new in zip(values, expected, strict=True)]
        assert outcome.verdict.reason.to_pylist() == reasons


def test_first_occurrence_stays() -> None:
    assert left(DedupLines(), ["menu\nnews one\nfoot", "menu\nnews two\nFOOT!", "menu", None]) == ["menu\nnews one\nfoot", "news two", None]
    assert left(DedupLines(unit="paragraph"), ["a\nb\n\nc", "x\n\na\nb"]) == ["a\nb\n\nc", "x"]
    assert left(DedupLines(unit="sentence", span=3), ["A. B. C. D.", "X. A. B. C. Y."]) == ["A. B. C. D.", "X. Y."]
    assert left(DedupLines(unit="sentence", span=3), ["A. B.", "A. B."]) == ["A. B.", "A. B."]


def test_bytes_without_folding_and_bounds() -> None:
    assert left(DedupLines(normalize=()), ["a\nB", "A\nB"]) == ["a\nB", "A"]
    for chars, expected in ((2, "x"), (3, "x\nab")):
        assert left(DedupLines(min_span_chars=chars), ["ab", "x\nab"]) == ["ab", expected]
    assert left(DedupLines(within="source"), ["a\nb", "a\nc", "a\nd"], source=["s", "t", "s"]) == ["a\nb", "a\nc", "d"]


@pytest.mark.parametrize(("bound", "reason"), [("min_words", WORDS), ("min_units", UNITS)])
def test_what_became_too_short_goes(bound: str, reason: str) -> None:
    values: list[str | None] = ["menu", "one\ntwo\nmenu", "few"]
    for least, expected in ((1, 3), (2, 3), (3, 2)):
        (outcome,) = outcomes(DedupLines(**{bound: least}), table(values).to_batches())
        assert outcome.verdict is not None and outcome.verdict.value is not None
        assert sum(outcome.verdict.keep.to_pylist()) == expected
    assert outcome.verdict.reason.to_pylist() == [None, reason, None]
    assert outcome.verdict.value.to_pylist() == [None, 2.0, None]


def test_annotate_changes_nothing() -> None:
    step = DedupLines(mode="annotate")
    found = run_step(step, table(["menu", "menu\nnews", "menu"]))
    assert found.column("text").to_pylist() == ["menu", "menu\nnews", "menu"]
    assert found.column("dedup_lines_keep").to_pylist() == [True, True, False]
    assert found.column("dedup_lines_reason").to_pylist() == [None, None, EMPTY]
    assert found.column("dedup_lines_removed").to_pylist() == [0.0, 5 / 9, 1.0]
    assert step.drops() == () and DedupLines(min_units=3).drops() == (EMPTY, UNITS)


@pytest.mark.parametrize("kind", ["line", "sentence"])
def test_batches_partitions_and_record_order_do_not_matter(kind: Any) -> None:
    whole = table([f"Line {chr(97 + i % 7)}. Other {chr(97 + i % 5)}.\nmore {chr(97 + i % 11)}.\nown {'x' * i}" for i in range(60)])
    step = DedupLines(unit=kind)
    expected = run(step, whole)
    assert len(expected) == 60
    for cuts, partitions, shuffle in [((1, 30), 1, None), ((), 5, 1), ((10, 11, 50), 3, 2)]:
        assert run(step, whole, cuts, partitions, shuffle).to_pylist() == expected.to_pylist()


def test_hostile_texts_are_linear() -> None:
    n = 1 << 20
    values: list[str | None] = ["a" * n, "a\n" * n, "\n" * n, ". " * n, "!" * n]
    for kind, expected in (("line", ["a" * n, "a\n", "\n" * n, ". " * n, "!" * n]), ("sentence", None)):
        found = left(DedupLines(unit=kind), values)
        assert expected is None or found == ["a" * n, "a", *expected[2:]]


def test_many_documents_with_the_same_lines() -> None:
    found = left(DedupLines(), ["top\nbottom"] * 50_000)
    assert found == ["top\nbottom"]


@pytest.mark.parametrize("wrong", [{"unit": "word"}, {"span": 0}, {"normalize": ["accents"]}, {"min_words": 0}, {"min_span_chars": 0}])
def test_settings_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DedupLines(**wrong)
