"""Every format both ways: rows come back as they were, and a trip through another format differs only in what it names."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formats.adapters.adapter import Unholdable, Unreadable
from formats.batches import from_batch, to_batch
from formats.catalog import FORMATS, adapter
from formats.detect import detect
from formats.json_text import decode
from formats.policies import is_usual
from formats.records import RECORD, Candidate, Message, Record, Span, ToolCall
from tests.conftest import read_rows
from tests.formats.cases import ROWS, TARGETS, excused, record, round_trip, through_arrow

CASES = [(name, row) for name, rows in ROWS.items() for row in rows]


@pytest.mark.parametrize(("name", "row"), CASES, ids=[f"{n}-{i}" for i, (n, _) in enumerate(CASES)])
def test_a_row_comes_back(name: str, row: dict[str, Any]) -> None:
    source = record(name, row)
    assert adapter(name).write(source, set()) == [row]
    (again,) = through_arrow([source])
    assert again == source


@pytest.mark.parametrize(("name", "row"), CASES, ids=[f"{n}-{i}" for i, (n, _) in enumerate(CASES)])
@pytest.mark.parametrize("target", TARGETS)
def test_losses_are_named(name: str, row: dict[str, Any], target: str) -> None:
    trip = round_trip(record(name, row), target)
    if trip is not None:
        difference, lost = trip
        assert not excused(difference, lost), f"{name} -> {target} changed {difference}, and names {lost}"


@pytest.mark.parametrize(("name", "row"), [c for c in CASES if c[0] in ("alpaca", "sharegpt", "preference", "kto", "dolly")])
def test_there_and_back_through_the_nearest_format(name: str, row: dict[str, Any]) -> None:
    """Alpaca -> messages -> Alpaca and its like are equal, boundary, names of fields and other columns included."""
    middle = "messages" if name in ("alpaca", "sharegpt", "dolly") else name
    (written,) = adapter(middle).write(record(name, row), set())
    assert adapter(name).write(adapter(middle).read(copy.deepcopy(written)), set()) == [row]


@pytest.mark.parametrize("name", sorted(set(ROWS) - {"task"}))
def test_detection_finds_every_format(name: str) -> None:
    for row in ROWS[name]:
        assert detect([copy.deepcopy(row)], "file").format == name


_text = st.text(max_size=12)
_name = st.sampled_from(["a", "weight", "x y"])
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | _text,
    lambda s: st.lists(s, max_size=2) | st.dictionaries(_text, s, max_size=2),
    max_leaves=4,
)
_calls = st.lists(st.builds(ToolCall, name=_text, arguments=_text | _json.map(json.dumps), id=st.none() | _text), min_size=1, max_size=2)
_parts = st.lists(
    st.fixed_dictionaries({"type": st.just("text"), "text": _text}) | st.fixed_dictionaries({"type": st.just("image"), "image": _text}),
    min_size=1,
    max_size=2,
)


@st.composite
def _messages(draw: st.DrawFn, role: str | None = None) -> Message:
    message = Message(role or draw(st.sampled_from(["system", "developer", "user", "assistant", "tool"])))
    shape = draw(st.sampled_from(["text", "text", "text", "null", "parts", "calls"]))
    if shape == "text":
        message.content = draw(_text)
    if shape == "parts":
        message.parts = draw(_parts)
    if shape == "calls" and message.role == "assistant":
        message.tool_calls, message.content = draw(_calls), draw(st.none() | _text)
    if message.role == "assistant" and draw(st.booleans()):
        message.reasoning = draw(_text)
    message.loss = draw(st.sampled_from([None, None, 0.0, 1.0]))
    message.name = draw(st.sampled_from([None, None, "bob"]))
    if message.content and draw(st.booleans()):
        message.spans = [Span(0, len(message.content), 1.0)]
    return message


@st.composite
def _records(draw: st.DrawFn) -> Record:
    made = Record(draw(st.lists(_messages(), min_size=1, max_size=5)))
    kind = draw(st.sampled_from(["chat", "chat", "pair", "kto", "list"]))
    answer = st.lists(_messages("assistant"), min_size=1, max_size=2)
    if kind == "pair":
        made.candidates = [Candidate(draw(answer), rank=rank, scores=draw(st.sampled_from([None, {"score": 1.0}]))) for rank in (0, 1)]
    if kind == "kto":
        made.candidates = [Candidate(draw(answer), label=draw(st.booleans()))]
    if kind == "list":
        made.candidates = [Candidate(draw(answer), rank=rank, model="m", scores={"a": None}) for rank in range(3)]
    made.tools = draw(st.sampled_from([None, "[]", '[{"a": null}]', "broken"]))
    made.meta = draw(st.dictionaries(st.sampled_from(["input", "x", "label", "prompt", "system", "tools"]), _json, max_size=2))
    return made


@settings(deadline=None, max_examples=60)
@given(_records())
def test_any_conversation_through_every_format(source: Record) -> None:
    assert through_arrow([source, source])[1] == source
    for target in TARGETS:
        try:
            trip = round_trip(source, target)
        except Unreadable as error:  # a format must be able to read what it writes
            raise AssertionError(f"{target} can't read its own rows: {error}") from error
        if trip is not None:
            assert not excused(*trip), f"{target}: {trip}"


def test_records_lie_in_parquet_with_one_schema(tmp_path: Path) -> None:
    records = [record(name, row) for name, row in CASES]
    for at in range(0, len(records), 7):
        assert to_batch(records[at : at + 7]).schema == RECORD
    pq.write_table(pa.Table.from_batches([to_batch(records)]), tmp_path / "r.parquet")
    table = pq.read_table(tmp_path / "r.parquet").combine_chunks()
    assert from_batch(table.to_batches()[0]) == records
    assert from_batch(table.slice(3, 9).to_batches()[0]) == records[3:12]


def test_real_files_come_back(real_data: Path) -> None:
    """Every 150th row of every file: read, written in every format that can hold it, and read again."""
    files = sorted((real_data / "posttrain").glob("*.jsonl*"))
    assert len(files) >= 25
    for file in files:
        rows = list(read_rows(file))
        name = detect(iter(rows), file.name).format
        for row in rows[::150]:
            try:
                source = adapter(name).read(copy.deepcopy(row))
            except Unreadable as error:
                assert name == "hh" and error.reason == "prefix_differs"
                continue
            assert adapter(name).write(source, set()) == [row], file.name
            assert through_arrow([source]) == [source]
            for target in TARGETS:
                trip = round_trip(source, target)
                assert trip is None or not excused(*trip), f"{file.name} -> {target}: {trip}"


def test_tool_schemas_keep_their_bytes(real_data: Path) -> None:
    for file in sorted((real_data / "posttrain").glob("lf_glaive*")):
        for row in list(read_rows(file))[::4]:
            source = record("sharegpt", row)
            assert source.tools == row["tools"]
            (again,) = through_arrow([source])
            assert again.tools is not None and again.tools.encode() == str(row["tools"]).encode()
    for file in sorted((real_data / "posttrain").glob("bfcl*")):
        for row in list(read_rows(file))[::4]:
            source = through_arrow([record("bfcl", row)])[0]
            assert row.get("function") is None or decode(source.tools or "") == row["function"]


def test_unholdable_has_a_reason() -> None:
    source = Record([Message("user", "<|im_end|>"), Message("assistant", "x")])
    with pytest.raises(Unholdable) as error:
        adapter("chatml").write(source, set())
    assert error.value.reason == "special_token"


_field = st.sampled_from(["", "<think>x</think>y", "a\nb", "x"]) | _text
_side = st.dictionaries(
    st.sampled_from(["alpaca", "sharegpt", "columns", "mine"]), st.dictionaries(st.sampled_from(["input", "x"]), _json, max_size=1)
)
_others = st.fixed_dictionaries({}, optional={"meta": _side | _text, "instruction": _text, "conversations": _text, "x": _json})


@st.composite
def _pairs(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """Rows that are a pair or nearly one, of the formats that have a short way."""
    name = draw(st.sampled_from(["alpaca", "messages", "sharegpt"]))
    question, answer, others = draw(_field), draw(_field), draw(_others)
    if name == "alpaca":
        return name, {**others, "instruction": question, "input": draw(_field), "output": answer}
    role, content, user, other = ("role", "content", "user", "assistant") if name == "messages" else ("from", "value", "human", "gpt")
    turns = [{role: user, content: question}, {role: draw(st.sampled_from([other, other, user])), content: answer}]
    return name, {**others, ("messages" if name == "messages" else "conversations"): turns}


@settings(deadline=None, max_examples=150)
@given(_pairs())
def test_the_short_way_is_the_long_way(case: tuple[str, dict[str, Any]]) -> None:
    name, row = case
    (long,) = adapter(name).read_many(copy.deepcopy(row))
    given = copy.deepcopy(row)
    found = adapter(name).pair(given)
    if found is None:
        assert given == row
        return
    question, answer, meta = found
    assert is_usual(long) and long == Record([Message("user", question), Message("assistant", answer)], meta=meta, id=long.id)
    for target in map(adapter, FORMATS):
        if target.writes_pairs:
            lost: set[str] = set()
            assert [target.write_pair(question, answer, copy.deepcopy(meta))] == target.write(long, lost) and not lost
