"""Instruction, input and output: Alpaca with its variants, Dolly, Self-Instruct tasks.

The user turn is `instruction + "\\n" + input` (LLaMA-Factory's reading); where the input began is kept in
meta.meta.alpaca, so that the way back is exact. The original's prompt template is a matter of rendering, not of data: see
`text`, which is regenerated where a row held the rendered form.

Sources: tatsu-lab/stanford_alpaca README and train.py; LLaMA-Factory data/README.md (system, history).
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

from formats.adapters.adapter import (
    Adapter,
    Pair,
    Row,
    Unholdable,
    Unreadable,
    conversation,
    finish,
    kind,
    notes,
    only_text,
    pair_side,
    plain_pair,
    side_fields,
    want_text,
    with_notes,
)
from formats.adapters.chatml import inline
from formats.records import Message, Record


class Keys(NamedTuple):
    """Names of the three fields."""

    instruction: str
    input: str
    output: str


ALPACA = Keys("instruction", "input", "output")
# Same meaning under other names: GPTeacher, Dolly, OpenOrca, firefly and question sets.
VARIANTS = {
    "response": Keys("instruction", "input", "response"),
    "dolly": Keys("instruction", "context", "response"),
    "orca": Keys("question", "input", "response"),
    "question": Keys("question", "input", "answer"),
    "answer": Keys("instruction", "input", "answer"),
    "completion": Keys("instruction", "input", "completion"),
    "target": Keys("input", "", "target"),
}
_SYSTEM = ("system", "system_prompt")
_UNUSUAL = frozenset({"system", "system_prompt", "history", "text", "id", "meta"})
_HEAD = "Below is an instruction that describes a task"
_WITH_INPUT = f"{_HEAD}, paired with an input that provides further context. Write a response that appropriately completes the request."
_WITHOUT = f"{_HEAD}. Write a response that appropriately completes the request."


def template(instruction: str, given: str, output: str = "") -> str:
    """The original's training text: the prompt by whether there is an input, then the output without a newline before it."""
    middle = f"\n\n### Input:\n{given}" if given else ""
    return f"{_WITH_INPUT if given else _WITHOUT}\n\n### Instruction:\n{instruction}{middle}\n\n### Response:{output}"


class Alpaca(Adapter):
    """instruction, input, output; also system, history and the rendered text."""

    name: ClassVar[str] = "alpaca"
    summary: ClassVar[str] = "instruction, input, output (system, history); GPTeacher, OpenOrca and others by their fields"
    native: ClassVar[frozenset[str]] = frozenset({"instruction", "input", "output", "system", "history"})

    writes_pairs: ClassVar[bool] = True

    def read(self, row: Row) -> Record:
        found = self.pair(row)
        if found is not None:
            question, answer, meta = found
            return Record([Message("user", question), Message("assistant", answer)], meta=meta)
        keys, name = keys_of(row)
        kept: dict[str, Any] = {} if name is None else {"keys": name}
        rendered = row.get("text")
        messages, instruction, given = read_prompt(row, keys, kept)
        output = want_text(row, keys.output)
        if rendered is not None and name is None and rendered in (f"{template(instruction, given)}{s}{output}" for s in ("", "\n")):
            kept["text"] = "\n" if rendered == f"{template(instruction, given)}\n{output}" else ""
            del row["text"]
        messages.append(Message("assistant", output))
        return finish(Record(messages, meta=with_notes("alpaca", kept)), row)

    def pair(self, row: Row) -> Pair | None:
        instruction: Any = row.get("instruction")
        given: Any = row.get("input")
        output: Any = row.get("output")
        if not (plain_pair(instruction, output) and type(given) is str and _UNUSUAL.isdisjoint(row)):
            return None
        del row["instruction"], row["input"], row["output"]
        if not given:
            return instruction, output, row
        row["meta"] = {"alpaca": {"input": len(instruction)}}
        return f"{instruction}\n{given}", output, row

    def write_pair(self, question: str, answer: str, meta: Row) -> Row:
        row: Row = {"instruction": question, "input": "", "output": answer}
        side = meta.get("meta")
        kept = side.get("alpaca") if side else None
        if kept is not None:
            at = kept.get("input") if type(kept) is dict and len(kept) == 1 else None
            if type(at) is not int:
                return self.write(Record([Message("user", question), Message("assistant", answer)], meta=meta), set())[0]
            if question[at : at + 1] == "\n" and len(question) > at + 1:
                row["instruction"], row["input"] = question[:at], question[at + 1 :]
        return pair_side(meta, row, self, "alpaca") if meta else row

    def write(self, record: Record, lost: set[str]) -> list[Row]:
        kept = notes(record, "alpaca")
        keys = VARIANTS.get(kept.get("keys", ""), ALPACA)
        messages = conversation(record, lost)
        only_text(messages, "Alpaca", lost)
        if not messages or messages[-1].role != "assistant":
            raise Unholdable("no_answer", "the last turn is not the assistant's")
        row = write_prompt(messages[:-1], keys, kept)
        row[keys.output] = inline(messages[-1])
        if "text" in kept:
            row["text"] = template(row[keys.instruction], row.get(keys.input, ""), kept["text"] + row[keys.output])
        return [side_fields(record, row, self, "alpaca")]

    def evidence(self, row: Row) -> str | None:
        if any(k in row for k in ("chosen", "rejected", "kto_tag", "output_1", "completions", "instances")):
            return None
        for keys in (ALPACA, *VARIANTS.values()):
            if isinstance(row.get(keys.instruction), str) and isinstance(row.get(keys.output), str):
                return f"text under {keys.instruction!r} and {keys.output!r}"
        return None


