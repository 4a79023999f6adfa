"""`clean`: exact results of every repair, what stays, switches, idempotence, and hostile text."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.apply import run_step
from curate.context import WorkContext
from curate.steps.cleaning import Clean
from tests.reference import cleaning as naive

FIELDS = tuple(naive.REPAIRS)
DEFAULT = Clean().bind(WorkContext())


def cleaned(*texts: str) -> list[str]:
    return DEFAULT(pa.record_batch({"text": pa.array(texts, pa.large_string())})).batch.column("text").to_pylist()


CHANGED = {
    "mojibake": [
        ("\u00c3\u00a9t\u00c3\u00a9", "\u00e9t\u00e9"),
        ("It\u00e2\u20ac\u2122s", "It\u2019s"),
        ("good line\nIt\u00e2\u20ac\u2122s\ngood \u00e9t\u00e9", "good line\nIt\u2019s\ngood \u00e9t\u00e9"),
    ],
    "entities": [
        ("AT&amp;T", "AT&T"), ("it&#39;s &#x27;it&apos;", "it's 'it'"), ("a&nbsp;b", "a\u00a0b"), ("&eacute;t&eacute;", "\u00e9t\u00e9"),
        ("1 &lt; 2 &gt; 0", "1 < 2 > 0"), ("&amp;amp;amp; &amp;quot;", '& "'), ("&#128;5", "\u20ac5"), ("a&shy;b&zwnj;c&#8203;d", "abcd"), ("&#0;x", "\ufffdx"),
    ],
    "tags": [
        ("wor<b>d</b>s", "words"), ("one<br>two<BR/>three<br />four", "one\ntwo\nthree\nfour"), ('<a href="x">link</a> text', "link text"),
        ("<p>one</p><p>two</p>", "\none\n\ntwo\n"), ("<td>1</td><td>2</td>", " 1  2"), ("<!-- note -->x<!doctype html>", "x"), ("left over</div>", "left over\n"),
        ('<img src="a.png" alt="b">x', "x"), ("<<b>b>x</b>", "<b>x"),
    ],
    "invisible": [
        ("nul\x00 bell\x07 del\x7f esc\x1b[0m", "nul bell del esc[0m"), ("\ufeffstart zero\u200bwidth wo\u2060rd soft\u00adhyphen", "start zerowidth word softhyphen"),
        ("lat\u200cin a\u200db", "latin ab"), ("\u0645\u06cc\u200c\u200c\u200c\u062e\u0648", "\u0645\u06cc\u200c\u062e\u0648"), ("c1\x81x", "c1x"),
    ],
    "nfc": [("e\u0301a\u030a", "\u00e9\u00e5"), ("\u1100\u1161\u11a8", "\uac01"), ("\u212b", "\u00c5")],
    "line_ends": [("a\r\nb\rc\x0bd\x0ce\u2028f\u2029g", "a\nb\nc\nd\ne\nf\ng"), ("\r\r\n", "\n\n")],
    "blanks": [("a  \nb\t\nc\u00a0\n", "a\nb\nc\n"), ("a\n\n\n\n\n\nb", "a\n\n\nb"), ("a\n \n \n \nb", "a\n\n\nb"), ("end ", "end"), (" \n ", "\n")],
}  # fmt: skip
CASES = [(field, before, after) for field, cases in CHANGED.items() for before, after in cases]
KEPT = [
    "", "plain", "a < b && b > c", "List<a> x; map<b>y", "usage: cp <source> <target> [<object>]", "if (a<i) { }", "x & y; AT&T; R&D;", "&notaname; &notit; &;",
    "R\u00e9sum\u00e9 na\u00efve \u2014 \u201cquoted\u201d, it\u2019s 5\u20ac", "the &lt;div&gt; element", "    indented\n\tcode  with   runs",
    "a\n\n\nb", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0915\u094d\u200d\u0937", "\U0001f469\u200d\U0001f4bb \u2764\ufe0f\u200d\U0001f525", "Use <b>bold</b>:\n```html\n<b>&amp;</b>\n```",
    "\u041f\u0440\u0438\u0432\u0435\u0442 \u4f60\u597d \uc548\ub155", "\u200e\u05d0\u200f",
]  # fmt: skip


@pytest.mark.parametrize(("field", "before", "after"), CASES)
def test_repairs(field: str, before: str, after: str) -> None:
    assert cleaned(before) == [after]


@pytest.mark.parametrize(("field", "before", "after"), CASES)
def test_each_repair_can_be_switched_off(field: str, before: str, after: str) -> None:
    alone = Clean(**{name: name == field for name in FIELDS})
    without = Clean(**{field: False})
    table = pa.table({"text": pa.array([before], pa.large_string())})
    only = run_step(alone, table).column("text")[0].as_py()
    assert only == naive.clean(before, (field,)) and only != before
    assert run_step(without, table).column("text")[0].as_py() == naive.clean(before, tuple(n for n in FIELDS if n != field))


@pytest.mark.parametrize("text", KEPT)
def test_what_stays(text: str) -> None:
    assert cleaned(text) == [text]


def test_markup_that_is_shown_stays_escaped() -> None:
    assert cleaned("the &lt;div&gt; &amp; the &lt;p&gt;") == ["the &lt;div&gt; & the &lt;p&gt;"]


def test_untouched_batch_comes_back_as_it_is() -> None:
    batch = pa.record_batch({"text": pa.array(["plain", "also plain", None], pa.large_string())})
    assert DEFAULT(batch).batch is batch


def test_keeps_rows_columns_and_nulls() -> None:
    table = pa.table({"id": ["a", "b", "c", "d"], "text": pa.array(["x&amp;", None, "same", "y "], pa.large_string()), "n": [1, 2, 3, 4]})
    done = run_step(Clean(remove_stop_words=("the",)), table)
    assert done.to_pydict() == {"id": ["a", "b", "c", "d"], "text": ["x&", None, "same", "y"], "n": [1, 2, 3, 4]}
    assert done.schema == table.schema


def test_stop_words(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("of\n\nA\n", encoding="utf-8")
    step = Clean(remove_stop_words=("The", "l'"), stop_words_file=str(path))
    assert step.assets()[0].uri == str(path) and Clean().assets() == ()
    texts = ["The cat of a house, the-dog", "theory offers", "THE  THE x"]
    done = run_step(step, pa.table({"text": pa.array(texts, pa.large_string())}))
    assert done.column("text").to_pylist() == ["cat house, -dog", "theory offers", "x"]
    assert run_step(step, done).equals(done)


PIECES = st.one_of(
    st.sampled_from(
        [
            "&",
            "amp;",
            "&lt;",
            "&gt;",
            "lt;",
            "#39;",
            "<",
            ">",
            "b",
            "/",
            "br",
            "<b>",
            "</b>",
            "<p",
            " class='x'",
            "<!--",
            "-->",
            "```",
            "\n",
            "\r",
            " ",
            "\t",
            "\xa0",
        ]
    ),
    st.sampled_from(
        [
            "\u00c3",
            "\u00a9",
            "\u00e2",
            "\u20ac",
            "\u2122",
            "\u0153",
            "\u00c2",
            "\x80",
            "\x85",
            "e",
            "\u0301",
            "\u0327",
            "\u200b",
            "\u200c",
            "\u200d",
            "\u0645",
            "\U0001f469",
        ]
    ),
    st.characters(exclude_categories=("Cs",)),
)
DOCUMENTS = st.lists(PIECES, max_size=30).map("".join)


@settings(max_examples=800, deadline=None)
@given(st.lists(DOCUMENTS, min_size=1, max_size=3))
def test_cleaning_twice_is_cleaning_once(texts: list[str]) -> None:
    first = cleaned(*texts)
    assert cleaned(*first) == first


@settings(max_examples=400, deadline=None)
@given(st.lists(DOCUMENTS, min_size=1, max_size=3))
def test_equals_naive_twin(texts: list[str]) -> None:
    for text, got in zip(texts, cleaned(*texts), strict=True):
        assert got == naive.clean(text)


def test_text_that_never_settles_stays_and_stays_again() -> None:
    nested = "<" * 40 + "b>x</b>" + "b>" * 40
    assert cleaned(*cleaned(nested)) == cleaned(nested)


def test_hostile_texts_end() -> None:
    texts = [
        "&amp;" * 200_000,
        "<b " * 300_000,
        "<!--" * 250_000,
        " " * 1_000_000,
        "\u200d" * 300_000,
        "\u0301" * 300_000,
        "a&" * 500_000,
        "\n \n" * 300_000,
    ]
    assert cleaned(*texts)[0] == "&" * 200_000 and cleaned(texts[3]) == [""]
    assert cleaned("\u00c3\u00a9" * 50_000) == ["\u00e9" * 50_000]


def test_any_split_gives_the_same() -> None:
    texts = [before for _, before, _ in CASES] + KEPT
    batch = pa.record_batch({"text": pa.array(texts, pa.large_string())})
    whole = cleaned(*texts)
    for cut in range(len(texts)):
        parts = [DEFAULT(part).batch.column("text").to_pylist() for part in (batch.slice(0, cut), batch.slice(cut))]
        assert parts[0] + parts[1] == whole
