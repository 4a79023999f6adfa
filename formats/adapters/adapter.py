"""What a format is: rows to records, records to rows, and what it can't hold.

`read` takes a row (a dict it may empty) and returns a record, or raises Unreadable. `write` takes a record and returns
its rows, or raises Unholdable; what it leaves out without failing is named: by `holds` for whole fields, by adding to
`lost` for the rest. tests/formats/test_round_trip.py checks that reading what was written differs in nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from formats.records import Candidate, Message, Record, is_plain, text_of

Row = dict[str, Any]
Pair = tuple[str, str, Row]  # question, answer, and the record's meta

# Fields of a record that a format may be unable to hold, as loss reports name them.
TURN_FIELDS = ("reasoning", "tool_calls", "tool_call_id", "name", "loss", "spans", "parts", "extra")
CANDIDATE_FIELDS = ("scores", "rank", "label", "labels", "model", "finish_reason", "extra", "sample", "seed", "round", "tokens")
PLAIN_TURNS = frozenset[str]()
ALL_TURNS = frozenset(f"messages.{name}" for name in TURN_FIELDS)

# Every reason for which a record can't be expressed in some format.
REASONS = (
    "raw_text", "needs_template", "no_prompt", "no_answer", "no_good_answer", "turns", "tool_calls", "parts", "tools", "special_token",
    "no_candidates", "no_pair", "tied", "no_label", "unranked", "no_attributes", "no_steps", "transcript", "answer", "no_columns",
)  # fmt: skip


class Unreadable(ValueError):
    """A row that is not of the format. reason: a slug for the ledger; the text says got and expected."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Unholdable(ValueError):
    """A record that a format can't express. reason: a slug, `convert.<reason>` in ledgers."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Adapter:
    """Base of all formats."""

    name: ClassVar[str]
    summary: ClassVar[str] = ""
    holds: ClassVar[frozenset[str]] = frozenset()
    writes_pairs: ClassVar[bool] = False
    native: ClassVar[frozenset[str]] = frozenset()  # top-level fields of its own; other columns with these names move to meta.columns

    def read(self, row: Row) -> Record:
        """The record of a row. The row may be changed. Raises Unreadable."""
        raise NotImplementedError

    def read_many(self, row: Row) -> list[Record]:
        """The records of a row; more than one only where a row is a tree of conversations."""
        return [self.read(row)]

    def write(self, record: Record, lost: set[str]) -> list[Row]:
        """The rows of a record. What is left out beyond `holds` is added to `lost`. Raises Unholdable."""
        raise NotImplementedError

    def pair(self, row: Row) -> Pair | None:
        """The short way through `read` for a row that is a question and its answer and nothing else, as most rows of instruction sets are.

        None, and the row as it was, where the row is more than that, is odd (formats/policies.py), or the format has no short way.
        """
        return None

    def write_pair(self, question: str, answer: str, meta: Row) -> Row:
        """The short way through `write` where `writes_pairs`: the row of a pair, of which nothing is lost. `meta` may be changed."""
        raise NotImplementedError

    def evidence(self, row: Row) -> str | None:
        """Why a row looks like this format, or None where it does not."""
        raise NotImplementedError


def finish(record: Record, row: Row) -> Record:
    """Put what is left of a row into the record: its id, and every other field as meta. record.meta holds notes or nothing."""
    given = row.get("id")
    if given and isinstance(given, str):
        record.id = given  # it stays in meta as well: a given id is written, a derived one is not
    elif isinstance(given, int) and not isinstance(given, bool):
        record.id = str(given)
    kept = record.meta.get("meta", {})
    if "meta" in row:
        side = _side(row)
        kept = {**side, **{family: {**side.get(family, {}), **own} for family, own in kept.items()}}
    if kept:
        row["meta"] = kept
    record.meta = row
    return record


def pair_meta(row: Row) -> Row:
    """`finish` for a pair: what is left of its row, as meta."""
    if "meta" in row:
        side = _side(row)
        if side:
            row["meta"] = side
    return row


def plain_pair(question: Any, answer: Any) -> bool:
    """Whether these are the two texts of a pair: both text, neither empty, no reasoning in the answer."""
    return type(question) is str and type(answer) is str and question != "" and answer != "" and not answer.startswith("<think>")


def _side(row: Row) -> dict[str, Any]:
    """Take the field `meta` out of a row; fields that a writer moved there go back to their place."""
    side = row.pop("meta")
    if not isinstance(side, dict):
        return {"columns": {"meta": side}}
    columns = side.get("columns")
    if not isinstance(columns, dict):
        return side
    side = {k: v for k, v in side.items() if k != "columns"}
    for key, value in columns.items():
        if key == "meta":
            side["columns"] = {"meta": value}
        else:
            row.setdefault(key, value)
    return side


def notes(record: Record, family: str) -> dict[str, Any]:
    """What a converter of that family kept for the way back; {} where there is nothing."""
    side = record.meta.get("meta")
    found = side.get(family) if isinstance(side, dict) else None
    return found if isinstance(found, dict) else {}


def with_notes(family: str, kept: dict[str, Any]) -> dict[str, Any]:
    """Start of a record's meta that holds notes, or {}."""
    return {"meta": {family: kept}} if kept else {}


