"""c4 against datatrove's C4QualityFilter with our sentence rule: decision, reason, text and what became of the lines."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from curate.apply import outcomes
from curate.steps.c4_rules import C4
from tests.conftest import read_rows
from tests.reference.c4 import sentences

filters = pytest.importorskip("datatrove.pipeline.filters.c4_filters")

PER_FILE = 800_000  # characters
SETTINGS = [
    ({}, {}),
    ({"filter_no_terminal_punct": False}, {"terminal_punctuation": False}),  # as FineWeb runs it
    (
        {"min_num_sentences": -1, "min_words_per_line": -1, "max_word_length": 20, "filter_lorem_ipsum": False, "remove_citations": False},
        {"min_sentences": None, "min_words_per_line": None, "max_word_chars": 20, "drop_lorem_ipsum": False, "remove_citations": False},
    ),
]
LINES = {
    "line-total": "c4_lines",
    "line-kept": "c4_lines_kept",
    "line-filter-too_long_word": "c4_lines_long_word",
    "line-filter-no_terminal_punc": "c4_lines_no_end_mark",
    "line-filter-too_few_words": "c4_lines_few_words",
    "line-filter-javascript": "c4_lines_javascript",
    "line-filter-policy": "c4_lines_policy",
}


def sample(folder: Path) -> list[str]:
    found = []
    for part in ("text", "html"):
        for file in sorted((folder / part).iterdir()):
            texts = [str(row.get("text") or row.get("content") or row.get("articleBody") or "") for row in read_rows(file)]
            step, left = max(1, len(texts) // 400), PER_FILE
            for text in texts[::step]:
                left -= len(text)
                if left < 0:
                    break
                found.append(text)
    return found


@pytest.mark.parametrize(("theirs", "ours"), SETTINGS, ids=["default", "fineweb", "loose"])
def test_pages_equal_datatrove(
    real_data: Path, monkeypatch: pytest.MonkeyPatch, theirs: dict[str, object], ours: dict[str, object]
) -> None:
    from datatrove.data import Document

    monkeypatch.setattr(filters, "split_into_sentences", lambda text, language: sentences(text))
    their_filter = filters.C4QualityFilter(**theirs)
    counted: Counter[str] = Counter()
    monkeypatch.setattr(their_filter, "stat_update", lambda name: counted.update([name]))
    texts = sample(real_data)
    batch = pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.large_string())})
    outcome = outcomes(C4(**ours), [batch])[0]
    annotated = outcomes(C4(mode="annotate", **ours), [batch])[0].batch.to_pylist()
    assert outcome.verdict is not None
    cleaned, reasons = outcome.batch.column("text").to_pylist(), outcome.verdict.reason.to_pylist()
    dropped: Counter[str] = Counter()
    for text, got, reason, signals in zip(texts, cleaned, reasons, annotated, strict=True):
        document = Document(text=text, id="")
        counted.clear()
        answer = their_filter.filter(document)
        expected = None if answer is True else f"c4.{answer[1]}"
        assert (reason, got) == (expected, document.text), text[:80]
        assert signals["c4_reason"] == expected
        if expected in (None, "c4.too_few_sentences"):  # otherwise datatrove stopped counting
            assert {name: counted[name] for name in LINES} == {name: signals[column] for name, column in LINES.items()}
        dropped[reason] += 1
    print(f"\nc4 = datatrove on {len(texts)} documents, {sum(map(len, texts)) / 1e6:.1f} M characters: {dict(dropped)}")
    assert len(texts) > 1000 and len(dropped) >= 2
