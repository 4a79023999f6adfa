"""The canonical record: what every instruction, chat and preference format is a view of.

    Record
      id, source      provenance, as every document of curate has it; "" where none was given
      text            raw text of a record without turns (format `text`); None where there are messages
      messages        the conversation, or the shared prompt where there are candidates
      candidates      N answers to the prompt, each with scores, rank or label, and where it came from
      tools           JSON text of the list of tool schemas, as it was given; None where there are none
      plain           True: turns are raw strings that no chat template has to wrap (trl's "standard" form)
      meta            every other field of the source row, under its own name

How the families lie in it:

    text                 text, and plain
    alpaca, sharegpt,    messages up to and including the answers
    messages, chatml
    prompt               messages end before the answer, no candidates
    prompt_completion    messages; the completion is what follows the last user or tool turn; plain for strings
    preference           messages = prompt, candidates = [chosen (rank 0), rejected (rank 1)]
    kto                  messages = prompt, candidates = [one with label True or False]
    ranked, ultrafeedback, helpsteer   messages = prompt, candidates with rank or scores
    stepwise             messages = prompt, one candidate: a message a step, `labels` beside them

Rules that hold everywhere:

- Roles are `system developer user assistant tool`; another spelling that was read is kept in `Message.extra["as"]`.
- `content` is a string or None (an assistant turn that only calls tools). Content given as a list of parts is kept as it
  came in `parts`, images and sound by reference; `content` is None then. `text_of` gives the text of both.
- Arguments of tool calls and tool schemas are JSON text, never structs: in Arrow one struct type would give every tool
  the keys of every other as nulls. Text that came as text is kept byte by byte, also where it is not valid JSON.
- Reasoning stands apart from content.
- `loss` is the weight of a turn: None = by role (assistant turns are trained), 0.0 = not, 1.0 = trained. `spans` are
  parts of the content with weights of their own; offsets in code points.
- Converters keep what is needed for the way back (where Alpaca's input began, which key held the turns) in
  `meta["meta"]`, which is the field `meta` of rows and files of every format.

In Arrow a record is a document of curate (id, text, source, meta) with the columns of RECORD_COLUMNS. The column `text`
is then a view for the steps that look at text (language, dedup, decontamination): see `text_view`. `pii` and
`decontaminate` edit the turns with it (`curate.steps.turns`); other edits do not reach them, and writers compare and stop.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pyarrow as pa

from curate.schema import DOCUMENT

ROLES = ("system", "developer", "user", "assistant", "tool")


class Span(msgspec.Struct, omit_defaults=True):
    """A part of a message's content with its own weight. Offsets in code points, end exclusive."""

    start: int
    end: int
    loss: float


class ToolCall(msgspec.Struct, omit_defaults=True):
    """One call of a tool. arguments: JSON text, byte for byte where the source had text."""

    name: str
    arguments: str
    id: str | None = None
    extra: dict[str, Any] | None = None  # other keys of the call


class Message(msgspec.Struct, omit_defaults=True):
    """One turn. Every field but the role may be None."""

    role: str
    content: str | None = None
    reasoning: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    name: str | None = None
    loss: float | None = None
    spans: list[Span] | None = None
    parts: list[Any] | None = None  # content as a list of parts, as it was given
    extra: dict[str, Any] | None = None  # other keys of the turn; "as": how the source spelt role and keys


def is_plain(m: Message) -> bool:
    """Whether a turn has nothing but role and content, as nearly all have."""
    return (
        m.extra is None
        and m.reasoning is None
        and m.tool_calls is None
        and m.loss is None
        and m.parts is None
        and m.spans is None
        and m.name is None
        and m.tool_call_id is None
    )


class Candidate(msgspec.Struct, omit_defaults=True):
    """One answer to the record's prompt."""

    messages: list[Message]  # the continuation only, without the prompt
    scores: dict[str, float | None] | None = None  # by name; None where a judge gave none
    rank: int | None = None  # 0 is best; equal ranks are ties
    label: bool | None = None  # desirable or not
    labels: list[bool] | None = None  # one per message, for stepwise supervision
    model: str | None = None
    finish_reason: str | None = None  # "stop", "length", "tool_calls", "content_filter"; as the server spells it otherwise
    extra: dict[str, Any] | None = None  # judge's words, anything else; "sampling": the parameters it was generated with
    sample: int | None = None  # which of the answers to this prompt, from 0; (prompt, round, sample) names it
    seed: int | None = None  # of its sampler
    round: int | None = None  # of generation, from 1; None outside of rounds
    tokens: int | None = None  # of the answer, as the model counts them


