"""Words that steps share: a column, and what drops leave of it, is split once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.context import WorkContext
from curate.kernels import words as split_module
from curate.schema import ROW
from curate.steps.fineweb_rules import FineWeb
from curate.steps.quality import GopherQuality
from curate.steps.repetition import GopherRepetition
from curate.worker.documents import Chain
from curate.worker.ledger import Ledger

ROWS = st.lists(st.tuples(st.one_of(st.none(), st.text(alphabet="ab 漢.é\n", max_size=12)), st.booleans(), st.booleans()), max_size=12)


@pytest.fixture
def splits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Number of documents in every call of the splitter."""
    calls: list[int] = []
    real = split_module.split_words

    def counting(text: pa.LargeStringArray, split: str) -> split_module.Words:
        calls.append(len(text))
        return real(text, split)

    monkeypatch.setattr(split_module, "split_words", counting)
    return calls


@given(ROWS, st.sampled_from(["unicode", "whitespace"]), st.integers(0, 3))
@settings(deadline=None, max_examples=60)
def test_words_of_rows_that_stay_are_those_of_a_new_split(rows: list[tuple[str | None, bool, bool]], split: str, cut: int) -> None:
    text = pa.array([row[0] for row in rows], pa.large_string())
    batch = pa.RecordBatch.from_pydict({"text": text}).slice(min(cut, len(rows)))
    ctx = WorkContext()
    ctx.words(batch.column("text"), split)
    first, second = (pa.array([row[place] for row in rows[min(cut, len(rows)) :]], pa.bool_()) for place in (1, 2))
    for keep in (first, second.filter(first)):  # two drops, with no step between that asks for words
        left = batch.filter(keep)
        ctx.rows_stay(batch, left, keep)
        batch = left
    found = ctx.words(batch.column("text"), split)
    for column, expected in zip(found, split_module.split_words(batch.column("text"), split), strict=True):
        np.testing.assert_array_equal(column, expected)
        assert column.dtype == expected.dtype and not column.flags.writeable


def test_a_chain_of_filters_that_drop_splits_every_document_once(splits: list[int], tmp_path: Path) -> None:
    good = (
        "When the boats of every small harbour had gone out to sea with their nets, children and old men would sit below walls,\n"
        "mending what storms broke that winter, talking about fish nobody ever caught, waiting until lanterns came back home."
    )
    texts = [good, "the same line and\n" * 40, "Too short.", good + " Then they slept."]
    made = {"id": list("abcd"), "text": pa.array(texts, pa.large_string()), "source": ["s"] * 4, "meta": ["{}"] * 4, ROW: np.arange(4)}
    ctx = WorkContext()
    steps = [GopherRepetition(), GopherQuality(min_words=20), FineWeb(max_short_lines=None)]
    names = [step.name for step in steps]
    chain = Chain(names, [step.bind(ctx) for step in steps], Ledger(tmp_path, names, "none"), ctx)
    for _ in range(2):  # the next batch lies elsewhere
        del splits[:]
        left = chain(pa.RecordBatch.from_pydict({**made, "text": pa.array(texts, pa.large_string())}))
        assert left.column("id").to_pylist() == ["a", "d"]
        assert splits == [4]
