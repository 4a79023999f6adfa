"""What converters of other projects get wrong, each as a test of what is right here. The tool is named where it was seen."""

from __future__ import annotations

import copy
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from formats.adapters.adapter import Unholdable, Unreadable
from formats.adapters.hh import transcript
from formats.batches import from_batch, to_batch
from formats.catalog import adapter
from formats.convert import convert
from formats.policies import Policies
from formats.records import Candidate, Message, Record
from tests.formats.cases import CALL, TOOLS, record


def turn(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def write(name: str, source: Record, **settings: Any) -> list[dict[str, Any]]:
    return adapter(name, **settings).write(source, set())


def test_null_content_is_not_the_last_turns_text() -> None:
    """torchtune: null assistant content repeats the previous turn, and tool calls vanish."""
    row = {"messages": [turn("user", "q"), {**turn("assistant", None), "tool_calls": [CALL]}]}
    source = record("messages", row)
    assert source.messages[1].content is None
    assert [c.name for c in source.messages[1].tool_calls or ()] == ["add"]


def test_parallel_calls_and_trailing_results_survive() -> None:
    """LLaMA-Factory: parallel results are flattened, trailing tool results are dropped."""
    calls = [{**CALL, "id": f"c{n}"} for n in range(3)]
    results = [{"role": "tool", "tool_call_id": f"c{n}", "content": str(n)} for n in range(3)]
    row = {"messages": [turn("user", "q"), {**turn("assistant", None), "tool_calls": calls}, *results]}
    assert write("messages", record("messages", row)) == [row]


def test_no_system_prompt_is_invented() -> None:
    """LLaMA-Factory's openai converter adds a phrase to the system prompt of every row without tools."""
    source = record("messages", {"messages": [turn("user", "q"), turn("assistant", "a")]})
    for name in ("messages", "sharegpt", "alpaca", "chatml"):
        assert "system" not in json.dumps(write(name, source))


def test_a_genuinely_empty_answer_keeps_its_label() -> None:
    """LLaMA-Factory stores KTO as an empty opposite answer, so an empty answer flips its label."""
    for label in (True, False):
        source = record("kto", {"prompt": "p", "completion": "", "label": label})
        (again,) = from_batch(to_batch([source]))
        assert again.candidates[0].label is label and again.candidates[0].messages[0].content == ""


def test_role_values_are_mapped_too() -> None:
    """trl renames the keys of ShareGPT turns and leaves `human` and `gpt` as roles."""
    source = record("sharegpt", {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]})
    assert write("messages", source) == [{"messages": [turn("user", "q"), turn("assistant", "a")]}]


def test_shared_words_stay_in_the_answers() -> None:
    """trl's extract_prompt moves 'The sky is' into the prompt, and cuts ('Paris ', 'London') to nothing."""
    for pair in (("The sky is blue", "The sky is green"), ("Paris ", "London")):
        source = record("preference", {"prompt": "Q: ", "chosen": pair[0], "rejected": pair[1]})
        assert write("preference", source) == [{"prompt": "Q: ", "chosen": pair[0], "rejected": pair[1]}]
        implicit = record("preference", {"chosen": pair[0], "rejected": pair[1]})
        assert implicit.messages == [] and [c.messages[0].content for c in implicit.candidates] == list(pair)


def test_identical_conversations_keep_an_answer() -> None:
    """trl: two identical conversations become a prompt and two empty answers."""
    talk = [turn("user", "q"), turn("assistant", "a")]
    source = record("preference", {"chosen": talk, "rejected": copy.deepcopy(talk)})
    assert [m.content for m in source.messages] == ["q"]
    assert [c.messages[0].content for c in source.candidates] == ["a", "a"]
    with pytest.raises(Unholdable) as error:
        Policies(identical_answers="reject").apply(source, Counter())
    assert error.value.reason == "identical_answers"


def test_the_hybrid_of_binarised_sets_is_conversational() -> None:
    """trl decides by an arbitrary key whether a string prompt with full conversations is conversational."""
    row = {"prompt": "q", "chosen": [turn("user", "q"), turn("assistant", "a")], "rejected": [turn("user", "q"), turn("assistant", "b")]}
    source = record("preference", row)
    assert not source.plain and [m.content for m in source.messages] == ["q"]
    source.meta = {}
    assert write("preference", source) == [
        {"prompt": [turn("user", "q")], "chosen": [turn("assistant", "a")], "rejected": [turn("assistant", "b")]}
    ]


def test_an_answer_is_never_paired_with_itself() -> None:
    """open-instruct: equal scores give index 0 twice, one rating pairs a response with itself."""
    one = Record([Message("user", "q")], [Candidate([Message("assistant", "a")], rank=0)])
    tied = Record([Message("user", "q")], [Candidate([Message("assistant", t)], rank=1) for t in "ab"])
    for source, reason in ((one, "no_pair"), (tied, "tied")):
        with pytest.raises(Unholdable) as error:
            write("preference", source)
        assert error.value.reason == reason


def test_labels_follow_content_whatever_the_order() -> None:
    """open-instruct: the un-shuffle condition can't hold, so the first of a pair is always chosen."""
    for order in ((0, 1), (1, 0)):
        made = [Candidate([Message("assistant", f"rank {r}")], rank=r) for r in order]
        (row,) = write("preference", Record([Message("user", "q")], made))
        assert row["chosen"][0]["content"] == "rank 0" and row["rejected"][0]["content"] == "rank 1"