class Record(msgspec.Struct, omit_defaults=True):
    """One row of any format. See the module's text."""

    messages: list[Message] = []
    candidates: list[Candidate] = []
    tools: str | None = None
    text: str | None = None
    plain: bool = False
    id: str = ""
    source: str = ""
    meta: dict[str, Any] = {}


_CALL = pa.struct(
    [
        pa.field("name", pa.string()),
        pa.field("arguments", pa.large_string()),  # JSON text
        pa.field("id", pa.string()),
        pa.field("extra", pa.large_string()),  # JSON object
    ]
)
_SPAN = pa.struct([pa.field("start", pa.int32()), pa.field("end", pa.int32()), pa.field("loss", pa.float64())])
MESSAGE = pa.struct(
    [
        pa.field("role", pa.string()),
        pa.field("content", pa.large_string()),
        pa.field("reasoning", pa.large_string()),
        pa.field("tool_calls", pa.list_(_CALL)),
        pa.field("tool_call_id", pa.string()),
        pa.field("name", pa.string()),
        pa.field("loss", pa.float64()),
        pa.field("spans", pa.list_(_SPAN)),
        pa.field("parts", pa.large_string()),  # JSON list
        pa.field("extra", pa.large_string()),  # JSON object
    ]
)
_SCORE = pa.struct([pa.field("name", pa.string()), pa.field("value", pa.float64())])
CANDIDATE = pa.struct(
    [
        pa.field("messages", pa.list_(MESSAGE)),
        pa.field("scores", pa.list_(_SCORE)),
        pa.field("rank", pa.int32()),
        pa.field("label", pa.bool_()),
        pa.field("labels", pa.list_(pa.bool_())),
        pa.field("model", pa.string()),
        pa.field("finish_reason", pa.string()),
        pa.field("extra", pa.large_string()),  # JSON object
        pa.field("sample", pa.int32()),
        pa.field("seed", pa.int64()),
        pa.field("round", pa.int32()),
        pa.field("tokens", pa.int32()),
    ]
)
RECORD_COLUMNS: dict[str, pa.DataType] = {
    "messages": pa.list_(MESSAGE),
    "candidates": pa.list_(CANDIDATE),
    "tools": pa.large_string(),
    "plain": pa.bool_(),
}
RECORD = pa.schema([*DOCUMENT, *(pa.field(name, kind) for name, kind in RECORD_COLUMNS.items())])

_SEPARATOR = "\n\n"  # between turns of the text view


def text_of(message: Message) -> str:
    """The text of a turn: its content, or its text parts one after the other; '' where there is none."""
    if message.content is not None or not message.parts:
        return message.content or ""
    return "".join(part_text(part) for part in message.parts)


def part_text(part: Any) -> str:
    """Text of one part of content; '' for an image, a sound, a call."""
    if isinstance(part, str):
        return part
    if isinstance(part, dict) and part.get("type", "text") == "text":
        text = part.get("text", part.get("value"))
        return text if isinstance(text, str) else ""
    return ""


def text_view(record: Record) -> str:
    """The record as one text for steps that look at text: reasoning, content and arguments of every turn, then of every candidate.

    Turns are joined by a blank line, empty ones are passed over. No role names: they would be shared by all records.
    """
    if record.text is not None:
        return record.text
    messages = record.messages
    if not record.candidates and all(m.content is not None and m.reasoning is None and m.tool_calls is None for m in messages):
        return _SEPARATOR.join([m.content for m in messages if m.content])
    pieces: list[str] = []
    for message in [*messages, *(m for c in record.candidates for m in c.messages)]:
        pieces += [message.reasoning or "", text_of(message), *(call.arguments for call in message.tool_calls or ())]
    return _SEPARATOR.join(piece for piece in pieces if piece)


def split_answer(messages: list[Message]) -> tuple[list[Message], list[Message]]:
    """(prompt, answer): the answer is every turn after the last one that is not the assistant's; [] where there is none."""
    at = len(messages)
    while at and messages[at - 1].role == "assistant":
        at -= 1
    return messages[:at], messages[at:]