def side_fields(record: Record, row: Row, adapter: Adapter, family: str) -> Row:
    """Add every other field to a written row; notes of the family itself are in the row already."""
    return with_side(record.meta, row, adapter, family) if record.meta else row


def with_side(meta: Row, row: Row, adapter: Adapter, family: str) -> Row:
    """`side_fields` of a record's meta."""
    kept: Row = {}
    moved: Row = {}
    for key, value in meta.items():
        if key == "meta":
            kept = {k: v for k, v in value.items() if k != family}
        elif key in adapter.native or key in row:
            moved[key] = value
        else:
            row[key] = value
    if moved:
        kept["columns"] = {**kept.get("columns", {}), **moved}
    if kept:
        columns = kept.get("columns")
        alone = len(kept) == 1 and isinstance(columns, dict) and columns.keys() == {"meta"}  # the source's own `meta`, which was no object
        row["meta"] = columns["meta"] if alone and columns else kept
    return row


def pair_side(meta: Row, row: Row, adapter: Adapter, family: str) -> Row:
    """`with_side` for a row of a pair, whose keys are all native. Empties meta where there is nothing to move."""
    side = meta.get("meta")
    if not adapter.native.isdisjoint(meta) or (side is not None and (family in side or "columns" in side)):
        return with_side(meta, row, adapter, family)
    if side is not None:
        del meta["meta"]
    row.update(meta)
    if side:
        row["meta"] = side  # last, as everywhere
    return row


def lost_fields(record: Record, holds: frozenset[str]) -> set[str]:
    """Fields that a record has and a format does not hold."""
    lost: set[str] = set()
    for message in record.messages:
        _turn(message, lost)
    for candidate in record.candidates:
        for message in candidate.messages:
            _turn(message, lost)
        for name in CANDIDATE_FIELDS:
            if getattr(candidate, name) is not None:
                lost.add(f"candidates.{name}")
    if record.candidates:
        lost.add("candidates")
    if record.tools is not None:
        lost.add("tools")
    if record.plain:
        lost.add("plain")
    return lost - holds if lost else lost


def _turn(m: Message, lost: set[str]) -> None:
    if not is_plain(m):
        lost.update(f"messages.{name}" for name in TURN_FIELDS if getattr(m, name) is not None)


def want_text(row: Row, key: str, null: bool = False) -> str:
    """Take a text field out of a row. null: whether null counts as empty."""
    try:
        value = row.pop(key)
    except KeyError:
        raise Unreadable("missing_field", f"no field {key!r}; fields are: {', '.join(row) or '(none)'}") from None
    if isinstance(value, str):
        return value
    if value is None and null:
        return ""
    raise Unreadable("wrong_type", f"field {key!r} is {kind(value)}, expected text")


def kind(value: Any) -> str:
    """What a JSON value is, in words."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    names = {str: "text", dict: "an object", list: "a list", int: "a number", float: "a number"}
    return names.get(type(value), type(value).__name__)


def best(record: Record) -> Candidate | None:
    """The candidate that stands for the record in formats of one answer: rank 0, or label True; None where none is marked."""
    ranked = [c for c in record.candidates if c.rank is not None]
    if ranked:
        return min(ranked, key=lambda c: c.rank or 0)
    return next((c for c in record.candidates if c.label), None)


def conversation(record: Record, lost: set[str]) -> list[Message]:
    """The messages of a format with one answer: prompt and best candidate. Raises Unholdable where none is marked as good."""
    if record.text is not None:
        raise Unholdable("raw_text", "raw text has no turns")
    if not record.candidates:
        return record.messages
    chosen = best(record)
    if chosen is None:
        raise Unholdable("no_good_answer", "no candidate has a rank or the label true; select one first")
    lost.add("candidates")
    return [*record.messages, *chosen.messages]


def only_text(messages: Iterable[Message], what: str, lost: set[str]) -> None:
    """Raise Unholdable where turns hold more than text: calls of tools, images. Null content becomes empty text, which is named."""
    for m in messages:
        if m.content is None and m.parts is None:
            lost.add("messages.content")
        if m.tool_calls or m.role == "tool":
            raise Unholdable("tool_calls", f"{what} has no place for tool calls")
        if m.parts is not None and any(isinstance(p, dict) and p.get("type", "text") != "text" for p in m.parts):
            raise Unholdable("parts", f"{what} has no place for images, sound or other parts of content")


def joined(messages: Iterable[Message], lost: set[str]) -> str:
    """Turns as one plain string, for formats whose fields are raw text; what a string can't say is added to `lost`."""
    turns = list(messages)
    if len(turns) != 1:
        lost.add("messages")
    for m in turns:
        _turn(m, lost)
    only_text(turns, "a plain string", lost)
    return "".join(text_of(m) for m in turns)
