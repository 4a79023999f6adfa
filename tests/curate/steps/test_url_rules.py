"""url: each rule, their order, where the URL is, lists as files and UT1 folders, bounds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from curate.apply import outcomes
from curate.steps.url_rules import Url


def reasons(urls: list[str | None], **settings: Any) -> list[str | None]:
    meta = pa.array([json.dumps({} if u is None else {"url": u}) for u in urls], pa.large_string())
    verdict = outcomes(Url(**settings), [pa.RecordBatch.from_pydict({"meta": meta})])[0].verdict
    assert verdict is not None
    return verdict.reason.to_pylist()  # type: ignore[no-any-return]


def test_domains_by_registered_domain_and_host() -> None:
    listed = {"domains": ["shop.co.uk", "blog.example.com", "co.uk", "1.2.3.4", "localhost"]}
    urls: list[str | None] = [
        "http://a.b.shop.co.uk/",
        "https://blog.example.com:80/x",
        "http://example.com",
        "http://other.co.uk",
        "http://1.2.3.4/x",
        "//localhost",
    ]
    assert reasons(urls, **listed) == ["url.domain", "url.host", None, None, "url.host", "url.host"]
    assert reasons(["http://x.blog.example.com/", "http://notblog.example.com"], **listed) == [None, None]
    assert reasons(["http://x.blog.example.com/", "http://notblog.example.com"], match_parents=True, **listed) == ["url.host", None]


def test_words_between_other_characters_and_their_case() -> None:
    urls: list[str | None] = [
        "http://a.com/poker",
        "http://a.com/pokers",
        "http://poker-x.com",
        "http://a.com/Poker",
        "http://a.com/%70poker",
    ]
    assert reasons(urls, words=["Po-ker"]) == ["url.word", None, "url.word", None, None]
    assert reasons(urls, words=["poker"], match_case=False) == ["url.word", None, "url.word", "url.word", None]


@pytest.mark.parametrize(
    ("bound", "kept"), [(0, [True, False, False]), (1, [True, True, False]), (2, [True, True, True]), (None, [True, True, True])]
)
def test_soft_words_count_once_each(bound: int | None, kept: list[bool]) -> None:
    urls: list[str | None] = ["http://a.com", "http://free.com/free", "http://free.com/live"]
    assert [r is None for r in reasons(urls, soft_words=["free", "live"], max_soft_words=bound)] == kept


def test_substrings_addresses_and_the_order_of_rules() -> None:
    every = {"domains": ["a.com"], "addresses": ["http://b.com/x"], "words": ["w"], "soft_words": ["s", "t"], "substrings": ["bcom"]}
    urls: list[str | None] = [
        "http://a.com/w",
        "http://b.com/x",
        "http://b.com/w/s/t",
        "http://b.com/s/t",
        "http://B.com/s",
        "http://c.com",
    ]
    assert reasons(urls, **every) == ["url.domain", "url.address", "url.word", "url.soft_words", "url.substring", None]


def test_documents_without_url() -> None:
    assert reasons([None, "", "http://a.com"], domains=["a.com"]) == [None, None, "url.domain"]
    assert reasons([None, "", "http://a.com"], keep_missing=False) == ["url.missing", "url.missing", None]


def test_columns_lists_and_annotation(tmp_path: Path) -> None:
    category = tmp_path / "ut1" / "adult"
    category.mkdir(parents=True)
    (category / "domains").write_bytes(b"# comment\n\nbad.org\n\xff\xfe.org\n")
    (category / "urls").write_text("worse.org/page\n")
    step = Url(column="link", ut1=(str(tmp_path / "ut1"),), soft_words=("x",), mode="annotate")
    assert step.ut1 == (str(category / "domains"), str(category / "urls")) and Url(**step.model_dump()) == step
    assert {Path(a.uri).name for a in step.assets()} == {"domains", "urls", ".tld_set_snapshot"}
    batch = pa.RecordBatch.from_pydict({"link": pa.array(["http://www.bad.org/x", "worse.org/page", None])})
    rows = outcomes(step, [batch])[0].batch.to_pylist()
    assert [r["url_reason"] for r in rows] == ["url.domain", "url.address", None]
    assert (rows[0]["url_host"], rows[0]["url_domain"], rows[0]["url_soft_words"]) == ("www.bad.org", "bad.org", 1)
    with pytest.raises(ValidationError, match="no file 'domains' or 'urls'"):
        Url(ut1=(str(_empty(tmp_path)),))


def _empty(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"
