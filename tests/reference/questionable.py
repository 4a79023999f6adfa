"""The naive twin of `curate.kernels.questionable`."""

from __future__ import annotations

import re

CURSED = (
    " \u2116", "\ufffd\ufffd\ufffd", "aute irure dolor ", " sunt in culpa qui ", "orem ipsum ", " quis nostrud ", " adipisicing ", " dolore eu ",
    " cupidatat ", "autem vel eum", "wisi enim ad", " sex ", " porn ", "\u9ec4\u8272\u7535\u5f71", "mp3", "ownload", "Vol.", " Ep.", "Episode",
    " \u0448\u0442.", "Develop", "Facebook", " crusher ", " xxx ",
)  # fmt: skip


def sentences(text: str) -> list[str]:
    """Stripped sentences, with their marks; no blank ones."""
    return [s.strip() for s in re.split(r"(?<=[.!?])(?=\s)", text) if s.strip()]


def list_case(sentence: str) -> bool:
    tokens = sentence.split()
    return len(tokens) >= 12 and sum(t[0].isupper() for t in tokens) > 0.5 * len(tokens)


def length(sentence: str) -> bool:
    return not 20 <= len(sentence) <= 500


def technical(sentence: str) -> bool:
    return sum(c in "0123456789{}+/()>" for c in sentence) > 0.2 * len(sentence)


def cursed(sentence: str) -> bool:
    """Substrings, ends, and runs of tokens that follow a single space each."""
    if any(c in sentence for c in CURSED) or sentence.endswith(("|", " nr.", " г.", " кг.")):
        return True
    tokens = sentence.split(" ")[1:]
    runs: tuple[tuple[int, list[bool]], ...] = (
        *((9, [len(t) == size for t in tokens]) for size in (1, 3, 4)),
        (4, [re.fullmatch(r"(?s)..,,?", t) is not None and t.endswith(",") for t in tokens]),
    )
    return any(all(hits[i : i + need]) for need, hits in runs for i in range(len(hits) - need + 1))


def counts(text: str) -> tuple[int, ...]:
    """(sentences, questionable, list case, length, technical, cursed)."""
    found = [(list_case(s), length(s), technical(s), cursed(s)) for s in sentences(text)]
    return (len(found), sum(map(any, found)), *(sum(f[k] for f in found) for k in range(4)))
