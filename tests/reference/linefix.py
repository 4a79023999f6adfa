"""The naive twin of `curate.kernels.linefix`: each pass a split, a test and a join."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

COUNTED = [
    "likes",
    "shares",
    "comments",
    "retweets",
    "reposts",
    "quotes",
    "bookmarks",
    "upvotes",
    "downvotes",
    "downloads",
    "views",
    "followers",
]
_COUNTER = re.compile(rf"\W*\d[,.\d]*[kmb]?\s+(?:{'|'.join(COUNTED)})\W*")


@dataclass
class Rules:
    """Settings under the names of the step."""

    max_uppercase: float | None = 0.5
    max_digits: float | None = 0.999999
    remove_counters: bool = True
    min_words: int | None = 2
    remove_navigation: bool = True
    max_navigation_words: int = 10


def words(text: str) -> int:
    """Words as DCLM counts them with fastText's tokenizer."""
    return sum(token[0].isalnum() for token in re.split(r"[ \n\r\t\v\f\0]+", text) if token)


def _kept(text: str, stays: Callable[[str], bool]) -> str:
    return "\n".join(line for line in text.split("\n") if stays(line))


def _share(line: str, test: Callable[[str], bool]) -> float:
    return sum(map(test, line)) / len(line)


def _ascii_lower(text: str) -> str:
    return "".join(c.lower() if c.isascii() else c for c in text)


def _edit(text: str, pattern: str, most: int) -> str:
    """Take a pattern out of lines of few words; lines that are blank then go."""
    made = []
    for line in text.split("\n"):
        if line and len(line.split()) <= most:
            lower, out, at = _ascii_lower(line), "", 0
            for match in re.finditer(pattern, lower):
                out += line[at : match.start()]
                at = match.end()
            line = out + line[at:]
            if not line.strip():
                continue
        made.append(line)
    return "\n".join(made)


def clean(text: str, rules: Rules) -> str:
    """The document after all passes."""
    most_upper, most_digits, least = rules.max_uppercase, rules.max_digits, rules.min_words
    if most_upper is not None:
        text = _kept(text, lambda line: not line or _share(line, str.isupper) <= most_upper).strip()
    if most_digits is not None:
        text = _kept(text, lambda line: not line or _share(line, str.isdigit) <= most_digits).strip()
    if rules.remove_counters:
        text = _kept(text, lambda line: _COUNTER.fullmatch(_ascii_lower(line)) is None).strip()
    if least is not None:
        text = _kept(text, lambda line: not line or len(line.split()) >= least)
    if rules.remove_navigation:
        for pattern in (r"\s?items in cart", r"\s?read more...\Z", r"\Asign-in\s?"):
            text = _edit(text, pattern, rules.max_navigation_words).strip()
    return text
