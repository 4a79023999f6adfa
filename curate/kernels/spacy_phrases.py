"""The last pass of spaCy's tokenizer: special cases are looked for once more, among the finished words of a document.

A phrase is a special case that the affix rules cut (":)" in "ok):)" or "a.m." in "(10 a.m.)"); its words, wherever they
follow each other with nothing or one space between, are replaced by the words of the special case. Longer matches go
first, then earlier ones; a match that overlaps a longer one is dropped, yet blocks what it covers. A match over a space
replaces nothing, as its text is no special case, but blocks too: in "x: (:23" the phrase ": (" keeps "(:" apart.

So words depend on their neighbours, but only along chains of pairs that occur in phrases: each such chain is done alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from curate.kernels.compiled import kernel, leaf, ro, rw
from curate.kernels.compiled import types as nb
from curate.kernels.hashing import hash_word
from curate.kernels.spacy_rules import (
    AT,
    LETTER,
    LONGEST,
    MOST_TOKENS,
    PAIR,
    PHRASE,
    PIECE,
    PIECE_AT,
    RULES,
    SYMBOL,
    TOKEN,
    TOKEN_AT,
    bits_of,
    code_at,
    field,
    find,
    listed,
)
from curate.kernels.words import ALL_SYMBOLS, HAS_LETTER

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

# Marks in the flags of words; `join_phrases` takes them off.
MARK = 128  # with the next word a pair inside one chunk
TAKEN = 64  # covered by a match
FOUND = 32  # a match begins here that changes words; its number stands in `chars`
KEEP = 31


@leaf
def describe(data: U8, word: int, rules: I32, start: I64, size: I32, raw: U64, chars: I32, flags: U8) -> None:
    """Fill in hash, code points and flags of a word from its position."""
    at, end = start[word], start[word] + size[word]
    raw[word] = hash_word(data, at, end)
    some, every, count = np.int64(0), np.int64(-1), 0
    while at < end:
        code, width = code_at(data, at, end)
        bits = bits_of(code, rules)
        some |= bits
        every &= bits
        count += 1
        at += width
    chars[word] = count
    flags[word] = (HAS_LETTER if some & LETTER else 0) | (ALL_SYMBOLS if every & SYMBOL else 0)


@leaf
def mark_pairs(data: U8, first: int, words: int, rules: I32, start: I64, size: I32, flags: U8) -> Any:
    """Mark the pairs among the words from `first`, all of one chunk; return whether there is one."""
    found = False
    for k in range(first, words - 1):
        if listed(data, start[k], start[k + 1] + size[k + 1], PAIR, rules) >= 0:
            flags[k] |= MARK
            found = True
    return found


@leaf
def _follows(data: U8, word: int, start: I64, size: I32) -> Any:
    """Whether nothing or one space is between a word and the next one."""
    end = start[word] + size[word]
    gap = start[word + 1] - end
    return gap == 0 or (gap == 1 and data[end] == 0x20)


@kernel(nb.int64(ro(nb.uint8), nb.int64, nb.int64, nb.int64, RULES, rw(nb.int64), rw(nb.int32), rw(nb.uint8)), allocates=False)
def _joined(data: U8, word: int, count: int, kind: int, rules: I32, start: I64, size: I32, buffer: U8) -> int:
    """Number of the string of that kind that `count` words make, spaces left out, else -1. buffer: u8[LONGEST]"""
    last = word + count - 1
    if start[last] + size[last] - start[word] > LONGEST + count:
        return -1
    at = 0
    for k in range(word, last + 1):
        if at + size[k] > LONGEST:
            return -1
        for i in range(size[k]):
            buffer[at] = data[start[k] + i]
            at += 1
    return find(buffer, 0, at, kind, rules)  # type: ignore[no-any-return]


@leaf
def _phrase(data: U8, word: int, count: int, rules: I32, start: I64, size: I32, buffer: U8) -> Any:
    """Number of the phrase whose words are exactly these, else -1."""
    number = _joined(data, word, count, PHRASE, rules, start, size, buffer)
    if number < 0 or field(rules, TOKEN_AT, number + 1) - field(rules, TOKEN_AT, number) != count:
        return np.int64(-1)
    at = 0
    for k in range(count):
        at += size[word + k]
        if field(rules, TOKEN, field(rules, TOKEN_AT, number) + k) != at:
            return np.int64(-1)
    return number


@leaf
def _changes(word: int, count: int, number: int, rules: I32, start: I64, size: I32) -> Any:
    """Whether a phrase replaces these words by others: it does not over a space, nor where its words are the same."""
    length = field(rules, AT, number + 1) - field(rules, AT, number)
    if start[word + count - 1] + size[word + count - 1] - start[word] != length:
        return False
    first = field(rules, PIECE_AT, number)
    if field(rules, PIECE_AT, number + 1) - first != count:
        return True
    at = 0
    for k in range(count):
        at += size[word + k]
        if field(rules, PIECE, first + k) != at:
            return True
    return False


@leaf
def _match_chain(data: U8, low: int, high: int, rules: I32, start: I64, size: I32, chars: I32, flags: U8, buffer: U8) -> Any:
    """Find the phrases among words low .. high; return by how many words the replacements may outgrow the old ones."""
    growth = 0
    for count in range(min(MOST_TOKENS, high - low + 1), 1, -1):
        for word in range(low, high - count + 2):
            number = _phrase(data, word, count, rules, start, size, buffer)
            if number < 0:
                continue
            free = not (flags[word] | flags[word + count - 1]) & TAKEN
            for k in range(word, word + count):
                flags[k] |= TAKEN
            if free and _changes(word, count, number, rules, start, size):
                flags[word] |= FOUND
                chars[word] = number
                growth += max(0, field(rules, PIECE_AT, number + 1) - field(rules, PIECE_AT, number) - count)
    return growth


@leaf
def _find_all(data: U8, first: int, marked: int, words: int, rules: I32, start: I64, size: I32, chars: I32, flags: U8, buffer: U8) -> Any:
    """Match every chain of pairs that holds a marked one; return the growth, as `_match_chain` does."""
    growth, word = 0, marked
    while word < words - 1:
        if not flags[word] & MARK:
            word += 1
            continue
        low, high = word, word + 1
        while low > first and _follows(data, low - 1, start, size) and _joined(data, low - 1, 2, PAIR, rules, start, size, buffer) >= 0:
            low -= 1
        while high < words - 1 and _follows(data, high, start, size) and _joined(data, high, 2, PAIR, rules, start, size, buffer) >= 0:
            high += 1
        growth += _match_chain(data, low, high, rules, start, size, chars, flags, buffer)
        word = high  # a chain ends where no pair is: no later one reaches back
    return growth


@leaf
def _move(source: int, target: int, start: I64, size: I32, raw: U64, chars: I32, flags: U8) -> None:
    start[target], size[target], raw[target], chars[target], flags[target] = (
        start[source], size[source], raw[source], chars[source], flags[source],
    )  # fmt: skip


@kernel(
    nb.int64(
        ro(nb.uint8), nb.int64, nb.int64, nb.int64, RULES,
        rw(nb.int64), rw(nb.int32), rw(nb.uint64), rw(nb.int32), rw(nb.uint8), rw(nb.uint8),
    ),
    allocates=False,
)  # fmt: skip
def join_phrases(
    data: U8, first: int, marked: int, words: int, rules: I32, start: I64, size: I32, raw: U64, chars: I32, flags: U8, buffer: U8
) -> int:
    """Replace phrases among words first .. words-1 of a document; return the number of words then, or -1: no room.

    marked: the first word that `mark_pairs` marked. Earlier words can't change: a chain that begins before a marked pair
    is matched, but a phrase inside one chunk begins at a marked word. buffer: u8[LONGEST], scratch.
    """
    growth = _find_all(data, first, marked, words, rules, start, size, chars, flags, buffer)
    if words + growth > len(start):
        return -1
    source = marked
    if growth:  # make room, so that no word is written over before it is read
        for word in range(words - 1, marked - 1, -1):
            _move(word, word + growth, start, size, raw, chars, flags)
        source += growth
    target, words = marked, words + growth
    while source < words:
        if flags[source] & FOUND:
            number, at = np.int64(chars[source]), start[source]
            begin = at
            source += field(rules, TOKEN_AT, number + 1) - field(rules, TOKEN_AT, number)
            for k in range(field(rules, PIECE_AT, number), field(rules, PIECE_AT, number + 1)):
                start[target] = at
                size[target] = begin + field(rules, PIECE, k) - at
                at = begin + field(rules, PIECE, k)
                describe(data, target, rules, start, size, raw, chars, flags)
                target += 1
        else:
            if source != target:
                _move(source, target, start, size, raw, chars, flags)
            flags[target] &= KEEP
            source += 1
            target += 1
    for word in range(first, marked):
        flags[word] &= KEEP
    return target
