"""Settings in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, BeforeValidator, ConfigDict, field_validator
from pydantic import Field as Setting

from curate.recipe_yaml import Problems, parse
from curate.settings import Field, build, dump, fields, shown


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid")
    tokens: Annotated[int, BeforeValidator(lambda v: 9 if v == "many" else v)] = Setting(description="how many")
    weights: Mapping[str, float] = {}


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    count: int = Setting(14, ge=1, le=256)
    share: float | None = Setting(0.8, gt=0, lt=1)
    least: int = Setting(1, ge=1)
    words: tuple[str, ...] = Setting((), max_length=3)
    kinds: frozenset[str] = frozenset({"b", "a"})
    mode: Literal["drop", "annotate"] = "drop"
    form: Literal["a", "b", "c"] | None = None
    how: int | Literal["all"] = "all"
    flag: bool = False
    word: str = Setting("ab", pattern="^[a-z]+$")
    pair: tuple[int, float] = (1, 2.0)
    parts: tuple[Part, ...] = ()
    source: str = Setting("x", alias="from")
    anything: Any = None

    @field_validator("words", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("word")
    @classmethod
    def _word(cls, value: str) -> str:
        if value == "bad":
            raise ValueError("must be a good word")
        if value == "worse":
            raise ValueError("is worse")
        return value


def problems_of(text: str) -> list[str]:
    problems = Problems("r.yaml")
    made = build(Settings, parse(text, problems), "step", problems)
    assert (made is None) == bool(problems.found)
    return [str(problem) for problem in problems.found]


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("count", "an integer in 1..256"), ("share", "a number above 0 and below 1, or null"), ("least", "an integer of at least 1"),
        ("words", "a list of text, 0 to 3 long"), ("kinds", "a list of text"), ("mode", "'drop' or 'annotate'"),
        ("form", "one of 'a', 'b', 'c', or null"), ("how", "an integer or 'all'"), ("flag", "true or false"),
        ("word", "text matching ^[a-z]+$"), ("pair", "a list of an integer, a number"),
        ("parts", "a list of a mapping with the keys tokens, weights"), ("from", "text"), ("anything", "any value"),
    ],
)  # fmt: skip
def test_what_a_field_allows(key: str, text: str) -> None:
    assert Field.of(fields(Settings)[key]).text() == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("count: 0", "r.yaml:1: step.count must be an integer in 1..256, got 0."),
        ("count: 257", "r.yaml:1: step.count must be an integer in 1..256, got 257."),
        ("count: 1.5", "r.yaml:1: step.count must be an integer in 1..256, got 1.5."),
        ("count: '5'", "r.yaml:1: step.count must be an integer in 1..256, got '5'."),
        ("count: true", "r.yaml:1: step.count must be an integer in 1..256, got true."),
        ("count: null", "r.yaml:1: step.count must be an integer in 1..256, got null."),
        ("share: 0", "r.yaml:1: step.share must be a number above 0 and below 1, or null, got 0."),
        ("share: .nan", "r.yaml:1: step: nan is no usable number; null disables a bound."),
        ("words: [a, b, c, d]", "r.yaml:1: step.words must be a list of text, 0 to 3 long, got ['a', 'b', 'c', 'd']."),
        ("words:\n- a\n- 5", "r.yaml:3: step.words[1] must be text, got 5."),
        ("mode: dorp", "r.yaml:1: step.mode must be 'drop' or 'annotate', got 'dorp'."),
        ("how: '5'", "r.yaml:1: step.how must be an integer or 'all', got '5'."),
        ("flag: yes", "r.yaml:1: step.flag must be true or false, got 'yes'."),
        ("flag: 1", "r.yaml:1: step.flag must be true or false, got 1."),
        ("word: bad", "r.yaml:1: step.word must be a good word."),
        ("word: worse", "r.yaml:1: step.word: is worse."),
        ("parts: [{}]", "r.yaml:1: step.parts[0] needs 'tokens': an integer (how many)."),
        ("parts:\n- tokens: many\n  tokns: 1", "r.yaml:3: step.parts[0] has no setting 'tokns'. Did you mean 'tokens'?"),
        ("parts: [{tokens: 1, weights: {a: x}}]", "r.yaml:1: step.parts[0].weights.a must be a number, got 'x'."),
        ("parts: [5]", "r.yaml:1: step.parts[0] must be a mapping with the keys tokens, weights, got 5."),
        ("from: 5", "r.yaml:1: step.from must be text, got 5."),
        ("source: x", "r.yaml:1: step has no setting 'source'. It has: count,"),
        ("zzz: 1", "It has: count, share, least"),
    ],
)
def test_one_mistake_one_sentence(text: str, message: str) -> None:
    found = problems_of(text)
    assert len(found) == 1
    assert message in found[0]


@pytest.mark.parametrize("text", ["count: 1", "count: 256", "count: 1e2", "share: null", "words: a", "words: [a, b, c]", "how: 5",
                                  "flag: true", "parts: [{tokens: many}]", "from: y", "pair: [1, 2]", "anything: {a: [1]}"])  # fmt: skip
def test_good_values(text: str) -> None:
    assert problems_of(text) == []


def test_all_mistakes_of_one_mapping() -> None:
    assert len(problems_of("count: x\nshare: 7\nmode: z\nzzz: 1\nparts: [{}, 5]")) == 6


def test_sets_are_dumped_in_order() -> None:
    assert dump(Settings())["kinds"] == ["a", "b"]
    assert dump(Settings())["from"] == "x"


def test_values_are_shown_short_and_as_yaml() -> None:
    assert [shown(v) for v in (None, True, "a", [1, "b"], {"k": None})] == ["null", "true", "'a'", "[1, 'b']", "{k: null}"]
    assert len(shown("x" * 1000)) == 60
    assert len(shown(list(range(1000)))) <= 60
