"""Reading fastText files: what is damaged is refused before it is believed, and never runs wild."""

from __future__ import annotations

import contextlib
import struct
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels.fasttext_model import BadModel, parse, word_hash
from curate.kernels.langid import Identifier
from curate.kernels.strings import views
from tests.reference import langid as naive

WORDS = ["the", "</s>", "na\u00efve"]
KINDS: list[dict[str, Any]] = [{}, {"loss": 3}, {"quantised": True, "kept": 20, "quantised_output": True}, {"word_ngrams": 2, "loss": 4}]
SMALL: dict[str, Any] = {"dim": 4, "buckets": 50}
HEADER = 8 + 48 + 8  # magic and version, twelve numbers, one float64


def model(**changes: Any) -> bytes:
    return naive.made_up(WORDS, 3, **{**SMALL, **changes})


def changed(raw: bytes, at: int, layout: str, value: int) -> bytes:
    out = bytearray(raw)
    struct.pack_into("<" + layout, out, at, value)
    return bytes(out)


def run(raw: bytes) -> None:
    """Read and run; a kernel that leaves its arrays ends the process."""
    identifier = Identifier(parse(raw), slots=4)
    column = views(pa.array(["the na\u00efve " + "x" * 40, "", "a </s> __label__l0 the"], pa.large_string()))
    label, _ = identifier(*column)
    assert ((label >= -1) & (label < len(identifier.labels))).all()
    identifier.top(*column, 2)


@pytest.mark.parametrize("changes", KINDS)
def test_every_truncation_is_refused(changes: dict[str, Any]) -> None:
    raw = model(**changes)
    run(raw)
    for cut in range(len(raw)):
        with pytest.raises(BadModel):
            parse(raw[:cut])


@pytest.mark.parametrize(
    ("at", "layout", "value", "message"),
    [
        (0, "i", 1, "magic"),
        (4, "i", 10, "version 10"),
        (4, "i", 13, "version 13"),
        (8, "i", 0, "dim 0"),
        (8, "i", 1 << 30, "dim 1073741824"),
        (8, "i", 8, "shape"),
        (8 + 5 * 4, "i", 65, "wordNgrams 65"),
        (8 + 6 * 4, "i", 0, "loss 0"),
        (8 + 7 * 4, "i", 1, "kind 1"),
        (8 + 8 * 4, "i", -5, "bucket -5"),
        (8 + 8 * 4, "i", 0, "bucket 0"),
        (8 + 8 * 4, "i", 2**31 - 1, "shape"),
        (8 + 9 * 4, "i", -1, "minn -1"),
        (8 + 10 * 4, "i", 65, "maxn 65"),
        (HEADER, "i", 2**31 - 1, "no such model"),
        (HEADER + 4, "i", -1, "no such model"),
        (HEADER + 8, "i", 0, "no such model"),
        (HEADER + 20, "q", 1 << 60, "too early"),
        (HEADER + 20, "q", -2, "no such model"),
        (HEADER + 20, "q", 5, "invalid file|too early|matrix|quantised"),
    ],
)
def test_impossible_numbers_are_refused(at: int, layout: str, value: int, message: str) -> None:
    with pytest.raises(BadModel, match=message):
        parse(changed(model(), at, layout, value))


def test_impossible_tables_are_refused() -> None:
    entries = HEADER + 12 + 16
    size = len("the") + 1 + 9
    with pytest.raises(BadModel, match="words, then labels"):
        parse(changed(model(), entries + size - 1, "b", 1))
    first_label = entries + sum(len(word.encode()) + 10 for word in WORDS) + len("__label__l0") + 1
    for count in (-1, 10**15):
        with pytest.raises(BadModel, match="impossible counts"):
            parse(changed(model(), first_label, "q", count))
    pruned = model(quantised=True, kept=4)
    pairs = first_label - len("__label__l0") - 1 + 3 * (len("__label__l0") + 10)
    for at, value in ((pairs, 50), (pairs, -1), (pairs + 4, 4), (pairs + 4, -1)):
        with pytest.raises(BadModel, match="do not exist"):
            parse(changed(pruned, at, "i", value))
    twice = changed(pruned, pairs, "i", struct.unpack_from("<i", pruned, pairs + 8)[0])
    with pytest.raises(BadModel, match="do not exist"):
        parse(twice)
    book = pairs + 4 * 8 + 1 + 1 + 16  # of the quantised matrix: its number of codes, then dim, parts, width, last
    rows = len(WORDS) + 4
    assert struct.unpack_from("<i", pruned, book)[0] == rows
    for at, value in ((0, 8), (4, 2), (8, 0), (12, 3)):
        with pytest.raises(BadModel):
            parse(changed(pruned, book + 4 + rows + at, "i", value))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_damage_is_refused_or_harmless(data: st.DataObject) -> None:
    raw = bytearray(model(**data.draw(st.sampled_from(KINDS))))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(8, min(len(raw) - 1, 400)))
        raw[at] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BadModel):
        run(bytes(raw))


def test_a_dense_matrix_is_not_copied() -> None:
    raw = np.frombuffer(model(), np.uint8)
    weights = parse(memoryview(raw)).weights  # type: ignore[arg-type]
    assert np.shares_memory(weights, raw)


def test_version_11_has_no_character_n_grams() -> None:
    assert parse(model(version=11)).longest == 0 and parse(model()).longest == 4


def test_hash_is_fasttexts() -> None:
    assert word_hash(b"") == 2166136261 and word_hash(b"</s>") == 3617362777 and word_hash(b"a") == 0xE40C292C
