"""How many sentences spaCy's sentencizer sees in a text, line by line: datatrove's count for C4, without spaCy.

A sentence ends behind a word that is one of 120 full stops, and the marks that follow it: the next word that is not all
punctuation begins a new one. Only words of one character end a sentence ("..." does not), abbreviations are no exception.
White space other than one space is a word of its own for spaCy, and begins a sentence too; such sentences hold no text
and are not counted. Source: spaCy 3.8.18, pipeline/sentencizer.pyx; datatrove 0.10, SpaCyTokenizer.sent_tokenize.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.kernels.compiled import kernel, leaf, ro, rw
from curate.kernels.compiled import types as nb
from curate.kernels.spacy_rules import PUNCTUATION, RULES, SENTENCE_END, bits_of, code_at, rules
from curate.kernels.strings import views
from curate.kernels.words import Words

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

NO_GAP, WORD_GAP, LINE_GAP = range(3)  # what spaCy makes of white space between words


@leaf
def _gap(data: U8, at: int, end: int) -> Any:
    """What data[at:end], white space between two words, is."""
    if end - at == 0 or (end - at == 1 and data[at] == 0x20):
        return NO_GAP
    for k in range(at, end):
        if data[k] == 0x0A:
            return LINE_GAP
    return WORD_GAP


@leaf
def _every_bit(data: U8, at: int, end: int, rules: I32) -> Any:
    """Class bits that all characters of a word have; SENTENCE_END only for a single character."""
    every, count = np.int64(-1), 0
    while at < end:
        code, width = code_at(data, at, end)
        every &= bits_of(code, rules)
        at += width
        count += 1
    return every if count == 1 else every & ~np.int64(SENTENCE_END)


@kernel(nb.void(ro(nb.uint8), ro(nb.int64), RULES, ro(nb.int64), ro(nb.int64), ro(nb.int32), rw(nb.int64)), allocates=False)
def _count(data: U8, offsets: I64, rules: I32, doc: I64, start: I64, size: I32, out: I64) -> None:
    """Write the number of sentences of every document. out: i64[n]"""
    for d in range(len(offsets) - 1):
        count, at = 0, offsets[d]
        held, ended = 0, False  # whether the sentence has a word; whether its full stop has come
        for word in range(doc[d], doc[d + 1]):
            gap = _gap(data, at, start[word])
            at = start[word] + size[word]
            every = _every_bit(data, start[word], at, rules)
            stop = every & SENTENCE_END != 0
            other = not stop and not every & PUNCTUATION
            if gap == LINE_GAP or (ended and (gap == WORD_GAP or other)):
                count += held
                held, ended = 0, False
            ended |= stop
            held = 1
        out[d] = count + held


def count_sentences(text: pa.LargeStringArray, words: Words) -> I64:
    """Sentences of every document, each line (up to "\\n") counted by itself; words: its `spacy_en` split. i64[n]"""
    data, offsets = views(text)
    out = np.zeros(len(offsets) - 1, np.int64)
    _count(data, offsets, rules(), words.doc, words.start, words.size, out)
    return out
