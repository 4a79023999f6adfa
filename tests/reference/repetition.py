"""The naive twin of `curate.kernels.repetition`: datatrove's rules on Python strings, every number computed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence


def duplicates(parts: Sequence[str]) -> tuple[int, int]:
    """Return (copies after the first, their characters)."""
    seen: set[str] = set()
    copies = chars = 0
    for part in parts:
        if part in seen:
            copies += 1
            chars += len(part)
        seen.add(part)
    return copies, chars


def top(words: Sequence[str], n: int) -> int:
    """Length of the first of the most frequent n-grams, with spaces, times its frequency; 0 without any."""
    counts: Counter[str] = Counter(" ".join(words[i : i + n]) for i in range(len(words) - n + 1))
    if not counts:
        return 0
    gram, count = max(counts.items(), key=lambda item: item[1])
    return len(gram) * count


def joined(words: Sequence[str], n: int) -> int:
    """Characters of n-grams (joined without spaces) seen before, from left to right; a hit skips its words."""
    seen: set[str] = set()
    chars = at = 0
    while at + n <= len(words):
        gram = "".join(words[at : at + n])
        if gram in seen:
            chars += len(gram)
            at += n
        else:
            seen.add(gram)
            at += 1
    return chars


def shares(text: str, words: Sequence[str]) -> list[float]:
    """Return the 13 shares in the order in which datatrove tests them."""
    if not text:
        return [0.0] * 13
    paragraphs = re.split(r"\n{2,}", text.strip())
    lines = re.split(r"\n+", text)
    copies, chars = duplicates(paragraphs)
    line_copies, line_chars = duplicates(lines)
    found = [copies / len(paragraphs), chars / len(text), line_copies / len(lines), line_chars / len(text)]
    found += [top(words, n) / len(text) for n in (2, 3, 4)]
    return found + [joined(words, n) / len(text) for n in range(5, 11)]
