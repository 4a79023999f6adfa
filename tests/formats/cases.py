"""Small rows of every format, and the comparison that loss reports must bear out."""

from __future__ import annotations

import copy
from typing import Any

from formats.adapters.adapter import Adapter, Unholdable, lost_fields
from formats.batches import from_batch, to_batch
from formats.catalog import FORMATS, adapter
from formats.records import CANDIDATE, MESSAGE, Record

TOOLS = '[{"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {"a": {"type": ["number", "null"], "default": null}}}}}]'
CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1.50}'}}

# format -> rows; each row must come back as it is.
ROWS: dict[str, list[dict[str, Any]]] = {
    "text": [{"text": "plain text"}, {"text": "", "url": "u", "id": "x"}],
    "alpaca": [
        {"instruction": "Add.", "input": "1 2", "output": "3"},
        {"instruction": "Say a\nb", "input": "", "output": "hi"},
        {"instruction": "No input key", "output": "hi"},
        {"instruction": "S", "input": "", "output": "o", "system": "be brief", "history": [["q1", "a1"], ["q2", "a2"]]},
        {"instruction": "S", "input": "x\ny", "output": "o", "system": "", "history": []},
        {"instruction": "Two", "input": "", "response": "names", "_row": 2},
        {"system_prompt": "sys", "question": "q", "response": "r", "id": 7},
        {"question": "q", "answer": "a", "meta": {"a": 1}},
        {"instruction": "Odd meta", "input": "", "output": "o", "meta": "text"},
    ],
    "dolly": [{"instruction": "Who?", "context": "A text.", "response": "B", "category": "qa"}],
    "self_instruct": [{"id": "seed_1", "instruction": "Do", "instances": [{"input": "x", "output": "y"}]}],
    "sharegpt": [
        {"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "ho"}], "id": "a"},
        {"conversations": [{"from": "system", "value": "s"}, {"from": "human", "value": "hi"}, {"from": "bing", "value": "ho", "train": False}]},
        {"system": "s", "conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "ho", "weight": 1}], "tools": "[]"},
        {"items": [{"role": "user", "value": "hi"}, {"role": "assistant", "value": "ho"}]},
        {"turns": [{"speaker": "USER", "utterance": "hi"}, {"speaker": "SYSTEM", "utterance": "ho"}], "services": ["x"]},
        {
            "conversations": [
                {"from": "human", "value": "add"},
                {"from": "function_call", "value": '{"name": "add", "arguments": {"a":  1.50}}'},
                {"from": "observation", "value": '{"r": 2}'},
                {"from": "function_call", "value": "not json"},
                {"from": "gpt", "value": "2"},
            ],
            "tools": TOOLS,
        },
    ],
    "messages": [
        {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]},
        {
            "messages": [
                {"role": "developer", "content": "d"},
                {"role": "user", "content": [{"type": "text", "text": "what"}, {"type": "image_url", "image_url": {"url": "a.png"}}], "name": "bob"},
                {"role": "assistant", "content": None, "tool_calls": [CALL, {**CALL, "id": "c2"}], "reasoning_content": "think"},
                {"role": "tool", "tool_call_id": "c1", "content": "2"},
                {"role": "tool", "tool_call_id": "c2", "content": "2"},
                {"role": "assistant", "content": "two", "loss_weight": 0.5},
            ],
            "tools": TOOLS,
        },
        {"messages": [{"role": "user", "content": [{"type": "text", "value": "v1"}], "loss_weight": 0.0},
                      {"role": "assistant", "content": [{"type": "reasoning", "value": "r"}, {"type": "tool_call", "value": '{"name": "f", "arguments": {"x": 1}}'}]}]},
        {"messages": [{"role": "user", "content": "q", "train_detail": [{"begin_offset": 0, "end_offset": 0, "train": True}]}, {"role": "assistant", "content": "", "thinking": "t"}]},
    ],
    "chatml": [{"text": "<|im_start|>user\nhi\n<|im_end|>\n<|im_start|>assistant\nho<|im_end|>\n"}],
    "prompt": [{"prompt": "p", "answer": "4"}, {"prompt": [{"role": "user", "content": "p"}]}],
    "prompt_completion": [
        {"prompt": "p ", "completion": "c"},
        {"prompt": "p", "response": "r", "id": 3},
        {"prompt": [{"role": "user", "content": "p"}], "completion": [{"role": "assistant", "content": "c"}]},
    ],
    "preference": [
        {"prompt": "The sky is", "chosen": " blue", "rejected": " green"},
        {"prompt": [{"role": "user", "content": "p"}], "chosen": [{"role": "assistant", "content": "a"}], "rejected": [{"role": "assistant", "content": "b"}], "margin": 0.5},
        {"chosen": [{"role": "user", "content": "p"}, {"role": "assistant", "content": "a"}], "rejected": [{"role": "user", "content": "p"}, {"role": "assistant", "content": "b"}]},
        {"prompt": "p", "chosen": [{"role": "user", "content": "p"}, {"role": "assistant", "content": "a"}], "rejected": [{"role": "user", "content": "p"}, {"role": "assistant", "content": "b"}], "score_chosen": 8.5, "score_rejected": 3},
        {"conversations": [{"from": "human", "value": "p"}], "chosen": {"from": "gpt", "value": "a"}, "rejected": {"from": "gpt", "value": "b"}},
        {"instruction": "i", "input": "x", "chosen": "a", "rejected": "b"},
        {"question": "q", "chosen": "a", "rejected": "b", "system": "s"},
        {"instruction": "i", "chosen_response": "a", "rejected_response": "b"},
        {"chosen": "whole text a", "rejected": "whole text b"},
    ],
    "kto": [
        {"prompt": "p", "completion": "c", "label": True},
        {"prompt": [{"role": "user", "content": "p"}], "completion": [{"role": "assistant", "content": ""}], "label": False},
        {"messages": [{"role": "user", "content": "p"}, {"role": "assistant", "content": "c"}], "label": False},
        {"conversations": [{"from": "human", "value": "p"}, {"from": "gpt", "value": "c"}], "kto_tag": True},
        {"instruction": "i", "input": "", "output": "o", "kto_tag": False},
    ],
    "ranked": [
        {"context": [{"role": "user", "content": "p"}], "completions": [{"rank": 1, "completion": [{"role": "assistant", "content": "b"}]}, {"rank": 0, "completion": [{"role": "assistant", "content": "a"}]}], "task_name": "t"},
        {"prompt": "p", "answers": [{"answer": "a", "rank": 1, "model": "m"}, {"answer": "b", "rank": 2}, {"answer": "c", "rank": 3}]},
    ],
    "ultrafeedback": [
        {"source": "s", "instruction": "i", "models": ["m1", "m2"], "completions": [
            {"model": "m1", "response": "a", "annotations": {"honesty": {"Rating": "10", "Rationale": "r"}}, "overall_score": 10.0},
            {"model": "m2", "response": "b", "annotations": {"honesty": {"Rating": "N/A", "Rationale": "r"}}, "overall_score": 1.0}], "correct_answers": ["None"]},
    ],
    "helpsteer": [{"prompt": "p", "response": "r", "helpfulness": 4, "correctness": 3, "coherence": 4, "complexity": 1, "verbosity": 2}],
    "alpaca_farm": [
        {"instruction": "i", "output_1": "a", "output_2": "b", "preference": 2, "generator_1": "g", "generator_2": "h"},
        {"instruction": "i", "input": "x", "output_1": "a", "output_2": "b", "preference": 0},
    ],
    "stepwise": [{"prompt": "p", "completions": ["s1", "s2"], "labels": [True, False]}],
    "hh": [{"chosen": "\n\nHuman: hi\n\nAssistant: yes", "rejected": "\n\nHuman: hi\n\nAssistant:no", "id": 2}],
    "bfcl": [{"id": "b", "question": [[{"role": "user", "content": "x"}], [{"role": "user", "content": "y"}]], "function": [{"name": "f", "parameters": {"default": None}}]}],
    "segments": [{"segments": [{"label": False, "text": "<s>q"}, {"label": True, "text": "a</s>"}]}],
    "oasst": [{"message_tree_id": "t", "prompt": {"message_id": "1", "role": "prompter", "text": "q", "replies": [{"message_id": "2", "role": "assistant", "text": "a", "replies": []}]}}],
}  # fmt: skip


def without_notes(meta: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in meta.items() if k != "meta"}


def differences(a: Record, b: Record) -> set[str]:
    """Fields in which two records differ, as loss reports name them. Notes of converters are not compared."""
    found: set[str] = set()
    if without_notes(a.meta) != without_notes(b.meta):
        found.add("meta")
    found |= {name for name in ("tools", "text", "plain") if getattr(a, name) != getattr(b, name)}
    found |= _turns(a.messages, b.messages)
    if len(a.candidates) != len(b.candidates):
        return found | {"candidates"}
    for x, y in zip(a.candidates, b.candidates, strict=True):
        found |= {f"candidates.{n}" for n in CANDIDATE.names if n != "messages" and getattr(x, n) != getattr(y, n)}
        found |= _turns(x.messages, y.messages)
    return found


def _turns(a: list[Any], b: list[Any]) -> set[str]:
    if [m.role for m in a] != [m.role for m in b]:
        return {"messages"}
    return {f"messages.{n}" for x, y in zip(a, b, strict=True) for n in MESSAGE.names if getattr(x, n) != getattr(y, n)}


def allowed(lost: set[str]) -> set[str]:
    """What a loss report permits: reasoning and parts that can't stand apart are written into the content."""
    covered = set(lost)
    if {"messages.reasoning", "messages.parts"} & lost:
        covered |= {"messages.content", "messages.parts", "messages.reasoning"}
    if "messages.tool_calls.id" in lost:
        covered |= {"messages.tool_calls", "messages.extra"}
    return covered


def excused(difference: set[str], lost: set[str]) -> set[str]:
    """Differences that the report does not name."""
    covered = allowed(lost)
    if "candidates" in covered:
        difference = {d for d in difference if not d.startswith(("candidates", "messages"))}
    if "messages" in covered:
        difference = {d for d in difference if not d.startswith("messages")}
    return difference - covered


def record(name: str, row: dict[str, Any]) -> Record:
    """The record of a row."""
    return adapter(name).read(copy.deepcopy(row))


def round_trip(source: Record, target: str) -> tuple[set[str], set[str]] | None:
    """(differences, losses) after writing and reading a record; None where the format can't hold it."""
    kind: Adapter = adapter(target)
    lost = lost_fields(source, kind.holds)
    try:
        rows = kind.write(copy.deepcopy(source), lost)
    except Unholdable:
        return None
    if len(rows) > 1:
        assert "candidates" in lost, f"{target}: several rows from one record, and no word of it"
        return set(), lost
    again = adapter(target).read_many(copy.deepcopy(rows[0]))[0]
    again.meta.pop("thread", None)  # which reply of a tree it is
    return differences(source, again), lost


def through_arrow(records: list[Record]) -> list[Record]:
    """The records after an Arrow batch."""
    return from_batch(to_batch(records))


TARGETS = [name for name in FORMATS if name != "task"]
