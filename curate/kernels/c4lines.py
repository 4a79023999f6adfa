r"""The line and page rules of C4 on UTF-8 bytes: which lines stay, what they become, how many sentences they hold.

Raffel et al. 2020, "Exploring the Limits of Transfer Learning" (T5), section 2.2, in the reading of datatrove 0.10
(`c4_filters.py`, C4QualityFilter), which these kernels equal byte by byte. Per line of `str.splitlines`, stripped:
drop it for a word of too many characters; remove citations (`\[\d*]`, `[edit]`, `[citation needed]`); drop it without
an end mark (. ? ! " ' and not ...) or with too few words (counted before citations went); then, on what is left of it
and in lower case: "lorem ipsum" drops the page, "javascript" the line, "{" the page, a policy phrase the line. What
stays is joined by newlines and stripped.

Sentences are ours, where datatrove asks spaCy (or another tool, by language). A sentence ends at a run of the marks
. ? ! (and U+061F, U+06D4, U+0964), with closing quotes and brackets among or after them, that stands before white
space or the end of the line; a run that holds a full-width mark (U+3002, U+FF01, U+FF1F) needs nothing after it. What
follows the last end is a sentence where it is not blank. Abbreviations end a sentence ("Mr. Smith" is two), "3.14" and
"e.g" do not. With spaCy's sentences instead, 21 of 2,110 decisions on English and German pages came out differently.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from curate.kernels.compiled import kernel, ro, rw, rw2
from curate.kernels.whitespace import space_width, strip

# Rules, as bits of `rules` and of what `_phrases` finds.
END_MARK, CITATION, LOREM_IPSUM, JAVASCRIPT, CURLY_BRACKET, POLICY = (1 << k for k in range(6))

# Columns of `counts`.
SENTENCES, LINES, KEPT, LONG_WORD, NO_END_MARK, FEW_WORDS, WITH_LOREM_IPSUM, WITH_JAVASCRIPT, WITH_CURLY_BRACKET, WITH_POLICY = range(10)
COLUMNS = 10

# Why a page is dropped; also the index into the reasons of the step.
PAGE_KEPT, PAGE_LOREM_IPSUM, PAGE_CURLY_BRACKET, PAGE_FEW_SENTENCES = -1, 0, 1, 2

_PHRASES = (
    (LOREM_IPSUM, "lorem ipsum"),
    (JAVASCRIPT, "javascript"),
    (POLICY, "terms of use"),
    (POLICY, "privacy policy"),
    (POLICY, "cookie policy"),
    (POLICY, "uses cookies"),
    (POLICY, "use of cookies"),
    (POLICY, "use cookies"),
)
_PHRASE_BYTES = np.frombuffer("".join(p for _, p in _PHRASES).encode(), np.uint8)
_PHRASE_AT = np.cumsum([0] + [len(p) for _, p in _PHRASES])
_PHRASE_RULE = np.array([rule for rule, _ in _PHRASES])
_SECOND = np.zeros(256, np.uint8)  # by the first byte of a phrase: the second, lower case; 0 for bytes that start none
for _, _phrase in _PHRASES:
    _SECOND[[ord(_phrase[0]), ord(_phrase[0].upper())]] = ord(_phrase[1])
_SECOND[ord("{")] = ord("{")
_EDIT = np.frombuffer(b"[edit]", np.uint8)
_NEEDED = np.frombuffer(b"[citation needed]", np.uint8)

# First code point (the zero) of every run of ten decimal digits beyond ASCII: `\d` of Python's `re`, Unicode 14.
DIGIT_ZEROS = np.array(
    [
        0x660, 0x6F0, 0x7C0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xB66, 0xBE6, 0xC66, 0xCE6, 0xD66, 0xDE6, 0xE50, 0xED0, 0xF20,
        0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90, 0x1B50, 0x1BB0, 0x1C40, 0x1C50, 0xA620, 0xA8D0,
        0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0, 0xFF10, 0x104A0, 0x10D30, 0x11066, 0x110F0, 0x11136, 0x111D0, 0x112F0,
        0x11450, 0x114D0, 0x11650, 0x116C0, 0x11730, 0x118E0, 0x11950, 0x11C50, 0x11D50, 0x11DA0, 0x16A60, 0x16AC0,
        0x16B50, 0x1D7CE, 0x1D7D8, 0x1D7E2, 0x1D7EC, 0x1D7F6, 0x1E140, 0x1E2F0, 0x1E950, 0x1FBF0,
    ]
)  # fmt: skip

_MAY_MARK = np.ones(256, np.bool_)  # first bytes of marks; of closers and white space too, which need no care inside a sentence
_MAY_MARK[:0x80] = False
_MAY_MARK[[ord(c) for c in ".?!"]] = True
_MAY_MARK[0x80:0xC0] = False

_u8, _i8, _i32, _i64 = types.uint8, types.int8, types.int32, types.int64
_pair: Any = types.UniTuple(_i64, 2)  # type: ignore[no-untyped-call]  # numba has none
_six: Any = types.UniTuple(_i64, 6)  # type: ignore[no-untyped-call]

_MARK, _WIDE_MARK, _CLOSER = 1, 2, 3


@kernel(_i64(ro(_u8), _i64, _i64), allocates=False)
def _citation_width(data: Any, at: int, end: int) -> int:
    """Bytes of the citation that starts at data[at], which is "["; 0 where there is none."""
    i = at + 1
    while i < end:
        b = data[i]
        if b < 0x80:
            if b == ord("]"):
                return i + 1 - at
            if b < ord("0") or b > ord("9"):
                break
            i += 1
            continue
        code, width = np.int64(b & 31), 2
        if b >= 0xF0:
            code, width = np.int64(b & 7), 4
        elif b >= 0xE0:
            code, width = np.int64(b & 15), 3
        for k in range(1, width):
            code = (code << 6) | np.int64(data[i + k] & 63)
        digit = False
        for zero in DIGIT_ZEROS:
            digit |= zero <= code < zero + 10
        if not digit:
            break
        i += width
    k = 0
    while k < len(_EDIT) and at + k < end and data[at + k] == _EDIT[k]:
        k += 1
    if k == len(_EDIT):
        return k
    k = 0
    while k < len(_NEEDED) and at + k < end and data[at + k] == _NEEDED[k]:
        k += 1
    return k if k == len(_NEEDED) else 0


@kernel(_i64(ro(_u8), _i64, _i64), allocates=False)
def _phrases(data: Any, start: int, end: int) -> int:
    """Bits of the rules whose phrase stands in data[start:end] in lower case.

    Of all characters beyond ASCII only U+212A (Kelvin sign) has a lower case that can be part of a phrase: "k".
    """
    found = 0
    for at in range(start, end):
        second = _SECOND[data[at]]
        if second == 0:
            continue
        if second == ord("{"):
            found |= CURLY_BRACKET
            continue
        if at + 1 >= end or data[at + 1] | 32 != second:
            continue
        for phrase in range(len(_PHRASE_RULE)):
            i, k = at, _PHRASE_AT[phrase]
            while k < _PHRASE_AT[phrase + 1] and i < end:
                want = _PHRASE_BYTES[k]
                if data[i] == want or (want != ord(" ") and data[i] == want - 32):
                    i += 1
                elif want == ord("k") and i + 2 < end and data[i] == 0xE2 and data[i + 1] == 0x84 and data[i + 2] == 0xAA:
                    i += 3
                else:
                    break
                k += 1
            if k == _PHRASE_AT[phrase + 1]:
                found |= _PHRASE_RULE[phrase]
    return found


@kernel(_pair(ro(_u8), _i64, _i64), allocates=False)
def _mark(data: Any, at: int, end: int) -> tuple[int, int]:
    """Return (kind, bytes) of the end mark or closing quote that starts at data[at]; kind 0 where there is none."""
    b = data[at]
    if b < 0x80:
        if b == ord(".") or b == ord("?") or b == ord("!"):
            return _MARK, 1
        return (_CLOSER, 1) if b == ord('"') or b == ord("'") or b == ord(")") or b == ord("]") else (0, 1)
    if at + 1 < end:
        c = data[at + 1]
        if (b == 0xD8 and c == 0x9F) or (b == 0xDB and c == 0x94):  # U+061F, U+06D4
            return _MARK, 2
        if b == 0xC2 and c == 0xBB:  # U+00BB
            return _CLOSER, 2
        if at + 2 < end:
            d = data[at + 2]
            if b == 0xE0 and c == 0xA5 and d == 0xA4:  # U+0964
                return _MARK, 3
            if (b == 0xE3 and c == 0x80 and d == 0x82) or (b == 0xEF and c == 0xBC and (d == 0x81 or d == 0x9F)):  # U+3002, FF01, FF1F
                return _WIDE_MARK, 3
            if b == 0xE2 and c == 0x80 and (d == 0x99 or d == 0x9D):  # U+2019, 201D
                return _CLOSER, 3
            if (b == 0xE3 and c == 0x80 and (d == 0x8D or d == 0x8F)) or (b == 0xEF and c == 0xBC and d == 0x89):  # U+300D, 300F, FF09
                return _CLOSER, 3
    return 0, 1


@kernel(_i64(ro(_u8), _i64, _i64), allocates=False)
def _sentences(data: Any, start: int, end: int) -> int:
    """Number of sentences in data[start:end]; see the module for the rule."""
    count = 0
    open_ = False  # something that is not blank since the last end
    at = start
    while at < end:
        if open_ and not _MAY_MARK[data[at]]:
            at += 1
            continue
        kind, width = _mark(data, at, end)
        if kind in (_MARK, _WIDE_MARK):
            wide = False
            while kind:
                wide |= kind == _WIDE_MARK
                at += width
                if at >= end:
                    break
                kind, width = _mark(data, at, end)
            open_ = True
            if wide or at >= end or space_width(data, at, end):
                count += 1
                open_ = False
        elif data[at] == 32 or open_ or data[at] & 0xC0 == 0x80:
            at += 1
        else:
            width = space_width(data, at, end)
            open_ = width == 0
            at += max(width, 1)
    return count + (1 if open_ else 0)


@kernel(_six(ro(_u8), _i64, _i64), allocates=False)
def _scan_line(data: Any, at: int, end: int) -> tuple[int, int, int, int, int, int]:
    """Read one line of data[at:end] as `str.splitlines` cuts it.

    Returns (start and end of the stripped line, where the next line starts, words, characters of the longest word,
    1 where it holds "[").
    """
    first, last, words, longest, bracket = at, at, 0, 0, 0
    run = 0  # characters of the word so far
    following = end
    while at < end:
        b = data[at]
        if 32 < b < 0x80:
            bracket |= b == ord("[")
            first = at if words == 0 and run == 0 else first
            run += 1
            at += 1
            continue
        width, is_break = 0, False
        if b <= 32:
            is_break = 10 <= b <= 13 or 28 <= b <= 30
            width = 1 if is_break or b == 32 or b == 9 or b == 31 else 0
        elif b == 0xC2 or 0xE1 <= b <= 0xE3:
            width = space_width(data, at, end)
            is_break = width == 2 and data[at + 1] == 0x85
            is_break |= width == 3 and data[at + 1] == 0x80 and (data[at + 2] == 0xA8 or data[at + 2] == 0xA9)
        if width == 0:
            if b & 0xC0 != 0x80:
                first = at if words == 0 and run == 0 else first
                run += 1
            at += 1
            continue
        if run:
            words += 1
            longest = max(longest, run)
            last = at
            run = 0
        at += width
        if is_break:
            if b == 13 and at < end and data[at] == 10:
                at += 1
            following = at
            break
    if run:
        words += 1
        longest = max(longest, run)
        last = end
    return (first if words else last), last, following, words, longest, bracket


@kernel(types.void(ro(_u8), ro(_i64), _i64, _i64, _i64, _i64, types.boolean, rw(_u8), rw(_i64), rw2(_i32), rw(_i8)), allocates=False)
def clean_pages(
    data: Any, offsets: Any, rules: int, min_words: int, max_chars: int, min_sentences: int, everything: bool,
    out: Any, out_offsets: Any, counts: Any, verdict: Any,
) -> None:  # fmt: skip
    """Apply the rules to every document.

    data: u8[nbytes], offsets: i64[n+1]; rules: bits; min_words a line, max_chars a word, min_sentences a page: -1 for
    no bound
    everything: count in every line of every page; otherwise a page is left at the first line that drops it
    out: u8[offsets[n] - offsets[0]], out_offsets: i64[n+1], written: the new texts; a dropped page keeps its old text
    counts: i32[n, COLUMNS], written: sentences, and lines by what became of them
    verdict: i8[n], written: PAGE_...
    """
    o = np.int64(0)
    out_offsets[0] = 0
    for d in range(len(offsets) - 1):
        start, end = offsets[d], offsets[d + 1]
        begin = o
        for k in range(COLUMNS):
            counts[d, k] = 0
        verdict[d] = PAGE_KEPT
        at = start
        while at < end and (everything or verdict[d] == PAGE_KEPT):
            first, last, at, words, longest, bracket = _scan_line(data, at, end)
            counts[d, LINES] += 1
            if max_chars >= 0 and longest > max_chars:
                counts[d, LONG_WORD] += 1
                continue
            line = o
            if counts[d, KEPT]:
                line += 1
            stop = line
            i = first
            if bracket and rules & CITATION:
                while i < last:
                    width = _citation_width(data, i, last) if data[i] == ord("[") else np.int64(0)
                    if width == 0:
                        out[stop] = data[i]
                        stop += 1
                        width = 1
                    i += width
            else:
                stop += last - first
                for k in range(last - first):
                    out[line + k] = data[first + k]
            if rules & END_MARK:
                tail = out[stop - 1] if stop > line else 0
                dots = stop - line >= 3 and tail == ord(".") and out[stop - 2] == ord(".") and out[stop - 3] == ord(".")
                if dots or not (tail == ord(".") or tail == ord("?") or tail == ord("!") or tail == ord('"') or tail == ord("'")):
                    counts[d, NO_END_MARK] += 1
                    continue
            if words < min_words:
                counts[d, FEW_WORDS] += 1
                continue
            found = rules & _phrases(out, line, stop)
            if found & LOREM_IPSUM:
                counts[d, WITH_LOREM_IPSUM] += 1
                if verdict[d] == PAGE_KEPT:
                    verdict[d] = PAGE_LOREM_IPSUM
            elif found & JAVASCRIPT:
                counts[d, WITH_JAVASCRIPT] += 1
            elif found & CURLY_BRACKET:
                counts[d, WITH_CURLY_BRACKET] += 1
                if verdict[d] == PAGE_KEPT:
                    verdict[d] = PAGE_CURLY_BRACKET
            elif found & POLICY:
                counts[d, WITH_POLICY] += 1
            else:
                if everything or min_sentences >= 0:
                    counts[d, SENTENCES] += _sentences(out, line, stop)
                if counts[d, KEPT]:
                    out[o] = 10
                counts[d, KEPT] += 1
                o = stop
        if verdict[d] == PAGE_KEPT and counts[d, SENTENCES] < min_sentences:
            verdict[d] = PAGE_FEW_SENTENCES
        if verdict[d] == PAGE_KEPT:
            first, last = strip(out, begin, o)
            for k in range(last - first):
                out[begin + k] = out[first + k]
            o = begin + last - first
        else:
            for k in range(end - start):
                out[begin + k] = data[start + k]
            o = begin + end - start
        out_offsets[d + 1] = o
