"""What is sent to a model: a prompt in the wire's form, its digest, and the seeds of its samples."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec

from formats.json_text import decode, encode
from formats.records import Message, Record, split_answer, text_of
from formats.templates.turns import tools_of

MAX_SEED = 1 << 31  # servers differ in what they take: OpenAI 64 bits, llama.cpp 32, none of them negative
DIGEST_BYTES = 16


class Prompt(msgspec.Struct, frozen=True, omit_defaults=True):
    """Turns for a chat model, or raw text for one that continues text. Exactly one of `messages` and `text` is there."""

    messages: list[dict[str, Any]] | None = None  # role, content, tool_calls, tool_call_id, name, as OpenAI's API has them
    text: str | None = None
    tools: list[Any] | None = None

    def encoded(self) -> bytes:
        """The one JSON form, from which the digest is made."""
        return encode(self)

    def characters(self) -> int:
        """Length for estimates of tokens."""
        return len(self.text) if self.text is not None else sum(len(str(m.get("content") or "")) for m in self.messages or ())


def prompt_of_bytes(body: bytes) -> Prompt:
    """Read what `encoded` made."""
    return msgspec.convert(decode(body), Prompt)


def digest(body: bytes) -> bytes:
    """16 bytes that name a prompt."""
    return hashlib.sha256(body).digest()[:DIGEST_BYTES]


def seed_of(base: str, prompt: bytes, sample: int) -> int:
    """The seed of one sample, in [0, 2^31): a function of (base, digest of the prompt, sample) alone."""
    return int.from_bytes(hashlib.sha256(b"%s:%s:%d" % (base.encode(), prompt, sample)).digest()[:4], "little") % MAX_SEED


def prompt_of(record: Record, system: str | None = None, as_chat: bool = True) -> Prompt | None:
    """What to send for a record: its turns up to the last one that is not the assistant's; None where there is nothing.

    as_chat: whether a bare string (a plain record, raw text) is a user turn, or text to be continued. system: stands before the turns; a
    record's own system turn follows it.
    """
    if record.text is not None or (record.plain and record.messages):
        text = record.text if record.text is not None else "".join(text_of(m) for m in split_answer(record.messages)[0])
        if not text:
            return None
        return user_prompt(text, system) if as_chat else Prompt(text=(system or "") + text)
    turns = split_answer(record.messages)[0] if not record.candidates else record.messages
    if not turns:
        return None
    before = [{"role": "system", "content": system}] if system else []
    return Prompt(messages=[*before, *(wire(m) for m in turns)], tools=tools_of(record))


def wire(m: Message) -> dict[str, Any]:
    """A turn as OpenAI's API takes it: without notes, weights and reasoning, arguments of calls as text."""
    made: dict[str, Any] = {"role": m.role, "content": m.parts if m.content is None and m.parts is not None else m.content}
    if m.tool_calls:
        made["tool_calls"] = [
            {"id": c.id or "", "type": "function", "function": {"name": c.name, "arguments": c.arguments}} for c in m.tool_calls
        ]
    if m.tool_call_id is not None:
        made["tool_call_id"] = m.tool_call_id
    if m.name is not None:
        made["name"] = m.name
    return made


def user_prompt(text: str, system: str | None = None) -> Prompt:
    """One user turn: what judges and prompt builders send."""
    before: Sequence[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    return Prompt(messages=[*before, {"role": "user", "content": text}])
