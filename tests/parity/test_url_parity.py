"""url against datatrove's URLFilter on the same lists: real URLs, and URLs made to be awkward."""

from __future__ import annotations

import json
import random
import re
import warnings
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from curate.apply import outcomes
from curate.steps.url_rules import Url

pytest.importorskip("datatrove")
pytest.importorskip("ahocorasick")
pytest.importorskip("fasteners")

SLUGS = {"domain": "domain", "subdomain": "host", "url": "address", "hard_blacklisted": "word", "soft_blacklisted": "soft_words",
         "blacklisted_subword": "substring"}  # fmt: skip
PARTS = ["example", "shop", "Casino", "poker", "cams", "play-now", "x9", "news", "blog", "sex", "essex", "live", "free"]
SUFFIXES = ["com", "co.uk", "github.io", "org", "city.kawasaki.jp", "ck", "www.ck", "xn--p1ai", "local", "com.", "рф", "museum"]


def made_urls(count: int) -> list[str]:
    draw = random.Random(5)
    made = []
    for _ in range(count):
        host = ".".join([*draw.choices(PARTS, k=draw.randint(0, 3)), draw.choice(SUFFIXES)])
        scheme = draw.choice(["http://", "https://", "//", "", "HTTP://", "ftp://user:pw@", "http://me@"])
        port = draw.choice(["", ":8080", ":"])
        path = draw.choice(["/", "?q=", "#", "/a/"]) + draw.choice(["-", "_", "%20", "", "/", "."]).join(
            draw.choices(PARTS, k=draw.randint(0, 4))
        )
        made.append(f"{scheme}{host}{port}{path}")
    return [
        *made,
        "http://1.2.3.4/poker",
        "http://[::1]/x",
        "not a url",
        "http://",
        "poker",
        "a//b//c",
        "http://EXAMPLE.com/Poker",
        "http://é.com/péker",
    ]


def theirs(urls: list[str], lists: dict[str, list[str]]) -> list[str | None]:
    from datatrove.data import Document
    from datatrove.pipeline.filters.url_filter import URLFilter
    from tldextract import TLDExtract

    filter_ = URLFilter(
        soft_word_threshold=2, extra_domains=lists["domains"], extra_urls=lists["addresses"], banned_words=lists["words"],
        banned_subwords=lists["substrings"], soft_banned_words=lists["soft_words"], use_integrated_lists=False,
    )  # fmt: skip
    filter_.tldextractor = TLDExtract(cache_dir=None, suffix_list_urls=())
    found: list[str | None] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for url in urls:
            answer = filter_.filter(Document(text="", id="", metadata={"url": url}))
            found.append(None if answer is True else f"url.{SLUGS[answer[1]]}")
    return found


def ours(urls: list[str], lists: dict[str, list[str]]) -> list[str | None]:
    batch = pa.RecordBatch.from_pydict({"meta": pa.array([json.dumps({"url": url}) for url in urls], pa.large_string())})
    verdict = outcomes(Url(**lists), [batch])[0].verdict  # type: ignore[arg-type]
    assert verdict is not None
    return verdict.reason.to_pylist()  # type: ignore[no-any-return]


def compare(urls: list[str], lists: dict[str, list[str]]) -> Counter[str | None]:
    expected, got = theirs(urls, lists), ours(urls, lists)
    wrong = [(u, e, g) for u, e, g in zip(urls, expected, got, strict=True) if e != g]
    assert not wrong, wrong[:5]
    return Counter(got)


def test_made_urls() -> None:
    urls = made_urls(6000)
    lists = {"domains": ["shop.com", "poker.co.uk", "blog.news.org", "sex.github.io", "x9.www.ck", "news.рф", "github.io"],
             "addresses": urls[::97], "words": ["poker", "casino", "x9"], "soft_words": ["cams", "free", "live", "sex"],
             "substrings": ["play-now", "sexlive"]}  # fmt: skip
    found = compare(urls, lists)
    assert set(found) == {None, *(f"url.{slug}" for slug in SLUGS.values())}


def test_real_urls_and_the_lists_that_datatrove_carries(real_data: Path) -> None:
    import datatrove

    from tests.conftest import read_rows

    assets = Path(datatrove.__file__).parent / "assets"
    urls: set[str] = set()
    for part in ("text", "html", "quality"):
        for file in sorted((real_data / part).iterdir()):
            for number, row in enumerate(read_rows(file)):
                if number < 3000:
                    urls.update(re.findall(r"https?://[^\s\"'<>\\)\]}]+", json.dumps(row, ensure_ascii=False)[:4000]))
    found_urls = sorted(urls)[:30_000]
    lists = {name: (assets / f"{file}.txt").read_text().split("\n") for name, file in
             {"words": "banned_words", "soft_words": "soft_banned_words", "substrings": "banned_subwords"}.items()}  # fmt: skip
    lists = {name: [w for w in words if w and not w.startswith("#")] for name, words in lists.items()}
    lists |= {"domains": ["wikipedia.org", "www.mozilla.org", "github.com"], "addresses": found_urls[:50]}
    found = compare(found_urls, lists)
    print(f"\nurl = datatrove on {len(found_urls)} URLs: {dict(found)}")
    assert len(found_urls) > 1000
