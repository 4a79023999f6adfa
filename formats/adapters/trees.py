"""Conversations in other shapes: OASST trees, BFCL questions, template-free segments, NLP tasks with a prompt template."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from formats.adapters.adapter import (
    Adapter,
    Row,
    Unholdable,
    Unreadable,
    conversation,
    finish,
    kind,
    notes,
    only_text,
    side_fields,
    with_notes,
)
from formats.adapters.chatml import inline
from formats.adapters.turns import OPENAI, read_turn, tools_text, write_turn
from formats.json_text import dumps, loads
from formats.records import Candidate, Message, Record

_NODE = frozenset({"role", "text", "replies", "rank"})
_OASST = {"prompter": "user", "assistant": "assistant", "system": "system"}


class Oasst(Adapter):
    """OpenAssistant message trees, one a row. Flat exports (a message a row) must be put together first.

    branches = threads: every way from the root to a leaf is a conversation (those that end with the human too);
    ranked: every human turn with replies is a prompt with ranked candidates; best: the way of best-ranked replies only.
    """

    name: ClassVar[str] = "oasst"
    summary: ClassVar[str] = "OpenAssistant message trees"
    holds: ClassVar[frozenset[str]] = frozenset({"candidates", "candidates.rank", "messages.extra", "candidates.extra"})
    native: ClassVar[frozenset[str]] = frozenset({"prompt"})

    def __init__(self, branches: Literal["threads", "ranked", "best"] = "threads") -> None:
        self.branches = branches

    def read_many(self, row: Row) -> list[Record]:
        """Every conversation of the tree. Deep trees need no recursion."""
        root = row.pop("prompt", None)
        if not isinstance(root, dict):
            raise Unreadable("missing_field", f"'prompt' is {kind(root)}, expected the root message of a tree")
        found = list(self._ranked(root) if self.branches == "ranked" else self._threads(root))
        return [finish(record, {**row, "thread": number} if len(found) > 1 else dict(row)) for number, record in enumerate(found)]

    def read(self, row: Row) -> Record:
        found = self.read_many(row)
        if len(found) != 1:
            raise Unreadable("several", f"the tree holds {len(found)} conversations")
        return found[0]

    def _threads(self, root: dict[str, Any]) -> Iterator[Record]:
        stack = [(root, [_node(root)])]
        while stack:
            node, path = stack.pop()
            replies = _replies(node)
            if not replies:
                yield Record(list(path))
            if self.branches == "best":
                replies = replies[:1]
            stack += [(reply, [*path, _node(reply)]) for reply in reversed(replies)]

    def _ranked(self, root: dict[str, Any]) -> Iterator[Record]:
        stack = [(root, [_node(root)])]
        while stack:
            node, path = stack.pop()
            replies = _replies(node)
            if replies and _node(replies[0]).role == "assistant":
                yield Record(
                    list(path), [Candidate([_node(r)], rank=r["rank"] if isinstance(r.get("rank"), int) else None) for r in replies]
                )
            stack += [(reply, [*path, _node(reply)]) for reply in reversed(replies)]

    def write(self, record: Record, lost: set[str]) -> list[Row]:
        """One branch, with the candidates as replies of its last turn."""
        if not record.messages or record.text is not None:
            raise Unholdable("no_prompt", "a tree begins with a human turn")
        if any(len(c.messages) != 1 for c in record.candidates):
            raise Unholdable("turns", "a candidate must be one turn")
        if any(m.role not in ("user", "assistant", "system") for m in record.messages):
            raise Unholdable("turns", "turns must be the human's, the assistant's or the system's")
        only_text([*record.messages, *(c.messages[0] for c in record.candidates)], "OASST", lost)
        if record.candidates:
            lost.add("candidates")  # each reply reads as a conversation of its own
        if any(m.extra and not _NODE.isdisjoint(m.extra) for m in record.messages):
            lost.add("messages.extra")
        replies = [_written(c.messages[0], c.rank) for c in record.candidates]
        for message in reversed(record.messages):
            node = _written(message, None)
            node["replies"] = replies
            replies = [node]
        return [side_fields(record, {"prompt": replies[0]}, self, "oasst")]

    def evidence(self, row: Row) -> str | None:
        root = row.get("prompt")
        return "a tree of messages under 'prompt' with 'replies'" if isinstance(root, dict) and "replies" in root else None


def _replies(node: dict[str, Any]) -> list[dict[str, Any]]:
    """Replies, best rank first; unranked ones after them, in the order of the file."""
    found = [r for r in node.get("replies") or () if isinstance(r, dict)]
    return sorted(found, key=lambda r: (not isinstance(r.get("rank"), int), r.get("rank") or 0))


def _node(node: dict[str, Any]) -> Message:
    role, text = _OASST.get(str(node.get("role"))), node.get("text")
    if role is None or not isinstance(text, str):
        raise Unreadable("node", f"a message of the tree has the role {node.get('role')!r} and {kind(text)} as text")
    extra = {k: v for k, v in node.items() if k not in ("role", "text", "replies", "rank")}
    return Message(role, text, extra=extra or None)


def _written(message: Message, rank: int | None) -> dict[str, Any]:
    role = "prompter" if message.role == "user" else message.role
    node = {**(message.extra or {}), "role": role, "text": inline(message), "replies": []}
    return {**node, "rank": rank} if rank is not None else node


class Bfcl(Adapter):
    """Berkeley function-calling prompts: `question` is a list of user turns, each a list of messages; `function` the tools."""

    name: ClassVar[str] = "bfcl"
    summary: ClassVar[str] = "BFCL: prompts with tool schemas"
    holds: ClassVar[frozenset[str]] = frozenset({"tools", "messages.extra", "messages.name"})
    native: ClassVar[frozenset[str]] = frozenset({"question", "function"})

    def read(self, row: Row) -> Record:
        turns = row.pop("question", None)
        if not isinstance(turns, list) or not all(isinstance(t, list) for t in turns):
            raise Unreadable("missing_field", f"'question' is {kind(turns)}, expected a list of lists of messages")
        messages = [read_turn(m, OPENAI) for turn in turns for m in turn]
        tools = tools_text(row.pop("function")) if row.get("function") is not None else None
        return finish(
            Record(messages, tools=tools, meta=with_notes("bfcl", {"turns": [len(t) for t in turns]} if len(turns) != 1 else {})), row
        )

    def write(self, record: Record, lost: set[str]) -> list[Row]:
        if record.candidates or record.text is not None or any(m.role == "assistant" for m in record.messages):
            raise Unholdable("answer", "BFCL holds prompts without answers")
        sizes = notes(record, "bfcl").get("turns", [len(record.messages)])
        made, at = [], 0
        for size in sizes if sum(sizes) == len(record.messages) else [len(record.messages)]:
            made.append([write_turn(m, OPENAI) for m in record.messages[at : at + size]])
            at += size
        row: Row = {"question": made}
        if record.tools is not None:
            try:
                row["function"] = loads(record.tools)
            except ValueError:
                raise Unholdable("tools", "the tool schemas are not valid JSON") from None
            if dumps(row["function"]) != record.tools:
                lost.add("tools")  # white space of the text
        return [side_fields(record, row, self, "bfcl")]

    def evidence(self, row: Row) -> str | None:
        found = row.get("question")
        return (
            "'question' is a list of lists of messages"
            if isinstance(found, list) and found and all(isinstance(t, list) for t in found)
            else None
        )


class Segments(Adapter):
    """axolotl's template-free form: `segments` of {label, text}; labelled ones are trained, no template is applied."""

    name: ClassVar[str] = "segments"
    summary: ClassVar[str] = "template-free segments of text with a label each (axolotl input_output)"
    holds: ClassVar[frozenset[str]] = frozenset({"plain", "messages.loss"})
    native: ClassVar[frozenset[str]] = frozenset({"segments"})

    def read(self, row: Row) -> Record:
        found = row.pop("segments", None)
        if not isinstance(found, list) or not all(
            isinstance(s, dict) and set(s) == {"label", "text"} and isinstance(s["text"], str) for s in found
        ):
            raise Unreadable("segments", f"'segments' is {kind(found)}, expected a list of {{label, text}}")
        messages = [Message("assistant" if s["label"] else "user", s["text"], loss=float(bool(s["label"]))) for s in found]
        return finish(Record(messages, plain=True), row)

    def write(self, record: Record, lost: set[str]) -> list[Row]:
        messages = conversation(record, lost)
        if not record.plain:
            raise Unholdable("needs_template", "segments are raw text; turns become text by a chat template first")
        only_text(messages, "segments", lost)
        segments = [{"label": bool(m.loss if m.loss is not None else m.role == "assistant"), "text": m.content or ""} for m in messages]
        if any(m.loss is None or (m.role == "assistant") != bool(m.loss) for m in messages):
            lost.add("messages")
        return [side_fields(record, {"segments": segments}, self, "segments")]

    def evidence(self, row: Row) -> str | None:
        return "a list of 'segments'" if isinstance(row.get("segments"), list) else None


