"""Naive twins of `curate.kernels.textstats`: the counts in obvious Python."""

from __future__ import annotations

import regex
from datatrove.utils.text import PUNCTUATION_SET, TERMINAL_PUNCTUATION


def _lower(word: str) -> str:
    """ASCII letters in lower case."""
    return "".join(c.lower() if c.isascii() else c for c in word)


def word_counts(
    words: list[str], listed: tuple[str, ...], distinct: bool = True, ignore_case: bool = False
) -> tuple[int, int, int, int, int]:
    """words, solid, solid_chars, with_letter, listed."""
    solid = [w for w in words if any(c not in PUNCTUATION_SET for c in w)]
    lettered = sum(bool(regex.search(r"\p{L}", w)) for w in words)
    found = [w for w in map(_lower if ignore_case else str, words) if w in listed]
    return len(words), len(solid), sum(map(len, solid)), lettered, len(set(found)) if distinct else len(found)


def line_counts(text: str) -> tuple[int, int, int, int, int]:
    """hashes, ellipses, lines, bullets, ellipsis_ends."""
    lines = text.splitlines()
    bullets = sum(line.lstrip().startswith(("\u2022", "-")) for line in lines)
    ends = sum(line.rstrip().endswith(("...", "\u2026")) for line in lines)
    return text.count("#"), text.count("...") + text.count("\u2026"), len(lines), bullets, ends


def newline_counts(text: str, short_chars: int) -> tuple[int, int, int, int, int, int]:
    """lines, terminal, short, duplicate_chars, newlines, chars."""
    lines = [line for line in text.split("\n") if line.strip()]
    duplicate = sum(len(line) for i, line in enumerate(lines) if line in lines[:i])
    terminal = sum(line[-1] in TERMINAL_PUNCTUATION for line in lines)
    return len(lines), terminal, sum(len(line) <= short_chars for line in lines), duplicate, text.count("\n"), len(text)
