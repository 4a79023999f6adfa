"""The step datatrove against datatrove run by itself on the same documents."""

from __future__ import annotations

import json
import warnings
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from curate.apply import outcomes
from curate.steps.datatrove_adapter import Datatrove
from curate.steps.datatrove_classes import slug

pytest.importorskip("datatrove")

TEXTS = [
    "The man of the house and the dog have been to the shop with that bag of apples. " * 12, "short", "", "# # # the be to of and " * 30,
    "word " * 120, "line one.\n" * 30, "ÃƒÂ© broken and â€œquotedâ€\x9d text of the people.", "mail a@b.com and c@d.org and e@f.net from 8.8.8.8\n---\n***\ntext",
    "He said [1] it was so. It was. It is. It will be. It had been. It is done.\njavascript here",
    ("A paragraph of some length, with words in it. " * 6 + "\n") * 3,
]  # fmt: skip
FILTERS: list[tuple[str, dict[str, Any]]] = [
    ("GopherQualityFilter", {}), ("GopherQualityFilter", {"min_doc_words": 5, "max_avg_word_length": 4}), ("GopherRepetitionFilter", {}),
    ("C4QualityFilter", {"filter_no_terminal_punct": False}), ("FineWebQualityFilter", {}), ("C4ParagraphFilter", {}), ("RegexFilter", {"regex_exp": "short|8\\.8"}),
]  # fmt: skip


def batch() -> pa.RecordBatch:
    n = len(TEXTS)
    return pa.RecordBatch.from_pydict({
        "id": [f"d{i}" for i in range(n)], "text": pa.array(TEXTS, pa.large_string()),
        "meta": pa.array(['{"url": "http://x.y/"}'] * n, pa.large_string()),
    })  # fmt: skip


@pytest.mark.parametrize(("name", "settings"), FILTERS)
def test_filters(name: str, settings: dict[str, Any]) -> None:
    from datatrove.data import Document
    from datatrove.pipeline import filters

    theirs = getattr(filters, name)(**settings)
    outcome = outcomes(Datatrove(filter=name, settings=settings), [batch()])[0]
    assert outcome.verdict is not None
    reasons, texts = outcome.verdict.reason.to_pylist(), outcome.batch.column("text").to_pylist()
    for text, reason, left in zip(TEXTS, reasons, texts, strict=True):
        document = Document(text=text, id="", metadata={})
        answer = theirs.filter(document)
        said = answer[1] if isinstance(answer, tuple) else "dropped"
        assert reason == (None if answer is True else f"datatrove.{slug(said)}")
        assert left == (document.text if answer is True else text)
    assert len(set(reasons)) > 1


@pytest.mark.parametrize("name", ["PIIFormatter", "FTFYFormatter", "SymbolLinesFormatter"])
def test_formatters(name: str) -> None:
    from datatrove.pipeline import formatters

    done = outcomes(Datatrove(formatter=name), [batch()])[0].batch.column("text").to_pylist()
    assert done == [getattr(formatters, name)().format(text) for text in TEXTS]
    assert done != TEXTS
    annotated = outcomes(Datatrove(formatter=name, mode="annotate", label="made"), [batch()])[0].batch
    assert annotated.column("made_text").to_pylist() == done and annotated.column("text").to_pylist() == TEXTS


def test_metadata_that_a_filter_writes() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        columns = outcomes(Datatrove(filter="GopherQualityFilter", mode="annotate", label="gq", metadata={"language": "id"}), [batch()])[
            0
        ].batch
    assert columns.column("gq_keep").to_pylist()[1] is False
    assert columns.column("gq_reason").to_pylist()[1] == "datatrove.gopher_short_doc"
    assert all(json.loads(m) == {} for m in columns.column("gq_metadata").to_pylist())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "either `filter` or `formatter`"), ({"filter": "A", "formatter": "B"}, "either"),
        ({"filter": "GopherQualityFiltr"}, "Did you mean 'GopherQualityFilter'"), ({"filter": "os.system"}, "has no filter 'os.system'"),
        ({"filter": "PIIFormatter"}, "formatter: PIIFormatter"), ({"filter": "LambdaFilter"}, "takes Python code"), ({"filter": "BaseFilter"}, "has no filter"),
        ({"filter": "SamplerFilter"}, "use the step `sample`"), ({"filter": "GopherQualityFilter", "settings": {"min_words": 3}}, "no setting 'min_words'"),
        ({"filter": "GopherQualityFilter", "settings": {"min_doc_words": "many"}}, "min_doc_words must be"),
        ({"filter": "GopherQualityFilter", "settings": {"exclusion_writer": None}}, "no setting 'exclusion_writer'"),
        ({"filter": "RegexFilter"}, "needs the setting 'regex_exp'"),
    ],
)  # fmt: skip
def test_mistakes(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message.replace("(", "\\(")):
        Datatrove(**given)
