"""Word splits on real text: `spacy_en` against spaCy in every language, `unicode` against its twin where no spaces are written."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pytest

from curate.kernels.strings import views
from curate.kernels.words import split_words
from tests.conftest import read_rows
from tests.reference import words as naive

EVERY = int(os.environ.get("CURATE_PARITY_EVERY", "250"))  # every n-th document; 1 takes hours


def spelled(texts: list[str], split: str) -> list[list[str]]:
    column = pa.array(texts, pa.large_string())
    words, (data, _) = split_words(column, split), views(column)
    every = [bytes(data[s : s + n]).decode() for s, n in zip(words.start.tolist(), words.size.tolist(), strict=True)]
    return [every[a:b] for a, b in zip(words.doc[:-1].tolist(), words.doc[1:].tolist(), strict=True)]


def test_spacy_words_in_every_language(real_data: Path) -> None:
    spacy = pytest.importorskip("spacy")
    pipeline = spacy.blank("en")
    documents = words = size = 0
    for path in sorted((real_data / "text").iterdir()):
        texts = [str(row.get("text") or row.get("content") or "")[:30_000] for row in list(read_rows(path))[::EVERY]]
        for text, mine in zip(texts, spelled(texts, "spacy_en"), strict=True):
            with pipeline.memory_zone():
                assert mine == [token.text for token in pipeline.tokenizer(text) if token.text.strip()], (path.name, text[:60])
            words += len(mine)
            size += len(text.encode())
        documents += len(texts)
    print(f"\nspacy_en = spaCy on {documents} documents, {size / 1e6:.1f} MB, {words} words")
    assert documents > 300


def test_unicode_words_where_no_spaces_are_written(real_data: Path) -> None:
    """UDHR in all its languages (Thai, Lao, Burmese and Khmer among them), and Thai sentences."""
    texts = [str(row["text"]) for row in read_rows(real_data / "langid" / "udhr.jsonl.gz")]
    thai = [str(row["text"]) for row in read_rows(real_data / "langid" / "lingua_sentences.jsonl.gz") if "\u0e01" in str(row["text"])]
    assert len(thai) > 100
    found = spelled([*texts, *thai], "unicode")
    assert found == [naive.split(text, "unicode") for text in [*texts, *thai]]
    lengths = [len(word) for words in found[len(texts) :] for word in words if word[0] >= "\u0e01"]
    assert 1.2 < sum(lengths) / len(lengths) < 2  # letters with their marks, not phrases
