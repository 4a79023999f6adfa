"""What to do with conversations that are odd: each case has a name, a policy, and a count, whatever the policy is.

    consecutive        turns of one role after each other (calls of tools and their results apart)   keep | join | reject
    leading_assistant  the first turn after the system's is the assistant's                          keep | drop | reject
    trailing_user      the last turn is not the assistant's                                          keep | drop | reject
    empty_turn         a turn without content, calls or reasoning                                    keep | drop | reject
    identical_answers  a chosen and a rejected answer that are equal                                 keep | reject
    inline_reasoning   an answer that begins with a <think> block                                    keep | split

`keep` changes nothing, so that converting is lossless unless asked otherwise. `drop` removes the turn, `reject` the row.
Only `messages` are looked at, and the two answers of a pair for `identical_answers`.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from formats.adapters.adapter import Unholdable
from formats.records import Message, Record, is_plain

NAMES = ("consecutive", "leading_assistant", "trailing_user", "empty_turn", "identical_answers", "inline_reasoning")
REASONS = ("consecutive", "leading_assistant", "trailing_user", "empty_turn", "identical_answers", "no_turns")
_THINK = re.compile(r"<think>\n?(.*?)\n?</think>(?:\n\n)?", re.DOTALL)


class Policies(BaseModel):
    """One setting for each odd case."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    consecutive: Literal["keep", "join", "reject"] = Field(
        default="keep", description="turns of one role after each other: keep, join with a blank line, reject the row"
    )
    leading_assistant: Literal["keep", "drop", "reject"] = Field(
        default="keep", description="a conversation that begins with the assistant: keep, drop the turn, reject the row"
    )
    trailing_user: Literal["keep", "drop", "reject"] = Field(
        default="keep", description="a conversation that does not end with the assistant: keep, drop those turns, reject the row"
    )
    empty_turn: Literal["keep", "drop", "reject"] = Field(
        default="keep", description="a turn without any content: keep, drop the turn, reject the row"
    )
    identical_answers: Literal["keep", "reject"] = Field(default="keep", description="a pair of equal answers: keep, reject the row")
    inline_reasoning: Literal["keep", "split"] = Field(
        default="keep", description="an answer that begins with a <think> block: keep, or move the block to the field for reasoning"
    )

    def apply(self, record: Record, counts: Counter[str]) -> Record:
        """The record as the policies want it; every odd case is counted once a row. Raises Unholdable for a rejected one."""
        found = oddities(record)
        if not found:
            return record
        counts.update(found)
        for name in found:
            if getattr(self, name) == "reject":
                raise Unholdable(name, f"rejected by the policy {name!r}")
        messages = record.messages
        for name in found:
            action = getattr(self, name)
            if action != "keep":
                messages = _CHANGES[name](messages)
        if messages is record.messages:
            return record
        if not messages:
            raise Unholdable("no_turns", "no turn is left after the policies")
        return msgspec.structs.replace(record, messages=messages)


def is_usual(record: Record) -> bool:
    """Whether a record is a question and an answer and nothing else, as most rows of instruction sets are: nothing odd, nothing to lose."""
    messages = record.messages
    if len(messages) != 2 or record.candidates or record.tools is not None or record.plain:
        return False
    a, b = messages
    if a.role != "user" or b.role != "assistant" or not a.content or not b.content:
        return False
    return is_plain(a) and is_plain(b) and not b.content.startswith("<think>")


def oddities(record: Record) -> list[str]:
    """Names of the odd cases in a record, in the order in which they are dealt with."""
    messages = record.messages
    found = []
    if messages:
        before = ""
        consecutive = empty = inline = False
        for m in messages:
            consecutive |= m.role == before and m.role != "tool" and not m.tool_calls
            before = "" if m.tool_calls else m.role
            empty |= not m.content and not m.parts and not m.tool_calls and not m.reasoning
            inline |= m.role == "assistant" and m.content is not None and m.content.startswith("<think>") and "</think>" in m.content
        if inline:
            found.append("inline_reasoning")
        if empty:
            found.append("empty_turn")
        first = next((m for m in messages if m.role not in ("system", "developer")), None)
        if first is not None and first.role == "assistant" and not record.plain:
            found.append("leading_assistant")
        if messages[-1].role != "assistant" and not record.candidates:
            found.append("trailing_user")
        if consecutive:
            found.append("consecutive")
    if len(record.candidates) == 2 and record.candidates[0].messages == record.candidates[1].messages:
        found.append("identical_answers")
    return found


def _split_reasoning(messages: list[Message]) -> list[Message]:
    made = []
    for m in messages:
        match = _THINK.match(m.content) if m.role == "assistant" and m.content and m.reasoning is None else None
        made.append(m if match is None else msgspec.structs.replace(m, reasoning=match[1], content=(m.content or "")[match.end() :]))
    return made


def _without_empty(messages: list[Message]) -> list[Message]:
    return [m for m in messages if m.content or m.parts or m.tool_calls or m.reasoning]


def _without_leading(messages: list[Message]) -> list[Message]:
    at = next((n for n, m in enumerate(messages) if m.role not in ("system", "developer")), 0)
    end = at
    while end < len(messages) and messages[end].role in ("assistant", "tool"):
        end += 1
    return [*messages[:at], *messages[end:]]


def _without_trailing(messages: list[Message]) -> list[Message]:
    end = len(messages)
    while end and messages[end - 1].role != "assistant":
        end -= 1
    return messages[:end]


def _joined(messages: list[Message]) -> list[Message]:
    """Turns of one role in one, where both are plain text with one weight; others stay apart."""
    made: list[Message] = []
    for m in messages:
        last = made[-1] if made else None
        if last is not None and last.role == m.role and m.role != "tool" and _plain(last) and _plain(m) and last.loss == m.loss:
            made[-1] = msgspec.structs.replace(last, content=f"{last.content}\n\n{m.content}")
        else:
            made.append(m)
    return made


def _plain(m: Message) -> bool:
    return m.content is not None and not (m.reasoning or m.tool_calls or m.tool_call_id or m.spans or m.parts)


_CHANGES = {
    "inline_reasoning": _split_reasoning,
    "empty_turn": _without_empty,
    "leading_assistant": _without_leading,
    "trailing_user": _without_trailing,
    "consecutive": _joined,
}
