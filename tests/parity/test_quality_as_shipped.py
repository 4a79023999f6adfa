"""The four quality filters and the word split equal datatrove as it is installed, on a sample of English documents."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.parity.quality_as_shipped import Found, Peer, compare, documents, english

pytest.importorskip("datatrove")
pytest.importorskip("spacy")

FILES = {"text/wikipedia_en_pages.jsonl.zst": 150, "text/c4_demo.jsonl.gz": 12, "text/tldr_pages.jsonl.zst": 400, "quality/dclm_human_quality.jsonl.gz": 12}  # fmt: skip


def test_same_words_decisions_reasons_and_text(real_data: Path) -> None:
    found, peer = Found(), Peer()
    for name, every in FILES.items():
        texts = [text for text in documents(real_data / name, every) if len(text) < 60_000]
        compare(english(texts), peer, found)
    print(f"\n{found.documents} documents, {found.words} words, {dict(found.reasons)}")
    assert found.differences == []
    assert found.documents > 80 and len(found.reasons) > 8
