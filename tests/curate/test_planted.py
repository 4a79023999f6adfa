"""Copies made on purpose: the edit that was asked for, and nothing else."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from curate.planted import AROUND, CHANGED, CUT, EDITS, MOVED, Edit, edited, units

WORDS = [f"w{i}" for i in range(100)]
TEXT = " ".join(WORDS)
OTHER = " ".join(f"other{i}" for i in range(50))


@given(st.text(max_size=300))
def test_units_joined_are_the_text(text: str) -> None:
    assert "".join(units(text)) == text


def test_text_without_spaces_is_edited_by_character() -> None:
    assert units("字" * 60) == ["字"] * 60
    assert len(units("ab cd")) == 2


def test_words_changed_are_so_many() -> None:
    for share in (0.0, 0.01, 0.4):
        found = edited(TEXT, Edit(CHANGED, share), OTHER, random.Random(1)).split()
        assert sum(a != b for a, b in zip(found, WORDS, strict=True)) == round(100 * share)


def test_a_word_is_never_replaced_by_itself() -> None:
    assert "same" not in edited("same " * 40, Edit(CHANGED, 1.0), "same", random.Random(1)).split()


def test_the_end_is_cut() -> None:
    assert edited(TEXT, Edit(CUT, 0.2), OTHER, random.Random(1)).split() == WORDS[:80]


def test_words_stand_around() -> None:
    found = edited(TEXT, Edit(AROUND, 0.25), OTHER, random.Random(1)).split()
    assert found == [*(f"other{i}" for i in range(12)), *WORDS, *(f"other{i}" for i in range(12, 25))]


def test_parts_are_moved_whole() -> None:
    found = edited(TEXT, Edit(MOVED, 4), OTHER, random.Random(1)).split()
    assert found != WORDS and sorted(found) == sorted(WORDS)
    parts = [found[i : i + 25] for i in range(0, 100, 25)]
    assert sorted(parts) == sorted(WORDS[i : i + 25] for i in range(0, 100, 25))


@given(st.text(max_size=80), st.sampled_from(EDITS), st.text(max_size=20))
def test_any_text_can_be_edited(text: str, edit: Edit, other: str) -> None:
    assert isinstance(edited(text, edit, other, random.Random(0)), str)
