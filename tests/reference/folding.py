"""Named foldings of a text as plain Python says them."""

from __future__ import annotations

import re

from curate.kernels.tables import SYMBOL, classes


def is_symbol(char: str) -> bool:
    """Whether the character is in the punctuation list (`curate.kernels.tables`)."""
    table = classes()
    return bool(table.stage2[int(table.stage1[ord(char) >> 8]) * 256 + (ord(char) & 255)] & SYMBOL)


def folded(text: str, fold: set[str]) -> str:
    """The text that is hashed."""
    if "digits" in fold:
        text = re.sub(r"\d+", "0", text)
    if "case" in fold:
        text = text.lower().replace("\u03c2", "\u03c3")
    if "punctuation" in fold:
        text = "".join(" " if is_symbol(c) else c for c in text)
    if fold & {"whitespace", "punctuation"}:
        text = " ".join(text.split())
    return text
