"""Repetition and C4 in the readings of the other tools: numbers equal the formulas in their sources, on real documents.

The tools themselves are not installed here; `tests/reference` writes their formulas down plainly.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from curate.apply import outcomes
from curate.kernels.strings import views
from curate.kernels.words import split_words
from curate.steps.c4_rules import C4
from curate.steps.repetition import _SHARES, GopherRepetition
from tests.conftest import read_rows
from tests.reference import c4 as c4_reference
from tests.reference import repetition as reference

SPLITS = {"datatrove": "unicode", "dclm": "unicode", "dolma": "whitespace", "nemo": "whitespace"}  # nearest to what each tool uses
PER_FILE, MOST = 12, 20_000  # documents, characters


@pytest.fixture(scope="module")
def texts(real_data: Path) -> list[str]:
    found = []
    for file in sorted((real_data / "text").iterdir()):
        every = [text for row in read_rows(file) if isinstance(text := row.get("text"), str)]
        found += [text[:MOST] for text in every[:: max(1, len(every) // PER_FILE)]]
    return found


def measured(texts: list[str], semantics: str) -> tuple[list[list[float]], list[str | None]]:
    batch = pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.large_string())})
    out = outcomes(GopherRepetition(semantics=semantics, words=SPLITS[semantics], mode="annotate"), [batch])[0].batch
    numbers = [out.column(name).to_pylist() for _, name, _ in _SHARES]
    return [list(row) for row in zip(*numbers, strict=True)], out.column("gopher_repetition_reason").to_pylist()


def test_numbers_equal_the_formulas_and_tools_disagree_as_documented(texts: list[str]) -> None:
    dropped = {}
    for semantics, split in SPLITS.items():
        column = pa.array(texts, pa.large_string())
        data, _ = views(column)
        words = split_words(column, split)
        numbers, reasons = measured(texts, semantics)
        for d, text in enumerate(texts):
            spans = [(words.start[w], words.size[w]) for w in range(words.doc[d], words.doc[d + 1])]
            given = [data[a : a + size].tobytes().decode() for a, size in spans]
            if given:
                assert numbers[d] == reference.READINGS[semantics](text, given), (semantics, text[:80])
        dropped[semantics] = {d for d, reason in enumerate(reasons) if reason is not None}
    print(f"\n{len(texts)} documents; dropped: " + ", ".join(f"{name} {len(which)}" for name, which in dropped.items()))
    assert len(dropped["dclm"]) > len(dropped["datatrove"]) > 0
    assert len({frozenset(which) for which in dropped.values()}) == len(SPLITS)


def test_pages_as_dclm_reads_them_equal_the_formulas(texts: list[str]) -> None:
    settings = {"semantics": "dclm", "min_words_per_line": 5, "min_sentences": 3, "max_page_chars": 15_000}
    batch = pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.large_string())})
    outcome = outcomes(C4(**settings), [batch])[0]
    assert outcome.verdict is not None
    rules = c4_reference.Rules(**settings)
    seen = set()
    for text, got, reason in zip(texts, outcome.batch.column("text").to_pylist(), outcome.verdict.reason.to_pylist(), strict=True):
        page = c4_reference.clean(text, rules)
        assert (reason, got) == (page.reason or None, page.text)
        seen.add(reason)
    assert {None, "c4.too_long", "c4.too_few_sentences"} <= seen
