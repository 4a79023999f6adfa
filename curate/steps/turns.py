"""Conversations whose text a step edits: a row's `messages` and `candidates` taken apart into pieces of text, and put back.

Rows of chat and preference data have the columns `messages` (a list of turns) and `candidates` (answers, each with turns
of its own), and `text` is a view of them: for every turn its reasoning, its content (or the text parts of it, one after
the other) and the arguments of its tool calls, all of `messages` and then of every candidate, without the empty ones,
joined by a blank line. A step finds things in the view, so that the turn before is context for the one after it, and
edits the pieces in which they lie. Only rows with something to edit are taken apart; a batch of others costs nothing.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa

from curate.errors import StepError

SEPARATOR = "\n\n"
BROKEN = "personal data or a match in the arguments of a tool call, which would be no JSON without it"
_COLUMNS = ("messages", "candidates")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
Turn = dict[str, Any]


class Edit(NamedTuple):
    """text[start:end] becomes `new`. Code points; edits of a piece are sorted and apart."""

    start: int
    end: int
    new: str


def edited(text: str, edits: Iterable[Edit]) -> str:
    """The text after the edits."""
    made: list[str] = []
    at = 0
    for start, end, new in edits:
        made += (text[at:start], new)
        at = end
    return "".join([*made, text[at:]])


def moved(place: int, edits: Iterable[Edit], is_end: bool) -> int:
    """Where a place lies after the edits; one inside of an edit goes to its outer side, so that a stretch covers what is new."""
    shift = 0
    for start, end, new in edits:
        if place <= start:
            break
        if place < end:
            return start + shift + (len(new) if is_end else 0)
        shift += len(new) - (end - start)
    return place + shift


@dataclass
class Piece:
    """One text of a turn: `holder[key]`. Pieces of one group (parts of one content) follow each other without a blank line."""

    kind: Literal["reasoning", "content", "part", "arguments", "text"]
    turn: Turn
    holder: Any
    key: str | int
    group: int
    number: int  # among the row's pieces

    @property
    def text(self) -> str:
        """What stands there now."""
        return str(self.holder[self.key])


class Conversation:
    """One row taken apart. `messages` and `candidates` are its values; edits go into them."""

    def __init__(self, messages: list[Turn] | None, candidates: list[dict[str, Any]] | None, text: str) -> None:
        """text: of the row; its only piece where there are no turns."""
        self.messages, self.candidates = messages, candidates
        self._parts: dict[int, tuple[Turn, list[Any]]] = {}  # contents that are lists, by group
        self._edited: list[Piece] = []
        self.pieces: list[Piece] = []
        self._groups = 0
        for turn in self._turns():
            self._take_apart(turn)
        if not messages and not candidates:
            self._add("text", {}, {"text": text}, "text")

    def _turns(self) -> Iterator[Turn]:
        yield from self.messages or ()
        for candidate in self.candidates or ():
            yield from candidate.get("messages") or ()

    def _take_apart(self, turn: Turn) -> None:
        if turn.get("reasoning"):
            self._add("reasoning", turn, turn, "reasoning")
        if turn.get("content") is None and turn.get("parts"):
            self._add_parts(turn)
        elif turn.get("content"):
            self._add("content", turn, turn, "content")
        for call in turn.get("tool_calls") or ():
            if call.get("arguments"):
                self._add("arguments", turn, call, "arguments")

    def _add(self, kind: Any, turn: Turn, holder: Any, key: str | int) -> None:
        self.pieces.append(Piece(kind, turn, holder, key, self._groups, len(self.pieces)))
        self._groups += kind != "part"

    def _add_parts(self, turn: Turn) -> None:
        """Text parts of a content that is a list; images, sound and calls have none."""
        parts = json.loads(turn["parts"])
        self._parts[self._groups] = (turn, parts)
        for at, part in enumerate(parts):
            if isinstance(part, str):
                self._add("part", turn, parts, at)
            elif isinstance(part, dict) and part.get("type", "text") == "text":
                key = "text" if "text" in part else "value"
                if isinstance(part.get(key), str):
                    self._add("part", turn, part, key)
        self._groups += 1

    def view(self) -> str:
        """The row as one text."""
        groups = ("".join(piece.text for piece in group) for _, group in groupby(self.pieces, lambda piece: piece.group))
        return SEPARATOR.join(text for text in groups if text)

    def placed(self) -> list[tuple[Piece, int]]:
        """Every piece and where it begins in the view, in code points."""
        found, end = [], 0
        for _, group in groupby(self.pieces, lambda piece: piece.group):
            here = list(group)
            start = at = end + (len(SEPARATOR) if end else 0)
            for piece in here:
                found.append((piece, at))
                at += len(piece.text)
            end = at if at > start else end
        return found

    def spoken(self) -> int:
        """Turns of the user and the assistant that say something, a letter or digit at least.

        It may be content, or reasoning where they have no content; a tool call says something too.
        """
        said: dict[int, dict[str, bool]] = {}
        for piece in self.pieces:
            if piece.turn.get("role") in ("user", "assistant"):
                by_kind = said.setdefault(id(piece.turn), {})
                kind = "content" if piece.kind == "part" else piece.kind
                by_kind[kind] = by_kind.get(kind, False) or any(map(str.isalnum, piece.text))
        return sum("arguments" in kinds or kinds.get("content", kinds.get("reasoning", False)) for kinds in said.values())

    def edit(self, piece: Piece, edits: Sequence[Edit]) -> None:
        """Edit a piece; weights of parts of the content (`spans`) move with what they are on, those of nothing go."""
        if piece.kind in ("content", "part") and piece.turn.get("spans"):
            base, before = 0, piece.number
            while before and self.pieces[before - 1].group == piece.group:
                before -= 1
                base += len(self.pieces[before].text)
            shifted = [Edit(start + base, end + base, new) for start, end, new in edits]
            spans = [
                {**span, "start": moved(span["start"], shifted, False), "end": moved(span["end"], shifted, True)}
                for span in piece.turn["spans"]
            ]
            piece.turn["spans"] = [span for span in spans if span["start"] < span["end"]] or None
        piece.holder[piece.key] = edited(piece.text, edits)
        self._edited.append(piece)

    def finish(self) -> None:
        """Write lists with edited parts back as JSON; what a model counted in an edited answer holds no longer."""
        for group in {piece.group for piece in self._edited if piece.kind == "part"}:
            turn, parts = self._parts[group]
            turn["parts"] = json.dumps(parts, ensure_ascii=False, separators=(",", ":"))
        turns = {id(piece.turn) for piece in self._edited}
        for candidate in self.candidates or ():
            if candidate.get("tokens") is not None and any(id(turn) in turns for turn in candidate["messages"] or ()):
                candidate["tokens"] = None


class Turns:
    """The conversations of a batch, each taken apart when it is first asked for."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self._batch = batch
        self._made: dict[int, Conversation] = {}
        self.broken: dict[int, str] = {}  # rows that could not be edited, with the reason

    def row(self, row: int) -> Conversation:
        """A row's conversation. Raises StepError where its text is not the view of its turns: an edit of either would be lost."""
        if row not in self._made:
            messages, candidates = (self._value(name, row) for name in _COLUMNS)
            text = self._batch.column("text")[row].as_py() or ""
            made = Conversation(messages, candidates, text)
            if made.view() != text:
                raise StepError(
                    f"The text of the conversation {_name(self._batch, row)} is not that of its turns: a step before edited it, and its "
                    "edit would be lost. Leave that step out, or put it behind this one."
                )
            self._made[row] = made
        return self._made[row]

    def _value(self, name: str, row: int) -> Any:
        return self._batch.column(name)[row].as_py() if name in self._batch.schema.names else None

    def rewrite(self, row: int, places: Sequence[tuple[int, int]], write: Callable[[int, str], str]) -> tuple[str, list[int]]:
        """(view, numbers of changed places) after `write(n, text)` of each place of the view; one that crosses turns is written in each.

        places: in code points, sorted and apart. Nothing is changed where a tool call's arguments would no longer be JSON; the
        row is in `broken` then.
        """
        conversation = self.row(row)
        changes: list[tuple[Piece, list[Edit]]] = []
        changed: set[int] = set()
        first = 0
        for piece, begin in conversation.placed():
            text = piece.text
            while first < len(places) and places[first][1] <= begin:
                first += 1
            arguments = _Arguments(text) if piece.kind == "arguments" else None
            edits, at = [], first
            while at < len(places) and places[at][0] < begin + len(text):
                start, end = max(0, places[at][0] - begin), min(len(text), places[at][1] - begin)
                edit = _edit(text, start, end, arguments, lambda old, n=at: write(n, old))  # type: ignore[misc]
                if edit is not None:
                    edits.append(edit)
                    changed.add(at)
                at += 1
            if edits:
                changes.append((piece, edits))
            if arguments is not None and edits and arguments.valid and not _is_json(edited(text, edits)):
                self.broken[row] = BROKEN
                return "", []
        for piece, edits in changes:
            conversation.edit(piece, edits)
        return conversation.view(), sorted(changed)

    def columns(self, rows: Iterable[int]) -> dict[str, pa.Array]:
        """`messages` and `candidates` with the edits of these rows; the other rows as they were."""
        wanted = sorted(rows)
        for row in wanted:
            self._made[row].finish()
        take = np.arange(len(self._batch))
        take[wanted] = len(self._batch) + np.arange(len(wanted))
        made = {}
        for name in _COLUMNS if wanted else ():
            if name in self._batch.schema.names:
                old = self._batch.column(name)
                new = pa.array([getattr(self._made[row], name) for row in wanted], old.type)
                made[name] = pa.concat_arrays([old, new]).take(pa.array(take))
        return made


