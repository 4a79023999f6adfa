"""Over-long rows lose whole exchanges or go; packing keeps documents apart; blending keeps shares."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import curate
from curate.context import WorkContext
from curate.errors import DataError, RecipeError
from curate.node import NodeInput
from formats.blending import BlendNode
from formats.candidate_lengths import Fitted, Limits, fit, split
from formats.lengths import histogram, shortened, summary, svg_plot, text_plot
from formats.packing import cu_seqlens, joined, pack
from formats.records import Candidate, Message, Record
from formats.rendered import Rows
from formats.templates.rendering import Refused, Renderer, Row, Settings
from tests.formats.templates.pairs import IM, PLAIN, byte_bpe, own


def talk(exchanges: int, system: bool = True) -> list[Message]:
    turns = [Message(("user", "assistant")[n % 2], f"turn {n} says it") for n in range(2 * exchanges)]
    return [Message("system", "Be kind."), *turns] if system else turns


def size(messages: list[Message]) -> int:
    return 10 * len(messages)


def test_policies_cut_at_turns() -> None:
    turns = talk(4)  # 9 turns, 90 tokens
    assert shortened(turns, size, 70, "drop") is None
    assert shortened(turns, size, 70, "cut_turns") == turns[:7]
    assert shortened(turns, size, 69, "cut_turns") == turns[:5]
    assert shortened(turns, size, 70, "keep_end") == [turns[0], *turns[3:]]
    assert shortened(turns, size, 30, "keep_end") == [turns[0], *turns[7:]]
    assert shortened(turns, size, 29, "keep_end") is None and shortened(turns, size, 29, "cut_turns") is None
    assert shortened(talk(1), size, 20, "keep_end") is None  # the last question and its answer are never cut
    prompt = talk(2)[:-1]
    assert shortened(prompt, size, 20, "keep_end", answered=False) == [prompt[0], prompt[-1]]
    assert shortened(prompt, size, 20, "cut_turns", answered=False) is None


def test_results_of_calls_go_with_their_question() -> None:
    turns = [Message("user", "a"), Message("assistant", None), Message("tool", "r"), Message("assistant", "b"), *talk(1, False)]
    assert shortened(turns, size, 50, "keep_end") == turns[4:]
    assert shortened(turns, size, 50, "cut_turns") == turns[:4]


@pytest.mark.parametrize("policy", ["drop", "cut_turns", "keep_end"])
def test_no_row_loses_its_stop_token_and_everything_is_counted(policy: Any) -> None:
    chat = own(PLAIN)
    records = [Record(talk(n)) for n in range(1, 9)] + [Record([Message("user", "q"), Message("assistant", "long " * 300)])]
    rows = Rows(Renderer(chat), 200, policy)
    made = rows.all(records)
    counts = rows.counts
    assert counts.rows + counts.dropped.total() == counts.parts == 9
    assert counts.dropped["too_long"] == (1 if policy != "drop" else counts.dropped.total())
    stop = chat.tokenizer.token_to_id("<|im_end|>")
    for _, row, _ in made:
        if isinstance(row, Row):
            assert len(row.ids) <= 200 and [i for i, t in zip(row.ids, row.trained, strict=True) if t][-1] == stop
    assert counts.turns_cut == sum(row.turns_cut for _, row, _ in made if isinstance(row, Row))
    assert (counts.turns_cut > 0) == (policy != "drop") and counts.tokens == sum(counts.lengths)


@settings(deadline=None)
@given(st.lists(st.integers(1, 60), max_size=80), st.integers(60, 100))
def test_packing_holds_every_row_once_and_fits(lengths: list[int], capacity: int) -> None:
    done = pack(lengths, capacity)
    assert sorted(n for one in done.bins for n in one) == list(range(len(lengths)))
    used = [sum(lengths[n] for n in one) for one in done.bins]
    assert all(u <= capacity for u in used)
    assert len(done.bins) == naive(lengths, capacity)
    assert sum(u <= capacity // 2 for u in used) <= 1  # two half-empty sequences would have been one


def naive(lengths: list[int], capacity: int) -> int:
    """Best-fit decreasing, written plainly: number of sequences."""
    rooms: list[int] = []
    for length in sorted(lengths, reverse=True):
        fitting = [r for r in rooms if r >= length]
        if fitting:
            rooms[rooms.index(min(fitting))] -= length
        else:
            rooms.append(capacity - length)
    return len(rooms)


def test_packed_documents_are_told_apart() -> None:
    made = joined([(np.array([1, 2, 3]), np.array([-100, 2, 3])), (np.array([4, 5]), np.array([4, 5]))])
    assert made["input_ids"].tolist() == [1, 2, 3, 4, 5] and made["position_ids"].tolist() == [0, 1, 2, 0, 1]
    assert made["labels"].tolist() == [-100, 2, 3, -100, 5]  # the first token of a document is not predicted from the one before
    assert made["seq_lengths"].tolist() == [3, 2] and cu_seqlens(made["seq_lengths"]).tolist() == [0, 3, 5]
    with pytest.raises(DataError, match="row 1 has 9 tokens"):
        pack([3, 9], 8)
    with pytest.raises(DataError, match="row 0 has no tokens"):
        pack([0], 8)


def test_statistics() -> None:
    lengths = [1, 2, 3, 4, 100]
    assert summary(lengths) == {"rows": 5, "tokens": 110, "mean": 22.0, "min": 1, "p50": 3, "p90": 100, "p95": 100, "p99": 100, "max": 100}
    assert histogram(lengths) == [(0, 2, 1), (2, 4, 2), (4, 8, 1), (8, 16, 0), (16, 32, 0), (32, 64, 0), (64, 128, 1)]
    assert len(text_plot(lengths)) == 7 and svg_plot("<x>", lengths).count("<rect") == 7 and "&lt;x&gt;" in svg_plot("<x>", lengths)
    assert summary([]) == {} and text_plot([]) == []


def given_input(folder: Path, name: str, rows: int) -> NodeInput:
    path = folder / f"{name}.parquet"
    pq.write_table(pa.table({"id": [f"{name}{n}" for n in range(rows)]}), path)
    return NodeInput(name, str(folder), (str(path),), "", rows)


def blend(folder: Path, node: BlendNode, inputs: dict[str, NodeInput], seed: int = 1) -> list[dict[str, Any]]:
    folder.mkdir()
    node.run(inputs, folder, WorkContext(seed), lambda share, what: None)
    return pq.read_table(folder / "part-00000.parquet").to_pylist()


def test_blending_keeps_the_shares_at_every_point(tmp_path: Path) -> None:
    inputs = {"a": given_input(tmp_path, "a", 100), "b": given_input(tmp_path, "b", 30)}
    node = BlendNode(stages=[{"rows": 100, "weights": {"a": 3, "b": 1}}, {"rows": 20, "weights": {"b": 1}}], max_epochs={"b": 2})
    rows = blend(tmp_path / "one", node, inputs)
    ids = [r["id"] for r in rows]
    assert len(rows) == 120 and [r["blend_stage"] for r in rows] == [0] * 100 + [1] * 20
    for n in range(1, 101):
        assert abs(sum(i.startswith("a") for i in ids[:n]) - 0.75 * n) <= 1
    assert len({i for i in ids if i.startswith("a")}) == 75
    b = [i for i in ids if i.startswith("b")]
    assert len(set(b[:30])) == 30 and len(b) == 45  # each once before any twice
    assert blend(tmp_path / "two", node, inputs) == rows and blend(tmp_path / "three", node, inputs, seed=2) != rows
    assert node.forecast(inputs, True) == ["a: 75 of 100 rows, 0.75 epochs", "b: 45 of 30 rows, 1.50 epochs"]


def test_blending_refuses_what_is_too_short(tmp_path: Path) -> None:
    inputs = {"a": given_input(tmp_path, "a", 5)}
    with pytest.raises(DataError, match=r"a has 5 rows and is needed 6 times.*max_epochs: \{a: 2\}"):
        blend(tmp_path / "out", BlendNode(stages=[{"rows": 6, "weights": {"a": 1}}]), inputs)
    with pytest.raises(ValueError, match="no stage has a weight"):
        BlendNode(stages=[{"rows": 6, "weights": {"a": 1}}], max_epochs={"z": 1})


def measured(record: Record) -> list[tuple[int, int]]:
    sides = split(Renderer(own(PLAIN), Settings("completion")), record, record.messages, record.candidates)
    assert not isinstance(sides, Refused)
    return [(len(p), len(a)) for p, a in sides]


def test_pairs_are_cut_alike_and_keep_their_stop_tokens() -> None:
    chat = own(PLAIN)
    renderer, stop = Renderer(chat, Settings("completion")), chat.tokenizer.token_to_id("<|im_end|>")
    long = "One sentence here. Another one! ```\ncode. More\n```\nA line\nThe last words of it"
    pair = Record(talk(3)[:-1], [Candidate([Message("assistant", long)], rank=0), Candidate([Message("assistant", "Short.")], rank=1)])
    (prompt, chosen), (_, rejected) = measured(pair)

    def fitted(*given: Any) -> Fitted | Refused:
        return fit(renderer, pair, Limits(*given))

    same = fitted(prompt + chosen, prompt, chosen)
    assert isinstance(same, Fitted) and same.record is pair and (same.turns_cut, same.answers_cut) == (0, 0)
    for limits, reason in (
        ((prompt + chosen - 1,), "too_long"),
        ((None, prompt - 1), "prompt_too_long"),
        ((None, None, chosen - 1), "answer_too_long"),
        ((chosen - 1, None, None, "keep_end"), "prompt_too_long"),
        ((None, None, 1, "drop", "cut"), "answer_too_long"),
    ):
        refused = fitted(*limits)
        assert isinstance(refused, Refused) and refused.reason == reason, limits
    less = fitted(prompt + chosen - 1, None, None, "keep_end")
    assert isinstance(less, Fitted) and less.turns_cut == 2 and less.record.messages == [pair.messages[0], *pair.messages[3:]]
    assert less.record.candidates == pair.candidates and measured(less.record)[0][1] == chosen
    ends = ["One sentence here.", "One sentence here. Another one!", long[: long.index("```\nA") + 3], long[: long.index("A line") + 6]]
    around = chosen - len(chat.encode([long])[0].ids)
    sizes = [len(e.ids) + around for e in chat.encode(ends)]
    for room in range(max(rejected, sizes[0]), chosen):  # every budget: the longest beginning that fits, never inside code
        cut = fitted(None, None, room, "drop", "cut")
        assert isinstance(cut, Fitted) and cut.answers_cut == 1 and cut.record.candidates[1] is pair.candidates[1]
        (turn,) = cut.record.candidates[0].messages
        assert turn.content == [e for e, n in zip(ends, sizes, strict=True) if n <= room][-1]
        assert all(answer.tolist().count(stop) == 1 and len(answer) <= room for _, answer in cut.sides)
        assert cut.record.candidates[0].finish_reason == "length"
    both = fitted(prompt + chosen - 1, None, None, "drop", "cut")  # the prompt may not be shortened: the answer is
    assert isinstance(both, Fitted) and (both.turns_cut, both.answers_cut) == (0, 1)
    equal = Record(pair.messages, [Candidate([Message("assistant", "Same. " + end * 20)]) for end in ("a", "b")])
    refused = fit(renderer, equal, Limits(answer=12, long_answer="cut"))
    assert isinstance(refused, Refused) and refused.reason == "identical"


def test_a_blend_in_a_recipe_is_read_like_a_dataset(tmp_path: Path) -> None:
    """Tasks, dialogue and pretraining text: on to a written form, and to tokens and their mix."""
    save = lambda name, rows: (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))  # noqa: E731
    save("tasks.jsonl", [{"instruction": f"task {n}", "input": "", "output": "done"} for n in range(30)])
    save("talk.jsonl", [{"conversations": [{"from": "human", "value": f"hi {n}"}, {"from": "gpt", "value": "ho"}]} for n in range(30)])
    save("web.jsonl", [{"text": f"page {n} of the web"} for n in range(30)])
    byte_bpe(IM).save(str(tmp_path / "tokenizer.json"))
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        "datasets:\n  tasks: {read: {jsonl: tasks.jsonl, format: alpaca}}\n  talk: {read: {jsonl: talk.jsonl, format: sharegpt}}\n"
        "  web: {read: {jsonl: web.jsonl, format: text}}\n"
        "  train: {blend: {stages: [{rows: 20, weights: {tasks: 2, web: 2, talk: 1}}, {rows: 10, weights: {talk: 1}}]}}\n"
        "  chat: {from: train, steps: [{filter: blend_stage == 1}], write: {format: messages, into: jsonl}}\n"
        "  tokens: {from: train, steps: [{tokenize: {tokenizer: tokenizer.json, eos_token: <|endoftext|>}}]}\n"
        "  windows: {mix: {seq_len: 16, stages: [{tokens: 160, weights: {tokens: 1}}]}}\n"
    )
    manifest = curate.run(recipe, out=tmp_path / "out", workers=1).manifest["datasets"]
    assert (manifest["chat"]["rows_in"], manifest["chat"]["rows_out"], manifest["tokens"]["rows_out"]) == (30, 10, 30)
    (part,) = (tmp_path / "out" / "chat").glob("part-*")
    assert all(json.loads(line)["messages"][0]["content"].startswith("hi ") for line in part.read_text().splitlines())
    recipe.write_text(recipe.read_text().replace("blend_stage ==", "blend_stag =="))
    with pytest.raises(RecipeError, match="blend_stage"):
        curate.load_recipe(recipe)
