"""Conversations as lists of turns: OpenAI's messages, ShareGPT and its variants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from formats.adapters.adapter import (
    ALL_TURNS,
    Adapter,
    Pair,
    Row,
    Unreadable,
    conversation,
    finish,
    kind,
    notes,
    pair_meta,
    pair_side,
    plain_pair,
    side_fields,
    with_notes,
)
from formats.adapters.turns import OPENAI, SHAREGPT, Spelling, call_text, read_turn, tools_text, write_turn
from formats.records import Message, Record, is_plain

# Where sets keep their turns, and how they spell them. SGD calls its assistant SYSTEM.
CONTAINERS = ("conversations", "messages", "conversation", "dialog", "dialogue", "turns", "items")
SPELLINGS = {
    "from": SHAREGPT,
    "role/content": OPENAI,
    "role/value": Spelling("role", "value", {"user": "human", "assistant": "gpt", "tool": "observation"}),
    "from/content": Spelling("from", "content", {"user": "human", "assistant": "gpt", "tool": "observation"}),
    "speaker/utterance": Spelling("speaker", "utterance", {"user": "USER", "assistant": "SYSTEM"}, {"SYSTEM": "assistant", "USER": "user"}),
    "speaker/text": Spelling("speaker", "text"),
    "role/text": Spelling("role", "text"),
}
_BY_KEYS = {(s.role, s.content): name for name, s in SPELLINGS.items()}


class Messages(Adapter):
    """OpenAI's messages: the form nearest to the record."""

    name: ClassVar[str] = "messages"
    summary: ClassVar[str] = "OpenAI messages, with tools, tool calls, parts of content and reasoning"
    holds: ClassVar[frozenset[str]] = ALL_TURNS | {"tools"}
    native: ClassVar[frozenset[str]] = frozenset({"messages", "tools"})
    writes_pairs: ClassVar[bool] = True
    tools: ClassVar[bool] = True

    def __init__(self, roles: Mapping[str, str] | None = None) -> None:
        self.roles = roles

    def read(self, row: Row) -> Record:
        turns = row.pop("messages", None)
        if not isinstance(turns, list):
            raise Unreadable("missing_field", f"'messages' is {kind(turns)}, expected a list of turns")
        record = Record([read_turn(turn, OPENAI, self.roles) for turn in turns])
        if "tools" in row:
            record.tools = tools_text(row["tools"])
            if record.tools is not None:
                del row["tools"]
        return finish(record, row)

    def write(self, record: Record, lost: set[str]) -> list[Row]:
        turns = conversation(record, lost)
        row: Row = {"messages": [{"role": m.role, "content": m.content} if is_plain(m) else write_turn(m, OPENAI) for m in turns]}
        if record.tools is not None:
            row["tools"] = record.tools
        return [side_fields(record, row, self, "messages") if record.meta else row]

    def pair(self, row: Row) -> Pair | None:
        found = None if "tools" in row else pair_of(row.get("messages"), "role", "user", "assistant", "content")
        if found is None:
            return None
        del row["messages"]
        return *found, pair_meta(row)

    def write_pair(self, question: str, answer: str, meta: Row) -> Row:
        row: Row = {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}
        return pair_side(meta, row, self, "messages") if meta else row

    def evidence(self, row: Row) -> str | None:
        turns = row.get("messages")
        if not isinstance(turns, list) or any(k in row for k in ("chosen", "rejected", "label")):
            return None
        if all(isinstance(t, dict) and isinstance(t.get("role"), str) for t in turns) and not any("value" in t for t in turns):
            return "'messages' is a list of turns with 'role' and 'content'"
        return None


