"""`spacy_en` words and sentences are spaCy's: on rules glued together at random, on every code point, on hostile text."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels import build_spacy_tables, spacy_rules, spacy_words
from curate.kernels.spacy_sentences import count_sentences
from curate.kernels.spacy_url import is_url
from curate.kernels.strings import views
from curate.kernels.words import split_words
from tests.reference import words as naive

spacy = pytest.importorskip("spacy")

SPACES = [chr(c) for c in range(0x110000) if chr(c).isspace()]
# What the rules are about, to be glued together. fmt: off
PIECES = [
    "a",
    "ab",
    "The",
    "USA",
    "U.S",
    "I",
    "é",
    "Ü",
    "中",
    "文字",
    "ツ",
    "क",
    "১২",
    "ก",
    "ا",
    "\u0301",
    "😀",
    "👩\u200d👧",
    "🇩🇪",
    "IS_ALPH",
    "\0",
    ".",
    "..",
    "....",
    "…",
    "……",
    "!",
    "?",
    ",",
    ";",
    ":",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "*",
    "'",
    '"',
    "“",
    "”",
    "‘",
    "’",
    "´",
    "`",
    "¿",
    "。",
    "，",
    "،",
    "'s",
    "’s",
    "'S",
    "s",
    "+",
    "-",
    "--",
    "---",
    "----",
    "–",
    "—",
    "——",
    "~",
    "^",
    "=",
    "<",
    ">",
    "/",
    "\\",
    "|",
    "_",
    "§",
    "&",
    "©",
    "#",
    "@",
    "%",
    "$",
    "US$",
    "C$",
    "A$",
    "£",
    "€",
    "0",
    "3",
    "5",
    "8",
    "39.5",
    "5km",
    "10",
    "km²",
    "m/s",
    "كم",
    "°",
    "°C",
    "°F.",
    "C.",
    "K.",
    "k",
    "1.",
    "a.m",
    "p.m",
    "http://",
    "://",
    "www.",
    "com",
    "co.uk",
    "x@y.org",
    "8.8.8.8",
    "192.168.0.1",
    ":80",
    "?q=1",
    "\u200b",
    "\ufeff",
    "\u2060",
    "□",
    "️",
    "D",
    "P",
    "o",
    "x",
    "^_^",
    "-_-",
    "space",
    "can",
    "cannot",
    "gonna",
    "dont",
    "it",
    "he",
    "Mr",
    "Dr",
    "St",
    "vs",
    "e.g",
    "i.e",
    "Ph.D",
    "\\n",
]
# fmt: on
HOSTS = ["a", "b.", "www.", "com", "co.uk", "@", ":", "80", "/", "?", "#", "10.", "127.", "172.16.", "172.2٣.", "255", "224", "٣", "字.cn", "a" * 64, "-", "_", "A."]  # fmt: skip
OCTETS = ["1", "25", "10", "172", "192", "168", "254", "169", "127", "16", "31", "2٣", "255", "223", "224", "0", "00", "199", "300", "٣"]


@pytest.fixture(scope="module")
def pipeline() -> Any:
    made = spacy.blank("en")
    made.add_pipe("sentencizer")
    return made


def ours(texts: Sequence[str]) -> list[list[str]]:
    column = pa.array(texts, pa.large_string())
    words, (data, _) = split_words(column, "spacy_en"), views(column)
    every = [bytes(data[s : s + n]).decode() for s, n in zip(words.start.tolist(), words.size.tolist(), strict=True)]
    return [every[a:b] for a, b in zip(words.doc[:-1].tolist(), words.doc[1:].tolist(), strict=True)]


def theirs(pipeline: Any, text: str) -> list[str]:
    with pipeline.memory_zone():
        return [token.text for token in pipeline.tokenizer(text) if token.text.strip()]


def differences(pipeline: Any, texts: Sequence[str]) -> list[tuple[list[str], list[str]]]:
    return [(a, b) for a, b in zip(ours(texts), (theirs(pipeline, t) for t in texts), strict=True) if a != b]


def glued(rng: random.Random, parts: Sequence[str], longest: int) -> str:
    return "".join(rng.choice(parts) for _ in range(rng.randint(1, longest)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't stop-- it's 3.14", ["Do", "n't", "stop--", "it", "'s", "3.14"]),
        ("(see U.S. 5km, $9.99!)", ["(", "see", "U.S.", "5", "km", ",", "$", "9.99", "!", ")"]),
        ("a:) (https://x.org/?a=(b)) e.g. I'm 10a.m.", ["a", ":)", "(", "https://x.org/?a=(b", ")", ")", "e.g.", "I", "'m", "10", "a.m."]),
        ("Splits: (:23.77)", ["Splits", ":", "(", ":", "23.77", ")"]),  # ": (" blocks "(:"
        ("well-known and/or 9--5 x,y", ["well", "-", "known", "and/or", "9", "-", "-5", "x", ",", "y"]),
        ("IS_ALPHA IS_ALPHA", ["IS_ALPHA", "IS_ALPHA"]),
        (" \u3000\n", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert ours([text]) == [expected]


def test_tables_are_those_of_the_installed_spacy() -> None:
    built = build_spacy_tables.build()
    with np.load(spacy_rules.__file__.replace("spacy_rules.py", "spacy_tables.npz")) as stored:
        assert str(stored["digest"]) == str(built["digest"]), "spaCy's rules have changed: run curate.kernels.build_spacy_tables"
        # \w, \d and punctuation follow the Unicode version of Python; all else must be equal for any.
        same_unicode = str(stored["unicode"]) == str(built["unicode"])
        for name in set(stored) - {"version", "unicode"}:
            if same_unicode or name not in ("stage1", "stage2"):
                assert np.array_equal(stored[name], built[name]), name


def test_every_string_of_the_rules(pipeline: Any) -> None:
    rules = [text for text in pipeline.tokenizer.rules if text.strip()]
    assert differences(pipeline, [f"{text} ({text}) x{text}, '{text}. {text}{text} {text}s" for text in rules]) == []
    cut = [text[:n] + end + text[n:] for text in rules for n in (0, 1, len(text) - 1, len(text)) for end in (" ", ".", "'")]
    assert differences(pipeline, [" ".join(cut[i : i + 200]) for i in range(0, len(cut), 200)]) == []


def test_every_code_point(pipeline: Any) -> None:
    """A sample of all characters in each place that a rule looks at (CURATE_PARITY_EVERY=1 takes every one, and an hour)."""
    every = int(os.environ.get("CURATE_PARITY_EVERY", "3000"))
    sample = [chr(c) for c in [*range(0x180), *range(0x2010, 0x2040), *range(0x180, 0x110000, every)] if not 0xD800 <= c < 0xE000]
    forms = "{0}0 {0}b a{0}0 a{0}b 1{0} 1{0}b b,{0} {0},b {0}. A{0}. {0}A. a.{0} {0}.A x{0} {0}x 1{0}2 {0}-a a-{0} {0}:a {0}.{0}co a.{0}b http://{0}.co"
    assert differences(pipeline, [forms.format(c) for c in sample]) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.sampled_from(PIECES) | st.text(max_size=3), min_size=1, max_size=6).map("".join), max_size=12), st.randoms())
def test_words_are_spacys(pipeline: Any, chunks: list[str], rng: random.Random) -> None:
    text = "".join(chunk + (" " if rng.random() < 0.8 else rng.choice(SPACES) * rng.randint(1, 2)) for chunk in chunks)
    assert differences(pipeline, [text.replace("IS_ALPHA", "")]) == []


@pytest.mark.parametrize("seed", range(4))
def test_glued_rules(pipeline: Any, seed: int) -> None:
    rng = random.Random(seed)
    parts = PIECES + [text for text in pipeline.tokenizer.rules if text.strip()][:: 3 + seed]
    texts = []
    for _ in range(250):
        chunks = [glued(rng, parts, rng.choice((1, 2, 3, 12))) for _ in range(30)]
        texts.append("".join(chunk + (" " if rng.random() < 0.8 else rng.choice(SPACES) * rng.randint(1, 2)) for chunk in chunks))
    assert differences(pipeline, [text.replace("IS_ALPHA", "") for text in texts]) == []


def test_urls(pipeline: Any) -> None:
    rng = random.Random(1)
    rules = spacy_rules.rules()
    seen = set()
    for n in range(12_000):
        text = glued(rng, HOSTS + PIECES[-40:], 8) if n % 3 else ".".join(rng.choice(OCTETS) for _ in range(4)) + rng.choice(["", "/", ":8", ":80", "٣"])  # fmt: skip
        data = np.frombuffer(text.encode(), np.uint8)
        expected = pipeline.tokenizer.url_match(text) is not None
        assert is_url(data, 0, len(data), rules) == expected, text
        seen.add(expected)
    assert seen == {True, False}


def test_hashes_lengths_and_flags() -> None:
    texts = ["Plain words, “quoted” naïve 中文 5km (a.m.) :-) cannot", "", "#1 … é... \U0001f600 x"]
    words = split_words(pa.array(texts, pa.large_string()), "spacy_en")
    flat = [word for text in ours(texts) for word in text]
    assert words.raw.tolist() == [naive.hash_bytes(word.encode()) for word in flat]
    assert words.chars.tolist() == [len(word) for word in flat]
    assert words.flags.tolist() == [naive.flags(word) for word in flat]


def test_batches_slices_and_read_only_buffers_change_nothing() -> None:
    rng = random.Random(7)
    texts = [" ".join(glued(rng, PIECES, 4) for _ in range(20)) for _ in range(60)]
    whole = ours(texts)
    assert [words for text in texts for words in ours([text])] == whole
    assert [words for i in range(0, 60, 7) for words in ours(texts[i : i + 7])] == whole
    column = pa.array(["x", *texts], pa.large_string()).slice(1)
    words = split_words(column, "spacy_en")
    assert np.diff(words.doc).tolist() == list(map(len, whole))
    sink = pa.BufferOutputStream()
    batch = pa.record_batch({"text": pa.array(texts, pa.large_string())})
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    mapped = pa.ipc.open_stream(sink.getvalue()).read_all().column("text").combine_chunks()
    assert split_words(mapped, "spacy_en").raw.tolist() == words.raw.tolist()


@pytest.mark.parametrize(
    "unit",
    ["(", ")", "a", ".", "a.", "'", "-", "a-", "8) ", "(: ", "it's", "5km", "中", "@a.", "a.b@", ":) :( ", "°C.", "。", "1.", "\u00a0"],
)
def test_hostile_documents_take_linear_time(unit: str) -> None:
    """Half a megabyte of one thing; a quadratic rule would never end. Words tile the text."""
    text = unit * (500_000 // len(unit.encode()))
    column = pa.array([text, text], pa.large_string())
    words = split_words(column, "spacy_en")
    assert int(words.size.sum()) == 2 * len("".join(text.split()).encode())
    assert words.doc[2] == 2 * words.doc[1]


def test_damaged_utf8_stays_inside_the_document() -> None:
    for raw in (b"ab\xe4\xb8", b"\xf0\x9f", b"\xff\xfe\xfd", b"\xf7\xbf\xbf\xbf", b"\x80\x80a", b"5\xe2\x82", b"a.\xc3"):
        data, offsets, doc = np.frombuffer(raw, np.uint8), np.array([0, len(raw)]), np.zeros(2, np.int64)
        columns: list[Any] = [np.zeros(200, t) for t in (np.int64, np.int32, np.uint64, np.int32, np.uint8)]
        assert spacy_words.split_from(data, offsets, 0, doc, columns) == 1
        assert columns[1][: doc[1]].sum() == len(raw)


def test_sentences_are_spacys(pipeline: Any) -> None:
    rng = random.Random(3)
    parts = ["A", "b", ".", "!", "?", "...", "。", " ", "  ", "\t", ")", "\"", "’", "–", "Mr.", "$", "x.y", "٪", "…", "።", "\u3000", " a "]  # fmt: skip
    lines = [glued(rng, parts, 14) for _ in range(3000)]
    expected = []
    for line in lines:
        with pipeline.memory_zone():
            expected.append(sum(1 for sentence in pipeline(line).sents if sentence.text.strip()))
    column = pa.array(lines, pa.large_string())
    assert count_sentences(column, split_words(column, "spacy_en")).tolist() == expected
    page = pa.array(["\n".join(lines)], pa.large_string())
    assert count_sentences(page, split_words(page, "spacy_en")).tolist() == [sum(expected)]
