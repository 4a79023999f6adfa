"""Conversations that steps edit: the view is that of the records, edits reach the turns, weights move along."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.apply import outcomes, run_step
from curate.errors import StepError
from curate.step import Outcome
from curate.steps.decontamination import Decontaminate
from curate.steps.personal_data import TYPES, PersonalData
from curate.steps.turns import BROKEN, Edit, Turns, edited, moved
from formats.batches import from_batch, to_batch
from formats.records import Candidate, Message, Record, Span, ToolCall, text_view

QUESTION = "A farmer keeps seventeen brown hens; each of them lays four eggs a week. How many eggs are there after three weeks?"
OTHER = "The lighthouse keeper climbed two hundred steps every evening to light the lamp before the fishing boats came home."

WORDS = st.sampled_from(
    [
        "",
        " ",
        "a@b.de",
        "Write to x@y.org",
        "call",
        "541-754-3010",
        "8.8.8.8",
        "ping",
        "\u4f60\u597d",
        "\u00fc",
        "AKIAIOSFODNN7EXAMPLE",
        "\n\n",
        "12",
        '"',
        "\\",
    ]
)
TEXTS = st.lists(WORDS, max_size=4).map(" ".join)
MAYBE = st.one_of(st.none(), TEXTS)
PARTS = st.lists(
    st.one_of(TEXTS, st.fixed_dictionaries({"type": st.just("text"), "text": TEXTS}), st.just({"type": "image", "url": "i.png"})),
    max_size=3,
)
ARGUMENTS = st.one_of(TEXTS, st.dictionaries(st.sampled_from("ab"), st.one_of(TEXTS, st.integers(0, 9)), max_size=2).map(json.dumps))
CALLS = st.lists(st.builds(ToolCall, st.just("f"), ARGUMENTS), min_size=1, max_size=2)
MESSAGES = st.builds(
    Message,
    st.sampled_from(["user", "assistant", "tool"]),
    MAYBE,
    st.one_of(st.none(), MAYBE),
    tool_calls=st.one_of(st.none(), CALLS),
    parts=st.one_of(st.none(), PARTS),
)
TURNS = st.lists(MESSAGES, max_size=3)
RECORDS = st.builds(Record, TURNS, st.lists(st.builds(Candidate, TURNS, tokens=st.just(5)), max_size=2))  # fmt: skip


def batch(*records: Record) -> pa.RecordBatch:
    return to_batch(records, [f"r{n}" for n in range(len(records))])


def done(step: Any, *records: Record) -> tuple[Outcome, list[Record]]:
    (outcome,) = outcomes(step, [batch(*records)])
    made = from_batch(outcome.batch)
    for record, text in zip(made, outcome.batch.column("text").to_pylist(), strict=True):
        assert text_view(record) == text
    return outcome, made


def has_parts(record: Record) -> bool:
    return any(m.parts for m in [*record.messages, *(m for c in record.candidates for m in c.messages)])


@settings(max_examples=80, deadline=None)
@given(st.lists(RECORDS, min_size=1, max_size=3), st.integers(0, 1))
def test_pieces_make_the_view_and_stand_where_they_say(records: list[Record], skip: int) -> None:
    given_batch = batch(*records).slice(skip)
    turns = Turns(given_batch)
    for row, record in enumerate(records[skip:]):
        conversation = turns.row(row)
        view = text_view(record)
        assert conversation.view() == view
        assert all(view[at : at + len(piece.text)] == piece.text for piece, at in conversation.placed() if piece.text)
    columns = turns.columns(range(len(given_batch)))
    assert all(column.equals(given_batch.column(name)) for name, column in columns.items())  # taken apart and put back


@settings(max_examples=40, deadline=None)
@given(st.lists(RECORDS, min_size=1, max_size=3), st.sampled_from(["tag", "mask", "hash", "fake"]))
def test_personal_data_goes_from_every_turn_and_a_second_run_changes_nothing(records: list[Record], action: str) -> None:
    step = PersonalData(**dict.fromkeys(TYPES, action))  # type: ignore[arg-type]
    outcome, made = done(step, *records)
    kept = [r for n, r in enumerate(made) if n not in outcome.unreadable]
    if not kept:
        return
    again, same = done(step, *kept)
    assert same == kept and not again.unreadable
    if action != "fake":  # parts of one content are read as one text: what lies at their seam may be no address
        assert not [t for r in kept if not has_parts(r) for t in ("a@b.de", "AKIAIOSFODNN7EXAMPLE") if t in text_view(r)]


def test_personal_data_in_every_kind_of_piece() -> None:
    call = ToolCall("send", '{"to": "a@b.de", "body": "Hi,\\nx@y.org", "phone": 5417543010}')
    parts = [{"type": "text", "text": "look, c@d.fr"}, {"type": "image", "url": "i.png"}, " or e@f.it"]
    record = Record(
        [
            Message("user", "I am jane@x.org and jane@x.org", spans=[Span(0, 4, 1.0), Span(7, 10, 0.5), Span(15, 20, 0.0)]),
            Message("assistant", None, "ask a@b.de?", [call]),
            Message("user", parts=parts, spans=[Span(0, 4, 1.0), Span(16, 22, 0.0)]),
        ],
        [Candidate([Message("assistant", "no one")], rank=0, tokens=2), Candidate([Message("assistant", "jane@x.org")], rank=1, tokens=4)],
        source="chat",
    )
    outcome, (made, untouched) = done(PersonalData(), record, Record([Message("user", "hello")]))
    first, second, third = made.messages
    assert first.content == "I am <EMAIL> and <EMAIL>"
    assert first.spans == [Span(0, 4, 1.0), Span(5, 12, 0.5), Span(12, 17, 0.0)]
    assert second.reasoning == "ask <EMAIL>?" and second.tool_calls is not None
    assert second.tool_calls[0].arguments == '{"to": "<EMAIL>", "body": "Hi,\\n<EMAIL>", "phone": "<PHONE>"}'
    assert third.parts == [{"type": "text", "text": "look, <EMAIL>"}, parts[1], " or <EMAIL>"]
    assert third.spans == [Span(0, 4, 1.0), Span(17, 24, 0.0)]
    assert [(c.messages[0].content, c.rank, c.tokens) for c in made.candidates] == [("no one", 0, 2), ("<EMAIL>", 1, None)]
    assert outcome.counts == {"chat": {"email": 8, "phone": 1}}
    assert untouched == Record([Message("user", "hello")], id="r1")


def test_fakes_are_one_for_turns_and_texts_and_the_turn_before_is_context() -> None:
    chat = Record([Message("user", "Your phone?"), Message("assistant", "5417543010"), Message("user", "a@b.de")])
    text = "Your phone?\n\n5417543010\n\na@b.de"
    for action in ("fake", "hash", "mask"):
        step = PersonalData(email=action, phone=action)  # type: ignore[arg-type]
        outcome, (made,) = done(step, chat)
        assert (
            outcome.batch.column("text").to_pylist()
            == run_step(step, pa.table({"text": pa.array([text], pa.large_string())})).column("text").to_pylist()
        )
        assert made.messages[0].content == "Your phone?" and made.messages[1].content != "5417543010" and made.messages[2].content != "a@b.de"  # fmt: skip


def test_what_crosses_turns_is_written_in_each() -> None:
    key = f"-----BEGIN PRIVATE KEY-----\n{'MIIEowIB' * 9}"
    chat = Record([Message("user", key), Message("assistant", f"{'QEAabcdx' * 9}\n-----END PRIVATE KEY----- fine")])
    outcome, (made,) = done(PersonalData(), chat)
    assert [m.content for m in made.messages] == ["<KEY>", "<KEY> fine"]
    assert outcome.counts == {"": {"key": 1}}


def test_arguments_that_would_be_no_json_leave_the_row_as_it_is_and_are_told() -> None:
    calls = ['{"a": -41}', '{"a": "b"}', '{"a": "\\\\n"}', "no JSON: 41"]
    turns = Turns(batch(*(Record([Message("assistant", "41", tool_calls=[ToolCall("f", a)])]) for a in calls)))
    start = len("41\n\n")
    assert turns.rewrite(0, [(0, 2), (start + 7, start + 9)], lambda n, old: "x") == ("", [])
    assert turns.row(0).view() == '41\n\n{"a": -41}' and turns.broken == {0: BROKEN}
    assert turns.rewrite(1, [(0, 2), (start + 6, start + 9)], lambda n, old: f"<{n}>") == ('<0>\n\n{"a": "<1>"}', [0, 1])
    assert turns.rewrite(2, [(start + 9, start + 10)], lambda n, old: "N") == ('41\n\n{"a": "\\\\N"}', [0])  # n behind an escaped backslash
    assert turns.rewrite(3, [(start + 9, start + 11)], lambda n, old: "x") == ("41\n\nno JSON: x", [0])
    assert list(turns.broken) == [0]


def test_rows_that_can_not_be_rewritten_are_quarantined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.steps.turns._is_json", lambda text: "<" not in text)
    call = Record([Message("assistant", None, tool_calls=[ToolCall("f", '{"to": "a@b.de"}')])])
    outcome, made = done(PersonalData(), call, Record([Message("user", "a@b.de")]))
    assert outcome.unreadable == {0: BROKEN} and made[0].messages == call.messages
    assert made[1].messages[0].content == "<EMAIL>"


def test_dropping_looks_at_the_whole_row_and_leaves_it_as_it_is() -> None:
    both = Record([Message("user", "a@b.de"), Message("assistant", "AKIAIOSFODNN7EXAMPLE")])
    outcome, (made,) = done(PersonalData(email="tag", key="drop_document"), both)
    assert outcome.verdict is not None and outcome.verdict.reason.to_pylist() == ["pii.key"]
    assert [m.content for m in made.messages] == ["a@b.de", "AKIAIOSFODNN7EXAMPLE"]


def test_spans_of_what_is_only_listed_lie_in_the_new_view() -> None:
    chat = Record([Message("user", "jane.long@example.org"), Message("assistant", "ping 8.8.8.8")])
    outcome, _ = done(PersonalData(email="tag", ip="annotate"), chat)
    (span,) = outcome.batch.column("pii_spans").to_pylist()[0]
    assert outcome.batch.column("text")[0].as_py()[span["start"] : span["end"]] == "8.8.8.8"


def test_text_that_is_not_the_view_and_other_turns_are_refused() -> None:
    rows = batch(Record([Message("user", "a@b.de")]))
    changed = rows.set_column(1, "text", pa.array(["see a@b.de"], pa.large_string()))
    with pytest.raises(StepError, match="conversation 'r0' is not that of its turns"):
        outcomes(PersonalData(), [changed])
    odd = pa.record_batch({"text": pa.array(["a@b.de"], pa.large_string()), "messages": pa.array([["a@b.de"]])})
    with pytest.raises(StepError, match="`mode: annotate`"):
        outcomes(PersonalData(), [odd])
    assert outcomes(PersonalData(email="annotate"), [odd])[0].batch.column("text").to_pylist() == ["a@b.de"]


def test_edits() -> None:
    edits = [Edit(2, 4, "xyz"), Edit(6, 7, "")]
    assert edited("abcdefgh", edits) == "abxyzefh"
    assert [moved(place, edits, False) for place in range(9)] == [0, 1, 2, 2, 5, 6, 7, 7, 8]
    assert [moved(place, edits, True) for place in range(9)] == [0, 1, 2, 5, 5, 6, 7, 7, 8]


@pytest.fixture
def step(tmp_path: Path) -> Any:
    (tmp_path / "hens.jsonl").write_text(json.dumps({"question": QUESTION}))
    return lambda **fields: Decontaminate(
        **{"against": str(tmp_path / "hens.jsonl"), "mode": "cut", "margin": 0, "min_kept": None, **fields}
    )


def test_cut_reaches_turns_and_the_margin_ends_with_them(step: Any) -> None:
    turn = f"Vor \u00fc. {QUESTION[:-1]} \u4e2d nach"
    record = Record(
        [Message("system", QUESTION), Message("user", OTHER), Message("user", turn, spans=[Span(0, 6, 1.0), Span(8, 20, 0.5), Span(len(turn) - 4, len(turn), 0.0)]), Message("user", OTHER)],
        [Candidate([Message("assistant", OTHER)], rank=0), Candidate([Message("assistant", parts=[QUESTION[:60], QUESTION[60:], " So?"])], rank=1)],
    )  # fmt: skip
    outcome, (made, other, text) = done(step(), record, Record([Message("user", OTHER)]), Record(text=f"{OTHER} {QUESTION}", plain=True))
    assert outcome.verdict is not None and outcome.verdict.reason.to_pylist() == [None, None, None]
    assert [m.content for m in made.messages] == ["?", OTHER, "Vor \u00fc.\n\u4e2d nach", OTHER]
    assert made.messages[2].spans == [Span(0, 6, 1.0), Span(6, 7, 0.5), Span(9, 13, 0.0)]
    assert made.candidates[0].messages[0].content == OTHER and made.candidates[1].messages[0].parts == ["", "?", " So?"]
    assert other.messages[0].content == OTHER and text.text == f"{OTHER}\n?"
    _, (made,) = done(step(margin=1000), record)
    assert [m.content for m in made.messages] == ["", OTHER, "", OTHER]


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ([Message("user", QUESTION), Message("assistant", OTHER)], "turn_cut_away"),
        ([Message("user", "Well: " + QUESTION), Message("assistant", OTHER), Message("user", "?")], None),
        ([Message("user", OTHER), Message("assistant", QUESTION[:-1])], "turn_cut_away"),
        ([Message("user", OTHER), Message("assistant", None, QUESTION[:-1])], "turn_cut_away"),
        ([Message("user", OTHER), Message("assistant", OTHER, QUESTION[:-1])], None),
        ([Message("system", QUESTION[:-1]), Message("user", OTHER)], None),
        ([Message("user", OTHER), Message("assistant", OTHER, tool_calls=[ToolCall("f", json.dumps({"q": QUESTION}))])], "turn_cut_away"),
        ([Message("user", "Hm: " + QUESTION)], "too_short_after_cut"),
    ],
)
def test_cut_drops_rows_that_lose_a_turn(step: Any, turns: list[Message], reason: str | None) -> None:
    outcome, _ = done(step(min_kept=6), Record(turns))
    assert outcome.verdict is not None
    assert outcome.verdict.reason.to_pylist() == [None if reason is None else f"decontaminate.{reason}"]
    assert reason is None or f"decontaminate.{reason}" in step().drops()
