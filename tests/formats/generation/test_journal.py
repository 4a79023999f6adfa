"""The journal: what is written is found again, whatever happened to the file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import StoreError
from formats.generation.journal import Answer, Journal, Questions


def name(n: int) -> bytes:
    return n.to_bytes(16, "big")


@given(st.lists(st.integers(0, 5), max_size=12), st.integers(1, 4))
def test_every_question_has_one_name_and_is_found_by_it(prompts: list[int], samples: int) -> None:
    questions = Questions([name(p) for p in prompts], samples)
    names = [questions.name(q) for q in range(len(questions))]
    assert len(set(names)) == len(names) == len(prompts) * samples
    assert [questions.find(*n) for n in names] == list(range(len(questions)))
    for prompt in set(prompts):  # samples of equal prompts are 0, 1, 2 ...
        assert sorted(s for p, s in names if p == name(prompt)) == list(range(prompts.count(prompt) * samples))
    assert questions.find(name(9), 0) == -1
    assert all(questions.find(name(p), prompts.count(p) * samples) == -1 for p in prompts)


def test_answers_are_read_back(tmp_path: Path) -> None:
    questions = Questions([name(1), name(2), name(1)], 2)
    whole = Answer("text \u4f60\n", "stop", 3, 4, "because", [{"id": "c"}], "m")
    with Journal(tmp_path, questions) as journal:
        journal.add(5, whole)
        journal.add_many([(0, Answer("a", "length", 1, 2)), (2, Answer(None, "content_filter"))])
        assert journal.get(5) == whole and journal.get(1) is None
    with Journal(tmp_path, Questions([name(2), name(1), name(1)], 2)) as journal:  # another order of prompts
        assert (journal.get(0), journal.get(2), journal.get(5)) == (Answer(None, "content_filter"), Answer("a", "length", 1, 2), whole)
        assert list(journal.missing()) == [1, 3, 4]
        assert (journal.answered, journal.tokens_in, journal.tokens_out) == (3, 4, 6)
        assert journal.finish == {"stop": 1, "length": 1, "content_filter": 1}
        journal.add(1, Answer("b", "stop"))
    assert sorted(f.name for f in tmp_path.glob("answers-*")) == ["answers-00000.jsonl", "answers-00001.jsonl"]
    with Journal(tmp_path, Questions([name(2)], 2)) as journal:
        assert journal.get(1) == Answer("b", "stop")


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_torn_file_gives_its_whole_lines(data: st.DataObject) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        questions = Questions([name(1)], 6)
        with Journal(Path(folder), questions) as journal:
            for q in range(6):
                journal.add(q, Answer(f"answer {q}", "stop"))
        path = Path(folder, "answers-00000.jsonl")
        content = path.read_bytes()
        cut = data.draw(st.integers(0, len(content)))
        path.write_bytes(content[:cut] + data.draw(st.sampled_from([b"", b"\0\0\0", b'{"prompt": "zz'])))
        with Journal(Path(folder), questions) as journal:
            whole = content[:cut].count(b"\n")
            assert [journal.get(q) for q in range(6)] == [Answer(f"answer {q}", "stop") if q < whole else None for q in range(6)]
            journal.add(5, Answer("new", "stop"))
        with Journal(Path(folder), questions) as journal:
            assert journal.get(5) == Answer("answer 5" if whole == 6 else "new", "stop")


def test_the_first_of_two_answers_counts(tmp_path: Path) -> None:
    for text in ("first", "second"):
        with Journal(tmp_path, Questions([name(1)], 1)) as journal:
            journal.places[:] = -1
            journal.add(0, Answer(text, "stop"))
    with Journal(tmp_path, Questions([name(1)], 1)) as journal:
        assert journal.get(0) == Answer("first", "stop") and journal.answered == 1


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Journal(tmp_path, Questions([name(1)], 2)) as journal:
        journal.add(0, Answer("a", "stop"))

        def full(descriptor: int, data: bytes) -> int:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            with pytest.raises(StoreError, match=r"No space left on device\. Answers so far are kept"):
                journal.add(1, Answer("b", "stop"))
        assert journal.get(0) == Answer("a", "stop") and journal.get(1) is None
