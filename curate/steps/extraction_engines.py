"""HTML to main text: the two engines behind one function from UTF-8 HTML to an answer, run in a guarded process.

The answer is a line of JSON, then the text in UTF-8. The line is an object with title, author, date, site and language where the
page tells and metadata are wanted; it is empty where there are none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

MAX_METADATA = 1000  # characters
Answer = dict[str, str | None]

_DATES = ("article:published_time", "datepublished", "date", "dc.date", "dc.date.issued", "pubdate", "og:article:published_time")
_DAY = re.compile(r"(\d{4})-(\d{2})-(\d{2})")


def trafilatura(
    favor: str, form: str, tables: bool, comments: bool, links: bool, fast: bool, metadata: str
) -> Callable[[memoryview], bytes]:
    """Trafilatura's `extract`, its own defaults but for comments; no state is kept between pages (`deduplicate` is off)."""
    from trafilatura import extract, extract_with_metadata

    settings: dict[str, Any] = {
        "favor_precision": favor == "precision",
        "favor_recall": favor == "recall",
        "output_format": "markdown" if form == "markdown" else "txt",
        "include_tables": tables,
        "include_comments": comments,
        "include_links": links,
        "fast": fast,
    }

    def plain(page: memoryview) -> bytes:
        html = str(page, "utf-8")
        found: Answer = {"text": extract(html, **settings) or ""}
        return _packed(found | (page_metadata(html) if metadata == "page" else {}))

    def with_metadata(page: memoryview) -> bytes:
        html = str(page, "utf-8")
        document = extract_with_metadata(html, **settings)
        found = page_metadata(html)
        if document is None:
            return _packed(found)
        found["text"] = (document.text or "").partition("\n---\n")[2]  # what precedes is the same metadata as a YAML header
        found |= {"title": document.title, "author": document.author, "date": document.date, "site": document.sitename}
        return _packed(found)

    return with_metadata if metadata == "full" else plain


def resiliparse(
    favor: str, form: str, tables: bool, comments: bool, links: bool, fast: bool, metadata: str
) -> Callable[[memoryview], bytes]:
    """Resiliparse's `extract_plain_text`. precision: main content; recall: all text of the page but what is hidden."""
    from resiliparse.extract.html2text import extract_plain_text

    settings: dict[str, Any] = {
        "main_content": favor != "recall",
        "alt_texts": favor == "recall",
        "comments": comments,
        "links": links,
        "skip_elements": None if tables else ["table"],
        "list_bullets": True,
        "preserve_formatting": True,
    }

    def page_text(page: memoryview) -> bytes:
        html = str(page, "utf-8")
        found: Answer = {"text": extract_plain_text(html, **settings)}
        return _packed(found | (page_metadata(html) if metadata == "page" else {}))

    return page_text


def page_metadata(page: str) -> Answer:
    """What a page says of itself in `<title>`, `<meta>`, `<html lang>` and `<time>`."""
    tree = _tree(page)
    if tree is None:
        return {}
    said: dict[str, str] = {}
    for element in tree.iter("meta"):
        name = (element.get("property") or element.get("name") or element.get("itemprop") or "").lower()
        if name and (content := (element.get("content") or "").strip()):
            said.setdefault(name, content)
    title = tree.find(".//title")
    time = tree.find(".//time[@datetime]")
    dates = [said.get(name, "") for name in _DATES] + [time.get("datetime", "") if time is not None else ""]
    day = next((match[0] for date in dates if (match := _DAY.search(date))), "")
    found: Answer = {
        "title": said.get("og:title") or " ".join((title.text_content() if title is not None else "").split()),
        "author": said.get("author") or said.get("article:author", ""),
        "date": day,
        "site": said.get("og:site_name", ""),
        "language": _language_of(tree),
    }
    return {name: value for name, value in found.items() if value}


def _language_of(tree: Any) -> str:
    return (tree.get("lang") or tree.get("{http://www.w3.org/XML/1998/namespace}lang") or "").strip() if tree.tag == "html" else ""


def _tree(page: str) -> Any:
    from lxml import html as lxml_html

    try:
        return lxml_html.fromstring(page.encode(), parser=lxml_html.HTMLParser(encoding="utf-8"))
    except (ValueError, lxml_html.etree.LxmlError):
        return None


def _packed(answer: Answer) -> bytes:
    """The answer without what is empty; a lone surrogate, which UTF-8 can't hold, becomes a question mark."""
    text = (answer.pop("text", "") or "").encode("utf-8", "replace")
    found = {name: value[:MAX_METADATA] for name, value in answer.items() if value}
    return (json.dumps(found, ensure_ascii=False).encode("utf-8", "replace") if found else b"") + b"\n" + text
