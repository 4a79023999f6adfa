"""Repeated n-grams of words in the readings of DCLM, dolma and NeMo Curator, where a tuple of words is what repeats.

Rae et al. 2021 (Gopher), Table A1, as read by

    dclm   DCLM, baselines/mappers/filters/content_filters.py. Top 2-4 grams: the longest of the most frequent ones times
           its frequency, 0 where none repeats. Duplicate 5-10 grams: the words covered by any n-gram that occurs twice,
           all copies. Both of the characters of the words; words are those that begin with a letter or a number.
    dolma  dolma, taggers/gopher.py. Top: the first of the most frequent ones times its frequency, even where that is 1, of
           the characters of the words. Duplicates: characters of n-grams that occur twice, of those of all n-grams; words
           count once for each n-gram they are in.
    nemo   NeMo Curator, filters/heuristic/repetition. Top: what the text loses where the n-gram, joined by single spaces, is
           taken out of it wherever it stands, inside words too. Duplicates: n-grams seen before, words that two of them
           share once, with the spaces between. Both of the whole text; too few words for an n-gram count as 1. Of
           equally frequent n-grams NeMo takes whichever its set holds first, which differs between runs; we take the first.

n-grams are compared by 64-bit hashes. A (n+1)-gram can repeat only where the n-grams at its two first words do, so tables
shrink. Time is linear in words, scratch about 60 bytes a word of the largest document.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import types

from curate.kernels import tables
from curate.kernels.compiled import kernel, ro, rw, rw2
from curate.kernels.ngram_tables import MIX1, count_exactly, power_of_two
from curate.kernels.segments import DCLM, DOLMA, NEMO
from curate.kernels.tables import LETTER, SINGLE, WORD
from curate.kernels.words import Words

_NEVER = 2**31 - 1
_u8, _i32, _u32, _i64, _u64, _f64 = types.uint8, types.int32, types.uint32, types.int64, types.uint64, types.float64


class WordArrays(NamedTuple):
    """The fields of `Words` that n-grams are made of."""

    doc: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    size: npt.NDArray[np.int32]
    raw: npt.NDArray[np.uint64]
    chars: npt.NDArray[np.int32]


def counted_words(words: Words, data: npt.NDArray[np.uint8], reading: int) -> WordArrays:
    """Return the words a reading looks at: all of them, or those that begin with a letter or a number (dclm)."""
    if reading != DCLM:
        return WordArrays(words.doc, words.start, words.size, words.raw, words.chars)
    chosen = np.zeros(len(words.start), np.bool_)
    _begins_alphanumeric(data, words.start, words.size, _alphanumeric(), chosen)
    before = np.concatenate([[0], np.cumsum(chosen)])
    return WordArrays(before[words.doc], words.start[chosen], words.size[chosen], words.raw[chosen], words.chars[chosen])


def characters_of_words(words: WordArrays) -> npt.NDArray[np.int64]:
    """i64[n]: code points in the words of each document."""
    before = np.concatenate([[0], np.cumsum(words.chars, dtype=np.int64)])
    counted: npt.NDArray[np.int64] = before[words.doc[1:]] - before[words.doc[:-1]]
    return counted


def tuple_shares(
    data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], words: WordArrays, reading: int, chars: npt.NDArray[np.int64],
    shares: npt.NDArray[np.float64],
) -> None:  # fmt: skip
    """Write the shares of the top 2-4 and duplicate 5-10 grams to shares: f64[n, 13], columns 4 and up.

    data, offsets: as `strings.views` gives them; words: `counted_words`; chars: i64[n], code points of each document
    """
    whole = chars if reading == NEMO else np.maximum(characters_of_words(words), 1)
    tops = np.full((len(chars), 3), -1, np.int64)
    _tuple_shares(words.doc, words.raw, words.chars, reading, whole, tops, shares)
    if reading == NEMO:
        for d, k in zip(*np.nonzero(tops >= 0), strict=True):
            first = tops[d, k]
            those = slice(first, first + k + 2)
            gram = b" ".join(data[a : a + size].tobytes() for a, size in zip(words.start[those], words.size[those], strict=True))
            width = int(words.chars[those].sum()) + k + 1
            shares[d, 4 + k] = data[offsets[d] : offsets[d + 1]].tobytes().count(gram) * width / chars[d]


@cache
def _alphanumeric() -> npt.NDArray[np.bool_]:
    """bool[0x110000]: str.isalnum of every code point."""
    stage1, stage2 = tables.classes()
    bits = stage2.reshape(-1, 256)[stage1].ravel()[:0x110000]
    found: npt.NDArray[np.bool_] = bits & LETTER != 0
    for code in np.flatnonzero((bits & (WORD | SINGLE) != 0) & ~found).tolist():
        found[code] = chr(code).isalnum()
    found.setflags(write=False)
    return found


@kernel(types.void(ro(_u8), ro(_i64), ro(_i32), ro(types.boolean), rw(types.boolean)), allocates=False)
def _begins_alphanumeric(data: Any, start: Any, size: Any, table: Any, out: Any) -> None:
    """Write to out: bool[words] whether the first code point of each word is one that the table names."""
    for w in range(len(start)):
        at = start[w]
        lead = np.int64(data[at])
        width = 1 if lead < 0x80 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
        code = lead if width == 1 else lead & (0x7F >> width)
        if width > size[w]:
            code, width = np.int64(0), 1
        for k in range(1, width):
            code = code << 6 | np.int64(data[at + k] & 63)
        out[w] = table[code]


@kernel(_f64(ro(_i64), _i64, _i64, _i64, _i64, ro(_u32), _i64, ro(_i32), ro(_i32), _i64, _i64), allocates=False)
def _top_share(
    at: Any, gram: int, reading: int, most: int, best: int, cand: Any, nc: int, first: Any, count: Any, whole: int, n: int
) -> float:
    """Return the share of the top n-gram for dclm and dolma. at: i64[n + 1], characters before each word."""
    if reading == DOLMA:
        return float((at[best + gram] - at[best]) * most / whole)
    longest: Any = np.int64(0)
    for q in range(nc):
        i = cand[q]
        if most > 1 and count[first[i]] == most:
            longest = max(longest, at[i + gram] - at[i])
    return float(longest * most / whole)


@kernel(_f64(ro(_i64), _i64, _i64, ro(_u32), _i64, ro(_i32), ro(_i32), _i64, _i64), allocates=False)
def _duplicate_share(at: Any, gram: int, reading: int, cand: Any, nc: int, first: Any, count: Any, whole: int, n: int) -> float:
    """Return the share of duplicate n-grams. at: i64[n + 1], characters before each word."""
    repeated: Any = np.int64(0)
    everything: Any = np.int64(0)
    reach: Any = np.int64(0)  # words before it are counted
    for q in range(nc):
        i = np.int64(cand[q])
        if reading == DOLMA:
            if count[first[i]] > 1:
                repeated += at[i + gram] - at[i]
        elif reading == DCLM:
            if count[first[i]] > 1:
                repeated += at[i + gram] - at[max(i, reach)]
                reach = i + gram
        elif first[i] != i:
            fresh = max(i, reach)
            repeated += at[i + gram] - at[fresh] + min(i + gram - fresh, gram - 1)
            reach = i + gram
    if reading != DOLMA:
        return float(repeated / whole)
    for w in range(n - gram + 1):
        everything += at[w + gram] - at[w]
    return float(repeated / max(everything, np.int64(1)))


@kernel(types.void(ro(_i64), ro(_u64), ro(_i32), _i64, ro(_i64), rw2(_i64), rw2(_f64)))
def _tuple_shares(doc: Any, raw: Any, chars: Any, reading: int, whole: Any, tops: Any, shares: Any) -> None:
    """Fill columns 4 and up of shares: f64[n, 13]; for nemo, the first words of its top n-grams go to tops: i64[n, 3]."""
    most_words = 0
    for d in range(len(doc) - 1):
        most_words = max(most_words, doc[d + 1] - doc[d])
    key, at, cand = np.empty(most_words, np.uint64), np.empty(most_words + 1, np.int64), np.empty(most_words + 1, np.uint32)
    first, count = np.empty(most_words, np.int32), np.empty(most_words, np.int32)
    slots = np.empty(power_of_two(4 * most_words), np.uint32)
    for d in range(len(doc) - 1):
        a, n = doc[d], doc[d + 1] - doc[d]
        at[0] = 0
        for i in range(n):
            key[i] = raw[a + i]
            cand[i] = i
            at[i + 1] = at[i] + chars[a + i]
        nc = n
        for gram in range(2, 11):
            column = gram + 2
            shares[d, column] = 1.0 if reading == NEMO else 0.0
            if gram > n:
                continue
            while nc and cand[nc - 1] + gram > n:
                nc -= 1
            for q in range(nc):
                i = cand[q]
                key[i] = key[i] * MIX1 + raw[a + i + gram - 1]
            top = count_exactly(key, cand, nc, first, count, slots)
            most = (top + _NEVER) >> 32
            best = (most << 32) - top
            if gram > 4:
                shares[d, column] = _duplicate_share(at, gram, reading, cand, nc, first, count, whole[d], n)
            elif reading == NEMO:
                tops[d, gram - 2] = a + best
            else:
                shares[d, column] = _top_share(at, gram, reading, most, best, cand, nc, first, count, whole[d], n)
            k = 0
            for q in range(nc - 1):
                i, j = cand[q], cand[q + 1]
                cand[k] = i
                k += 1 if (j == i + 1) & (count[first[i]] > 1) & (count[first[j]] > 1) else 0
            nc = k
