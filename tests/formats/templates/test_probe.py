"""The probe names what is wrong with a tokenizer and its template, and passes pairs that work."""

from __future__ import annotations

import pytest

from curate.errors import DataError, RecipeError
from formats.templates.probe import check, probe, probe_or_problem
from tests.formats.templates.pairs import PLAIN, broken, good, own

GOOD, BROKEN = good(), broken()


@pytest.mark.parametrize("name", GOOD)
def test_a_good_pair_passes(name: str) -> None:
    assert [str(p) for p in probe(GOOD[name]) if p.error] == []


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_pair_is_named_with_its_fix(name: str) -> None:
    code, chat = BROKEN[name]
    errors = [p for p in probe(chat) if p.error]
    assert code in [p.code for p in errors]
    assert all(p.fix and p.message for p in errors)


def test_twelve_broken_pairs_are_told_apart() -> None:
    assert len(BROKEN) >= 12 and len({code for code, _ in BROKEN.values()}) >= 12


def test_check_stops_a_run_and_names_every_fix() -> None:
    with pytest.raises(DataError, match=r"no_stop.*Fix: end every answer"):
        check(BROKEN["stop is never written"][1])
    assert [p.code for p in check(own(PLAIN))] == ["stop_is_not_eos"]


def test_a_template_that_is_not_jinja_is_a_finding_with_its_line() -> None:
    (found,) = probe_or_problem(lambda: own("{% for m in messages %}\n{{ m.content }"))
    assert found.code == "template_error" and "line 2" in found.message
    with pytest.raises(RecipeError, match="line 2"):
        own("{% for m in messages %}\n{{ m.content }")


def test_what_is_only_to_know_is_no_error() -> None:
    stripped = PLAIN.replace(
        "m.content +", "(('<think>' + m.reasoning_content + '</think>') if m.reasoning_content and loop.last else '') + m.content +"
    )
    found = probe(own(stripped, pad_token="<|im_end|>"))
    assert {"reasoning_stripped", "pad_is_stop", "stop_is_not_eos"} == {p.code for p in found}
    assert not any(p.error for p in found)
