"""bad_words against datatrove's C4BadWordsFilter on the same lists: real documents of many scripts, and awkward places."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from curate.apply import outcomes
from curate.steps.word_lists import BadWords
from tests.conftest import read_rows

filters = pytest.importorskip("datatrove.pipeline.filters.c4_filters")

LISTS = {
    "en": ["ass", "kill", "time of", "the end", "e.g.", "c++", "battle", "über", "naïve", "i̇stan", "s-s"],
    "zh": ["战", "人之", "ab"],
    "ru": ["война", "и не"],
    "hi": ["युद्ध", "है"],
}
AWKWARD = ["ass", "class", "ass.", "_ass", "ass_", "a ass9", "é ass", "éass", "ass\u0301", "ASS", "ẞ über", "ÜBER", "naÏve", "İstan", "time\nof", "time of", "the end\n",
           "c++", "ac++", "c+++", "e.g.", "xe.g.y", "\u200bass\u200b", "²ass", "ass½", "中ass", "s-s-s", ""]  # fmt: skip


def lists(folder: Path) -> BadWords:
    for language, words in LISTS.items():
        (folder / language).write_text("\n".join(words) + "\n", encoding="utf-8")
    return BadWords(files=tuple(str(folder / language) for language in LISTS), language_column="lang")


def theirs(monkeypatch: pytest.MonkeyPatch, folder: Path, documents: list[tuple[str, str]]) -> list[bool]:
    from datatrove.data import Document

    monkeypatch.setattr(filters, "cached_asset_path_or_download", lambda url, **_: str(folder / url.rsplit("/", 1)[1]))
    filter_ = filters.C4BadWordsFilter(fail_on_missing_language=False)
    monkeypatch.setattr(filters, "_BADWORDS_ALLOWLIST", {})
    return [filter_.filter(Document(text=text, id="", metadata={"language": lang})) is True for text, lang in documents]


def compare(monkeypatch: pytest.MonkeyPatch, folder: Path, documents: list[tuple[str, str]]) -> Counter[bool]:
    step = lists(folder)
    columns = {"text": pa.array([t for t, _ in documents], pa.large_string()), "lang": [lang for _, lang in documents]}
    verdict = outcomes(step, [pa.RecordBatch.from_pydict(columns)])[0].verdict
    assert verdict is not None
    expected, got = theirs(monkeypatch, folder, documents), verdict.keep.to_pylist()
    wrong = [(d[0][:100], e, g) for d, e, g in zip(documents, expected, got, strict=True) if e != g]
    assert not wrong, wrong[:5]
    return Counter(got)


def test_awkward_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    documents = [(text, lang) for text in AWKWARD for lang in (*LISTS, "xx")]
    assert set(compare(monkeypatch, tmp_path, documents)) == {True, False}


def test_real_documents(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, real_data: Path) -> None:
    documents = []
    for file in sorted((real_data / "text").iterdir()):
        for number, row in enumerate(read_rows(file)):
            if number >= 150:
                break
            documents += [(str(row.get("text") or "")[:4000], lang) for lang in LISTS]
    found = compare(monkeypatch, tmp_path, documents)
    print(f"\nbad_words = datatrove on {len(documents)} documents: {dict(found)}")
    assert min(found.values()) > 100
