"""Lines removed from real texts are those of datatrove's sentence deduplication, cut at newlines."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import pyarrow as pa
import pytest

from curate.apply import run_step
from curate.steps.lines import DedupLines
from tests.conftest import read_rows

pytest.importorskip("datatrove")


def texts_of(path: Path, count: int) -> list[str]:
    """Texts without blank lines and other line breaks than newlines, which are units there and none here."""
    found = []
    for row in read_rows(path):
        lines = [line.strip() for line in str(row["text"]).splitlines()]
        found.append("\n".join(line for line in lines if any(c.isalnum() for c in line)))
        if len(found) == count:
            break
    return found


def theirs(texts: list[str], span: int, min_words: int, min_units: int, folder: Path) -> list[str]:
    from datatrove.data import Document
    from datatrove.pipeline.dedup.sentence_dedup import SentDedupConfig, SentenceDedupFilter, SentenceDedupSignature, SentenceFindDedups
    from datatrove.utils.hashing import HashConfig
    from datatrove.utils.text import TextNormConfig

    norm = TextNormConfig(remove_punctuation=False, norm_numbers=False, norm_unicode_diacritics=False)
    config = SentDedupConfig(
        n_sentences=span,
        split_sentences=False,
        min_doc_words=min_words,
        min_num_sentences=min_units,
        norm_config=norm,
        hash_config=HashConfig(hash_fc="sha1"),
    )
    documents = [Document(text=text, id=str(i)) for i, text in enumerate(texts)]
    with contextlib.redirect_stderr(io.StringIO()):
        SentenceDedupSignature(str(folder / "signatures"), config=config).run(iter(documents))
        SentenceFindDedups(str(folder / "signatures"), str(folder / "repeats"), config=config).run()
        return [d.text for d in SentenceDedupFilter(str(folder / "repeats"), config=config).run(iter(documents))]


@pytest.mark.parametrize("span", [1, 3])
def test_equals_datatrove(real_data: Path, tmp_path: Path, span: int) -> None:
    # They join the lines of a span by blanks before hashing, so that the licences, which are wrapped in many ways, differ with three.
    for number, name in enumerate(("text/tldr_pages.jsonl.zst", "dedup/license_rules_docs.jsonl.gz")[: 2 if span == 1 else 1]):
        texts = texts_of(real_data / name, 1500)
        step = DedupLines(unit="line", span=span, normalize=("case", "whitespace"))
        ours = run_step(step, pa.table({"id": [str(i) for i in range(len(texts))], "text": texts})).column("text").to_pylist()
        # They drop nothing here but documents of which nothing is left, as we do.
        found = [text for text in theirs(texts, span, 1, 0, tmp_path / str(number)) if text]
        assert [text for text in ours if text] == found
        print(f"{name}, {span} lines: {sum(map(len, texts)) - sum(map(len, found))} of {sum(map(len, texts))} characters removed, equal")