def keys_of(row: Row) -> tuple[Keys, str | None]:
    """The names that a row uses, and the name of the variant (None for Alpaca's own)."""
    if "output" in row and "instruction" in row:
        return ALPACA, None
    for name, keys in VARIANTS.items():
        if keys.instruction in row and keys.output in row and (name != "response" or "context" not in row):
            return keys, name
    raise Unreadable("missing_field", f"no pair of fields such as 'instruction' and 'output'; fields are: {', '.join(row) or '(none)'}")


def read_prompt(row: Row, keys: Keys, kept: dict[str, Any]) -> tuple[list[Message], str, str]:
    """(turns up to the last user turn, instruction, input). Takes the fields out of the row; notes go to `kept`."""
    instruction = want_text(row, keys.instruction)
    given = ""
    if keys.input and keys.input in row:
        given = want_text(row, keys.input, null=True)
        if not given and keys is not ALPACA:
            kept["empty_input"] = True
    elif keys is ALPACA:
        kept["input"] = None
    if given:
        kept["input"] = len(instruction)
    messages: list[Message] = []
    for name in _SYSTEM:
        if name in row and isinstance(row[name], str):
            system = row.pop(name)
            if name != "system" or not system:
                kept["system"] = name
            if system:
                messages.append(Message("system", system))
            break
    if "history" in row:
        _history(row, messages, kept)
    messages.append(Message("user", f"{instruction}\n{given}" if given else instruction))
    return messages, instruction, given


def _history(row: Row, messages: list[Message], kept: dict[str, Any]) -> None:
    history = row["history"]
    if history is None:
        return  # stays a column
    pairs = history if isinstance(history, list) else [None]
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise Unreadable("history", f"'history' is {kind(history)}, expected a list of [user, assistant] pairs of text")
        messages += [Message("user", pair[0]), Message("assistant", pair[1])]
    del row["history"]
    if not pairs:
        kept["history"] = []


