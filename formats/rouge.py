"""ROUGE-L between short texts, and the search for any text that is too near one accepted before.

ROUGE-L F = 2 * LCS / (m + n) over words. The LCS of two texts is no larger than the words they share (with repetitions), so F >= t needs
an overlap of t * (m + n) / 2. That is the condition of a set-similarity join: texts are ordered by how rare their words are, and
two that fulfil it share a word among the first ones of both (Chaudhuri et al. 2006, prefix filtering). Only those
are scored; the result equals that of scoring all pairs (tests/formats/test_rouge.py).

Words are lower case, runs of letters and digits: for English those of rouge_score, which knows [a-z0-9] alone and sees nothing in other
scripts. Scripts without blanks (Chinese, Japanese, Thai, Lao, Burmese) count by character. No stemming, as in Self-Instruct.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

SINGLE = r"\u0e00-\u0eff\u1000-\u109f\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff"  # scripts without blanks: each character is a word
_WORD = re.compile(rf"[{SINGLE}]|[^\W_{SINGLE}]+")
_EPSILON = 1e-9  # bounds are rounded towards more candidates


def words(text: str) -> list[str]:
    """Words of a text as ROUGE-L compares them."""
    return _WORD.findall(text.lower())


def places(text: Sequence[str]) -> dict[str, int]:
    """Bit mask of the places of every word, for `lcs`."""
    found: dict[str, int] = {}
    for at, word in enumerate(text):
        found[word] = found.get(word, 0) | (1 << at)
    return found


def lcs(masks: dict[str, int], length: int, other: Sequence[str]) -> int:
    """Length of the longest common subsequence; bit-parallel (Hyyro 2004), a few operations for each word of `other`.

    masks, length: `places` and number of words of the one text.
    """
    full = (1 << length) - 1
    row = full
    for word in other:
        mask = masks.get(word, 0)
        if mask:
            both = row & mask
            row = ((row + both) | (row - both)) & full
    return length - row.bit_count()


def rouge_l(a: Sequence[str], b: Sequence[str]) -> float:
    """F measure of two texts given as words, in [0, 1]; 0.0 where one is empty."""
    return 2 * lcs(places(a), len(a), b) / (len(a) + len(b)) if a and b else 0.0


class Accepted:
    """Texts accepted so far, searched for one with ROUGE-L >= threshold to a new one.

    order: rank of every word by rarity over all texts that will come; any order gives the same answers, a good one is fast.
    """

    def __init__(self, threshold: float, order: dict[str, int]) -> None:
        self.threshold, self._order = threshold, order
        self._texts: list[list[str]] = []
        self._lengths: list[int] = []
        self._keys: list[frozenset[int]] = []  # words of a text, each repetition a key of its own
        self._numbers: dict[tuple[str, int], int] = {}  # of keys
        self._index: dict[int, list[int]] = {}

    def add(self, text: list[str]) -> None:
        """Accept a text."""
        number = len(self._texts)
        prefix, keys = self._prefix(text)
        self._texts.append(text)
        self._lengths.append(len(text))
        self._keys.append(keys)
        for key in prefix:
            self._index.setdefault(key, []).append(number)

    def nearest(self, text: list[str]) -> tuple[float, int]:
        """(highest ROUGE-L of at least the threshold, number of the first text that has it); (0.0, -1) where there is none."""
        best, at = 0.0, -1
        if not text:
            return best, at
        prefix, keys = self._prefix(text)
        masks, m, lengths = places(text), len(text), self._lengths
        # Two texts share at most the words of the shorter one: only lengths in this range can reach the threshold.
        shortest, longest = m * self.threshold / (2 - self.threshold) - _EPSILON, m * (2 - self.threshold) / self.threshold + _EPSILON
        for number in sorted({n for key in prefix for n in self._index.get(key, ()) if shortest <= lengths[n] <= longest}):
            n = lengths[number]
            if len(keys & self._keys[number]) < max(self.threshold, best) * (m + n) / 2 - _EPSILON:
                continue
            score = 2 * lcs(masks, m, self._texts[number]) / (m + n)
            if score >= self.threshold and score > best:
                best, at = score, number
        return best, at

    def _prefix(self, text: list[str]) -> tuple[list[int], frozenset[int]]:
        """(keys of the rarest words, one of which every near text shares; keys of all words). Each repetition has a key of its own."""
        seen: Counter[str] = Counter()
        keys = []
        for word in text:
            keys.append((word, seen[word]))
            seen[word] += 1
        keys.sort(key=lambda k: (self._order.get(k[0], -1), k))
        # The shortest text that can reach the threshold has m * t / (2 - t) words, all of them shared.
        shared = math.ceil(len(text) * self.threshold / (2 - self.threshold) - _EPSILON)
        numbers = [self._numbers.setdefault(key, len(self._numbers)) for key in keys]
        return numbers[: len(numbers) - shared + 1], frozenset(numbers)


def rarity(texts: Sequence[Sequence[str]]) -> dict[str, int]:
    """Rank of every word, the rarest first."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    return {word: rank for rank, (word, _) in enumerate(sorted(counts.items(), key=lambda pair: (pair[1], pair[0])))}
