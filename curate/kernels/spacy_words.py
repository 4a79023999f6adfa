"""Words as spaCy's blank English tokenizer gives them (spaCy 3.8.18), without spaCy: datatrove's split for English.

datatrove keeps the tokens that hold something but white space, so words tile the chunks of str.split(). Three paths:
    ASCII letters and digits    one word, seen in bitmaps of 64 bytes, unless the chunk is a special case ("cannot")
    letters and a final mark    two words, likewise
    everything else             the affix rules (`spacy_affixes`), then phrases (`spacy_phrases`) where a pair occurs
No path keeps anything from one document to the next, so words can't depend on batches or on earlier text.

Differences from spaCy: the text "IS_ALPHA" is a word here; spaCy fails on it where it comes twice and datatrove then takes
it out of the text, also out of later texts of that process. Texts of 2^30 characters and more are split too.
Rough speed: 80 to 95 MB/s per core on English text, on a busy machine.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from curate.kernels.blocks import bytes_between, first_bit
from curate.kernels.compiled import kernel, leaf, ro, rw
from curate.kernels.compiled import types as nb
from curate.kernels.hashing import hash_word
from curate.kernels.spacy_affixes import split_chunk
from curate.kernels.spacy_phrases import describe, join_phrases, mark_pairs
from curate.kernels.spacy_rules import (
    BEFORE_STOP,
    DIGIT,
    LETTER,
    LONGEST,
    PAIR,
    RULED,
    RULES,
    SPACE,
    SPECIAL,
    STAGE2,
    SUFFIX,
    SYMBOL,
    UNIT_END,
    bits_of,
    code_at,
    listed,
    rules,
)
from curate.kernels.words import ALL_SYMBOLS, HAS_LETTER, Columns

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

ANY_STRING = SPECIAL | PAIR
STOP = 0x2E
COLUMNS = (rw(nb.int64), rw(nb.int32), rw(nb.uint64), rw(nb.int32), rw(nb.uint8))


@leaf
def _write(data: U8, at: int, end: int, count: int, flag: int, words: int, start: I64, size: I32, raw: U64, chars: I32, flags: U8) -> Any:
    """Write a word whose code points and flags are known; return the number of words."""
    start[words] = at
    size[words] = end - at
    raw[words] = hash_word(data, at, end)
    chars[words] = count
    flags[words] = flag
    return words + 1


@leaf
def _scan(data: U8, at: int, end: int, rules: I32) -> Any:
    """(end of the chunk at data[at], bits some have, bits all have, bits of the last, code points); at < end, no space."""
    some, every, last, count = np.int64(0), np.int64(-1), np.int64(0), 0
    while at < end:
        code, width = code_at(data, at, end)
        bits = bits_of(code, rules)
        if bits & SPACE:
            break
        some |= bits
        every &= bits
        last = bits
        count += 1
        at += width
    return at, some, every, last, count


@kernel(nb.UniTuple(nb.int64, 3)(ro(nb.uint8), nb.int64, nb.int64, RULES, nb.int64, *COLUMNS), allocates=False)  # type: ignore[no-untyped-call]  # numba has none
def _by_character(
    data: U8, at: int, end: int, rules: I32, words: int, start: I64, size: I32, raw: U64, chars: I32, flags: U8
) -> tuple[int, int, int]:
    """Write the words from data[at] on up to a chunk that begins with ASCII behind the first; return (where, words, marked).

    For chunks that the rules look at, that hold other characters than ASCII, or that are too long for a block. marked: the first marked word, or -1. Stops
    before a chunk that has no room.
    """
    marked: Any = np.int64(-1)
    begun = False
    while at < end:
        code, width = code_at(data, at, end)
        if bits_of(code, rules) & SPACE:
            at += width
            continue
        if begun and width == 1:
            break
        stop, some, every, last, count = _scan(data, at, end, rules)
        if words + (stop - at) + 2 > len(start):
            break
        if some & RULED or (some & DIGIT and last & UNIT_END) or listed(data, at, stop, SPECIAL, rules) >= 0:
            first = words
            words = split_chunk(data, at, stop, rules, words, start, size)
            for k in range(first, words):
                describe(data, k, rules, start, size, raw, chars, flags)
            if mark_pairs(data, first, words, rules, start, size, flags) and marked < 0:
                marked = first
        else:
            flag = (HAS_LETTER if some & LETTER else 0) | (ALL_SYMBOLS if every & SYMBOL else 0)
            words = _write(data, at, stop, count, flag, words, start, size, raw, chars, flags)
        begun = True
        at = stop
    return at, words, marked


@leaf
def _tail_mark(data: U8, at: int, end: int, rules: I32) -> Any:
    """Whether an ASCII chunk of letters and one final mark, end - at > 1, is just these two words."""
    last = np.int64(rules[STAGE2 + data[end - 1]])
    if not last & SUFFIX and not (data[end - 1] == STOP and rules[STAGE2 + data[end - 2]] & BEFORE_STOP):
        return False
    return listed(data, at, end, ANY_STRING, rules) < 0 and listed(data, at, end - 1, SPECIAL, rules) < 0


@leaf
def _classes(data: U8, at: int, n: int) -> Any:
    """(letters, digits, white space) of data[at:at+n] as bitmaps, n < 64 and at + 64 <= len(data)."""
    valid = (np.uint64(1) << np.uint64(n)) - np.uint64(1)
    letter = bytes_between(data, at, 0x41, 0x5A) | bytes_between(data, at, 0x61, 0x7A)
    space = bytes_between(data, at, 0x09, 0x0D) | bytes_between(data, at, 0x1C, 0x20)
    return letter & valid, bytes_between(data, at, 0x30, 0x39) & valid, space & valid


@leaf
def _classes_at_end(data: U8, at: int, n: int) -> Any:
    """The same, byte by byte, where the buffer ends."""
    letter, digit, space = np.uint64(0), np.uint64(0), np.uint64(0)
    for k in range(n):
        bit = np.uint64(1) << np.uint64(k)
        byte = data[at + k]
        if 0x41 <= byte & 0xDF <= 0x5A:
            letter |= bit
        elif 0x30 <= byte <= 0x39:
            digit |= bit
        elif 0x09 <= byte <= 0x0D or 0x1C <= byte <= 0x20:
            space |= bit
    return letter, digit, space


@leaf
def _document(data: U8, at: int, end: int, rules: I32, words: int, start: I64, size: I32, raw: U64, chars: I32, flags: U8) -> Any:
    """Write the words of data[at:end] before phrases; return (where it stopped, words, first marked word or -1).

    It stops before `end` where there is no room. Blocks begin at white space or at a chunk. A chunk that does not end in
    its block is left to the next one; one that fills a block or is no plain word goes to `_by_character`.
    """
    marked: Any = np.int64(-1)
    one = np.uint64(1)
    while at < end:
        n: Any = min(np.int64(63), end - at)
        if words + n + 2 > len(start):
            break
        if at + 64 <= data.shape[0]:
            letter, digit, space = _classes(data, at, n)
        else:
            letter, digit, space = _classes_at_end(data, at, n)
        valid = (one << np.uint64(n)) - one
        other = valid & ~(letter | digit | space)
        starts = ~space & (space << one | one) & valid
        ends = space & ~(space << one | one)
        if at + n == end and not space >> np.uint64(n - 1) & one:
            ends |= one << np.uint64(n)
        done, slowly = n, False
        while starts:
            begin = first_bit(starts)
            starts &= starts - one
            if not ends:  # goes on behind the block
                done, slowly = begin, begin == 0
                break
            stop = first_bit(ends)
            bits = (one << np.uint64(stop)) - (one << np.uint64(begin))
            ends &= ends - one
            ruled = other & bits
            a, b = at + begin, at + stop
            if not ruled and (not digit & bits or digit >> np.uint64(stop - 1) & one) and listed(data, a, b, SPECIAL, rules) < 0:
                flag = np.int64(HAS_LETTER if letter & bits else 0)
                words = _write(data, a, b, stop - begin, flag, words, start, size, raw, chars, flags)
                continue
            if ruled == one << np.uint64(stop - 1) and stop - begin > 1 and not digit & bits and _tail_mark(data, a, b, rules):
                words = _write(data, a, b - 1, stop - begin - 1, np.int64(HAS_LETTER), words, start, size, raw, chars, flags)
                flag = np.int64(ALL_SYMBOLS if rules[STAGE2 + data[b - 1]] & SYMBOL else 0)
                words = _write(data, b - 1, b, np.int64(1), flag, words, start, size, raw, chars, flags)
                continue
            done, slowly = begin, True
            break
        at += done
        if slowly:
            stop, words, pair = _by_character(data, at, end, rules, words, start, size, raw, chars, flags)
            if stop == at:
                break
            marked = pair if marked < 0 else marked
            at = stop
    return at, words, marked


@kernel(nb.int64(ro(nb.uint8), ro(nb.int64), RULES, nb.int64, rw(nb.int64), *COLUMNS, rw(nb.uint8)), allocates=False)
def _split(
    data: U8, offsets: I64, rules: I32, first: int, doc: I64, start: I64, size: I32, raw: U64, chars: I32, flags: U8, buffer: U8
) -> int:
    """Split documents from `first` on; return n, or the document whose words did not fit (none of it counts).

    data: u8[nbytes]; offsets: i64[n+1]; doc: i64[n+1] with doc[first] set; buffer: u8[LONGEST]; the others: room for words.
    """
    words = doc[first]
    for d in range(first, len(offsets) - 1):
        stop, words, marked = _document(data, offsets[d], offsets[d + 1], rules, words, start, size, raw, chars, flags)
        if stop < offsets[d + 1]:
            return d
        if marked >= 0:
            words = join_phrases(data, doc[d], marked, words, rules, start, size, raw, chars, flags, buffer)
            if words < 0:
                return d
        doc[d + 1] = words
    return len(offsets) - 1


def split_from(data: U8, offsets: I64, first: int, doc: I64, columns: Columns) -> int:
    """Split documents from `first` on, as `words.split_words` asks for."""
    return int(_split(data, offsets, rules(), first, doc, *columns, np.empty(LONGEST, np.uint8)))