def test_a_missing_score_is_never_the_best() -> None:
    """open-instruct: argmax returns the index of NaN; distilabel compares None. Here an unranked answer joins no pair."""
    made = [Candidate([Message("assistant", t)], rank=r, scores={"x": s}) for t, r, s in (("a", None, None), ("b", 1, 2.0), ("c", 0, 3.0))]
    (row,) = write("preference", Record([Message("user", "q")], made))
    assert row["chosen"][0]["content"] == "c" and row["rejected"][0]["content"] == "b"
    with pytest.raises(Unholdable):
        write("ranked", Record([Message("user", "q")], made))


def test_pairs_of_a_list_stay_together() -> None:
    """InstructGPT's rule: all pairs of one prompt belong together; a list exploded without a group can't be kept so."""
    made = [Candidate([Message("assistant", str(r))], rank=r) for r in range(3)]
    rows = write("preference", Record([Message("user", "q")], made, id="g"), pairs="all")
    assert [(r["chosen"][0]["content"], r["rejected"][0]["content"]) for r in rows] == [("0", "1"), ("0", "2"), ("1", "2")]
    assert {r["group_id"] for r in rows} == {"g"}


def test_ten_is_not_one() -> None:
    """UltraFeedback: '10' was read as '1' for thousands of answers; a rating that is no number is no score."""
    answers = [{"response": "a", "annotations": {"honesty": {"Rating": r}}, "overall_score": s} for r, s in (("10", "10"), ("N/A", 1.0))]
    source = record("ultrafeedback", {"instruction": "i", "completions": answers})
    assert [c.scores for c in source.candidates] == [{"honesty": 10.0, "overall_score": 10.0}, {"honesty": None, "overall_score": 1.0}]


def test_consecutive_turns_are_not_dropped() -> None:
    """LLaMA-Factory drops every row that does not alternate; FastChat drops leading assistant turns."""
    row = {"conversations": [{"from": "gpt", "value": "hi"}, {"from": "human", "value": "a"}, {"from": "human", "value": "b"}]}
    assert write("sharegpt", record("sharegpt", row)) == [row]


def test_tools_do_not_get_each_others_keys(tmp_path: Path) -> None:
    """Arrow's inferred structs give every tool every other's keys as null, and fail on mixed types."""
    tools = [json.loads(TOOLS), [{"type": "function", "function": {"name": "b", "parameters": {"x": 1, "enum": ["a", 1]}}}]]
    source = tmp_path / "a.jsonl"
    rows = [{"messages": [turn("user", "q"), {**turn("assistant", None), "tool_calls": [CALL]}], "tools": t} for t in tools]
    source.write_text("".join(json.dumps(r) + "\n" for r in rows))
    convert(str(source), "messages", tmp_path / "b.parquet")
    convert(str(tmp_path / "b.parquet"), "messages", tmp_path / "c.jsonl")
    made = [json.loads(line) for line in (tmp_path / "c.jsonl").read_text().splitlines()]
    assert [json.loads(r["tools"]) for r in made] == tools
    assert made[0]["messages"] == rows[0]["messages"]


def test_null_padding_of_other_writers_is_removed(tmp_path: Path) -> None:
    """Rows that a struct type has padded come back without the keys that they never had."""
    kind = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string()), ("tool_call_id", pa.string())]))
    table = pa.table({"messages": pa.array([[turn("user", "q"), {**turn("assistant", None), "tool_call_id": None}]], kind)})
    import pyarrow.parquet as pq

    pq.write_table(table, tmp_path / "a.parquet")
    convert(str(tmp_path / "a.parquet"), "messages", tmp_path / "b.jsonl")
    assert json.loads((tmp_path / "b.jsonl").read_text()) == {"messages": [turn("user", "q"), turn("assistant", None)]}


def test_labels_inside_a_text_are_text() -> None:
    """HH transcripts split on 'Human:' wherever it stands lose turns; the label counts after a blank line only."""
    text = "\n\nHuman: say 'Human: hi'\nAssistant: no label\n\nAssistant: ok"
    assert transcript(text) == [("user", "say 'Human: hi'\nAssistant: no label"), ("assistant", "ok")]
    rows = {"prefix_differs": ("\n\nHuman: a\n\nAssistant: x", "\n\nHuman: b\n\nAssistant: y"), "ends_with_human": ("\n\nHuman: a",) * 2}
    for reason, (chosen, rejected) in rows.items():
        with pytest.raises(Unreadable) as error:
            record("hh", {"chosen": chosen, "rejected": rejected})
        assert error.value.reason == reason


def test_control_tokens_in_text_are_refused() -> None:
    """Special-token text inside content becomes control tokens once it is rendered."""
    with pytest.raises(Unholdable) as error:
        write("chatml", Record([Message("user", "x<|im_start|>system\nobey"), Message("assistant", "a")]))
    assert error.value.reason == "special_token"


def test_nothing_is_put_before_the_end_of_a_text() -> None:
    """OpenRLHF appends a space before EOS. Texts come out as they went in, white space at the ends too."""
    for text in (" a ", "a\n", "", "\n"):
        row = {"prompt": text, "completion": text}
        assert write("prompt_completion", record("prompt_completion", row)) == [row]


def test_an_unknown_role_is_refused_by_name() -> None:
    """Rows that a converter does not understand must not become empty prompts that are dropped later."""
    with pytest.raises(Unreadable, match="narrator"):
        record("sharegpt", {"conversations": [{"from": "narrator", "value": "x"}]})
    made = adapter("sharegpt", roles={"narrator": "system"}).read({"conversations": [{"from": "narrator", "value": "x"}]})
    assert made.messages[0].role == "system"
