"""The affix rules of spaCy's English tokenizer: what is cut off a chunk of text at its front, at its end and inside.

A chunk is what white space bounds. The rules are spaCy's regular expressions written out: each looks at a few characters,
so a chunk takes time linear in its length (spaCy takes its square: 8,000 brackets in a row cost it four seconds).
Look-behinds see only what earlier cuts have left, as in spaCy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from curate.kernels.compiled import leaf
from curate.kernels.spacy_rules import (
    ALPHA,
    BEFORE_STOP,
    DIGIT,
    INFIX,
    LEFT_OF_STOP,
    LONGEST,
    PIECE,
    PIECE_AT,
    PREFIX,
    RIGHT_OF_STOP,
    RULED,
    SPECIAL,
    SUFFIX,
    UNIT,
    UNIT_END,
    UPPER,
    bits_of,
    code_at,
    code_before,
    field,
    listed,
)
from curate.kernels.spacy_url import is_url

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

STOP, DOLLAR, PLUS, HYPHEN, COMMA, TILDE = 0x2E, 0x24, 0x2B, 0x2D, 0x2C, 0x7E
EN_DASH, EM_DASH, ELLIPSIS, APOSTROPHE, QUOTE, DEGREE = 0x2013, 0x2014, 0x2026, 0x27, 0x2019, 0xB0


@leaf
def _is_digit(byte: int) -> Any:
    return 0x30 <= byte <= 0x39


@leaf
def _prefix(data: U8, start: int, end: int, rules: I32) -> Any:
    """Bytes of data[start:end], start < end, that a prefix rule cuts off."""
    code, width = code_at(data, start, end)
    after = np.int64(data[start + 1]) if start + 1 < end else np.int64(0)
    size = np.int64(0)
    if bits_of(code, rules) & PREFIX:
        size = width
    elif code == PLUS:
        size = np.int64(0 if _is_digit(after) else 1)
    elif code == STOP:
        if after == STOP:  # a run of full stops
            size = np.int64(2)
            while start + size < end and data[start + size] == STOP:
                size += 1
    elif code == ord("C") or code == ord("A"):
        size = np.int64(2 if after == DOLLAR else 0)
    elif code == ord("U") and after == ord("S") and start + 2 < end and data[start + 2] == DOLLAR:
        size = np.int64(3)
    return size


@leaf
def _stop_is_suffix(data: U8, start: int, stop: int, rules: I32) -> Any:
    """Whether the full stop at data[stop], start < stop, is cut off, seen from what is before it."""
    code, at = code_before(data, start, stop)
    bits = bits_of(code, rules)
    if bits & BEFORE_STOP:
        return True
    if at == start:
        return False
    before, _ = code_before(data, start, at)
    if before == DEGREE and code < 0x80 and (code | 0x20 == ord("f") or code | 0x20 == ord("c") or code | 0x20 == ord("k")):
        return True
    return bits & UPPER != 0 and bits_of(before, rules) & UPPER != 0


@leaf
def _unit(data: U8, start: int, end: int, rules: I32) -> Any:
    """Bytes of the unit or currency at the end of data[start:end], directly behind a digit; 0 where there is none."""
    at = end - 1
    while at >= start and end - at <= LONGEST + 1:
        if _is_digit(np.int64(data[at])):
            return end - at - 1 if listed(data, at + 1, end, UNIT, rules) >= 0 else np.int64(0)
        at -= 1
    return np.int64(0)


@leaf
def _suffix(data: U8, start: int, end: int, rules: I32) -> Any:
    """Bytes at the end of data[start:end] that a suffix rule cuts off: the rule that begins first decides."""
    if start >= end:
        return np.int64(0)
    code, at = code_before(data, start, end)
    bits = bits_of(code, rules)
    before, before_at = np.int64(0), at
    if at > start:
        before, before_at = code_before(data, start, at)
    size = np.int64(0)
    if bits & SUFFIX:
        size = end - (before_at if code == ELLIPSIS and before == ELLIPSIS else at)
    elif code == STOP:
        if before == STOP:  # a run of full stops
            while before_at > start and data[before_at - 1] == STOP:
                before_at -= 1
            size = end - before_at
        elif at > start and _stop_is_suffix(data, start, at, rules):
            size = np.int64(1)
    elif (code == ord("s") or code == ord("S")) and (before in (APOSTROPHE, QUOTE)):
        size = end - before_at
    elif code == PLUS:
        size = np.int64(1 if _is_digit(before) else 0)
    elif bits & UNIT_END:
        size = _unit(data, start, end, rules)
    return size


@leaf
def _dashes(data: U8, at: int, end: int, code: int, width: int, rules: I32) -> Any:
    """Bytes of the run of dashes at data[at] where it is one that splits two letters, seen from what is behind it."""
    stop = at + width
    count = 1
    after, after_width = np.int64(0), np.int64(0)
    while stop < end:
        after, after_width = code_at(data, stop, end)
        if after != code:
            break
        stop += after_width
        count += 1
    if stop >= end or not bits_of(after, rules) & ALPHA:
        return np.int64(0)
    splits = count == 1 or (code == HYPHEN and count <= 3) or (code == EM_DASH and count == 2)
    return stop - at if splits else np.int64(0)


@leaf
def _between(data: U8, at: int, end: int, code: int, width: int, before: int, rules: I32) -> Any:
    """Bytes of the infix at data[at] that depends on its neighbours; before: class bits of the character before it."""
    after, _ = code_at(data, at + width, end)
    bits = bits_of(after, rules)
    if (code in (PLUS, HYPHEN) or code == ord("*") or code == ord("^")) and before & DIGIT and (bits & DIGIT or after == HYPHEN):
        return np.int64(1)
    if code == STOP:
        return np.int64(1 if before & LEFT_OF_STOP and bits & RIGHT_OF_STOP else 0)
    if code == COMMA:
        return np.int64(1 if before & ALPHA and bits & ALPHA else 0)
    if not before & (ALPHA | DIGIT):
        return np.int64(0)
    if code in (HYPHEN, EN_DASH, EM_DASH, TILDE):
        return _dashes(data, at, end, code, width, rules)
    if 0x3C <= code <= 0x3E or code == ord(":") or code == ord("/"):
        return np.int64(1 if bits & ALPHA else 0)
    return np.int64(0)


@leaf
def _put(at: int, end: int, words: int, start: I64, size: I32) -> Any:
    """Write a word; return the number of words with it."""
    start[words] = at
    size[words] = end - at
    return words + 1


@leaf
def _split_infixes(data: U8, begin: int, end: int, rules: I32, words: int, start: I64, size: I32) -> Any:
    """Write the words of data[begin:end], which has no affixes left; return the number of words. The caller has room."""
    at, word = begin, begin
    before: Any = np.int64(0)
    while at < end:
        code, width = code_at(data, at, end)
        bits = bits_of(code, rules)
        found: Any = np.int64(0)
        if bits & INFIX:
            found = width
        elif bits & RULED:
            if code == STOP and at + 1 < end and data[at + 1] == STOP:
                found = np.int64(2)
                while at + found < end and data[at + found] == STOP:
                    found += 1
            elif at > begin and at + width < end:
                found = _between(data, at, end, code, width, before, rules)
        if found and at > begin:  # spaCy passes over an infix at the very front
            if at > word:
                words = _put(word, at, words, start, size)
            words = _put(at, at + found, words, start, size)
            word = at + found
        before = bits
        at += max(found, width)
    return _put(word, end, words, start, size) if word < end else words


@leaf
def _has_stop(data: U8, at: int, end: int) -> Any:
    while at < end:
        if data[at] == STOP:
            return True
        at += 1
    return False


@leaf
def _core(data: U8, begin: int, end: int, special: int, rules: I32, words: int, start: I64, size: I32) -> Any:
    """Write the words of what is left of a chunk, data[begin:end]; special: its number as a special case, or -1."""
    if special >= 0:
        at = begin
        for k in range(field(rules, PIECE_AT, special), field(rules, PIECE_AT, special + 1)):
            words = _put(at, begin + field(rules, PIECE, k), words, start, size)
            at = begin + field(rules, PIECE, k)
    elif _has_stop(data, begin, end) and is_url(data, begin, end, rules):  # a host needs a full stop
        words = _put(begin, end, words, start, size)
    elif begin < end:
        words = _split_infixes(data, begin, end, rules, words, start, size)
    return words


@leaf
def split_chunk(data: U8, begin: int, end: int, rules: I32, words: int, start: I64, size: I32) -> Any:
    """Write start and size of the words of the chunk data[begin:end]; return the number of words.

    There must be room for two more words than the chunk has bytes: suffixes wait at the far end of the arrays.
    """
    room = len(start)
    top = room
    special = listed(data, begin, end, SPECIAL, rules)
    while special < 0 and begin < end:
        prefix = _prefix(data, begin, end, rules)
        if prefix:
            special = listed(data, begin + prefix, end, SPECIAL, rules)
            if special >= 0:
                words = _put(begin, begin + prefix, words, start, size)
                begin += prefix
                break
        suffix = _suffix(data, begin + prefix, end, rules)
        if suffix:
            special = listed(data, begin, end - suffix, SPECIAL, rules)
            if special >= 0:
                top -= 1
                _put(end - suffix, end, top, start, size)
                end -= suffix
                break
        if prefix == 0 and suffix == 0:
            break
        if prefix:
            words = _put(begin, begin + prefix, words, start, size)
            begin += prefix
        if suffix:
            top -= 1
            _put(end - suffix, end, top, start, size)
            end -= suffix
        special = listed(data, begin, end, SPECIAL, rules)
    words = _core(data, begin, end, special, rules, words, start, size)
    for k in range(top, room):
        words = _put(start[k], start[k] + size[k], words, start, size)
    return words
