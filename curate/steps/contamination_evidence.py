"""Where in a text the words of `curate.kernels.shingles` stand, to cut matches out and to quote them.

Only documents with a match get here. Positions are code points, so that no cut can split a character.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from curate.kernels.folding import CJK, ENDS, WORD, tables
from curate.kernels.strings import I64
from curate.steps.turns import Edit

if TYPE_CHECKING:
    from curate.steps.turns import Conversation

QUOTED = 600  # code points of a match
AROUND = 120  # code points of context on each side


class Places(NamedTuple):
    """Words of one text: word w is text[start[w]:end[w]]."""

    start: I64
    end: I64


def places(text: str) -> Places:
    """Find the words of a text, as the kernels split it."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.int64)
    stage1, stage2 = tables()
    flags = stage2[(stage1[codes >> 8].astype(np.int64) << 8) | (codes & 255)]
    inside: npt.NDArray[np.bool_] = (flags & WORD) != 0
    closes = (flags & ENDS) != 0
    alone = (flags & CJK) != 0
    before = np.concatenate([[False], (inside & ~closes)[:-1]])
    after = np.concatenate([inside[1:], [False]])
    start = np.flatnonzero(alone | (inside & ~before))
    end = np.flatnonzero(alone | (inside & (~after | closes))) + 1
    return Places(start, end)


def quote(text: str, words: Places, first: int, last: int) -> tuple[str, str, str]:
    """(before, match, after) of words first..last - 1, each cut to a bounded length."""
    if not len(words.start) or last <= first:
        return "", text[:QUOTED], ""
    start, end = int(words.start[first]), int(words.end[last - 1])
    match = text[start:end]
    if len(match) > QUOTED:
        match = f"{match[: QUOTED // 2]} [...] {match[-QUOTED // 2 :]}"
    return text[max(0, start - AROUND) : start], match, text[end : end + AROUND]


def cut(text: str, words: Places, spans: Sequence[tuple[int, int]], margin: int) -> str:
    """The text without the words of each span and `margin` code points on both sides."""
    return "\n".join(text[start:end] for start, end in _left(text, words, spans, margin))


def _left(text: str, words: Places, spans: Sequence[tuple[int, int]], margin: int) -> list[tuple[int, int]]:
    """What a cut leaves: stretches (start, end) of the text, none empty, without white space around them."""
    kept: list[tuple[int, int]] = []
    at = 0
    for first, last in spans:
        kept.append((at, max(at, int(words.start[first]) - margin)))
        at = max(at, min(len(text), int(words.end[last - 1]) + margin))
    kept.append((at, len(text)))
    stripped = []
    for start, end in kept:
        piece = text[start:end]
        start = end - len(piece.lstrip())
        stripped.append((start, start + len(piece.strip())))
    return [(start, end) for start, end in stripped if start < end]


def cut_turns(conversation: Conversation, words: Places, spans: Sequence[tuple[int, int]], margin: int) -> bool:
    """Cut spans of the view out of the pieces of a conversation; a margin ends with its piece.

    Returns whether a turn was lost: one of the user or the assistant that says nothing any more, or a tool call, whose arguments are no
    text to cut.
    """
    spoken, broken = conversation.spoken(), False
    for piece, begin in conversation.placed():
        text = piece.text
        low = int(np.searchsorted(words.end, begin, "right"))
        high = int(np.searchsorted(words.start, begin + len(text), "left"))
        here = [(max(first, low) - low, min(last, high) - low) for first, last in spans if first < high and last > low]
        if not here or not text:
            continue
        own = Places(*(np.clip(side[low:high] - begin, 0, len(text)) for side in words))
        conversation.edit(piece, _edits(text, _left(text, own, here, margin)))
        broken = broken or piece.kind == "arguments"
    return broken or conversation.spoken() < spoken


def _edits(text: str, left: Sequence[tuple[int, int]]) -> list[Edit]:
    """The edits that leave these stretches, one a line."""
    if not left:
        return [Edit(0, len(text), "")]
    ends = [0, *(end for _, end in left)]
    starts = [*(start for start, _ in left), len(text)]
    news = ["", *["\n"] * (len(left) - 1), ""]
    return [Edit(end, start, new) for end, start, new in zip(ends, starts, news, strict=True) if end < start or new]


def evidence_row(
    document: str, source: str, text: str, item: str, item_text: str, match: Sequence[int], rule: str, score: float
) -> dict[str, Any]:
    """One row of `contamination.jsonl`. match: words of the document from, to, of the item from, to."""
    before, found, after = quote(text, places(text), match[0], match[1])
    item_before, item_found, item_after = quote(item_text, places(item_text), match[2], match[3])
    return {
        "item": item,
        "document": document,
        "source": source,
        "rule": rule,
        "score": round(score, 6),
        "before": before,
        "match": found,
        "after": after,
        "item_before": item_before,
        "item_match": item_found,
        "item_after": item_after,
    }