def has_turns(schema: pa.Schema, step: str) -> bool:
    """Whether rows are conversations. Raises StepError where `messages` has another form than conversations have here."""
    if "messages" not in schema.names:
        return False
    kind = schema.field("messages").type
    candidates = schema.field("candidates").type if "candidates" in schema.names else None
    if not _is_list(kind, "role", "content") or not (candidates is None or _is_list(candidates, "messages")):
        raise StepError(
            f"{step} rewrites text, and these rows have a column `messages` that is no list of turns with `role` and `content`: the edit "
            "would not reach it. Give the reader a `format`, or use `mode: annotate`, or drop such rows."
        )
    return True


def _is_list(kind: pa.DataType, *fields: str) -> bool:
    """Whether a type is a list of structs with these fields."""
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) or not pa.types.is_struct(kind.value_type):
        return False
    return set(fields) <= {field.name for field in kind.value_type}


class _Arguments:
    """Arguments of a tool call: JSON text, or what was meant to be."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._strings: list[tuple[int, int]] | None = None

    @cached_property
    def valid(self) -> bool:
        """Whether they are JSON. Those that are none are edited like any text."""
        return _is_json(self._text)

    def in_string(self, at: int) -> bool:
        """Whether a place lies in a string."""
        if self._strings is None:
            self._strings = [match.span() for match in _STRING.finditer(self._text)]
        before = bisect_right(self._strings, (at, 0))
        return before > 0 and at < self._strings[before - 1][1]

    def behind_escape(self, at: int) -> int:
        r"""`at`, or the end of the escape (`\n`, `\u00fc`) that it lies in."""
        for head in range(max(0, at - 5), at):
            if self._text[head] == "\\" and self._backslashes(head) % 2:
                end = head + (6 if self._text[head + 1 : head + 2] == "u" else 2)
                if end > at:
                    return end
        return at

    def _backslashes(self, at: int) -> int:
        """How many stand in a row up to and with the one at a place."""
        first = at
        while first and self._text[first - 1] == "\\":
            first -= 1
        return at - first + 1


def _edit(text: str, start: int, end: int, arguments: _Arguments | None, write: Callable[[str], str]) -> Edit | None:
    """The edit of one place, None where nothing changes. In JSON a place begins behind an escape, and outside of strings gets quotes."""
    if arguments is not None and arguments.valid:
        start = min(end, arguments.behind_escape(start))
    old = text[start:end]
    new = write(old) if old else old
    if new == old:
        return None
    bare = arguments is not None and arguments.valid and not arguments.in_string(start)
    return Edit(start, end, json.dumps(new, ensure_ascii=False) if bare else new)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _name(batch: pa.RecordBatch, row: int) -> str:
    return repr(batch.column("id")[row].as_py()) if "id" in batch.schema.names else f"in row {row}"
