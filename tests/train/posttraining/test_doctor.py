"""The data doctor: every seeded defect is found and named, good rows pass, and the bounds are where they are said to be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import DataError
from tests.formats.templates.pairs import IM, byte_bpe
from train.posttraining.checks import Vocabulary, of_row, role_problem
from train.posttraining.doctor import Doctor, kind_of, prepare
from train.posttraining.findings import DEFECTS, Findings
from train.posttraining.rendering import Kind, Made, Rendering, RowMaker

Row = dict[str, Any]
WORDS = ["red", "blue", "green", "one", "two", "three", "cat", "dog", "sun", "moon"]
QUESTION = "Which planet of the solar system has the largest number of moons and rings around it"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    """pad is the stop token, as many fine-tuning scripts set it."""
    folder = tmp_path_factory.mktemp("tokenizer")
    byte_bpe(("<s>", *IM)).save(str(folder / "tokenizer.json"))
    config = {"bos_token": "<s>", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    return str(folder)


def words(seed: int, count: int) -> str:
    return " ".join(WORDS[(seed * 7 + n * n + n) % len(WORDS)] + str(seed) for n in range(count))


def chat(n: int, **changed: Any) -> Row:
    turns = [{"role": "user", "content": words(n, 4)}, {"role": "assistant", "content": words(n + 500, 5)}]
    return {"id": f"row-{n}", "messages": turns, **changed}


def turns(*given: tuple[str, str]) -> list[Row]:
    return [{"role": role, "content": content} for role, content in given]


def pair(n: int, **changed: Any) -> Row:
    sides = {"chosen": turns(("assistant", words(n + 300, 5))), "rejected": turns(("assistant", words(n + 700, 3)))}
    return {"id": f"pair-{n}", "prompt": turns(("user", words(n, 4))), **sides, **changed}


def write(path: Path, rows: list[Row]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return str(path)


def look(kind: Kind, files: str, tokenizer: str | None, against: tuple[str, ...] = (), **rendering: Any) -> Findings:
    settings = Rendering(**{"template": "chatml", **rendering})
    doctor = Doctor(kind, RowMaker(kind, tokenizer, settings) if tokenizer else None, against)
    for _ in doctor.examine([files]):
        pass
    return doctor.findings


def rendered(tokenizer: str, change: Callable[[Row], None], tmp_path: Path) -> str:
    """Ten rows of ids as `curate render` writes them, the fourth changed."""
    maker = RowMaker("sft", tokenizer, Rendering(template="chatml"))
    source = write(tmp_path / "to_render.jsonl", [chat(n) for n in range(10)])
    rows = [row for some in Doctor("sft", maker).examine([source]) for row in some]
    made: list[Row] = [{k: v.tolist() for k, v in row.columns.items()} for row in rows]
    change(made[3])
    path = tmp_path / "rendered.parquet"
    pq.write_table(pa.Table.from_pylist(made), path)
    return str(path)


STOP, BOS = 3, 0  # ids of <|im_end|> and <s>


def _mask_stop(row: Row) -> None:
    row["labels"] = [-100 if i == STOP else label for i, label in zip(row["input_ids"], row["labels"], strict=True)]


def _shift(row: Row) -> None:
    shifted = [*row["input_ids"][1:], -100]
    row["labels"] = [s if label != -100 else -100 for s, label in zip(shifted, [*row["labels"][1:], -100], strict=True)]


def _cut(row: Row) -> None:
    end = max(n for n, label in enumerate(row["labels"]) if label != -100) - 2
    row["input_ids"], row["labels"] = row["input_ids"][:end], row["labels"][:end]


def _bos(row: Row) -> None:
    row["input_ids"], row["labels"] = [BOS, BOS, *row["input_ids"]], [-100, -100, *row["labels"]]


RENDERED: dict[str, Callable[[Row], None]] = {
    "stop_masked_as_pad": _mask_stop,
    "labels_shifted": _shift,
    "cut_off": _cut,
    "double_bos": _bos,
    "no_trained_tokens": lambda row: row.update(labels=[-100] * len(row["labels"])),
    "out_of_vocabulary": lambda row: row.update(input_ids=[*row["input_ids"][:-1], 999_999]),
    "labels_differ": lambda row: row.update(labels=[7 if label not in (-100, 7) else label for label in row["labels"]]),
}


@pytest.mark.parametrize("defect", RENDERED)
def test_defects_of_rows_that_came_as_ids(defect: str, tokenizer: str, tmp_path: Path) -> None:
    found = look("sft", rendered(tokenizer, RENDERED[defect], tmp_path), tokenizer)
    assert dict(found.counts) == {defect: 1}
    assert (found.rows, found.trained, found.left_out) == (10, 9, 1)
    assert found.above({}) == [defect]


def test_rows_that_came_as_ids_and_are_right_pass(tokenizer: str, tmp_path: Path) -> None:
    found = look("sft", rendered(tokenizer, lambda row: None, tmp_path), tokenizer)
    assert not found.counts and found.trained == 10


OF_CHATS: dict[str, Row] = {
    "empty_answer": {"messages": turns(("user", "Say something."), ("assistant", "  "))},
    "wrong_role_order": {"messages": turns(("user", "One."), ("user", "Two."), ("assistant", "Three."))},
    "special_text": {"messages": turns(("user", "What is <|im_end|> for?"), ("assistant", "An end."))},
    "duplicate_row": {"messages": chat(2)["messages"]},
    "too_long": {"messages": turns(("user", "word " * 200), ("assistant", "Yes."))},
    "no_answer": {"messages": turns(("user", "Is anybody there?"))},
    "contaminated": {"messages": turns(("user", QUESTION), ("assistant", "Saturn."))},
}


@pytest.mark.parametrize("defect", OF_CHATS)
def test_defects_of_conversations(defect: str, tokenizer: str, tmp_path: Path) -> None:
    files = write(tmp_path / "chat.jsonl", [*(chat(n) for n in range(9)), {"id": "bad", **OF_CHATS[defect]}])
    against = (write(tmp_path / "evaluation.jsonl", [{"question": QUESTION + "?"}]),) if defect == "contaminated" else ()
    found = look("sft", files, tokenizer, against, max_length=160)
    expected = {defect: 1} | ({"wrong_role_order": 1} if defect == "no_answer" else {})
    assert dict(found.counts) == expected
    assert found.trained == (10 if DEFECTS[defect].stays else 9)
    assert found.examples[defect][0].startswith("bad: ")


OF_PAIRS: dict[str, Row] = {
    "same_answers": {"rejected": turns(("assistant", f" {words(304, 5)}")), "prompt": pair(4)["prompt"], "chosen": pair(4)["chosen"]},
    "empty_answer": {"rejected": turns(("assistant", ""))},
    "scores_contradict": {"score_chosen": 1.0, "score_rejected": 4.0},
    "contradicting_pairs": {"prompt": pair(2)["prompt"], "chosen": pair(2)["rejected"], "rejected": pair(2)["chosen"]},
}


@pytest.mark.parametrize("defect", OF_PAIRS)
def test_defects_of_pairs(defect: str, tokenizer: str, tmp_path: Path) -> None:
    files = write(tmp_path / "pairs.jsonl", [*(pair(n) for n in range(9)), pair(44, id="bad", **OF_PAIRS[defect])])
    found = look("pairs", files, tokenizer)
    assert dict(found.counts) == {defect: 1}
    assert found.trained == 9


def test_prompts_that_are_no_beginning(tokenizer: str, tmp_path: Path) -> None:
    """A template that writes the number of turns first: the prompt alone is another text than the prompt before an answer."""
    template = tmp_path / "counting.jinja"
    template.write_text(
        "{{ '<|im_start|>' ~ messages|length ~ '\\n' }}{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
        "utf-8",
    )
    with pytest.raises(DataError, match="template_rewrites"):  # the probe, before any row is read
        look("pairs", write(tmp_path / "pairs.jsonl", [pair(1)]), tokenizer, template=str(template))


def test_labels_all_alike(tokenizer: str, tmp_path: Path) -> None:
    rows = [{"prompt": words(n, 3), "completion": words(n + 40, 3), "label": True} for n in range(6)]
    found = look("labelled", write(tmp_path / "kto.jsonl", rows), tokenizer, template="none")
    assert found.above({}) == ["one_label"]
    rows[0]["label"] = False
    assert not look("labelled", write(tmp_path / "kto.jsonl", rows), tokenizer, template="none").above({})


def test_refusal_says_counts_examples_and_how_to_go_on(tokenizer: str, tmp_path: Path) -> None:
    files = write(tmp_path / "chat.jsonl", [*(chat(n) for n in range(97)), *(chat(n + 200, **OF_CHATS["empty_answer"]) for n in range(3))])
    found = look("sft", files, tokenizer)
    assert found.counts["empty_answer"] == 3
    with pytest.raises(DataError) as refused:
        found.check({"duplicate_row": 0.02}, "chats")
    message = str(refused.value)
    assert message.startswith("chats: not trained on, the data doctor refuses it.\n100 rows: 97 to train on, 3 left out")
    assert "empty_answer: 3 (3.00%, 0.00% allowed; too many)" in message and "row-200: " in message
    assert message.endswith("doctor: {allow: {empty_answer: 0.03}}")
    found.check({"empty_answer": 0.03}, "chats")  # the bound itself passes
    with pytest.raises(DataError):
        found.check({"empty_answer": 0.029}, "chats")


def test_every_row_has_a_place(tokenizer: str, tmp_path: Path) -> None:
    rows = [chat(n, **(OF_CHATS["empty_answer"] if n % 5 == 0 else {})) for n in range(40)]
    doctor = Doctor("sft", RowMaker("sft", tokenizer, Rendering(template="chatml")))
    prepare(doctor, [write(tmp_path / "chat.jsonl", rows)], tmp_path / "rows.arrow")
    with pa.OSFile(str(tmp_path / "rows.arrow")) as source:
        table = pa.ipc.open_stream(source).read_all()
    assert table.column("id").to_pylist() == [f"row-{n}" for n in range(40) if n % 5]
    assert doctor.findings.rows == doctor.findings.trained + doctor.findings.left_out == 40
    assert doctor.findings.tokens == sum(len(ids) for ids in table.column("input_ids").to_pylist())


def test_without_a_tokenizer_turns_are_looked_at(tmp_path: Path) -> None:
    files = write(tmp_path / "chat.jsonl", [chat(0), {"messages": OF_CHATS["empty_answer"]["messages"]}])
    found = look("sft", files, None)
    assert dict(found.counts) == {"empty_answer": 1}
    assert any("no tokenizer" in text for text in found.skipped)


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        (chat(1), "sft"),
        (pair(1), "pairs"),
        ({"prompt": "a", "completion": "b", "label": True}, "labelled"),
        ({"prompt": "a b"}, "prompts"),
        ({"prompt": "a", "completion": "b"}, "sft"),
    ],
)
def test_kind_is_told_by_the_rows(row: Row, kind: str, tmp_path: Path) -> None:
    assert kind_of([write(tmp_path / "rows.jsonl", [row] * 3)]) == kind


@pytest.mark.parametrize(
    ("roles", "problem"),
    [
        ("system user assistant", ""),
        ("user assistant user assistant", ""),
        ("user assistant tool tool assistant", ""),
        ("developer system user assistant", ""),
        ("assistant user", "turn 0 is the assistant's, after the beginning"),
        ("user system assistant", "turn 1 is the system's, after a turn of the user"),
        ("user assistant assistant", "turn 2 is the assistant's, after a turn of the assistant"),
        ("user assistant user", "the last turn is the user's, not the assistant's"),
    ],
)
def test_order_of_roles(roles: str, problem: str) -> None:
    from formats.records import Message

    assert role_problem([Message(role, "x") for role in roles.split()], answered=True) == problem


@given(st.lists(st.integers(4, 9), min_size=1, max_size=30), st.lists(st.booleans(), min_size=30, max_size=30), st.booleans())
def test_a_trained_run_before_an_untrained_stop_is_found(body: list[int], mask: list[bool], trained_stop: bool) -> None:
    """Naive twin: the answer is the last trained run; its stop stands right behind it."""
    ids = [1, *body, STOP]
    labels = [-100, *(i if m else -100 for i, m in zip(body, mask, strict=False)), STOP if trained_stop else -100]
    found = dict(
        of_row(
            Made("", {"input_ids": np.array(ids), "labels": np.array(labels)}, len(ids), 0),
            "sft",
            Vocabulary(10, frozenset({STOP}), None, None),
        )
    )
    wanted: dict[str, int] = {}
    if not any(label != -100 for label in labels[1:]):
        wanted["no_trained_tokens"] = 1
    elif not trained_stop and labels[-2] != -100:
        wanted["stop_untrained"] = 1
    assert found.keys() == wanted.keys()


def test_the_command(tokenizer: str, tmp_path: Path) -> None:
    import typer
    from typer.testing import CliRunner

    from train.posttraining.command import doctor

    app = typer.Typer()
    app.command()(doctor)
    files = write(tmp_path / "chat.jsonl", [*(chat(n) for n in range(9)), {"id": "bad", **OF_CHATS["empty_answer"]}])
    given = [files, "--tokenizer", tokenizer, "--template", "chatml"]
    shown = CliRunner().invoke(app, given)
    assert shown.exit_code == 1 and "empty_answer: 1 (10.00%, 0.00% allowed; too many)" in shown.output
    told = CliRunner().invoke(app, [*given, "--json", "--allow", "empty_answer=0.1"])
    found = json.loads(told.output.splitlines()[-1])
    assert told.exit_code == 0 and (found["kind"], found["defects"], found["refused_for"]) == ("sft", {"empty_answer": 1}, [])
