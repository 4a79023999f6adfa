"""Sentences of MADLAD-400 against the naive twin."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels import patterns, questionable
from curate.kernels.characters import character_bits
from curate.kernels.strings import views
from tests.reference.questionable import CURSED, counts, sentences

PARTS = [*CURSED, "word ", "Word ", "Über Ärger ", ". ", "? ", "!", "...", "\n", "a b c d e f g h i j ", "abc " * 10, "abcd " * 10, "ab, " * 5, "ab,, cd, ", " г.", " nr.", "|",
         "12/(3) ", "\u3000", "中文。", "x" * 30, "y" * 490, "é"]  # fmt: skip


def run(texts: list[str]) -> np.ndarray:  # type: ignore[type-arg]
    data, offsets = views(pa.array(texts, pa.large_string()))
    machine = patterns.build([c.encode() for c in questionable.CURSED_STRINGS])
    out = np.zeros((len(texts), questionable.COLUMNS), np.int64)
    none = np.zeros(0, bool)
    questionable.judge_sentences(
        data,
        offsets,
        character_bits(),
        machine.step,
        machine.byte_class,
        machine.ends,
        machine.further,
        15,
        0.5,
        12,
        20,
        500,
        0.2,
        none,
        out,
    )
    return out


@given(st.lists(st.one_of(st.sampled_from(PARTS), st.text(max_size=5)), max_size=30).map("".join))
def test_equals_the_twin(text: str) -> None:
    assert tuple(run(["Before. ", text, " after"])[1][: questionable.LANGUAGE]) == counts(text)


@given(st.lists(st.lists(st.one_of(st.sampled_from(PARTS), st.text(max_size=5)), max_size=20).map("".join), max_size=4))
def test_sentences_are_cut_as_the_twin_cuts_them(texts: list[str]) -> None:
    data, offsets = views(pa.array(texts, pa.large_string()))
    stops, document = np.zeros((2, 1000), np.int64)
    count = questionable.sentences(data, offsets, stops, document)
    pieces = (
        [bytes(data[a:b]).decode() for a, b in zip([int(offsets[0]), *stops[: count - 1]], stops[:count], strict=True)] if count else []
    )
    assert "".join(pieces) == "".join(texts)
    for d, text in enumerate(texts):
        assert [p.strip() for p, at in zip(pieces, document, strict=False) if at == d and p.strip()] == sentences(text)


def test_hostile_documents() -> None:
    big = ["." * 1_000_000, "a" * 1_000_000, ". " * 500_000, "|" * 1_000_000]
    assert run(big)[:, questionable.SENTENCES].tolist() == [1, 1, 500_000, 1]
