r"""The line and page rules of C4 on UTF-8 bytes: which lines stay, what they become, why a page goes.

Raffel et al. 2020, "Exploring the Limits of Transfer Learning" (T5), section 2.2, in two readings:

`datatrove` (datatrove 0.10, C4QualityFilter), which these kernels equal byte by byte, sentences aside. Per line of
`str.splitlines`, stripped: drop it for a word of too many characters; remove citations (`\[\d*]`, `[edit]`,
`[citation needed]`); drop it without an end mark (. ? ! " ' and not ...) or with too few words (counted before citations
went); then, on what is left of it and in lower case: "lorem ipsum" drops the page, "javascript" the line, "{" the page, a
policy phrase the line. What stays is joined by newlines and stripped.

`dclm` (DCLM, baselines_configs/c4.yaml), after C4's code: lines end at "\n" alone and keep their white space, empty ones
stay, "'" is no end mark, white space may follow the mark, and words are counted after citations went.

Sentences are counted by `sentences`, phrases found by `phrases`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from curate.kernels import phrases
from curate.kernels.blocks import BLOCK, bytes_between, bytes_equal, copy32, count_bits, first_bit, last_bit, low_bits
from curate.kernels.compiled import kernel, leaf, ro, rw, rw2
from curate.kernels.phrases import find_phrases
from curate.kernels.sentences import count_sentences
from curate.kernels.whitespace import space_width, strip

# Rules, as bits of `rules`.
LOREM_IPSUM, JAVASCRIPT, CURLY_BRACKET, POLICY = phrases.LOREM_IPSUM, phrases.JAVASCRIPT, phrases.CURLY_BRACKET, phrases.POLICY
END_MARK, CITATION, DCLM = 16, 32, 64

# Columns of `counts`: sentences, lines, and lines by fate.
SENTENCES, LINES, KEPT, LONG_WORD, NO_END_MARK, FEW_WORDS, WITH_LOREM_IPSUM, WITH_JAVASCRIPT, WITH_CURLY_BRACKET, WITH_POLICY = range(10)
COLUMNS = 10

# Why a page is dropped; also the index into the reasons of the step.
PAGE_KEPT, PAGE_TOO_LONG, PAGE_LOREM_IPSUM, PAGE_CURLY_BRACKET, PAGE_FEW_SENTENCES = -1, 0, 1, 2, 3

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

_u8, _i8, _i32, _i64, _u64 = types.uint8, types.int8, types.int32, types.int64, types.uint64
_block: Any = types.Tuple((_i64, _u64, _u64, _u64))  # type: ignore[no-untyped-call]  # numba has none
_line: Any = types.UniTuple(_i64, 7)  # type: ignore[no-untyped-call]  # numba has none


@leaf
def _prefix(data: Any, at: int, end: int, word: Any) -> Any:
    """i64: bytes of `word` where data[at:end] begins with it, else 0."""
    k = 0
    while k < len(word) and at + k < end and data[at + k] == word[k]:
        k += 1
    return k if k == len(word) else 0


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
    found: int = max(_prefix(data, at, end, _EDIT), _prefix(data, at, end, _NEEDED))
    return found


@kernel(types.void(ro(_u8), _i64, _i64, rw(_u8), _i64), allocates=False)
def _copy(data: Any, start: Any, end: int, out: Any, at: Any) -> None:
    """Write data[start:end] to out[at:]; up to 31 bytes after that may be written too where `out` has them."""
    while start < end and start + 32 <= data.shape[0] and at + 32 <= out.shape[0]:
        copy32(data, start, out, at)
        start += 32
        at += 32
    for k in range(end - start):
        out[at + k] = data[start + k]


@kernel(_i64(ro(_u8), _i64, _i64, rw(_u8), _i64), allocates=False)
def _without_citations(data: Any, start: Any, end: int, out: Any, at: Any) -> Any:
    """Write data[start:end] less its citations to out[at:]; return where that ends. As `_copy`, bytes after that may be written."""
    copied = start
    while start < end:
        if start + BLOCK <= data.shape[0]:
            skip = first_bit(bytes_equal(data, start, ord("[")))
            if skip:
                start += skip
                continue
        width = _citation_width(data, start, end) if data[start] == ord("[") else 0
        if width:
            _copy(data, copied, start, out, at)
            at += start - copied
            copied = start + width
        start += max(width, 1)
    if copied < end:
        _copy(data, copied, end, out, at)
        at += end - copied
    return at


@leaf
def _may_be_space(data: Any, at: int) -> Any:
    """u64: bit k is 0 where data[at + k] is E1, E2 or E3 and starts no white space; in the last two bytes anything may follow."""
    one, two = np.uint64(1), np.uint64(2)
    x80 = bytes_equal(data, at, 0x80)
    edge = ~(~np.uint64(0) >> two)
    found = ~bytes_equal(data, at, 0xE3) | (x80 >> one & x80 >> two)
    found &= ~bytes_equal(data, at, 0xE2) | x80 >> one | bytes_equal(data, at, 0x81) >> one
    found &= ~bytes_equal(data, at, 0xE1) | bytes_equal(data, at, 0x9A) >> one
    return found | edge


@kernel(_block(ro(_u8), _i64, _i64, types.boolean), allocates=False)
def _block_classes(data: Any, at: int, end: int, newlines: bool) -> tuple[int, int, int, int]:
    """Return (n, spaces, breaks, brackets) of the block data[at:at + n], n <= 64, which cuts no white space.

    spaces: bytes of white space; breaks: where a line break of `str.splitlines` starts, or with `newlines` "\\n" stands;
    brackets: where "[" stands.
    """
    n: Any = min(end - at, np.int64(BLOCK))
    zero, one = np.uint64(0), np.uint64(1)
    spaces, breaks, brackets, wide = zero, zero, zero, zero
    if at + BLOCK <= data.shape[0]:
        spaces = bytes_between(data, at, 0x09, 0x0D) | bytes_between(data, at, 0x1C, 0x20)
        others = bytes_between(data, at, 0x0B, 0x0D) | bytes_between(data, at, 0x1C, 0x1E)
        breaks = bytes_equal(data, at, 0x0A) | others & (zero if newlines else ~zero)
        brackets = bytes_equal(data, at, ord("["))
        wide = bytes_equal(data, at, 0xC2) | bytes_between(data, at, 0xE1, 0xE3)
        if wide:
            wide &= _may_be_space(data, at)
    else:
        for k in range(n):
            b = data[at + k]
            bit = one << np.uint64(k)
            if 9 <= b <= 13 or 28 <= b <= 32:
                spaces |= bit
                if b == 10 or (not newlines and b != 9 and b < 31):
                    breaks |= bit
            elif b == ord("["):
                brackets |= bit
            elif b == 0xC2 or 0xE1 <= b <= 0xE3:
                wide |= bit
    wide &= low_bits(n)
    while wide:
        p = first_bit(wide)
        wide &= wide - one
        width = space_width(data, at + p, end)
        if p + width > n:
            n = p
        elif width:
            spaces |= low_bits(width) << np.uint64(p)
            last = data[at + p + width - 1]
            if not newlines and (last == 0x85 if width == 2 else data[at + p + 1] == 0x80 and (last == 0xA8 or last == 0xA9)):
                breaks |= one << np.uint64(p)
    valid = low_bits(n)
    return n, spaces & valid, breaks & valid, brackets & valid


@kernel(types.boolean(ro(_u8), _i64, _i64, _i64), allocates=False)
def _more_characters(data: Any, start: int, end: int, limit: int) -> bool:
    """Whether data[start:end] holds more than `limit` code points; no limit where it is negative."""
    if limit < 0 or end - start <= limit:
        return False
    count = 0
    for i in range(start, end):
        count += data[i] & 0xC0 != 0x80
    return bool(count > limit)


@kernel(types.boolean(ro(_u8), _i64, _u64, _u64, _i64), allocates=False)
def _long_word(data: Any, at: int, held: Any, starts: Any, max_chars: int) -> bool:
    """Whether one of the words that start in the block at data[at] has, inside it, more than max_chars characters."""
    found = False
    while starts:
        p = first_bit(starts)
        size = first_bit(~(held >> np.uint64(p)))
        found |= _more_characters(data, at + p, at + p + size, max_chars)
        starts &= starts - np.uint64(1)
    return found


@kernel(_line(ro(_u8), _i64, _i64, _i64, types.boolean), allocates=False)
def _scan_line(data: Any, at: int, end: int, max_chars: int, newlines: bool) -> tuple[int, int, int, int, int, int, int]:
    """Read one line of data[at:end], as `str.splitlines` cuts it or, with `newlines`, at "\\n" alone.

    Returns (start and end of the stripped line, end of the line, where the next one starts, words, 1 where one of them has
    more than max_chars characters, 1 where it holds "[").
    """
    if data[at] == 10:
        return at, at, at, at + 1, 0, 0, 0
    first, last, words, bracket = at, at, 0, 0
    long = False
    zero, one = np.uint64(0), np.uint64(1)
    open_ = np.int64(-1)  # start of the word that goes on into the block; others have at most 64 characters
    stop = following = end
    while at < end:
        n, spaces, breaks, brackets = _block_classes(data, at, end, newlines)
        ends = breaks != zero
        if ends:
            n = first_bit(breaks)
            stop = following = at + n
        held = ~spaces & low_bits(n)
        if held:
            bracket |= brackets & low_bits(n) != zero
            starts = held & ~(held << one | (one if open_ >= 0 else zero))
            first = at + first_bit(held) if words == 0 else first
            words += count_bits(starts)
            last = at + last_bit(held) + 1
            if 0 <= max_chars < BLOCK:
                long |= _long_word(data, at, held, starts, max_chars)
            if open_ >= 0 and first_bit(~held) < n:
                long |= _more_characters(data, open_, at + first_bit(~held), max_chars)
                open_ = np.int64(-1)
            if open_ < 0 and last == at + n:
                open_ = at + last_bit(starts)
        elif open_ >= 0:
            long |= _more_characters(data, open_, last, max_chars)
            open_ = np.int64(-1)
        at += n
        if ends:
            following += 3 if data[stop] == 0xE2 else 2 if data[stop] == 0xC2 else 1
            if data[stop] == 13 and following < end and data[following] == 10:
                following += 1
            break
    if open_ >= 0:
        long |= _more_characters(data, open_, last, max_chars)
    return first, last, stop, following, words, 1 if long else 0, bracket


@kernel(_i64(ro(_u8), _i64, _i64, _i64, _i64, _i64), allocates=False)
def _fate(data: Any, start: int, end: int, words: int, rules: int, min_words: int) -> int:
    """Return the column of `counts` for the line data[start:end], its citations gone."""
    if rules & DCLM and start == end:
        return KEPT
    if rules & END_MARK:
        stop = strip(data, start, end)[1] if rules & DCLM else end
        tail = data[stop - 1] if stop > start else 0
        dots = stop - start >= 3 and tail == ord(".") and data[stop - 2] == ord(".") and data[stop - 3] == ord(".")
        marked = tail == ord(".") or tail == ord("?") or tail == ord("!") or tail == ord('"')
        if dots or not (marked or (tail == ord("'") and not rules & DCLM)):
            return NO_END_MARK
    if words < min_words:
        return FEW_WORDS
    found = rules & find_phrases(data, start, end)
    if found & LOREM_IPSUM:
        return WITH_LOREM_IPSUM
    if found & JAVASCRIPT:
        return WITH_JAVASCRIPT
    if found & CURLY_BRACKET:
        return WITH_CURLY_BRACKET
    return WITH_POLICY if found & POLICY else KEPT


@kernel(_i64(ro(_u8), _i64, _i64, _i64, _i64, _i64, types.boolean, types.boolean, rw(_u8), _i64, rw2(_i32), rw(_i8), _i64), allocates=False)
def _clean_page(
    data: Any, at: int, end: int, rules: int, min_words: int, max_chars: int, sentences: bool, everything: bool,
    out: Any, o: int, counts: Any, verdict: Any, d: int,
) -> int:  # fmt: skip
    """Judge the lines of page d, data[at:end]; write those that stay to out[o:] and return where they end.

    With `everything`, `out` is only scratch and o is returned.
    """
    while at < end and (everything or verdict[d] == PAGE_KEPT):
        begin = at
        first, last, stop, at, words, long, bracket = _scan_line(data, at, end, max_chars, rules & DCLM != 0)
        counts[d, LINES] += 1
        if long:
            counts[d, LONG_WORD] += 1
            continue
        if rules & DCLM:
            first, last = begin, stop
        to = o + (1 if counts[d, KEPT] else 0)
        cited = bracket and rules & CITATION
        if cited:
            last = _without_citations(data, first, last, out, to)
            first = to
            if rules & DCLM:
                words = _scan_line(out, first, last, -1, True)[4]
            fate = _fate(out, first, last, words, rules, min_words)
        else:
            fate = _fate(data, first, last, words, rules, min_words)
        counts[d, fate] += 1
        if fate == KEPT:
            if sentences:
                counts[d, SENTENCES] += count_sentences(out, first, last) if cited else count_sentences(data, first, last)
            if not everything:
                if not cited:
                    _copy(data, first, last, out, to)
                if to > o:
                    out[o] = 10
                o = to + last - first
        elif verdict[d] == PAGE_KEPT and fate == WITH_LOREM_IPSUM:
            verdict[d] = PAGE_LOREM_IPSUM
        elif verdict[d] == PAGE_KEPT and fate == WITH_CURLY_BRACKET:
            verdict[d] = PAGE_CURLY_BRACKET
    return o


@kernel(types.void(ro(_u8), ro(_i64), _i64, _i64, _i64, _i64, _i64, types.boolean, rw(_u8), rw(_i64), rw2(_i32), rw(_i8)), allocates=False)
def clean_pages(
    data: Any, offsets: Any, rules: int, min_words: int, max_chars: int, min_sentences: int, max_page_chars: int, everything: bool,
    out: Any, out_offsets: Any, counts: Any, verdict: Any,
) -> None:  # fmt: skip
    """Apply the rules to every document.

    data: u8[nbytes], offsets: i64[n+1]; rules: bits; min_words a line, max_chars a word, min_sentences and max_page_chars
    a page: -1 for no bound
    everything: count in every line of every page and write no text; otherwise a page is left at the first line that drops it
    out: u8[offsets[n] - offsets[0]], out_offsets: i64[n+1], written: the new texts; a dropped page keeps its old text. With
    `everything`, out is scratch and out_offsets stay
    counts: i32[n, COLUMNS], written: sentences, and lines by what became of them
    verdict: i8[n], written: PAGE_...
    """
    o = np.int64(0)
    if not everything:
        out_offsets[0] = 0
    for d in range(len(offsets) - 1):
        start, end = offsets[d], offsets[d + 1]
        for k in range(COLUMNS):
            counts[d, k] = 0
        verdict[d] = PAGE_TOO_LONG if _more_characters(data, start, end, max_page_chars) else PAGE_KEPT
        sentences = everything or min_sentences >= 0
        stop = _clean_page(data, start, end, rules, min_words, max_chars, sentences, everything, out, o, counts, verdict, d)
        if verdict[d] == PAGE_KEPT and counts[d, SENTENCES] < min_sentences:
            verdict[d] = PAGE_FEW_SENTENCES
        if everything:
            continue
        if verdict[d] == PAGE_KEPT:
            first, last = strip(out, o, stop)
            if first > o:
                for k in range(last - first):
                    out[o + k] = out[first + k]
            o += last - first
        else:
            _copy(data, start, end, out, o)
            o += end - start
        out_offsets[d + 1] = o
