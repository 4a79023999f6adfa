"""Rows of every known form become items; others are named, not passed over."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from curate.errors import DataError, RecipeError
from train.evaluation.items import Item, NotAnItem, delimiter, item_of, join
from train.evaluation.tasks import TaskSettings, load_task, load_tasks


@pytest.mark.parametrize(
    ("row", "kind", "prompt", "choices", "gold"),
    [
        ({"query": "Q?", "choices": ["a", "b"], "gold": 1}, "choice", "Q?", ("a", "b"), (1,)),
        ({"question": "Q?", "choices": ["a", "b"], "answer": "B"}, "choice", "Q?\nA. a\nB. b\nAnswer:", ("A", "B"), (1,)),
        (
            {"question": "Q?", "choices": {"text": ["a", "b"], "label": ["1", "2"]}, "answerKey": "2"},
            "choice", "Q?\nA. a\nB. b\nAnswer:", ("A", "B"), (1,),
        ),
        ({"ctx": "He", "endings": ["ran", "sat"], "label": "1"}, "choice", "He", ("ran", "sat"), (1,)),
        (
            {"Question": "Q?", "Best Answer": "x", "Correct Answers": "x; y", "Incorrect Answers": "z; y"},
            "choice", "Q: Q?\nA:", ("x", "y", "z"), (0, 1),
        ),
        ({"context_options": ["A is", "B is"], "continuation": "here", "gold": 1}, "choice", "", ("here", "here"), (1,)),
        ({"context": "One two", "continuation": "three"}, "continuation", "One two", (), ()),
        ({"question": "Q?", "answer": "7"}, "answer", "Q?", (), ()),
        ({"text": "words", "label": 3}, "choice", "words", (), ()),
        ({"text": "words"}, "text", "words", (), ()),
    ],
)  # fmt: skip
def test_forms(row: dict[str, Any], kind: str, prompt: str, choices: tuple[str, ...], gold: tuple[int, ...]) -> None:
    item = item_of(row)
    assert (item.kind, item.prompt, item.choices, item.gold) == (kind, prompt, choices, gold)


def test_code_in_the_forms_of_human_eval_and_mbpp() -> None:
    human = item_of({"prompt": "def f():\n", "test": "assert f()", "entry_point": "f", "canonical_solution": "    return 1\n"})
    assert (human.kind, human.prompt, human.answers) == ("code", "def f():\n", ("    return 1\n",))
    mbpp = item_of({"text": "Add.", "code": "x", "test_list": ["assert add(1, 2) == 3"]})
    assert mbpp.prompt == '"""\nAdd.\nassert add(1, 2) == 3\n"""\n'


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"query": "Q", "choices": ["a", "b"], "gold": 2}, "expected a number from 0 to 1"),
        ({"query": "Q", "choices": ["a", "b"], "gold": True}, "expected a number from 0 to 1"),
        ({"query": "Q", "choices": ["a"], "gold": 0}, "two texts or more"),
        ({"query": "Q", "choices": "ab", "gold": 0}, "two texts or more"),
        ({"query": 3.5, "choices": ["a", "b"], "gold": None}, "expected a number"),
        ({"Question": "Q", "Best Answer": "x", "Incorrect Answers": " ; "}, "no incorrect answers"),
        ({"title": "x"}, "fields are: title"),
        ([1], "got list"),
        ({"text": None}, "text is expected under 'text'"),
    ],
)
def test_rows_that_are_no_items(row: Any, says: str) -> None:
    with pytest.raises(NotAnItem, match=says):
        item_of(row)


def test_a_blank_stands_between_unless_there_is_white_space() -> None:
    assert [join(*pair) for pair in (("a", "b"), ("a ", "b"), ("a", "\nb"), ("", "b"))] == ["a b", "a b", "a\nb", "b"]
    assert delimiter("Q:\n", "x") == ""


def write(path: Path, rows: list[Any]) -> str:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), "utf-8")
    return str(path)


CHOICE = [{"query": f"Q{i}?", "choices": [f"a{i}", f"b{i}"], "gold": i % 2} for i in range(6)]


def test_bad_rows_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps(CHOICE[0]) + "\n{broken\n" + json.dumps({"x": 1}) + "\n", "utf-8")
    task = load_task(TaskSettings(file=str(path)), ".")
    assert (task.name, len(task.items), task.skipped) == ("t", 1, 2)


def test_a_file_without_items_says_why(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="fields are: x"):
        load_task(TaskSettings(file=write(tmp_path / "t.jsonl", [{"x": 1}])), ".")
    with pytest.raises(DataError, match="several kinds"):
        load_task(TaskSettings(file=write(tmp_path / "u.jsonl", [CHOICE[0], {"text": "x"}])), ".")


def test_shots_are_other_items_and_do_not_depend_on_the_selection(tmp_path: Path) -> None:
    file = write(tmp_path / "t.jsonl", CHOICE)
    all_items = load_task(TaskSettings(file=file, shots=2), ".").items
    some = load_task(TaskSettings(file=file, shots=2, limit=3), ".").items
    assert {i.prompt for i in some} <= {i.prompt for i in all_items}
    for n, item in enumerate(all_items):
        first, second, last = item.prompt.split("\n\n")
        assert last == f"Q{n}?" and last not in (first, second)
        assert {first, second} <= {f"Q{i}? {'ab'[i % 2]}{i}" for i in range(6)}
    with pytest.raises(DataError, match="6 shots are wanted, there are 5"):
        load_task(TaskSettings(file=file, shots=6), ".")


def test_labels_of_a_file_become_choices(tmp_path: Path) -> None:
    rows = [{"text": "good", "label": "pos"}, {"text": "bad", "label": "neg"}, {"text": "fine", "label": "pos"}]
    task = load_task(TaskSettings(file=write(tmp_path / "t.jsonl", rows)), ".")
    assert [(i.prompt, i.choices, i.gold) for i in task.items][:2] == [
        ("good\nLabel:", ("neg", "pos"), (1,)),
        ("bad\nLabel:", ("neg", "pos"), (0,)),
    ]
    assert task.closed


def test_a_task_file_reports_every_mistake(tmp_path: Path) -> None:
    path = tmp_path / "tasks.yaml"
    path.write_text("tasks:\n  - {file: a.jsonl, shots: -1}\n  - {fil: b}\n", "utf-8")
    with pytest.raises(RecipeError) as caught:
        load_tasks([str(path)])
    assert "task 1: shots" in str(caught.value) and "task 2: file" in str(caught.value) and "task 2: fil:" in str(caught.value)


def test_a_task_file_reads_relative_to_itself_and_names_tasks(tmp_path: Path) -> None:
    folder = tmp_path / "sub"
    folder.mkdir()
    with gzip.open(folder / "a.jsonl.gz", "wt", encoding="utf-8") as out:
        out.write(json.dumps(CHOICE[0]) + "\n")
    (folder / "tasks.yaml").write_text("- a.jsonl.gz\n- {file: a.jsonl.gz, name: again}\n", "utf-8")
    assert [t.name for t in load_tasks([str(folder / "tasks.yaml")])] == ["a", "again"]
    with pytest.raises(RecipeError, match="two tasks are called 'a'"):
        load_tasks([str(folder / "a.jsonl.gz"), str(folder / "a.jsonl.gz")])


def test_examples_show_the_right_answer() -> None:
    assert Item("choice", "Q", ("a", "b"), (1,)).shown() == "Q b"
    assert Item("choice", "", ("x", "x"), (1,), ("A is", "B is"), ("x",)).shown() == "B is x"
    assert Item("answer", "Q", answers=("7", "seven")).shown() == "Q 7"
