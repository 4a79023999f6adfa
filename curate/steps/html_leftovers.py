"""HTML that an extraction left in plain text: character references and tags, removed only where they can be nothing else.

References end in ';' and are in HTML's list. `&lt;` and `&gt;` are decoded only in texts where no `&lt;` stands before a
letter, '/', '!' or '?': elsewhere the author shows markup, and it should neither vanish with the tags nor become one.

A tag has a name of HTML's list, and it is evident that it is markup: it has an attribute with '=', or the text also holds
a closing tag of that name, or its element has no end tag (<br>, <img>). So `a < b`, `List<a>`, `<file>` and a single
`<object>` in a usage line stay. Tags of blocks become a line feed, of cells a space, others nothing. What stands
between tags stays, also in <script>: taking pages apart is the work of `extract`, not of this.

A text with a Markdown code fence (three backticks) is left alone by both repairs: its author knows about markup.
"""

from __future__ import annotations

import re
from html import unescape
from html.entities import html5

_REFERENCE = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][0-9A-Za-z]{1,31});")
_AMPERSANDS = re.compile(r"&(?:(?:amp|AMP|#0{0,4}38|#[xX]0{0,4}26);)+")
_ANGLES = re.compile(r"&(?:lt|LT|gt|GT|#0{0,4}6[02]|#[xX]0{0,4}3[cCeE]);")
_SHOWN_TAG = re.compile(r"&(?:lt|LT|#0{0,4}60|#[xX]0{0,4}3[cC]);[A-Za-z/!?]")


def _names(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


_BLOCKS = _names(
    "address article aside blockquote body br caption center dd details dialog dir div dl dt fieldset figcaption figure footer form frameset "
    "h1 h2 h3 h4 h5 h6 head header hgroup hr html legend li main menu nav noframes noscript ol optgroup option p pre script section select "
    "style summary table tbody template textarea tfoot thead title tr ul"
)
_CELLS = _names("td th")
_WITHOUT_END = _names("area br col hr img wbr")
_INLINE = _names(
    "a abbr acronym applet area audio b base basefont bdi bdo big button canvas cite code col colgroup data datalist del dfn em embed font "
    "frame i iframe img input ins kbd label link map mark meta meter nobr object output param picture progress q rp rt ruby s samp slot small "
    "source span strike strong sub sup svg time track tt u var video wbr"
)
_NAMES = "|".join(sorted(_BLOCKS | _CELLS | _INLINE, key=lambda name: (-len(name), name)))
_TAG = re.compile(rf"<(/?)({_NAMES})(\s[^<>]{{0,2000}})?\s?/?>", re.IGNORECASE)
_CLOSING = re.compile(rf"</({_NAMES})\s?>", re.IGNORECASE)
_FENCE = "```"
_DOCTYPE = re.compile(r"<!doctype\s[^<>]{0,500}>", re.IGNORECASE)


def entities(text: str) -> str:
    """Decode character references. `&amp;amp;lt;` counts as `&lt;`: text that was escaped twice is decoded twice."""
    if _FENCE in text:
        return text
    text = _AMPERSANDS.sub(_bare_ampersand, text)
    shown = _SHOWN_TAG.search(text) is not None
    return _REFERENCE.sub(lambda found: found[0] if shown and _ANGLES.fullmatch(found[0]) else _decoded(found[0]), text)


def _bare_ampersand(found: re.Match[str]) -> str:
    return "&"


def _decoded(reference: str) -> str:
    if reference[1] != "#":
        return html5.get(reference[1:], reference)
    return unescape(reference)


def tags(text: str) -> str:
    """Remove tags, comments and document types."""
    if _FENCE in text:
        return text
    closed = {name.lower() for name in _CLOSING.findall(text)}

    def replacement(found: re.Match[str]) -> str:
        name = found[2].lower()
        if not (found[1] or name in closed or name in _WITHOUT_END or "=" in (found[3] or "")):
            return found[0]
        return "\n" if name in _BLOCKS else " " if name in _CELLS else ""

    return _DOCTYPE.sub("", _TAG.sub(replacement, _without_comments(text)))


def _without_comments(text: str) -> str:
    parts, at = [], 0
    while (start := text.find("<!--", at)) >= 0 and (end := text.find("-->", start + 4)) >= 0:
        parts.append(text[at:start])
        at = end + 3
    parts.append(text[at:])
    return "".join(parts)
