"""gopher_repetition: bounds, order of reasons, columns."""

from __future__ import annotations

import pyarrow as pa
import pytest
from pydantic import ValidationError

from curate.apply import outcomes
from curate.steps.repetition import GopherRepetition

SETTINGS = [name for name in GopherRepetition.model_fields if name.startswith("max_")]


def batch(*texts: str | None) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.large_string())})


def judge(step: GopherRepetition, *texts: str | None) -> list[tuple[str | None, float | None]]:
    verdict = outcomes(step, [batch(*texts)])[0].verdict
    assert verdict is not None
    assert verdict.keep.to_pylist() == [r is None for r in verdict.reason.to_pylist()]
    assert verdict.value is not None
    return list(zip(verdict.reason.to_pylist(), verdict.value.to_pylist(), strict=True))


def only(**settings: float) -> GopherRepetition:
    """The step with no other bound than those given."""
    return GopherRepetition(**{**dict.fromkeys(SETTINGS, None), **settings})


GRAM = " ".join("abcdefghij")  # ten words of one letter; twice it holds duplicate 5 to 10-grams of ten letters
TWICE = f"{GRAM} {GRAM}"
CASES = [
    ("duplicate_paragraphs", "max_duplicate_paragraph_fraction", "a\n\na\n\nb\n\nc", 1 / 4),
    ("duplicate_paragraph_chars", "max_duplicate_paragraph_char_fraction", "aa\n\naa\n\nb", 2 / 9),
    ("duplicate_lines", "max_duplicate_line_fraction", "a\na\nb\nc", 1 / 4),
    ("duplicate_line_chars", "max_duplicate_line_char_fraction", "aa\naa\nb", 2 / 7),
    ("top_2_gram", "max_top_2gram_fraction", "a b c a b ddddddddddd", 6 / 21),
    ("top_3_gram", "max_top_3gram_fraction", "a b c a b c dddddddddd", 10 / 22),
    ("top_4_gram", "max_top_4gram_fraction", "a b c d a b c d eeeeeeee", 14 / 24),
    *((f"duplicate_{n}_gram", f"max_duplicate_{n}gram_fraction", TWICE, (10 // n * n) / 39) for n in range(5, 11)),
]


@pytest.mark.parametrize(("reason", "setting", "text", "share"), CASES, ids=[case[0] for case in CASES])
def test_a_share_equal_to_its_bound_survives(reason: str, setting: str, text: str, share: float) -> None:
    assert judge(only(**{setting: share}), text) == [(None, None)]
    assert judge(only(**{setting: share + 1e-12}), text) == [(None, None)]
    assert judge(only(**{setting: share - 1e-12}), text) == [(f"gopher_repetition.{reason}", share)]
    assert judge(only(), text) == [(None, None)]


def test_a_bound_of_zero_allows_no_repetition_and_is_not_no_bound() -> None:
    assert judge(only(max_duplicate_line_fraction=0), "a\nb", "a\na") == [(None, None), ("gopher_repetition.duplicate_lines", 0.5)]


def test_the_first_bound_crossed_gives_the_reason() -> None:
    text = "spam eggs\n\nspam eggs\n\nspam eggs"
    order = ["duplicate_paragraphs", "duplicate_paragraph_chars", "duplicate_lines", "duplicate_line_chars", "top_2_gram"]
    settings = dict(GopherRepetition())
    for reason, setting in zip(order, SETTINGS, strict=False):
        step = GopherRepetition(**{k: v for k, v in settings.items() if k in SETTINGS})
        assert judge(step, text)[0][0] == f"gopher_repetition.{reason}"
        settings[setting] = None


def test_empty_and_null_text_are_dropped_and_blank_text_is_not() -> None:
    assert judge(GopherRepetition(), "", None, "  ") == [("gopher_repetition.empty", None)] * 2 + [(None, None)]


def test_annotate_adds_the_declared_columns_and_decides_the_same() -> None:
    texts = ["", "a\na\na", TWICE, "nothing in this line is said more than once, or is it\nno", None]
    step = GopherRepetition(mode="annotate")
    given = batch(*texts)
    outcome = outcomes(step, [given])[0]
    assert outcome.verdict is None
    assert outcome.batch.column("text").equals(given.column("text"))
    added = {field.name: field.type for field in outcome.batch.schema if field.name != "text"}
    assert added == dict(step.adds()) and len(added) == 15
    decided = [reason for reason, _ in judge(GopherRepetition(), *texts)]
    assert outcome.batch.column("gopher_repetition_reason").to_pylist() == decided
    assert outcome.batch.column("gopher_repetition_keep").to_pylist() == [reason is None for reason in decided]
    assert outcome.batch.column("gopher_duplicate_10gram_fraction").to_pylist()[2] == 10 / 39


def test_reasons_are_declared() -> None:
    assert only().drops() == ("gopher_repetition.empty",)
    assert len(GopherRepetition().drops()) == 14
    assert GopherRepetition(mode="annotate").drops() == ()


def test_the_split_matters() -> None:
    text = "one, two. " * 2 + "and so on to the end of this line"
    unicode, whitespace = (only(max_top_2gram_fraction=0).model_copy(update={"words": w}) for w in ("unicode", "whitespace"))
    assert judge(unicode, text)[0][1] == 2 * len("one ,") / len(text)
    assert judge(whitespace, text)[0][1] == 2 * len("one, two.") / len(text)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("value", [-0.01, 1.01])
def test_shares_lie_between_0_and_1(setting: str, value: float) -> None:
    with pytest.raises(ValidationError):
        GopherRepetition(**{setting: value})


def test_semantics_decide_differently_on_a_block_said_twice() -> None:
    text = "\n\n".join([f"{TWICE[:19]} klm {k}" for k in range(6)] + [f"{TWICE[:19]} klm 5"])  # one of seven paragraphs is a copy
    settings = {"max_duplicate_paragraph_fraction": 0.2}
    assert judge(only(**settings), text) == [(None, None)]
    assert judge(only(**settings, semantics="dclm"), text) == [("gopher_repetition.duplicate_paragraphs", 2 / 7)]
    assert judge(only(**settings, semantics="dolma"), text) == [(None, None)]  # looks at no paragraphs
    assert judge(only(max_duplicate_line_fraction=0.2, semantics="dolma"), text) == [("gopher_repetition.duplicate_lines", 2 / 7)]
    assert judge(only(**settings, semantics="nemo"), text) == [(None, None)]


def test_what_counts_as_empty_follows_the_semantics() -> None:
    long = "eleven words of prose are enough for every n-gram of ten"
    empty = ("gopher_repetition.empty", None)
    for semantics, expected in {"dclm": [empty] * 3, "dolma": [(None, None)] * 3, "nemo": [empty] * 3}.items():
        step = GopherRepetition(semantics=semantics)
        assert judge(step, "", None, " \n ") == expected
        assert ("gopher_repetition.empty" in step.drops()) == (semantics != "dolma")
        annotated = outcomes(GopherRepetition(semantics=semantics, mode="annotate"), [batch("", "a\na", long)])[0].batch
        assert annotated.column("gopher_repetition_reason").to_pylist() == [r for r, _ in judge(step, "", "a\na", long)]
