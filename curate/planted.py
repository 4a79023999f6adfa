"""Near-duplicates made on purpose, of a known kind: what `curate audit dedup` plants in a run's own documents.

    words changed   this share of the words replaced by words of another document, at random places
    end cut off     this share of the text removed from its end
    words around    as many words of another document as this share of the text, half before it and half after
    parts moved     the text in so many parts of equal length, in another order

Documents with few spaces (Chinese, Thai, code in one line) are edited by character.
"""

from __future__ import annotations

import random
import re
from itertools import pairwise
from typing import NamedTuple

CHANGED, CUT, AROUND, MOVED = "words changed", "end cut off", "words around", "parts moved"
UNIT_CHARS = 20  # a text with longer words on average is edited by character

_UNITS = re.compile(r"\S+\s*|\s+")


class Edit(NamedTuple):
    """One kind of copy."""

    kind: str
    amount: float  # a share, or with MOVED a number of parts

    def __str__(self) -> str:
        return f"{self.kind}: {self.amount:.0f}" if self.kind == MOVED else f"{self.kind}: {self.amount:.0%}"


EDITS = (
    *(Edit(CHANGED, share) for share in (0.0, 0.01, 0.02, 0.03, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4)),
    *(Edit(CUT, share) for share in (0.05, 0.1, 0.2, 0.4)),
    *(Edit(AROUND, share) for share in (0.05, 0.1, 0.25, 0.5)),
    *(Edit(MOVED, parts) for parts in (2, 4, 8, 16)),
)


def units(text: str) -> list[str]:
    """Words with the white space after them, or characters where there are few spaces; joined they are the text."""
    found = _UNITS.findall(text)
    return found if len(found) * UNIT_CHARS >= len(text) else list(text)


def edited(text: str, edit: Edit, other: str, make: random.Random) -> str:
    """Return a copy of the text with one edit. other: the document that foreign words come from."""
    own, foreign = units(text), units(other) or [" "]
    if edit.kind == CHANGED:
        for at in make.sample(range(len(own)), round(edit.amount * len(own))):
            own[at] = _replacement(own[at], foreign, make)
    elif edit.kind == CUT:
        own = own[: max(1, len(own) - round(edit.amount * len(own)))]
    elif edit.kind == AROUND:
        count = max(2, round(edit.amount * len(own)))
        more = [foreign[i % len(foreign)] for i in range(count)]
        own = [*more[: count // 2], "\n", *own, "\n", *more[count // 2 :]]
    else:
        own = _moved(own, int(edit.amount), make)
    return "".join(own)


def _replacement(unit: str, foreign: list[str], make: random.Random) -> str:
    """A foreign word with the white space of the one it replaces; another word, where there is one."""
    word = unit.rstrip()
    space = unit[len(word) :]
    for _ in range(4):
        chosen = make.choice(foreign).rstrip()
        if chosen and chosen.lower() != word.lower():
            return chosen + space
    return f"{word}x{space}"


def _moved(own: list[str], parts: int, make: random.Random) -> list[str]:
    """Parts in a random order in which no two neighbours stay neighbours, where a few tries find one."""
    edges = [len(own) * i // parts for i in range(parts + 1)]
    pieces = [own[a:b] for a, b in pairwise(edges)]
    order = list(range(parts))
    for _ in range(50):
        make.shuffle(order)
        if all(b != a + 1 for a, b in pairwise(order)):
            break
    return [unit for at in order for unit in [*pieces[at][:-1], *(u.rstrip() + " " for u in pieces[at][-1:])]]