class ShareGpt(Adapter):
    """ShareGPT: `conversations` of {"from", "value"}; other containers and keys are told by content and come back."""

    name: ClassVar[str] = "sharegpt"
    summary: ClassVar[str] = "ShareGPT conversations, also with other names of container, keys and roles"
    holds: ClassVar[frozenset[str]] = ALL_TURNS | {"tools"}
    native: ClassVar[frozenset[str]] = frozenset({"conversations", "system", "tools"})
    writes_pairs: ClassVar[bool] = True

    def __init__(self, roles: Mapping[str, str] | None = None) -> None:
        self.roles = roles

    def read(self, row: Row) -> Record:
        container = find_container(row)
        if container is None:
            raise Unreadable("missing_field", f"no list of turns under {', '.join(CONTAINERS)}; fields are: {', '.join(row) or '(none)'}")
        turns = row.pop(container)
        spelling = spelling_of(turns) or "from"
        messages = [read_turn(turn, SPELLINGS[spelling], self.roles) for turn in turns]
        kept: dict[str, Any] = {}
        if container != "conversations":
            kept["container"] = container
        if spelling != "from":
            kept["keys"] = spelling
        if isinstance(row.get("system"), str):
            messages.insert(0, Message("system", row.pop("system")))
            kept["system"] = "field"
        record = Record(messages, meta=with_notes("sharegpt", kept))
        if "tools" in row:
            record.tools = tools_text(row["tools"])
            if record.tools is not None:
                del row["tools"]
        return finish(record, row)

    def pair(self, row: Row) -> Pair | None:
        found = None if "tools" in row or "system" in row else pair_of(row.get("conversations"), "from", "human", "gpt", "value")
        if found is None:
            return None
        del row["conversations"]
        return *found, pair_meta(row)

    def write_pair(self, question: str, answer: str, meta: Row) -> Row:
        side = meta.get("meta")
        if side and "sharegpt" in side:
            return self.write(Record([Message("user", question), Message("assistant", answer)], meta=meta), set())[0]
        row: Row = {"conversations": [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]}
        return pair_side(meta, row, self, "sharegpt") if meta else row

    def write(self, record: Record, lost: set[str]) -> list[Row]:
        kept = notes(record, "sharegpt")
        spelling = SPELLINGS.get(kept.get("keys", "from"), SHAREGPT)
        turns = conversation(record, lost)
        row: Row = {}
        if kept.get("system") == "field" and turns and turns[0].role == "system" and turns[0] == Message("system", turns[0].content):
            row["system"] = turns[0].content
            turns = turns[1:]
        container = kept.get("container", "conversations")
        row[container] = [turn for m in turns for turn in write_sharegpt(m, spelling, lost)]
        if record.tools is not None:
            row["tools"] = record.tools
        return [side_fields(record, row, self, "sharegpt")]

    def evidence(self, row: Row) -> str | None:
        if any(k in row for k in ("chosen", "rejected", "label", "kto_tag", "completions")):
            return None
        container = find_container(row)
        if container is None:
            return None
        spelling = spelling_of(row[container])
        if spelling is None or (container == "messages" and spelling == "role/content"):
            return None
        keys = SPELLINGS[spelling]
        return f"{container!r} is a list of turns with {keys.role!r} and {keys.content!r}"


def pair_of(turns: Any, role: str, user: str, assistant: str, content: str) -> tuple[str, str] | None:
    """Question and answer where these are two turns of role and text and nothing else."""
    if type(turns) is not list or len(turns) != 2:
        return None
    a, b = turns
    if type(a) is not dict or type(b) is not dict or len(a) != 2 or len(b) != 2 or a.get(role) != user or b.get(role) != assistant:
        return None
    question: Any = a.get(content)
    answer: Any = b.get(content)
    return (question, answer) if plain_pair(question, answer) else None


def write_sharegpt(m: Message, spelling: Spelling, lost: set[str]) -> list[Row]:
    """The turns of a message: calls of tools are a turn of their own, as text."""
    if m.tool_calls is None or m.reasoning is not None or m.role != "assistant":
        turn = write_turn(m, spelling)
        if m.tool_calls is None and m.content and turn.get("as", {}).get("role") == "function_call":
            turn[spelling.role] = turn["as"].pop("role")  # what a model wrote in place of a call
            if not turn["as"]:
                del turn["as"]
        return [turn]
    spelt = dict((m.extra or {}).get("as") or {})
    if any(call.id is not None or (call.extra and "type" in call.extra) for call in m.tool_calls):
        lost.add("messages.tool_calls.id")
    if m.content or m.parts:
        lost.add("messages")  # two turns where there was one
    elif m.content is not None:
        lost.add("messages.content")
    text = spelt.pop("call", None) or call_text(m.tool_calls)
    rest = {k: v for k, v in (m.extra or {}).items() if k != "as"} | ({"as": spelt} if spelt else {})
    bare = Message(m.role, text, loss=m.loss, extra=rest or None, name=m.name)
    turn = write_turn(bare, spelling)
    turn[spelling.role] = "function_call"
    before = [write_turn(Message(m.role, m.content, parts=m.parts, spans=m.spans), spelling)] if m.content or m.parts else []
    return [*before, turn]


def find_container(row: Row) -> str | None:
    """The field that holds the turns."""
    for name in CONTAINERS:
        turns = row.get(name)
        if isinstance(turns, list) and all(isinstance(t, dict) for t in turns):
            return name
    return None


def spelling_of(turns: list[Any]) -> str | None:
    """How the turns of a row are spelt, told by all of their keys; None where no known pair is in every turn."""
    for (role, content), name in _BY_KEYS.items():
        if turns and all(role in t and (content in t or "tool_calls" in t) for t in turns) and any(content in t for t in turns):
            return name
    return None if turns else "from"
