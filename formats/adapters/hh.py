"""HH-RLHF: a chosen and a rejected transcript, told apart by their last answer.

A turn begins at "\\n\\nHuman:" or "\\n\\nAssistant:": the label at the start of a line that follows a blank one. The same
words inside a line are text. One space after the label belongs to it. Both transcripts share every turn but the
last answer; rows where they don't, and transcripts that end with the human, are refused with their reason.

Source: anthropics/hh-rlhf README.md.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from formats.adapters.adapter import Adapter, Row, Unholdable, Unreadable, finish, notes, only_text, side_fields, want_text, with_notes
from formats.adapters.chatml import inline
from formats.adapters.preference import ranked_pairs
from formats.records import Candidate, Message, Record

_LABEL = re.compile(r"(?:^|\n\n)(Human|Assistant):( ?)")
_ROLES = {"Human": "user", "Assistant": "assistant"}
_NAMES = {role: name for name, role in _ROLES.items()}


class Hh(Adapter):
    """chosen and rejected as transcripts of Human and Assistant."""

    name: ClassVar[str] = "hh"
    summary: ClassVar[str] = "HH-RLHF: chosen and rejected transcripts of Human and Assistant"
    holds: ClassVar[frozenset[str]] = frozenset({"candidates", "candidates.rank"})
    native: ClassVar[frozenset[str]] = frozenset({"chosen", "rejected"})

    def read(self, row: Row) -> Record:
        texts = [want_text(row, key) for key in ("chosen", "rejected")]
        a, b = (transcript(text) for text in texts)
        if len(a) != len(b) or a[:-1] != b[:-1]:
            at = next((n for n, (x, y) in enumerate(zip(a[:-1], b[:-1], strict=False)) if x != y), min(len(a), len(b)) - 1)
            raise Unreadable("prefix_differs", f"the transcripts differ before the last answer, at turn {at + 1} of {len(a)} and {len(b)}")
        kept: dict[str, Any] = {}
        odd = [text for text, turns in zip(texts, (a, b), strict=True) if render(turns) != text]
        if odd:
            kept["text"] = [text if render(turns) != text else None for text, turns in zip(texts, (a, b), strict=True)]
        candidates = [Candidate([Message("assistant", turns[-1][1])], rank=rank) for rank, turns in enumerate((a, b))]
        return finish(Record([Message(role, text) for role, text in a[:-1]], candidates, meta=with_notes("hh", kept)), row)

    def write(self, record: Record, lost: set[str]) -> list[Row]:
        pair = ranked_pairs(record, "best_vs_worst")[0]
        if any(len(c.messages) != 1 for c in pair):
            raise Unholdable("transcript", "an answer must be one turn")
        if [c.rank for c in record.candidates] != [0, 1]:
            lost.add("candidates")
        texts = []
        for candidate, given in zip(pair, notes(record, "hh").get("text", (None, None)), strict=True):
            messages = [*record.messages, *candidate.messages]
            only_text(messages, "an HH transcript", lost)
            turns = [(m.role, inline(m)) for m in messages]
            text = given if given is not None and _same(given, turns) else render(turns)
            if not _same(text, turns):
                raise Unholdable("transcript", "a turn holds a label of its own, or is not the human's or the assistant's")
            texts.append(text)
        return [side_fields(record, {"chosen": texts[0], "rejected": texts[1]}, self, "hh")]

    def evidence(self, row: Row) -> str | None:
        values = [row.get("chosen"), row.get("rejected")]
        if all(isinstance(v, str) and v.lstrip("\n").startswith(("Human:", "Assistant:")) for v in values):
            return "'chosen' and 'rejected' are transcripts that begin with 'Human:'"
        return None


def transcript(text: str) -> list[tuple[str, str]]:
    """(role, text) of every turn. Raises Unreadable."""
    found = list(_LABEL.finditer(text))
    if not found or found[0].start() != 0:
        raise Unreadable("transcript", f"a transcript begins with {text[:20]!r}, expected a blank line and 'Human:'")
    ends = [*(m.start() for m in found[1:]), len(text)]
    turns = [(_ROLES[m[1]], text[m.end() : end]) for m, end in zip(found, ends, strict=True)]
    if turns[-1][0] != "assistant":
        raise Unreadable("ends_with_human", "a transcript ends with the human's turn, so it has no answer")
    return turns


def render(turns: list[tuple[str, str]]) -> str:
    """The transcript of turns."""
    return "".join(f"\n\n{_NAMES.get(role, role)}: {text}" for role, text in turns)


def _same(text: str, turns: list[tuple[str, str]]) -> bool:
    try:
        return transcript(text) == turns
    except Unreadable:
        return False
