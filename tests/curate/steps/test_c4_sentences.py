"""c4 with `words: spacy_en` counts sentences as spaCy does: bounds on either side, both modes, dropped pages as they were."""

from __future__ import annotations

import pyarrow as pa
import pytest

from curate.apply import outcomes
from curate.steps.c4_rules import C4

# spaCy ends a sentence at every word that is one full stop: "U.S." is one word, "Mr." too, ". . ." are three marks of one end.
PAGE = "It is in the U.S. now [1]. Mr. Doe said so! Is it so?\nno end mark here\nThis line ends here ...\nOne more line . . . ends. Here."
TEXTS = [PAGE, "", "lorem ipsum is a line. Yes.", "One line { here. Two. Three. Four. Five.", None]


def batch() -> pa.RecordBatch:
    return pa.record_batch({"text": pa.array(TEXTS, pa.large_string())})


@pytest.mark.parametrize(("least", "reason"), [(5, None), (6, None), (7, "c4.too_few_sentences"), (None, None)])
def test_bound_on_sentences(least: int | None, reason: str | None) -> None:
    outcome = outcomes(C4(words="spacy_en", min_sentences=least), [batch()])[0]
    assert outcome.verdict is not None
    assert outcome.verdict.reason.to_pylist()[0] == reason
    assert outcome.verdict.keep.to_pylist()[0] == (reason is None)
    assert outcome.verdict.value.to_pylist()[0] == (6 if reason else None)
    text = outcome.batch.column("text").to_pylist()
    kept = "It is in the U.S. now . Mr. Doe said so! Is it so?\nOne more line . . . ends. Here."
    assert text[0] == (PAGE if reason else kept)
    assert text[2:] == TEXTS[2:]  # dropped pages, and null


def test_annotate_says_what_drop_does() -> None:
    dropping = outcomes(C4(words="spacy_en"), [batch()])[0]
    told = outcomes(C4(words="spacy_en", mode="annotate"), [batch()])[0].batch
    assert dropping.verdict is not None
    assert told.column("c4_reason").to_pylist() == dropping.verdict.reason.to_pylist()
    assert told.column("c4_reason").to_pylist()[1:] == [
        "c4.too_few_sentences",
        "c4.lorem_ipsum",
        "c4.curly_bracket",
        "c4.too_few_sentences",
    ]
    assert told.column("c4_sentences").to_pylist() == [6, 0, 2, 5, 0]
    assert told.column("text").to_pylist() == TEXTS


def test_whole_and_sliced_batches_agree() -> None:
    many = pa.record_batch({"text": pa.array([PAGE, "A. B. C. D. E.", None, "x"] * 7, pa.large_string())})
    whole = outcomes(C4(words="spacy_en"), [many])[0]
    parts = outcomes(C4(words="spacy_en"), [many.slice(0, 5), many.slice(5, 1), many.slice(6)])
    assert whole.verdict is not None
    assert [reason for part in parts if part.verdict for reason in part.verdict.reason.to_pylist()] == whole.verdict.reason.to_pylist()
    assert [text for part in parts for text in part.batch.column("text").to_pylist()] == whole.batch.column("text").to_pylist()
