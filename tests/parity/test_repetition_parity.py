"""gopher_repetition against datatrove's GopherRepetitionFilter with our word split: decision, reason and every number."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from curate.apply import outcomes
from curate.kernels.strings import views
from curate.kernels.words import split_words
from curate.steps.repetition import _SHARES, GopherRepetition
from tests.conftest import read_rows
from tests.reference import repetition as reference

filters = pytest.importorskip("datatrove.pipeline.filters.gopher_repetition_filter")

SECONDS = 12.0  # of datatrove's time
BATCH_CHARACTERS = 40_000
THEIRS = dict(
    zip(
        ["dup_para_frac", "dup_para_char_frac", "dup_line_frac", "dup_line_char_frac"]
        + [f"top_{n}_gram" for n in (2, 3, 4)]
        + [f"duplicated_{n}_n_grams" for n in range(5, 11)],
        [f"gopher_repetition.{reason}" for reason, _, _ in _SHARES],
        strict=True,
    ),
    empty="gopher_repetition.empty",
)


def sample(folder: Path) -> Iterator[list[str]]:
    """Batches of texts, the files by turns, so that a cut after some seconds still saw every file."""
    files = []
    for file in sorted((folder / "text").iterdir()):
        texts = [str(row.get("text") or row.get("content") or "") for row in read_rows(file)]
        batches: list[list[str]] = [[]]
        size = 0
        for text in texts[:: max(1, len(texts) // 2000)]:
            if size + len(text) > BATCH_CHARACTERS and batches[-1]:
                batches.append([])
                size = 0
            if len(text) < 4 * BATCH_CHARACTERS:
                batches[-1].append(text)
                size += len(text)
        files.append(batches)
    for turn in range(max(map(len, files))):
        yield from (batches[turn] for batches in files if turn < len(batches))


def test_decisions_reasons_and_numbers_equal_datatrove(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from datatrove.data import Document

    words: dict[str, list[str]] = {}
    monkeypatch.setattr(filters, "split_into_words", lambda text, language: words[text])
    theirs = filters.GopherRepetitionFilter()
    drop, annotate = GopherRepetition(), GopherRepetition(mode="annotate")
    documents = characters = dropped = numbers = 0
    spent = 0.0
    for texts in sample(real_data):
        column = pa.array(texts, pa.large_string())
        data, _ = views(column)
        split = split_words(column, "unicode")
        words.clear()
        for d, text in enumerate(texts):
            spans = zip(split.start[split.doc[d] : split.doc[d + 1]], split.size[split.doc[d] : split.doc[d + 1]], strict=True)
            words[text] = [data[a : a + size].tobytes().decode() for a, size in spans]
        started = time.process_time()
        answers = [theirs.filter(Document(text=text, id="")) for text in texts]
        spent += time.process_time() - started
        expected = [None if answer is True else THEIRS[answer[1]] for answer in answers]
        batch = pa.RecordBatch.from_pydict({"text": column})
        verdict = outcomes(drop, [batch])[0].verdict
        assert verdict is not None
        assert verdict.reason.to_pylist() == expected
        annotated = outcomes(annotate, [batch])[0].batch
        assert annotated.column("gopher_repetition_reason").to_pylist() == expected
        for d in range(0, len(texts), 4):
            got = [annotated.column(name)[d].as_py() for _, name, _ in _SHARES]
            assert got == reference.shares(texts[d], words[texts[d]]), texts[d][:80]
            numbers += len(got)
        documents += len(texts)
        characters += sum(map(len, texts))
        dropped += sum(reason is not None for reason in expected)
        if spent > SECONDS:
            break
    print(f"\ngopher_repetition = datatrove: {documents} documents, {characters / 1e6:.1f} M characters, {dropped} dropped", end="")
    print(f", {numbers} numbers")
    assert documents > 1000 and 0 < dropped < documents


def test_the_twin_is_datatrove(monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers of the naive twin are those of datatrove's own functions."""
    text = "a b c a b c d e f g h a b c d e f g h\n\nx y\nx y\n\n\nx y"
    words = text.split()
    found = reference.shares(text, words)
    assert found[4:7] == [filters.find_top_duplicate(filters.get_n_grams(words, n)) / len(text) for n in (2, 3, 4)]
    assert found[7:] == [filters.find_all_duplicate(words, n) / len(text) for n in range(5, 11)]
