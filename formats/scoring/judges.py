"""A language model as judge: marks for single answers, and comparisons of two with the order swapped.

Replies are read by an anchored grammar: the last line `Rating: N` (or `[[N]]`), whole numbers or decimals inside the scale, nothing else; "10" is
never read as "1". A reply that can't be read gives no score, and is counted; it is never a middle mark.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

_RATING = re.compile(r"(?:^|\n)[\s*#]*(?:rating|score)[\s*]*:[\s*]*(-?\d+(?:\.\d+)?)[\s*]*(?:/\s*\d+)?[\s*.]*(?=\n|$)", re.IGNORECASE)
_BRACKETS = re.compile(r"\[\[\s*(-?\d+(?:\.\d+)?)\s*\]\]")
_VERDICT = re.compile(r"\[\[\s*([ABC])\s*\]\]")

POINTWISE = """Judge the answer to the question below: how helpful, correct and clear it is. Length by itself is no merit.
{criteria}
Think first in a few sentences. Then end with one line of its own, a number from {low} (useless) to {high} (excellent):
Rating: <number>

[Question]
{question}
{reference}
[Answer]
{answer}
[End of answer]"""
PAIRWISE = """Compare two answers to the question below: which one is more helpful, correct and clear. Length and order are no merit.
{criteria}
Think first in a few sentences. Then end with one line of its own: [[A]] if the first is better, [[B]] if the second is, [[C]] for a tie.

[Question]
{question}
{reference}
[Answer A]
{first}
[End of answer A]

[Answer B]
{second}
[End of answer B]"""


class Question(NamedTuple):
    """A pair to be compared, and which of the two stands first."""

    better: int
    other: int


def pointwise_prompt(question: str, answer: str, reference: str | None, low: float, high: float, criteria: str) -> str:
    """What a judge is asked about one answer. Braces in texts are text."""
    return _filled(
        POINTWISE, question=question, answer=answer, reference=_reference(reference), low=f"{low:g}", high=f"{high:g}", criteria=criteria
    )


def pairwise_prompt(question: str, first: str, second: str, reference: str | None, criteria: str) -> str:
    """What a judge is asked about two answers."""
    return _filled(PAIRWISE, question=question, first=first, second=second, reference=_reference(reference), criteria=criteria)


def _filled(template: str, **parts: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda m: parts[m[1]], template)  # one pass: what is filled in is not looked at again


def _reference(text: str | None) -> str:
    return "" if text is None else f"\n[Reference answer]\n{text}\n"


def read_rating(reply: str | None, low: float, high: float) -> float | None:
    """The mark of a reply: the last one in the form that was asked for, if it lies on the scale; None otherwise."""
    if reply is None:
        return None
    found = [*_RATING.findall(reply)] or [*_BRACKETS.findall(reply)]
    value = float(found[-1]) if found else None
    return value if value is not None and low <= value <= high else None


def read_verdict(reply: str | None) -> str | None:
    """A, B or C (tie); None where the reply names none, or different ones on its last lines that name any."""
    found = _VERDICT.findall(reply or "")
    return found[-1] if found else None


def comparisons(count: int, most: int | None) -> list[tuple[int, int]]:
    """Pairs of candidates to compare, in a fixed order: all of them, or the first `most` in rounds in which everyone plays."""
    if most is None or count * (count - 1) // 2 <= most:
        return list(combinations(range(count), 2))
    pairs = [tuple(sorted((n, (n + step) % count))) for step in range(1, count // 2 + 1) for n in range(count)]
    return list(dict.fromkeys((a, b) for a, b in pairs))[:most]


def pair_outcome(straight: str | None, swapped: str | None) -> float | None:
    """Points of the first candidate of a pair: 1, 0, or 0.5 for a tie and for a judge who changes his mind with the order; None if a reply is unread.

    straight: verdict with the first candidate as A; swapped: with the second one as A.
    """
    if straight is None or swapped is None:
        return None
    one = {"A": 1.0, "B": 0.0, "C": 0.5}[straight]
    two = {"A": 0.0, "B": 1.0, "C": 0.5}[swapped]
    return one if one == two else 0.5


def win_rates(count: int, played: Sequence[tuple[int, int]], points: Sequence[float | None]) -> list[float | None]:
    """Mean points of each candidate over the comparisons that were read; None for one without any."""
    total, games = [0.0] * count, [0] * count
    for (a, b), point in zip(played, points, strict=True):
        if point is not None:
            total[a] += point
            total[b] += 1 - point
            games[a] += 1
            games[b] += 1
    return [t / g if g else None for t, g in zip(total, games, strict=True)]
