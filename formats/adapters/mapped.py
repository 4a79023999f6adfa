"""A format behind other names of columns: a user's own `columns`, LLaMA-Factory's `dataset_info.json`, axolotl's types.

Sources: LLaMA-Factory data/README.md; axolotl docs/dataset-formats/*.qmd.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from curate.errors import DataError
from formats.adapters.adapter import Adapter, Row, Unreadable, kind
from formats.json_text import loads
from formats.records import Record

# dataset_info.json: its name of a column, the name that our adapters read, and its default.
_ALPACA = {"prompt": "instruction", "query": "input", "response": "output"}
_TURN_TAGS = {
    "user_tag": "human",
    "assistant_tag": "gpt",
    "observation_tag": "observation",
    "function_tag": "function_call",
    "system_tag": "system",
}

# axolotl's `type` (dataset or preference) to our format and its names of columns.
AXOLOTL: dict[str, tuple[str, Mapping[str, str]]] = {
    "alpaca": ("alpaca", {}),
    "alpaca_chat": ("alpaca", {}),
    "alpaca_chat.load_qa": ("alpaca", {"instruction": "question", "output": "answer"}),
    "alpaca_chat.load_camel_ai": ("alpaca", {"instruction": "message_1", "output": "message_2"}),
    "alpaca_w_system.load_open_orca": ("alpaca", {"system": "system_prompt", "instruction": "question", "output": "response"}),
    "gpteacher": ("alpaca", {"output": "response"}),
    "explainchoice": ("alpaca", {"instruction": "question", "output": "explanation"}),
    "sharegpt": ("sharegpt", {}),
    "chat_template": ("messages", {}),
    "completion": ("text", {}),
    "pretrain": ("text", {}),
    "input_output": ("segments", {}),
    "stepwise_supervised": ("stepwise", {}),
    "chatml.argilla": ("preference", {"chosen": "chosen_response", "rejected": "rejected_response"}),
    "chatml.argilla_chat": ("preference", {}),
    "chatml.intel": ("preference", {}),
    "chatml.icr": ("preference", {}),
    "chatml.prompt_pairs": ("preference", {}),
    "chatml.ultra": ("preference", {}),
    "llama3.argilla": ("preference", {"chosen": "chosen_response", "rejected": "rejected_response"}),
    "llama3.argilla_chat": ("preference", {}),
    "llama3.intel": ("preference", {}),
    "llama3.icr": ("preference", {}),
    "llama3.prompt_pairs": ("preference", {}),
    "llama3.ultra": ("preference", {}),
    "zephyr.nectar": ("ranked", {}),
    "user_defined.default": ("kto", {}),
}


class Mapped(Adapter):
    """An adapter whose rows come under other names. columns: {name the format reads: name in the row}."""

    def __init__(self, inner: Adapter, columns: Mapping[str, str], tags: Mapping[str, str] | None = None) -> None:
        self.inner = inner
        self.tags = dict(tags or {})
        self.columns = {ours: theirs for ours, theirs in columns.items() if ours != theirs}
        self.name, self.holds, self.native = inner.name, inner.holds, inner.native  # type: ignore[misc]

    def read(self, row: Row) -> Record:
        return self.inner.read(self._renamed(row))

    def read_many(self, row: Row) -> list[Record]:
        return self.inner.read_many(self._renamed(row))

    def write(self, record: Record, lost: set[str]) -> list[Row]:
        return self.inner.write(record, lost)

    def evidence(self, row: Row) -> str | None:
        return self.inner.evidence(self._renamed(dict(row)))

    def _renamed(self, row: Row) -> Row:
        """The row under the names the format reads. A field that already has such a name and is not meant keeps out of the way."""
        taken: Row = {}
        for ours, theirs in self.columns.items():
            if theirs in row:
                taken[ours] = row.pop(theirs)
        for ours in taken:
            if ours in row:
                row[f"_{ours}"] = row.pop(ours)
        row.update(taken)
        if self.tags:
            for key in ("conversations", "chosen", "rejected"):
                if isinstance(row.get(key), list):
                    row[key] = [self._turn(t) for t in row[key]]
                elif isinstance(row.get(key), dict):
                    row[key] = self._turn(row[key])
        return row

    def _turn(self, turn: Any) -> Row:
        if not isinstance(turn, dict):
            raise Unreadable("turn", f"a turn is {kind(turn)}, expected an object")
        turn = dict(turn)
        role, content = self.tags["role_tag"], self.tags["content_tag"]
        if role not in turn:
            raise Unreadable("role", f"a turn has nothing under {role!r}; its keys are: {', '.join(turn)}")
        made: Row = {"from": self.tags.get(str(turn[role]), turn.pop(role)), **({"value": turn.pop(content)} if content in turn else {})}
        turn.pop(role, None)
        return {**made, **turn}


@dataclass(frozen=True)
class Entry:
    """One data set of a LLaMA-Factory registry."""

    name: str
    format: str  # ours
    columns: Mapping[str, str]
    tags: Mapping[str, str]
    file: str | None  # absolute; None for sets that lie on a hub
    hub: str | None
    num_samples: int | None = None
    other: Mapping[str, Any] = field(default_factory=dict)  # subset, split, folder


def read_registry(path: str) -> dict[str, Entry]:
    """Every entry of a dataset_info.json, in its order. Files are relative to its folder. Raises DataError for a broken one."""
    try:
        with open(path, "rb") as file:
            given = loads(file.read())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: can't be read as a LLaMA-Factory registry: {error}.") from error
    if not isinstance(given, dict) or not all(isinstance(v, dict) for v in given.values()):
        raise DataError(f"{path}: a LLaMA-Factory registry is an object of data sets by name, got {kind(given)}.")
    return {name: _entry(name, entry, os.path.dirname(os.path.abspath(path)), path) for name, entry in given.items()}


def _entry(name: str, given: dict[str, Any], folder: str, path: str) -> Entry:
    formatting = given.get("formatting", "alpaca")
    columns = dict(given.get("columns") or {})
    ranking = bool(given.get("ranking"))
    hub = next((given[k] for k in ("hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name") if given.get(k)), None)
    file = os.path.join(folder, given["file_name"]) if given.get("file_name") else None
    other: dict[str, Any] = {k: given[k] for k in ("subset", "split", "folder") if k in given}
    if formatting not in ("alpaca", "sharegpt", "openai"):
        raise DataError(f"{path}: {name!r} has the formatting {formatting!r}, expected alpaca, sharegpt or openai.")
    found = _alpaca(columns, ranking) if formatting == "alpaca" else _sharegpt(columns, ranking, dict(given.get("tags") or {}), formatting)
    return Entry(name, *found, file, hub, given.get("num_samples"), other)


def _alpaca(columns: dict[str, str], ranking: bool) -> tuple[str, dict[str, str], dict[str, str]]:
    named = {ours: columns[theirs] for theirs, ours in _ALPACA.items() if theirs in columns}
    named |= {k: columns[k] for k in ("system", "history", "chosen", "rejected", "kto_tag", "tools") if k in columns}
    if set(columns) == {"prompt"} and not ranking:
        return "text", {"text": columns["prompt"]}, {}
    return "kto" if "kto_tag" in columns else "preference" if ranking else "alpaca", named, {}


def _sharegpt(columns: dict[str, str], ranking: bool, tags: dict[str, str], formatting: str) -> tuple[str, dict[str, str], dict[str, str]]:
    named = {"conversations": columns.get("messages", "messages" if formatting == "openai" else "conversations")}
    named |= {k: columns[k] for k in ("system", "tools", "chosen", "rejected", "kto_tag") if k in columns}
    role = tags.get("role_tag", "role" if formatting == "openai" else "from")
    content = tags.get("content_tag", "content" if formatting == "openai" else "value")
    names = {tags[tag]: default for tag, default in _TURN_TAGS.items() if tag in tags and tags[tag] != default}
    form = "kto" if "kto_tag" in columns else "preference" if ranking else "sharegpt"
    return form, named, {"role_tag": role, "content_tag": content, **names}
