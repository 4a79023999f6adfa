"""The naive twins of the repetition kernels: four readings of Gopher's table on Python strings, every number computed.

datatrove 0.10 `gopher_repetition_filter.py`; DCLM `baselines/mappers/filters/content_filters.py`; dolma `taggers/gopher.py`
(`gopher_v2`); NeMo Curator `filters/heuristic/repetition`. Each returns the 13 shares in the order of the step.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence


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


def grams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    """All n-grams, in order."""
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def size(words: Iterable[str]) -> int:
    """Characters of words."""
    return sum(map(len, words))


def all_copies(parts: Sequence[str]) -> tuple[int, int]:
    """Return (copies of what occurs twice or more, their characters)."""
    counts = Counter(parts)
    return sum(c for c in counts.values() if c > 1), sum(len(part) * c for part, c in counts.items() if c > 1)


def dclm(text: str, words: Sequence[str]) -> list[float]:
    """DCLM: only words that begin with a letter or number; every copy counts; of the characters of pieces or words."""
    found = []
    for separator in ("\n\n", "\n"):
        pieces = [piece.strip() for piece in text.split(separator) if piece.strip()]
        copies, chars = all_copies(pieces)
        found += [copies / len(pieces), chars / size(pieces)] if len(pieces) > 1 else [0.0, 0.0]
    words = [word for word in words if word[0].isalnum()]
    for n in range(2, 11):
        counts = Counter(grams(words, n))
        most = max(counts.values(), default=0)
        if most < 2:
            found.append(0.0)
        elif n < 5:
            found.append(max(size(gram) for gram, count in counts.items() if count == most) * most / size(words))
        else:
            covered = {i + k for i, gram in enumerate(grams(words, n)) if counts[gram] > 1 for k in range(n)}
            found.append(size(words[i] for i in covered) / size(words))
    return found


def dolma(text: str, words: Sequence[str]) -> list[float]:
    """dolma: no paragraphs; every copy counts; of the characters of words, duplicates of those of all n-grams."""
    if not text:
        return [0.0] * 13
    lines = re.split(r"\n+", text)
    copies, chars = all_copies(lines)
    found = [0.0, 0.0, copies / len(lines), chars / max(size(words), 1)]
    for n in range(2, 11):
        counts = Counter(grams(words, n))
        if not counts:
            found.append(0.0)
        elif n < 5:
            gram, count = max(counts.items(), key=lambda item: item[1])
            found.append(size(gram) * count / max(size(words), 1))
        else:
            repeated = sum(size(gram) * count for gram, count in counts.items() if count > 1)
            found.append(repeated / max(sum(size(gram) * count for gram, count in counts.items()), 1))
    return found


def nemo(text: str, words: Sequence[str]) -> list[float]:
    """NeMo Curator: copies after the first; n-grams taken out of the text; too few words are a share of 1."""
    found = []
    for pieces in (text.split("\n\n"), [line for line in text.split("\n") if line.strip()]):
        copies, chars = duplicates(pieces)
        found += [copies / max(len(pieces), 1), chars / max(size(pieces), 1)]
    for n in range(2, 11):
        if len(words) < n:
            found.append(1.0)
        elif n < 5:
            gram = " ".join(max(Counter(grams(words, n)).items(), key=lambda item: item[1])[0])
            found.append((len(text) - len(text.replace(gram, ""))) / len(text))
        else:
            seen: set[tuple[str, ...]] = set()
            repeated = overlap = 0
            for gram_words in grams(words, n):
                if gram_words in seen:
                    repeated += size(gram_words[overlap:]) + min(n - overlap, n - 1)
                    overlap = n
                seen.add(gram_words)
                overlap = max(overlap - 1, 0)
            found.append(repeated / len(text))
    return found


READINGS = {"datatrove": shares, "dclm": dclm, "dolma": dolma, "nemo": nemo}
