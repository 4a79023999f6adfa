"""Records as templates want them: dicts of OpenAI's form, and what must not be lost on the way."""

from __future__ import annotations

from typing import Any

from formats.adapters.adapter import best, notes
from formats.json_text import loads
from formats.records import Message, Record, text_of

_PLAIN_KEYS = 2


def conversation_of(record: Record) -> list[Message]:
    """The turns to render: with candidates, the prompt and the best one; [] for raw text and where none is marked as good."""
    if not record.candidates:
        return record.messages
    chosen = best(record)
    return [] if chosen is None else [*record.messages, *chosen.messages]


def tools_of(record: Record) -> list[Any] | None:
    """Tool schemas as objects; None for no tools and for an empty list, for which some templates write a header."""
    if record.tools is None:
        return None
    found = loads(record.tools)
    return found if isinstance(found, list) and found else None


def as_dicts(messages: list[Message], record: Record) -> list[dict[str, Any]]:
    """Turns as a template sees them. Null content is empty text, arguments of calls are objects where they are JSON objects.

    The user turn of an Alpaca row has `instruction` and `input` beside its content, for the template of that name.
    """
    made = [_as_dict(m) for m in messages]
    at = notes(record, "alpaca").get("input") if record.meta else None
    if isinstance(at, int) and not isinstance(at, bool):
        asked = next((m for m in reversed(record.messages) if m.role == "user"), None)
        turn = next((d for d, m in zip(made, messages, strict=True) if m is asked), None)  # None where the turn was cut off
        if turn is not None:
            turn["instruction"], turn["input"] = turn["content"][:at], turn["content"][at + 1 :]
    return made


def _as_dict(m: Message) -> dict[str, Any]:
    made: dict[str, Any] = {"role": m.role, "content": text_of(m) if m.content is None else m.content}
    if m.reasoning is not None:
        made["reasoning_content"] = m.reasoning
    if m.tool_calls:
        made["tool_calls"] = [
            {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": _arguments(c.arguments)}} for c in m.tool_calls
        ]
    if m.tool_call_id is not None:
        made["tool_call_id"] = m.tool_call_id
    if m.name is not None:
        made["name"] = m.name
    return made


def _arguments(text: str) -> Any:
    try:
        found = loads(text)
    except ValueError:
        return text
    return found if isinstance(found, dict) else text


def has_media(messages: list[Message]) -> bool:
    """Whether a turn has parts that are not text: templates of text models can't say them."""
    return any(isinstance(p, dict) and p.get("type", "text") != "text" for m in messages for p in m.parts or ())


def lost_turn(turns: list[dict[str, Any]], text: str) -> str | None:
    """What of a conversation (as `as_dicts` gives it) is missing in its rendered text, in words; None where everything is there.

    White space at the ends of a turn may go (many templates trim); everything else must be there as it is.
    """
    for number, turn in enumerate(turns):
        content = turn["content"]
        if content not in text and turn["role"] != "tool" and content.strip() not in text:
            parts = (turn.get("instruction"), turn.get("input"))
            if None in parts or not all(part.strip() in text for part in parts if part):
                return f"the content of turn {number} ({turn['role']})"
        if len(turn) == _PLAIN_KEYS:
            continue
        if turn.get("reasoning_content", "").strip() not in text:
            return f"the reasoning of turn {number}"
        for call in turn.get("tool_calls", ()):
            if call["function"]["name"] not in text:
                return f"the call of {call['function']['name']!r} in turn {number}"
    return None
