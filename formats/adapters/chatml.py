"""ChatML: a conversation as one text, each turn between markers.

    <|im_start|>user
    Hello<|im_end|>

Reading is exact where no content holds the markers; such content is refused in both directions, since a trained model
would read it as control tokens. Text between turns other than one newline is refused too.
"""

from __future__ import annotations

from typing import ClassVar

from formats.adapters.adapter import (
    Adapter,
    Row,
    Unholdable,
    Unreadable,
    conversation,
    finish,
    notes,
    only_text,
    side_fields,
    want_text,
    with_notes,
)
from formats.records import Message, Record, text_of
from formats.roles import role_of

START, END = "<|im_start|>", "<|im_end|>"


class ChatMl(Adapter):
    """ChatML text under `text`."""

    name: ClassVar[str] = "chatml"
    summary: ClassVar[str] = "ChatML: turns as one text between <|im_start|> and <|im_end|>"
    native: ClassVar[frozenset[str]] = frozenset({"text"})

    def read(self, row: Row) -> Record:
        text = want_text(row, "text")
        messages, ended = parse(text)
        kept = {} if ended else {"newline": False}
        return finish(Record(messages, meta=with_notes("chatml", kept)), row)

    def write(self, record: Record, lost: set[str]) -> list[Row]:
        messages = conversation(record, lost)
        only_text(messages, "ChatML", lost)
        text = render(messages)
        if notes(record, "chatml").get("newline") is False:
            text = text.removesuffix("\n")
        return [side_fields(record, {"text": text}, self, "chatml")]

    def evidence(self, row: Row) -> str | None:
        text = row.get("text")
        if isinstance(text, str) and text.startswith(START) and END in text:
            return f"'text' begins with {START}"
        return None


def parse(text: str) -> tuple[list[Message], bool]:
    """(turns, whether the text ends with a newline). Raises Unreadable."""
    messages = []
    at = 0
    while at < len(text):
        if not text.startswith(START, at):
            raise Unreadable("chatml", f"at character {at} stands {text[at : at + 20]!r}, expected {START}")
        line, end = text.find("\n", at), text.find(END, at)
        if line < 0 or end < 0 or end < line:
            raise Unreadable("chatml", f"the turn that begins at character {at} has no {END}")
        spelling, content = text[at + len(START) : line], text[line + 1 : end]
        role = role_of(spelling)
        if role is None:
            raise Unreadable("unknown_role", f"the role {spelling[:40]!r} is not known")
        if START in content:
            raise Unreadable("special_token", f"the turn that begins at character {at} holds {START} itself")
        message = Message(role, content)
        if spelling != role:
            message.extra = {"as": {"role": spelling}}
        messages.append(message)
        at = end + len(END)
        if at == len(text):
            return messages, False
        if text[at] != "\n":
            raise Unreadable("chatml", f"after the turn that ends at character {at} stands {text[at : at + 20]!r}, expected a newline")
        at += 1
    return messages, True


def render(messages: list[Message]) -> str:
    """ChatML of turns. Reasoning stands inline between think tags. Raises Unholdable where content holds a marker."""
    made = []
    for m in messages:
        text = inline(m)
        if START in text or END in text:
            raise Unholdable(
                "special_token", f"the {m.role}'s text holds {START if START in text else END}, which would become a control token"
            )
        made.append(f"{START}{m.role}\n{text}{END}\n")
    return "".join(made)


def inline(m: Message) -> str:
    """Content with the reasoning before it, as reasoning models write it."""
    text = text_of(m)
    return text if m.reasoning is None else f"<think>\n{m.reasoning}\n</think>\n\n{text}"
