"""YAML with positions: scalars of YAML 1.2, duplicates, refusals, bounds."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import RecipeError
from curate.recipe_yaml import MAX_BYTES, MAX_DEPTH, MAX_ITEMS, Mark, Problems, parse, parse_file, scalar


def load(text: str) -> Any:
    problems = Problems("r.yaml")
    item = parse(text, problems)
    problems.raise_all()
    return item.plain()


def refused(text: str) -> str:
    with pytest.raises(RecipeError) as error:
        load(text)
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("yes", "yes"), ("on", "on"), ("off", "off"), ("y", "y"), ("NO", "NO"),
        ("true", True), ("False", False), ("TRUE", True), ("tRUE", "tRUE"),
        ("null", None), ("~", None), ("", None), ("Null", None), ("nUll", "nUll"),
        ("017", 17), ("-3", -3), ("+4", 4), ("0o17", 15), ("0x1F", 31), ("0b11", "0b11"), ("1_000", "1_000"), ("0o8", "0o8"),
        ("1e-3", 0.001), ("1e5", 100000.0), (".5", 0.5), ("1.", 1.0), ("-1.5E+2", -150.0), (".", "."), ("e5", "e5"),
        ("12:30:45", "12:30:45"), ("190:20", "190:20"), ("2024-01-01", "2024-01-01"), ("900M", "900M"), ("1.5B", "1.5B"),
        (".inf", float("inf")), ("-.INF", float("-inf")), ("inf", "inf"), ("nan", "nan"), ("<<", "<<"), ("=", "="), ("٣", "٣"),
    ],
)  # fmt: skip
def test_plain_scalars_follow_the_core_schema(text: str, value: Any) -> None:
    assert scalar(text) == value
    assert type(scalar(text)) is type(value)


def test_quoted_scalars_are_text() -> None:
    assert load("a: '1'\nb: \"true\"\nc: |\n  5\nd: ''\n") == {"a": "1", "b": "true", "c": "5\n", "d": ""}


def test_keys_are_text() -> None:
    assert load("1: a\ntrue: b\nno: c\n") == {"1": "a", "true": "b", "no": "c"}


def test_lines_of_values_and_keys() -> None:
    item = parse("a:\n  - 1\n  - b: x\n    c:\n      y\n", Problems("r.yaml"))
    inner = item.value["a"].value[1]
    assert (item.key_mark("a").line, item.value["a"].value[0].mark.line, inner.mark.line) == (1, 2, 3)
    assert (inner.key_mark("c").line, inner.value["c"].mark.line) == (4, 5)


def test_duplicate_keys_name_both_lines_and_are_all_found() -> None:
    assert refused("a: 1\nb: {c: 1, c: 2}\na: 3\n") == (
        "r.yaml:2: the key 'c' is here twice: first in line 2, again in line 2.\n"
        "r.yaml:3: the key 'a' is here twice: first in line 1, again in line 3."
    )


def test_anchors_and_merge_keys() -> None:
    assert load("a: &x {p: 1, q: 2}\nb: *x\nc: {<<: *x, q: 3}\nd: {q: 4, <<: [*x, {r: 5, p: 9}]}\n") == {
        "a": {"p": 1, "q": 2}, "b": {"p": 1, "q": 2}, "c": {"q": 3, "p": 1}, "d": {"q": 4, "p": 1, "r": 5},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: !!python/object/apply:os.system [ls]", "r.yaml:1: the tag '!!python/object/apply:os.system' is not allowed"),
        ("a: 1\nb: !x 1", "r.yaml:2: the tag '!x' is not allowed"),
        ("!!str a: 1", "r.yaml:1: the tag '!!str' is not allowed"),
        ("a: 1\n---\nb: 2", "r.yaml:2: a second document starts here"),
        ("a: *x", "r.yaml:1: the alias '*x' has no anchor"),
        ("a: &x [*x]", "r.yaml:1: the alias '*x' stands inside its own anchor"),
        ("? [a]\n: 1", "r.yaml:1: a key must be a plain word"),
        ("a: {<<: 5}", "r.yaml:1: '<<' merges mappings"),
        ("a:\n\t- b", "r.yaml:2: is not valid YAML: found character '\\t'"),
        ("a: 1\nb: c: d", "r.yaml:2: is not valid YAML: mapping values are not allowed here. A value that holds ': ' needs quotes"),
        ("a: [1,\nb: 2", "r.yaml:2: is not valid YAML: expected ',' or ']'"),
        ("a: 'x", "which starts in line 1)"),
        ("a: 1\nb: \x07", "r.yaml:2: the character '\\x07' is not allowed in YAML"),
        ('a: 1\nb: "\\ud800"', "r.yaml:2: holds half a character"),
        ("a: " + "[" * MAX_DEPTH, f"nested deeper than {MAX_DEPTH}"),
    ],
)
def test_refusals_name_the_line(text: str, message: str) -> None:
    assert message in refused(text)


def test_depth_bound_itself_is_allowed() -> None:
    assert load("[" * MAX_DEPTH + "]" * MAX_DEPTH) is not None


def test_alias_bomb_is_refused_quickly() -> None:
    lines = ["b0: &b0 [1,1,1,1,1,1,1,1,1,1]"] + [f"b{i}: &b{i} [{','.join([f'*b{i - 1}'] * 10)}]" for i in range(1, 30)]
    start = time.process_time()
    assert f"holds more than {MAX_ITEMS} values" in refused("\n".join(lines))
    assert time.process_time() - start < 5


def test_shared_values_are_never_changed_in_place() -> None:
    item = parse("a: &x {p: 1}\nb: *x\n", Problems("r.yaml"))
    other = item.with_entry("a", item.value["a"].with_entry("p", item.value["b"]))
    assert item.plain() == {"a": {"p": 1}, "b": {"p": 1}}
    assert other.plain() == {"a": {"p": {"p": 1}}, "b": {"p": 1}}


def test_moved_marks_every_part() -> None:
    item = parse("a:\n  - b: 1\n", Problems("r.yaml")).moved(Mark(7, "--set x"))
    inner = item.value["a"].value[0]
    assert {item.mark, item.key_mark("a"), inner.key_mark("b"), inner.value["b"].mark} == {Mark(7, "--set x")}


def test_files(tmp_path: Any) -> None:
    path = tmp_path / "r.yaml"
    cases = {
        b"": "is empty",
        b"# only a comment\n": "is empty",
        b"a: 1\nb: \xff\n": "r.yaml:2: is not UTF-8: byte 0xff",
        b"a: " + b"x" * MAX_BYTES: "is longer than 1 MiB",
    }
    for content, message in cases.items():
        path.write_bytes(content)
        with pytest.raises(RecipeError, match=message):
            parse_file(str(path), Problems(str(path)))
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    assert parse_file(str(path), Problems(str(path))).plain() == {"a": 1, "b": 2}


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(plain)
def test_json_is_read_as_itself(value: Any) -> None:
    """JSON with quoted strings is YAML; what comes back is what went in."""
    assert load(json.dumps(value)) == value


@given(st.text(alphabet=st.sampled_from("ab:-[]{}&*!?|>'\"#%@,\n \t<0"), max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing but RecipeError comes out of the parser, and what parses is what PyYAML sees."""
    try:
        value = load(text)
    except RecipeError:
        return
    reference = yaml.load(text, Loader=yaml.BaseLoader)
    assert isinstance(value, dict) == isinstance(reference, dict)
    assert isinstance(value, list) == isinstance(reference, list)