class Task(Adapter):
    """Rows of an NLP data set with a prompt template, as T0 and FLAN do: `prompt` and `completion` are Jinja templates over the columns.

    The templates run in Jinja's sandbox. Columns stay in the row; a row whose completion comes out empty is refused.
    """

    name: ClassVar[str] = "task"
    summary: ClassVar[str] = "NLP data sets through a prompt template (T0, FLAN style)"
    native: ClassVar[frozenset[str]] = frozenset()
    holds: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, prompt: str = "{{ prompt }}", completion: str = "{{ completion }}", template: str = "") -> None:
        from jinja2 import StrictUndefined
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True)
        self.template = template
        self._prompt, self._completion = environment.from_string(prompt), environment.from_string(completion)

    def read(self, row: Row) -> Record:
        from jinja2 import TemplateError

        try:
            prompt, completion = self._prompt.render(row), self._completion.render(row)
        except TemplateError as error:
            raise Unreadable("template", f"the template can't be filled: {error}; fields are: {', '.join(row)}") from None
        except (TypeError, ValueError, ArithmeticError, LookupError) as error:  # an expression of the template on this row's values
            raise Unreadable("template", f"the template fails on this row: {error}") from None
        if not completion.strip():
            raise Unreadable("no_answer", "the completion template comes out empty")
        record = Record(
            [Message("user", prompt), Message("assistant", completion)], meta=with_notes("task", {"template": self.template or "custom"})
        )
        return finish(record, row)

    def write(self, record: Record, lost: set[str]) -> list[Row]:
        """The columns, where the row came from a task."""
        if not notes(record, "task"):
            raise Unholdable("no_columns", "the record does not come from a task, so there are no columns to give back")
        lost.add("messages")
        return [side_fields(record, {}, self, "task")]

    def evidence(self, row: Row) -> str | None:
        return None  # needs a template, so it is never guessed
