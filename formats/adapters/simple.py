"""trl's types without a comparison: language modelling, prompt-only, prompt-completion, stepwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from formats.adapters.adapter import (
    ALL_TURNS,
    Adapter,
    Row,
    Unholdable,
    Unreadable,
    conversation,
    finish,
    joined,
    kind,
    notes,
    only_text,
    side_fields,
    want_text,
    with_notes,
)
from formats.adapters.chatml import inline
from formats.adapters.turns import OPENAI, read_turn, tools_text, write_turn
from formats.records import Candidate, Message, Record, split_answer


class Text(Adapter):
    """Raw text under `text`: language modelling. A conversation is refused: it needs a chat template, which `render` applies."""

    name: ClassVar[str] = "text"
    summary: ClassVar[str] = "raw text for language modelling"
    native: ClassVar[frozenset[str]] = frozenset({"text"})
    holds: ClassVar[frozenset[str]] = frozenset({"plain"})

    def read(self, row: Row) -> Record:
        return finish(Record(text=want_text(row, "text", null=True), plain=True), row)

    def write(self, record: Record, lost: set[str]) -> list[Row]:
        text = record.text
        if text is None and record.plain and not record.candidates:
            lost |= {"messages", "plain", "text"}  # prompt and completion as one string, as a language model reads them
            text = joined(record.messages, lost)
        if text is None:
            raise Unholdable("needs_template", "turns become text by a chat template; render them first, or convert to chatml")
        return [side_fields(record, {"text": text}, self, "text")]

    def evidence(self, row: Row) -> str | None:
        return "text under 'text'" if isinstance(row.get("text"), str) else None


class Prompt(Adapter):
    """A prompt alone, as text or turns. Other fields stay columns: reward functions read them."""

    name: ClassVar[str] = "prompt"
    summary: ClassVar[str] = "a prompt without an answer (trl's prompt-only)"
    holds: ClassVar[frozenset[str]] = ALL_TURNS | {"tools", "plain"}
    native: ClassVar[frozenset[str]] = frozenset({"prompt", "tools"})

    def __init__(self, roles: Mapping[str, str] | None = None) -> None:
        self.roles = roles

    def read(self, row: Row) -> Record:
        turns, plain = read_side(row, "prompt", "user", self.roles)
        tools = tools_text(row.pop("tools")) if row.get("tools") is not None else None
        return finish(Record(turns, tools=tools, plain=plain), row)

    def write(self, record: Record, lost: set[str]) -> list[Row]:
        if record.text is not None:
            raise Unholdable("raw_text", "raw text has no prompt")
        prompt, answer = split_answer(record.messages)
        if answer:
            lost.add("messages")
        if not prompt:
            raise Unholdable("no_prompt", "there is no turn before the answer")
        row: Row = {"prompt": write_side(prompt, record.plain, "user", lost)}
        if record.tools is not None:
            row["tools"] = record.tools
        return [side_fields(record, row, self, "prompt")]

    def evidence(self, row: Row) -> str | None:
        if isinstance(row.get("prompt"), (str, list)) and not {
            "completion",
            "chosen",
            "rejected",
            "response",
            "answers",
            "completions",
        } & set(row):
            return "a 'prompt' and no answer"
        return None


class PromptCompletion(Adapter):
    """A prompt and its completion, both text (no chat template will be applied) or both lists of turns."""

    name: ClassVar[str] = "prompt_completion"
    summary: ClassVar[str] = "prompt and completion, as text or as turns"
    holds: ClassVar[frozenset[str]] = ALL_TURNS | {"tools", "plain"}
    native: ClassVar[frozenset[str]] = frozenset({"prompt", "completion", "tools"})
    answers: ClassVar[tuple[str, ...]] = ("completion", "response")

    def __init__(self, roles: Mapping[str, str] | None = None) -> None:
        self.roles = roles

    def read(self, row: Row) -> Record:
        key = next((k for k in self.answers if k in row), "completion")
        prompt, plain = read_side(row, "prompt", "user", self.roles)
        answer, also = read_side(row, key, "assistant", self.roles)
        if plain != also:
            raise Unreadable("mixed", f"'prompt' and {key!r} must both be text, or both be lists of turns")
        kept: dict[str, Any] = {} if key == "completion" else {"answer": key}
        tools = tools_text(row.pop("tools")) if row.get("tools") is not None else None
        if split_answer([*prompt, *answer])[1] != answer:
            kept["at"] = len(prompt)  # the completion holds calls of tools and their results, or the prompt ends with the assistant
        return finish(Record([*prompt, *answer], tools=tools, plain=plain, meta=with_notes("prompt_completion", kept)), row)

    def write(self, record: Record, lost: set[str]) -> list[Row]:
        kept = notes(record, "prompt_completion")
        messages = conversation(record, lost)
        prompt, answer = split_answer(messages)
        if isinstance(kept.get("at"), int) and kept["at"] <= len(messages):
            prompt, answer = messages[: kept["at"]], messages[kept["at"] :]
        if not answer:
            raise Unholdable("no_answer", "the last turn is not the assistant's")
        if not prompt:
            raise Unholdable("no_prompt", "there is no turn before the answer")
        row: Row = {
            "prompt": write_side(prompt, record.plain, "user", lost),
            kept.get("answer", "completion"): write_side(answer, record.plain, "assistant", lost),
        }
        if record.tools is not None:
            row["tools"] = record.tools
        return [side_fields(record, row, self, "prompt_completion")]

    def evidence(self, row: Row) -> str | None:
        key = next((k for k in self.answers if k in row), None)
        scored = {"helpfulness", "correctness", "coherence"} <= set(row)
        if (
            key
            and "prompt" in row
            and not scored
            and all(isinstance(row[k], (str, list)) for k in ("prompt", key))
            and not isinstance(row.get("label"), bool)
        ):
            return f"a 'prompt' and a {key!r}"
        return None


class Stepwise(Adapter):
    """Process supervision: a prompt, the steps of a solution, and whether each is right."""

    name: ClassVar[str] = "stepwise"
    summary: ClassVar[str] = "prompt, completions (steps), labels (trl's stepwise type)"
    holds: ClassVar[frozenset[str]] = frozenset({"plain", "candidates", "candidates.labels"})
    native: ClassVar[frozenset[str]] = frozenset({"prompt", "completions", "labels"})

    def read(self, row: Row) -> Record:
        prompt, plain = read_side(row, "prompt", "user", None)
        steps, labels = row.pop("completions", None), row.pop("labels", None)
        if not isinstance(steps, list) or not all(isinstance(s, str) for s in steps):
            raise Unreadable("wrong_type", f"field 'completions' is {kind(steps)}, expected a list of text")
        if not isinstance(labels, list) or len(labels) != len(steps) or not all(isinstance(x, (bool, int)) for x in labels):
            raise Unreadable("labels", f"'labels' must be a list of {len(steps)} true or false, one for each step")
        candidate = Candidate([Message("assistant", s) for s in steps], labels=[bool(x) for x in labels])
        return finish(Record(prompt, [candidate], plain=plain), row)

    def write(self, record: Record, lost: set[str]) -> list[Row]:
        if len(record.candidates) != 1 or record.candidates[0].labels is None:
            raise Unholdable("no_steps", "one candidate with a label for each of its turns is expected")
        candidate = record.candidates[0]
        only_text(candidate.messages, "a list of steps", lost)
        row: Row = {"prompt": write_side(record.messages, record.plain, "user", lost)}
        row |= {"completions": [inline(m) for m in candidate.messages], "labels": candidate.labels}
        return [side_fields(record, row, self, "stepwise")]

    def evidence(self, row: Row) -> str | None:
        if isinstance(row.get("completions"), list) and isinstance(row.get("labels"), list) and "prompt" in row:
            return "'completions' with a list of 'labels'"
        return None


def read_side(row: Row, key: str, role: str, roles: Mapping[str, str] | None) -> tuple[list[Message], bool]:
    """(turns, whether it was a string)."""
    value = row.get(key)
    if isinstance(value, list):
        return [read_turn(turn, OPENAI, roles) for turn in row.pop(key)], False
    return [Message(role, want_text(row, key))], True


def write_side(messages: list[Message], plain: bool, role: str, lost: set[str]) -> Any:
    """Text where the record is plain, turns otherwise. role: what a reader will take text for."""
    if not plain:
        return [write_turn(m, OPENAI) for m in messages]
    if any(m.role != role for m in messages):
        lost.add("messages")
    return joined(messages, lost)
