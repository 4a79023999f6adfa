"""gopher_quality and fineweb decide as datatrove's filters do, document by document, when both see the same words."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curate.apply import outcomes
from curate.steps.fineweb_rules import FineWeb
from curate.steps.quality import GopherQuality
from tests.conftest import read_rows
from tests.reference import words as naive

GOPHER = {
    "gopher_short_doc": "gopher.too_short",
    "gopher_long_doc": "gopher.too_long",
    "gopher_below_avg_threshold": "gopher.short_words",
    "gopher_above_avg_threshold": "gopher.long_words",
    "gopher_too_many_hashes": "gopher.hashes",
    "gopher_too_many_ellipsis": "gopher.ellipses",
    "gopher_too_many_bullets": "gopher.bullets",
    "gopher_too_many_end_ellipsis": "gopher.ellipsis_lines",
    "gopher_below_alpha_threshold": "gopher.few_letters",
    "gopher_enough_stop_words": "gopher.few_stop_words",
}
FINEWEB = {
    "empty": "fineweb.empty",
    "line_punct_ratio": "fineweb.few_terminal_punctuation",
    "short_line_ratio": "fineweb.short_lines",
    "char_dup_ratio": "fineweb.duplicate_lines",
    "list_ratio": "fineweb.newlines",
}
EVERY = int(os.environ.get("CURATE_PARITY_EVERY", "30"))  # every n-th document of each file; 1 takes minutes and some GB
# Looser bounds, so that the later rules are reached too; (ours, datatrove's).
SETTINGS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    (
        {"min_words": 5, "min_mean_word_length": 1, "min_words_with_letters": 0.5},
        {"min_doc_words": 5, "min_avg_word_length": 1, "max_non_alpha_words_ratio": 0.5},
    ),
]


@pytest.fixture(scope="module")
def texts(real_data: Path) -> list[str]:
    found = []
    for path in sorted((real_data / "text").glob("*.jsonl.*")):
        found += [text for row in list(read_rows(path))[::EVERY] if isinstance(text := row.get("text"), str)]
    return found


def theirs(filter_: Any, texts: list[str], names: dict[str, str]) -> list[str | None]:
    from datatrove.data import Document

    answers = [filter_.filter(Document(text=text, id="")) for text in texts]
    return [None if answer is True else names[answer[1]] for answer in answers]


def ours(step: Any, texts: list[str]) -> list[str | None]:
    batches = [pa.record_batch({"text": pa.array(texts[i : i + 500], pa.large_string())}) for i in range(0, len(texts), 500)]
    reasons: list[str | None] = []
    for outcome in outcomes(step, batches):
        assert outcome.verdict is not None
        reasons += outcome.verdict.reason.to_pylist()
    return reasons


def compare(ours_: list[str | None], theirs_: list[str | None], texts: list[str]) -> None:
    different = [(i, a, b) for i, (a, b) in enumerate(zip(ours_, theirs_, strict=True)) if a != b]
    seen = {reason: theirs_.count(reason) for reason in set(theirs_)}
    print(f"{len(texts)} documents, {sum(map(len, texts)) / 1e6:.1f} M characters, {len(different)} differ, {seen}")
    assert different == []
    assert len(seen) > 2


@pytest.mark.parametrize("split", ["unicode", "whitespace"])
def test_decides_as_datatrove(texts: list[str], split: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import datatrove.pipeline.filters.fineweb_quality_filter as fineweb
    import datatrove.pipeline.filters.gopher_quality_filter as gopher

    words = {text: naive.split(text, split) for text in texts}  # once for all filters
    monkeypatch.setattr(gopher, "split_into_words", lambda text, language: words[text])
    monkeypatch.setattr(fineweb, "split_into_words", lambda text, language: words[text])
    for settings, their_settings in SETTINGS:
        reasons = theirs(gopher.GopherQualityFilter(**their_settings), texts, GOPHER)
        compare(ours(GopherQuality(words=split, **settings), texts), reasons, texts)
    compare(ours(FineWeb(words=split), texts), theirs(fineweb.FineWebQualityFilter(), texts, FINEWEB), texts)
    loose = {
        "min_terminal_punctuation": 0.5,
        "allow_no_terminal_punctuation": True,
        "max_short_lines": 0.9,
        "max_duplicate_line_chars": 0.1,
    }
    same = {"line_punct_thr": 0.5, "line_punct_exclude_zero": True, "short_line_thr": 0.9, "char_duplicates_ratio": 0.1}
    compare(ours(FineWeb(words=split, **loose), texts), theirs(fineweb.FineWebQualityFilter(**same), texts, FINEWEB), texts)
