"""Addresses of one page have one form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.steps.canonical_urls import canonical_url

SAME = [
    ("http://example.org", "https://EXAMPLE.org/"),
    ("http://example.org:80/a", "https://example.org:443/a"),
    ("http://example.org./a", "http://example.org/a/"),
    ("http://user:word@example.org/a", "http://example.org/a"),
    ("http://example.org/a?b=2&a=1", "http://example.org/a?a=1&b=2"),
    ("http://example.org/a?utm_source=x&gclid=1&a=1", "http://example.org/a?a=1"),
    ("http://example.org/a?", "http://example.org/a#part"),
    ("http://example.org/a/./b/../c", "http://example.org/a/c"),
    ("http://example.org/%7euser/%e4", "http://example.org/~user/%E4"),
    ("http://[2001:DB8::1]:80/", "http://[2001:db8::1]"),
    (" http://example.org/a\n", "http://example.org/a"),
]
DIFFERENT = [
    ("http://example.org/a", "http://example.org/A"),
    ("http://example.org:8080/", "http://example.org/"),
    ("http://www.example.org/", "http://example.org/"),
    ("http://example.org:443/", "https://example.org/"),
    ("http://example.org/a?a=1", "http://example.org/a?a=2"),
    ("http://example.org/a?x", "http://example.org/a?x=%26"),
    ("http://example.org/#!page", "http://example.org/"),
    ("http://example.org/a%2Fb", "http://example.org/a/b"),
    ("ftp://example.org/", "http://example.org/"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_same_page(one: str, other: str) -> None:
    assert canonical_url(one) == canonical_url(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_other_page(one: str, other: str) -> None:
    assert canonical_url(one) != canonical_url(other)


def test_exact_form() -> None:
    assert canonical_url("HTTP://Example.ORG:8080/a/b/?z=1&utm_id=3&a=%7e#x") == "//example.org:8080/a/b?a=~&z=1"


@given(st.one_of(st.text(max_size=40), st.text(alphabet="htps:/.a%2e?&=#@:1[]", max_size=40).map("http://".__add__)))
def test_takes_anything(text: str) -> None:
    found = canonical_url(text)
    assert found == canonical_url(text.strip()) and found == found.strip()
