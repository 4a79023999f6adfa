"""Naive twin of `clean`: every repair on every text, no scan, over and over until nothing changes."""

from __future__ import annotations

from curate.steps.html_leftovers import entities, tags
from curate.steps.text_repairs import blanks, compose, invisible, line_ends, mojibake

REPAIRS = {
    "mojibake": mojibake, "entities": entities, "tags": tags, "invisible": invisible, "nfc": compose, "line_ends": line_ends, "blanks": blanks,
}  # fmt: skip


def once(text: str, names: tuple[str, ...] = tuple(REPAIRS)) -> str:
    for name in names:
        text = REPAIRS[name](text)
    return text


def clean(text: str, names: tuple[str, ...] = tuple(REPAIRS), rounds: int = 7) -> str:
    """The settled text, or the text as it was where it does not settle."""
    current = text
    for _ in range(rounds):
        before, current = current, once(current, names)
        if before == current:
            return current
    return current if once(current, names) == current else text
