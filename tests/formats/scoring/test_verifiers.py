"""Verifiers: what each counts as right, where it has no opinion, and what real benchmarks say."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.apply import outcomes
from curate.context import WorkContext
from curate.errors import RecipeError
from formats.batches import from_batch, to_batch
from formats.records import Candidate, Message, Record
from formats.scoring.answer_checks import Math
from formats.scoring.instructions import CHECKS
from formats.scoring.judges import comparisons, pair_outcome, pairwise_prompt, pointwise_prompt, read_rating, read_verdict, win_rates
from formats.scoring.majority import majority_scores
from formats.scoring.numbers import number_of, same_number
from formats.scoring.rewards import REWARDS
from formats.scoring.step import Score
from formats.scoring.verifier import table, verifier


def score(name: str, answer: str, row: dict[str, Any], /, **given: Any) -> float | None:
    made = verifier(name, given)
    made.prepare()
    return made.check("", answer, row)


@pytest.mark.parametrize(
    ("answer", "reference", "right"),
    [
        ("so #### 18", "18", 1), ("\\boxed{1,234}", "1234", 1), ("The answer is $18.00.", "18", 1), ("it costs 3 and then 18", "18", 1),
        ("\\boxed{\\frac{1}{2}}", "0.5", 1), ("1/2", "0.5", 1), ("\\boxed{50\\%}", "50", 1), ("#### -3", "-3", 1), ("#### 3", "-3", 0),
        ("1000001", "1000000", 0), ("0.3333333", "1/3", 1), ("0.333", "1/3", 0), ("no number", "18", 0), ("", "18", 0), ("12,34", "1234", 0),
        ("\\boxed{x+1}", "x+1", 1), ("\\boxed{x+1}", "1+x", 0), ("18 then \\boxed{19}", "18", 0), ("the answer is 18 dollars a day", "18", 1),
        ("#### 18", "They pay.\n#### 18", 1), ("1e3", "1000", 1), ("\\boxed{}", "18", 0),
    ],
)  # fmt: skip
def test_math(answer: str, reference: str, right: int) -> None:
    assert score("math", answer, {"answer": reference}) == right


def test_math_without_a_reference_has_no_opinion() -> None:
    assert score("math", "18", {}) is None and score("math", "18", {"answer": None}) is None
    assert score("math", "18", {"deep": {"er": 18}}, answer="deep.er") == 1
    assert score("math", "3,1;49", {"answer": 49}, pattern=r";(\d+)$") == 1
    assert score("math", "49", {"answer": 49}, pattern=r";(\d+)$") == 0
    assert score("math", "about 18", {"answer": "18"}, extract="marked") == 0


def test_math_by_expressions() -> None:
    pytest.importorskip("math_verify")
    for answer, reference, right in (
        ("\\boxed{1+x}", "x+1", 1), ("\\boxed{\\sqrt{8}}", "2\\sqrt{2}", 1), ("\\boxed{x+2}", "x+1", 0), ("\\boxed{9^{9^{9^9}}}", "1", 0),
    ):  # fmt: skip
        assert score("math", answer, {"answer": reference}, method="symbolic") == right


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="0123456789.,/-+$%\\{}frac e", max_size=30), st.integers(-(10**9), 10**9))
def test_numbers_never_raise_and_read_what_was_written(text: str, value: int) -> None:
    number_of(text)
    for form in (f"{value}", f"{value:,}", f"${value}", f"{value}.0", f" {value}. ", f"\\text{{}}{value}"):
        assert same_number(form, str(value)), form
    assert not same_number(str(value), str(value + 1))


def test_choices() -> None:
    row = {"answer": "B"}
    assert score("choice", "The answer is (B).", row) == 1 and score("choice", "B", row) == 1 and score("choice", "answer: C", row) == 0
    assert score("choice", "\\boxed{B}", {"answer": 1}) == 1 and score("choice", "I do not know", row) == 0
    assert score("choice", "B", {"answer": "maybe"}) is None and score("choice", "B", {}) is None


def test_agreement_with_references() -> None:
    row = {"answer": ["The Eiffel Tower", "Eiffel"]}
    assert score("exact", "eiffel tower!", row) == 1 and score("exact", "a tower", row) == 0
    assert score("exact", "eiffel tower", row, normalize=False) == 0 and score("exact", "Eiffel", row, normalize=False) == 1
    assert score("f1", "Eiffel Tower in Paris", row) == pytest.approx(2 * 2 / (4 + 2))
    assert score("f1", "", {"answer": ""}) == 1 and score("f1", "x", {"answer": ""}) == 0 and score("exact", "x", {}) is None


def test_patterns_and_json() -> None:
    assert score("regex", "ab12", {}, pattern=r"\d+") == 1 and score("regex", "ab12", {}, pattern=r"\d+", whole=True) == 0
    assert score("regex", "x", {"p": "["}, field="p") is None and score("regex", "x", {}, field="p") is None
    with pytest.raises(ValueError, match="no regular expression"):
        verifier("regex", {"pattern": "("})
    assert score("json_schema", '{"a": 1}', {}) == 1 and score("json_schema", "{a: 1}", {}) == 0
    assert score("json_schema", 'Here:\n```json\n{"a": 1}\n```', {}) == 1
    assert score("json_schema", "[" * 100_000, {}) == 0


def test_json_schemas() -> None:
    pytest.importorskip("jsonschema")
    schema = {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}
    assert score("json_schema", '{"a": 1}', {}, schema=schema) == 1 and score("json_schema", '{"a": "1"}', {}, schema=schema) == 0
    assert score("json_schema", '{"a": 1}', {"s": json.dumps(schema)}, field="s") == 1
    assert score("json_schema", "1", {"s": {"$ref": "https://example.org/never-fetched.json"}}, field="s") is None


def test_lengths_and_forms() -> None:
    assert [score("length", "w " * n, {}, min=2, max=4) for n in (1, 2, 4, 5)] == [0, 1, 1, 0]
    assert [score("length", "w " * n, {}, min=4, max=8, hard=False) for n in (2, 3, 4, 8, 12, 16)] == [0, 0.5, 1, 1, 0.5, 0]
    good = "<think>so</think><answer>4</answer>"
    assert score("format", good, {}) == 1
    for wrong in ("4", good + good, "<think></think><answer>4</answer>", "x" + good, "<answer>4</answer><think>so</think>"):
        assert score("format", wrong, {}) == 0
    assert score("format", "<think>so</think> 4", {}, form="think") == 1 and score("format", "<think>so</think>", {}, form="think") == 0
    assert [score("format", t, {}, form="complete") for t in ("Done.", "and then", "```\nx", "```\nx\n```", "")] == [1, 0, 0, 1, 0]


CASES: dict[str, tuple[dict[str, Any], str, str]] = {  # arguments, an answer that meets it, one that does not
    "keywords:existence": ({"keywords": ["sea"]}, "The sea.", "The land."),
    "keywords:frequency": ({"keyword": "sea", "frequency": 2, "relation": "at least"}, "sea sea", "sea"),
    "keywords:forbidden_words": ({"forbidden_words": ["sea"]}, "seaside", "the sea"),
    "keywords:letter_frequency": ({"letter": "a", "let_frequency": 2, "let_relation": "less than"}, "a", "aa"),
    "language:response_language": ({"language": "de"}, "Das ist ein ganz gewöhnlicher deutscher Satz.", "This is an ordinary English sentence."),
    "length_constraints:number_sentences": ({"num_sentences": 2, "relation": "at least"}, "One. Two!", "One, 3.5 two"),
    "length_constraints:number_paragraphs": ({"num_paragraphs": 2}, "a\n***\nb", "a\n\nb"),
    "length_constraints:number_words": ({"num_words": 3, "relation": "less than"}, "a b", "a b c"),
    "length_constraints:nth_paragraph_first_word": ({"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "yes"}, "a\n\nYes, b", "Yes\n\na"),
    "detectable_content:number_placeholders": ({"num_placeholders": 1}, "[name]", "name"),
    "detectable_content:postscript": ({"postscript_marker": "P.S."}, "Hi\nP.S. more", "Hi"),
    "detectable_format:number_bullet_lists": ({"num_bullets": 2}, "* a\n- b", "* a"),
    "detectable_format:constrained_response": ({}, "My answer is yes.", "Yes."),
    "detectable_format:number_highlighted_sections": ({"num_highlights": 1}, "*this* one", "this"),
    "detectable_format:multiple_sections": ({"section_spliter": "SECTION", "num_sections": 2}, "SECTION 1 a SECTION 2 b", "SECTION 1"),
    "detectable_format:json_format": ({}, '```json\n{"a": 1}\n```', "a: 1"),
    "detectable_format:title": ({}, "<<A title>>\ntext", "A title"),
    "combination:two_responses": ({}, "one\n******\ntwo", "one\n******\none"),
    "combination:repeat_prompt": ({"prompt_to_repeat": "Say it"}, "Say it\nit", "it"),
    "startend:end_checker": ({"end_phrase": "The end"}, "So. The end", "The end, no"),
    "startend:quotation": ({}, '"all of it"', 'all "of" it'),
    "change_case:capital_word_frequency": ({"capital_frequency": 2, "capital_relation": "at least"}, "THIS IS it", "THIS is it"),
    "change_case:english_capital": ({}, "ALL UP", "All Up"),
    "change_case:english_lowercase": ({}, "all low", "All low"),
    "punctuation:no_comma": ({}, "none here", "one, here"),
}  # fmt: skip


def test_instructions() -> None:
    assert set(CASES) == set(CHECKS) and len(CHECKS) == 25
    for name, (arguments, good, bad) in CASES.items():
        row = {"instruction_id_list": [name], "kwargs": [arguments]}
        assert (score("instructions", good, row), score("instructions", bad, row)) == (1, 0), name
    both = {"instruction_id_list": ["punctuation:no_comma", "change_case:english_lowercase"], "kwargs": [{}, {}]}
    assert score("instructions", "A b", both) == 0 and score("instructions", "A b", both, score="share") == 0.5
    assert score("instructions", "", both) == 0 and score("instructions", "x", {"instruction_id_list": ["new:one"]}) is None
    assert score("instructions", "x", {"instruction_id_list": ["keywords:existence"], "kwargs": [{}]}) is None


def test_code_is_run_and_can_not_claim_success() -> None:
    row = {"tests": ["assert double(2) == 4", "assert double(0) == 0"]}
    good = "Sure:\n```python\ndef double(x):\n    print('noise')\n    return 2 * x\n```"
    cases = {
        good: 1, "def double(x): return x": 0, "import sys\nsys.exit(0)": 0, "import os\nos._exit(0)": 0, "def double(x)": 0,
        "import sys\nprint(sys.stdin.read())\ndef double(x): return x": 0, "raise SystemExit": 0,
    }  # fmt: skip
    assert {answer: score("code", answer, row) for answer in cases} == cases
    assert score("code", good, {}) is None and score("code", good, {"tests": []}) is None
    check = {"prompt": "def inc(x):\n", "test": "def check(f):\n    assert f(1) == 2\n", "entry": "inc"}
    human = {"tests": "test", "prefix": "prompt", "entry_point": "entry"}
    assert score("code", "    return x + 1\n", check, **human) == 1 and score("code", "    return x\n", check, **human) == 0
    assert score("code", "```python\ndef inc(x):\n    return x + 1\n```", check, **human) == 1


def test_majorities() -> None:
    math = Math()
    assert majority_scores(["#### 4", "it is 4.0", "5", "none"], math, 0.0) == [1, 1, 0, 0]
    assert majority_scores(["4", "5"], math, 0.0) == [None, None]  # a tie
    assert majority_scores(["none"], math, 0.0) == [None] and majority_scores(["4", "4", "5"], math, 0.7) == [None] * 3


def test_judges_replies_are_read_as_they_stand() -> None:
    assert [read_rating(t, 1, 10) for t in ("Good.\nRating: 10", "Rating: 1", "**Rating**: 7/10", "[[8]]", "Rating: 3\nRating: 4")] == [
        10,
        1,
        7,
        8,
        4,
    ]
    for wrong in (None, "", "ten", "Rating: 11", "Rating: high", "I rate it 10", "Rating: 1-10"):
        assert read_rating(wrong, 1, 10) is None, wrong
    assert [read_verdict(t) for t in ("[[A]]", "first [[A]] then [[B]]", "A", None)] == ["A", "B", None, None]


def test_a_judge_that_prefers_the_first_place_prefers_nobody() -> None:
    always_first = pair_outcome("A", "A")
    assert always_first == 0.5 and pair_outcome("A", "B") == 1 and pair_outcome("B", "A") == 0 and pair_outcome("C", "C") == 0.5
    assert pair_outcome(None, "B") is None and pair_outcome("A", "C") == 0.5
    pairs = comparisons(3, None)
    longer = [pair_outcome(*("AB" if a > b else "BA")) for a, b in pairs]  # a judge who prefers the higher number, whatever the order
    assert win_rates(3, pairs, longer) == [0, 0.5, 1] and win_rates(2, [(0, 1)], [None]) == [None, None]
    few = comparisons(10, 12)
    assert len(set(few)) == 12 and all(a < b for a, b in few) and {n for p in few for n in p} == set(range(10))


def test_texts_of_a_prompt_stay_text() -> None:
    made = pointwise_prompt("{answer}", "{question}", None, 1, 10, "")
    assert "[Question]\n{answer}\n" in made and "[Answer]\n{question}\n" in made
    assert pairwise_prompt("q", "x", "y", "ref", "be strict").count("ref") >= 1


def pool(*answers: str, **meta: Any) -> pa.RecordBatch:
    record = Record([Message("user", "2+2?")], [Candidate([Message("assistant", a)], scores={"old": 1.0}) for a in answers], meta=meta)
    return to_batch([record, Record([Message("user", "no candidates")])], ["a", "b"], "s")


def test_scores_stand_side_by_side() -> None:
    (found,) = outcomes(Score(verifier="math", score_name="right"), [pool("4", "5", "", answer="4")])  # type: ignore[call-arg]
    assert [c.scores for c in from_batch(found.batch)[0].candidates] == [
        {"old": 1, "right": 1},
        {"old": 1, "right": 0},
        {"old": 1, "right": 0},
    ]
    assert found.counts == {"s": {"right.one": 1, "right.zero": 2}} and found.verdict is None
    (none,) = outcomes(Score(verifier="math"), [pool("4")])  # type: ignore[call-arg]
    assert from_batch(none.batch)[0].candidates[0].scores == {"old": 1, "math": None} and none.counts == {"s": {"math.null": 1}}
    (majority,) = outcomes(Score(majority=True), [pool("4", "4", "5")])  # type: ignore[call-arg]
    assert [(c.scores or {})["majority"] for c in from_batch(majority.batch)[0].candidates] == [1, 1, 0]


def test_settings_are_checked_when_the_recipe_is_read() -> None:
    for wrong, said in (
        ({}, "exactly one"), ({"verifier": "maths"}, "Did you mean 'math'"), ({"verifier": {"math": {"extact": 1}}}, "extact"),
        ({"verifier": "math", "majority": True}, "exactly one"), ({"reward_model": ["a", "b"], "score_name": "x"}, "can't be set"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            Score(**wrong)
    with pytest.raises(RecipeError, match="There are: math"):
        verifier("nothing like it")


def test_verifiers_are_rewards() -> None:
    assert set(REWARDS) == set(table()) and {"math", "code", "instructions"} <= set(REWARDS)
    assert REWARDS["math"](["q", "q"], ["#### 4", "5"], [{"gold": 4}, {"gold": 4}], answer="gold") == [1.0, 0.0]


def test_a_judge_is_asked_once_for_each_answer(tmp_path: Path) -> None:
    record = tmp_path / "replies.jsonl"
    prompts = {a: pointwise_prompt("2+2?", a, None, 1, 10, "") for a in ("4", "5", "6")}
    replies = {"4": "Right.\nRating: 10", "5": "Wrong.\nRating: 1", "6": "I can't say."}
    record.write_text("".join(json.dumps({"prompt": prompts[a], "answers": [replies[a]]}) + "\n" for a in replies))
    step = Score(judge={"model": {"recorded": str(record)}})  # type: ignore[call-arg, arg-type]
    context = WorkContext(run=str(tmp_path))
    (found,) = outcomes(step, [pool("4", "5", "6")], context)
    assert [(c.scores or {})["judge"] for c in from_batch(found.batch)[0].candidates] == [10, 1, None]


# Real benchmarks


def rows(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path) as file:
        yield from map(json.loads, file)


def test_gsm8k_answers_verify_and_mutated_ones_fail(real_data: Path) -> None:
    math = Math()
    for row in rows(real_data / "benchmarks" / "gsm8k_test.jsonl.gz"):
        assert math.check("", row["answer"], row) == 1, row
        solution, _, answer = row["answer"].rpartition("#### ")
        wrong = f"{solution}#### {float(answer.replace(',', '')) + 1:f}"
        assert math.check("", wrong, row) == 0, row


def test_reference_programs_verify_and_mutated_ones_fail(real_data: Path) -> None:
    """A sample of each; `python -m tests.bench.verifiers` runs all."""
    human = verifier("code", {"tests": "test", "prefix": "prompt", "entry_point": "entry_point"})
    for row in list(rows(real_data / "benchmarks" / "humaneval.jsonl.gz"))[::30]:
        assert human.check("", row["canonical_solution"], row) == 1, row["task_id"]
        assert human.check("", "    return None\n", row) == 0, row["task_id"]
    mbpp = verifier("code", {"tests": "test_list", "setup": "test_setup_code"})
    for row in list(rows(real_data / "benchmarks" / "mbpp.jsonl.gz"))[::120]:
        assert mbpp.check("", row["code"], row) == 1, row["task_id"]
