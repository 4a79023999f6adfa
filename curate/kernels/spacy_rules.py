"""The rules of spaCy's English tokenizer as arrays: classes of characters, and sets of strings with exact look-up.

`build_spacy_tables.py` makes the data from spaCy itself. Special cases are texts that are split in a fixed way
("can't" is ca|n't, ":-)" is one word); units are cut off behind a digit ("5km"); phrases are special cases that are found
again among finished words, and pairs are two words that follow each other in a phrase.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.kernels.compiled import kernel, leaf, ro
from curate.kernels.compiled import types as nb
from curate.kernels.hashing import hash_range
from curate.kernels.tables import last_character

# Classes of characters
SPACE = 1  # str.isspace
DIGIT = 2  # 0-9
PREFIX = 4  # cut off at the front, whatever follows
SUFFIX = 8  # cut off at the end, whatever stands before
INFIX = 16  # splits anywhere
ALPHA = 32  # spaCy's letters
UPPER = 64  # spaCy's capitals: a full stop behind two of them is cut off
BEFORE_STOP = 128  # a full stop behind it is cut off
LEFT_OF_STOP = 256  # a full stop between such a character
RIGHT_OF_STOP = 512  # and such a one splits
UNIT_END = 1024  # last character of a unit or a currency
RULED = 2048  # some rule looks at it; a word of other characters and no digit is never split
WORD = 4096  # \w of the URL pattern
DECIMAL = 8192  # \d of the URL pattern
LOWER = 16384  # may stand in the last part of a host name
LETTER = 32768  # as in `tables`
SYMBOL = 65536  # as in `tables`
PUNCTUATION = 131072  # of a Unicode category P..
SENTENCE_END = 262144  # of spaCy's sentencizer

# Kinds of strings. Of a numpy type, as numba would compile functions anew for each plain number that they are given.
SPECIAL = np.int64(1)
UNIT = np.int64(2)
PAIR = np.int64(4)
PHRASE = np.int64(8)

LONGEST = 40  # bytes; no string is longer
MOST_TOKENS = 11  # words of the longest phrase

# Where things stand in the one array of numbers that kernels take, as many arrays take long to compile. Behind the header
# follow the fields, each an array; the header says where.
STAGE1 = 0  # class bits of c: rules[STAGE2 + rules[STAGE1 + (c >> 8)] * 256 + (c & 255)]
SEEN = 0x2000  # four bits for every length, first and last byte: the kinds of the strings that have them
HEADER = 0x2800
STAGE2 = 0x2810
MASK, SLOTS, TEXT, AT, KIND, PIECE, PIECE_AT, TOKEN, TOKEN_AT = map(np.int64, range(9))
FILTER = 1 << 14

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
RULES = ro(nb.int32)  # numba type


@cache
def rules() -> I32:
    """The stored rules, with a hash table of their s strings, as one read-only array; its fields:

    SLOTS       number of a string + 1, or 0; a power of two of them, MASK is one less
    TEXT, AT    bytes of all strings back to back; where each begins (s + 1)
    KIND        SPECIAL | UNIT | PAIR | PHRASE of each
    PIECE, PIECE_AT    byte position behind each word of a special case; where those of each string begin (s + 1)
    TOKEN, TOKEN_AT    the same for the words that make a phrase
    """
    with np.load(Path(__file__).with_name("spacy_tables.npz")) as stored:
        held = {name: stored[name].astype(np.int64) for name in stored if stored[name].dtype.kind in "iu"}
    text, at, kind = held["text"].astype(np.uint8), held["at"], held["kind"]
    if int(np.diff(at).max()) > LONGEST or int(np.diff(held["token_at"]).max()) > MOST_TOKENS:
        raise ValueError("spacy_tables.npz holds a longer string or phrase than the kernels have room for")
    mask = (1 << (4 * len(kind)).bit_length()) - 1
    slots, seen = np.zeros(mask + 1, np.int64), np.zeros(FILTER, np.int64)
    for number, (start, end) in enumerate(zip(at[:-1].tolist(), at[1:].tolist(), strict=True)):
        seen[_filter_at(end - start, int(text[start]), int(text[end - 1]))] |= kind[number]
        slot = int(hash_range(text, start, end)) & mask
        while slots[slot]:
            slot = (slot + 1) & mask
        slots[slot] = number + 1
    fields = [slots, held["text"], at, kind, held["piece"], held["piece_at"], held["token"], held["token_at"]]
    sizes = [STAGE2 + len(held["stage2"]), *map(len, fields)]
    header = np.zeros(STAGE2 - HEADER, np.int64)
    header[: len(fields) + 1] = [mask, *np.cumsum(sizes)[:-1]]
    packed = (seen.reshape(-1, 8) << (4 * np.arange(8))).sum(axis=1).astype(np.uint32).view(np.int32)
    made = np.concatenate([held["stage1"], packed, header, held["stage2"], *fields]).astype(np.int32)
    made.setflags(write=False)
    return made


def _filter_at(size: int, first: int, last: int) -> int:
    return (size * 1031 ^ first * 37 ^ last * 515) & (FILTER - 1)


_filter_slot = leaf(_filter_at)


@leaf
def field(rules: I32, name: int, k: int) -> Any:
    """Element k of a field."""
    return np.int64(rules[rules[HEADER + name] + k])


@kernel(nb.int64(ro(nb.uint8), nb.int64, nb.int64, nb.int64, RULES), allocates=False)
def find(data: U8, start: int, end: int, kind: int, rules: I32) -> int:
    """Number of the string data[start:end] where it is of that kind, else -1. Compares bytes: no false answer."""
    mask = np.int64(rules[HEADER + MASK])
    slot = np.int64(hash_range(data, start, end)) & mask
    while field(rules, SLOTS, slot):
        number = field(rules, SLOTS, slot) - 1
        text = field(rules, AT, number)
        if field(rules, AT, number + 1) - text == end - start:
            same = 0
            while same < end - start and field(rules, TEXT, text + same) == data[start + same]:
                same += 1
            if same == end - start:
                return number if field(rules, KIND, number) & kind else -1
        slot = (slot + 1) & mask
    return -1


@leaf
def maybe(data: U8, start: int, end: int, kind: int, rules: I32) -> Any:
    """Whether data[start:end] may be a string of that kind; a few operations."""
    size = end - start
    if size <= 0 or size > LONGEST:
        return False
    slot = _filter_slot(size, np.int64(data[start]), np.int64(data[end - 1]))
    return rules[SEEN + (slot >> 3)] >> (4 * (slot & 7)) & kind != 0


@leaf
def listed(data: U8, start: int, end: int, kind: int, rules: I32) -> Any:
    """Number of the string data[start:end] where it is of that kind, else -1."""
    return find(data, start, end, kind, rules) if maybe(data, start, end, kind, rules) else np.int64(-1)


@leaf
def code_at(data: U8, at: int, end: int) -> Any:
    """(code point, bytes) at data[at], at < end; a byte that starts no whole sequence before `end` is U+FFFD."""
    lead = np.int64(data[at])
    code, width = np.int64(0xFFFD), np.int64(1)
    if lead < 0x80:
        code = lead
    elif 0xC0 <= lead < 0xE0 and at + 1 < end:
        code, width = (lead & 31) << 6 | np.int64(data[at + 1]) & 63, np.int64(2)
    elif 0xE0 <= lead < 0xF0 and at + 2 < end:
        code = (lead & 15) << 12 | (np.int64(data[at + 1]) & 63) << 6 | np.int64(data[at + 2]) & 63
        width = np.int64(3)
    elif lead >= 0xF0 and at + 3 < end:
        code = (lead & 7) << 18 | (np.int64(data[at + 1]) & 63) << 12 | (np.int64(data[at + 2]) & 63) << 6 | np.int64(data[at + 3]) & 63
        width = np.int64(4)
    return code, width


@leaf
def code_before(data: U8, start: int, end: int) -> Any:
    """(code point, where it begins) of the last character of data[start:end], start < end."""
    at = last_character(data, start, end)
    code, _ = code_at(data, at, end)
    return code, at


@leaf
def bits_of(code: int, rules: I32) -> Any:
    """Class bits of a code point, as i64."""
    return np.int64(rules[STAGE2 + (np.int64(rules[STAGE1 + (code >> 8)]) << 8 | code & 255)])
