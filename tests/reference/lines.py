"""Deduplication of lines, paragraphs and sentences in slow, obvious Python."""

from __future__ import annotations

import re

from tests.reference.folding import folded

_MARKS = ".?!\u061f\u06d4\u0964"
_WIDE = "\u3002\uff01\uff1f"
_CLOSERS = "\"')]\u00bb\u2019\u201d\u300d\u300f\uff09"
_BLANK = "[\t-\r ]"  # the white space that may stand in an empty line


def units(text: str, unit: str) -> list[str]:
    """Pieces that make up the text."""
    if unit == "sentence":
        return _sentences(text)
    gap = rf"\n{_BLANK}*" if unit == "line" else rf"\n{_BLANK}*\n{_BLANK}*"
    edges = [m.end() for m in re.finditer(rf"{_BLANK}*{gap}", text) if text[: m.end()].strip("\t\n\v\f\r ") and m.end() < len(text)]
    return [text[a:b] for a, b in zip([0, *edges], [*edges, len(text)], strict=True)] if text else []


def _sentences(text: str) -> list[str]:
    found, begin, at = [], 0, 0
    while at < len(text):
        stop = at
        if text[at] == "\n":
            stop = at + 1
        elif text[at] in _MARKS + _WIDE:
            end = at
            while end < len(text) and text[end] in _MARKS + _WIDE + _CLOSERS:
                end += 1
            if any(c in _WIDE for c in text[at:end]) or end == len(text) or text[end].isspace():
                stop = end
            else:
                at = end
                continue
        at += 1
        if stop >= at:
            while stop < len(text) and text[stop].isspace():
                stop += 1
            if text[begin:stop].strip() and stop < len(text):
                found.append(text[begin:stop])
                begin = stop
            at = stop
    return [*found, text[begin:]] if text else []


def without_repeats(texts: list[str], unit: str, span: int, fold: set[str]) -> list[str]:
    """Every text without the spans that stand in an earlier place."""
    seen: set[tuple[str, ...]] = set()
    done = []
    for text in texts:
        parts = units(text, unit)
        keys = [folded(p.strip(), fold) for p in parts]
        gone: set[int] = set()
        for i in range(len(parts) - span + 1):
            key = tuple(keys[i : i + span])
            if any(key):
                if key in seen:
                    gone.update(range(i, i + span))
                seen.add(key)
        left = "".join(p for i, p in enumerate(parts) if i not in gone)
        done.append(left.rstrip() if len(parts) - 1 in gone else left)
    return done