def write_prompt(messages: list[Message], keys: Keys, kept: dict[str, Any]) -> Row:
    """The fields of everything before the answer. Raises Unholdable for turns that do not alternate."""
    row: Row = {}
    turns = list(messages)
    system = turns.pop(0) if turns and turns[0].role == "system" else None
    if not turns or turns[-1].role != "user" or [m.role for m in turns[:-1]] != ["user", "assistant"] * (len(turns) // 2):
        raise Unholdable("turns", "turns must be an optional system turn, then user and assistant in turn, and end with the user's")
    if system is not None and not system.content:
        raise Unholdable("turns", "an empty system turn")
    text = inline(turns[-1])
    at = kept.get("input")
    row[keys.instruction] = text
    if isinstance(at, int) and text[at : at + 1] == "\n" and len(text) > at + 1:
        row[keys.instruction], row[keys.input] = text[:at], text[at + 1 :]
    elif ("input" not in kept or at is not None) if keys is ALPACA else keys.input and kept.get("empty_input"):
        row[keys.input] = ""
    if system is not None or "system" in kept:
        row[kept.get("system", "system")] = inline(system) if system else ""
    if len(turns) > 1 or "history" in kept:
        row["history"] = [[inline(a), inline(b)] for a, b in zip(turns[:-1:2], turns[1:-1:2], strict=True)]
    return row


class Dolly(Alpaca):
    """databricks-dolly-15k: instruction, context, response, category."""

    name: ClassVar[str] = "dolly"
    summary: ClassVar[str] = "Dolly: instruction, context, response, category"
    writes_pairs: ClassVar[bool] = False
    native: ClassVar[frozenset[str]] = frozenset({"instruction", "context", "response", "system", "history"})

    def write(self, record: Record, lost: set[str]) -> list[Row]:
        side = record.meta.get("meta", {})
        forced = {**record.meta, "meta": {**side, "alpaca": {"empty_input": True, **notes(record, "alpaca"), "keys": "dolly"}}}
        return super().write(
            Record(record.messages, record.candidates, record.tools, record.text, record.plain, record.id, "", forced), lost
        )

    def evidence(self, row: Row) -> str | None:
        if all(isinstance(row.get(k), str) for k in ("instruction", "context", "response")):
            return "text under 'instruction', 'context' and 'response'"
        return None


class SelfInstruct(Adapter):
    """Self-Instruct tasks: instruction and `instances` of {input, output}. A task with several instances is several conversations."""

    name: ClassVar[str] = "self_instruct"
    summary: ClassVar[str] = "Self-Instruct tasks: an instruction and its instances"
    native: ClassVar[frozenset[str]] = frozenset({"instruction", "instances"})

    def read(self, row: Row) -> Record:
        instances = row.pop("instances", None)
        if (
            not isinstance(instances, list)
            or len(instances) != 1
            or not isinstance(instances[0], dict)
            or set(instances[0]) != {"input", "output"}
        ):
            raise Unreadable(
                "instances", f"'instances' must be a list of one {{input, output}}, got {kind(instances)}; split tasks of several first"
            )
        instance = {"instruction": want_text(row, "instruction"), **instances[0]}
        kept: dict[str, Any] = {}
        messages, _, _ = read_prompt(instance, ALPACA, kept)
        messages.append(Message("assistant", want_text(instance, "output")))
        return finish(Record(messages, meta=with_notes("alpaca", kept)), row)

    def write(self, record: Record, lost: set[str]) -> list[Row]:
        messages = conversation(record, lost)
        only_text(messages, "Self-Instruct", lost)
        if len(messages) != 2 or messages[-1].role != "assistant":
            raise Unholdable("turns", "one user turn and one answer are expected")
        row = write_prompt(messages[:-1], ALPACA, {k: v for k, v in notes(record, "alpaca").items() if k == "input" and v is not None})
        instance = {"input": row.get("input", ""), "output": inline(messages[-1])}
        known = set(notes(record, "alpaca")) <= {"input"}  # the instance itself says that much
        return [
            side_fields(record, {"instruction": row["instruction"], "instances": [instance]}, self, "alpaca" if known else "self_instruct")
        ]

    def evidence(self, row: Row) -> str | None:
        if isinstance(row.get("instances"), list) and isinstance(row.get("instruction"), str):
            return "an 'instruction' with a list of 'instances'"
        return None
