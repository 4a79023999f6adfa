r"""The line clean-up of RefinedWeb as DCLM does it, on UTF-8 bytes: passes over the lines of a document, one after another.

Penedo et al. 2023 (arXiv:2306.01116), appendix G.2, in the reading of DCLM (mlfoundations/dclm, baselines/mappers/
modifiers.py with baselines_configs/dclm_baseline_refinedweb.yaml). Lines lie between "\n". A pass reads the document that
the one before it left, so that a rule sees lines already stripped at the two ends of the document:

    upper case   the share of characters that are upper case is at most a bound; empty lines stay
    digits       the same for digits
    counters     "3 likes", "1,204 shares": number, white space, one of eleven words, nothing else but marks
    words        at least so many words between white space; empty lines stay
    navigation   in lines of few words: "items in cart" goes; "read more" with three more characters at the line's end goes;
                 "sign-in" at its beginning goes; in any case. A line that is blank after it goes, one that was blank too

The passes but "words" strip the document. Capitals are folded for A-Z alone: DCLM also takes U+017F for s, U+0131 for i and
U+212A for k.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from curate.kernels.characters import DECIMAL, DIGIT, UPPER, WORD, bits_at
from curate.kernels.compiled import kernel, leaf, ro, rw, rw2
from curate.kernels.hashing import load64
from curate.kernels.whitespace import space_width, strip

# Columns of `counts`.
LINES, UPPER_LINES, DIGIT_LINES, COUNTER_LINES, SHORT_LINES, NAVIGATION_LINES, WORDS_BEFORE, WORDS_AFTER = range(8)
COLUMNS = 8

# Rules, as bits of `rules`.
COUNTERS, NAVIGATION = 1, 2

_COUNTED = b"likes shares comments retweets reposts quotes bookmarks upvotes downvotes downloads views followers".split()
_COUNTED_BYTES = np.frombuffer(b"".join(_COUNTED), np.uint8)
_COUNTED_AT = np.cumsum([0] + [len(w) for w in _COUNTED])
_CART = np.frombuffer(b"items in cart", np.uint8)
_MORE = np.frombuffer(b"read more", np.uint8)
_SIGN = np.frombuffer(b"sign-in", np.uint8)

_u8, _i64, _f64 = types.uint8, types.int64, types.float64
_pair: Any = types.UniTuple(_i64, 2)  # type: ignore[no-untyped-call]  # numba has none


@kernel(_pair(rw(_u8), _i64, _i64, ro(_u8)), allocates=False)
def _bits(data: Any, at: int, end: int, bits: Any) -> tuple[int, int]:
    """`bits_at` as a call: compiled once instead of into every place."""
    found, width = bits_at(data, at, end, bits)
    return found, width


@leaf
def _is(data: Any, at: int, end: int, text: Any) -> Any:
    """Whether data[at:end] begins with these bytes, A-Z as a-z."""
    if at + text.size > end:
        return False
    for k in range(text.size):
        b = data[at + k]
        if b != text[k] and not (65 <= b <= 90 and b + 32 == text[k]):
            return False
    return True


@kernel(_i64(rw(_u8), _i64, _i64, ro(_u8)), allocates=False)
def count_words(data: Any, at: int, end: int, bits: Any) -> int:
    """Number of fastText's tokens that begin with a letter or digit: runs without space, \\t \\n \\v \\f \\r, NUL."""
    count = 0
    inside = False
    while at < end:
        b = data[at]
        if b == 32 or 9 <= b <= 13 or b == 0:
            inside = False
            at += 1
        elif inside:
            at += 1
        else:
            inside = True
            found, width = np.int64(0), 1
            if b < 0x80:
                found = np.int64(bits[b])
            else:
                found, width = _bits(data, at, end, bits)
            count += 1 if found & WORD and b != 95 else 0
            at += width
    return count


@kernel(_i64(rw(_u8), _i64, _i64, _i64), allocates=False)
def _split_words(data: Any, at: int, end: int, enough: int) -> int:
    """Words of str.split in the line, counted up to `enough`."""
    count = 0
    inside = False
    while at < end and count < enough:
        b = data[at]
        if b > 32 and (b < 0x80 or b & 0xC0 == 0x80):
            width = 0
        else:
            width = space_width(data, at, end)
        if width:
            inside = False
            at += width
            continue
        count += 0 if inside else 1
        inside = True
        at += 1
    return count


@kernel(types.boolean(rw(_u8), _i64, _i64, ro(_u8), _i64, _f64), allocates=False)
def _too_many(data: Any, at: int, end: int, bits: Any, wanted: int, most: float) -> bool:
    """Whether characters with this bit are a larger share of the line than `most`.

    Stops when so many are without it that the answer is no, however many follow: most lines say so in a few bytes.
    """
    count = chars = 0
    enough = (1.0 - most) * (end - at) + 1.0  # a line has at most as many characters as bytes
    while at < end:
        b = data[at]
        width = 1
        if b < 0x80:
            hit = 65 <= b <= 90 if wanted == UPPER else 48 <= b <= 57
        else:
            found, width = _bits(data, at, end, bits)
            hit = found & wanted != 0
        count += 1 if hit else 0
        chars += 1
        if chars - count > enough:
            return False
        at += width
    return count / chars > most


@kernel(types.boolean(rw(_u8), _i64, _i64, ro(_u8)), allocates=False)
def _is_counter(data: Any, at: int, end: int, bits: Any) -> bool:
    """Whether the line is a number and what it counts."""
    found, width = np.int64(0), 0
    while at < end:
        found, width = _bits(data, at, end, bits)
        if found & WORD:
            break
        at += width
    if at >= end or not found & DECIMAL:
        return False
    while at < end:
        found, width = _bits(data, at, end, bits)
        if not found & DECIMAL and data[at] != 44 and data[at] != 46:
            break
        at += width
    if at < end and (data[at] | 32 == 107 or data[at] | 32 == 109 or data[at] | 32 == 98):  # k, m, b
        at += 1
    blank = at
    while at < end:
        width = space_width(data, at, end)
        if width == 0:
            break
        at += width
    if at == blank:
        return False
    for w in range(_COUNTED_AT.size - 1):
        k = 0
        size = _COUNTED_AT[w + 1] - _COUNTED_AT[w]
        while k < size and at + k < end and data[at + k] | 32 == _COUNTED_BYTES[_COUNTED_AT[w] + k] and data[at + k] >= 65:
            k += 1
        if k == size:
            at += size
            while at < end:
                found, width = _bits(data, at, end, bits)
                if found & WORD:
                    return False
                at += width
            return True
    return False


@kernel(_i64(rw(_u8), _i64, _i64), allocates=False)
def _before(data: Any, low: int, at: int) -> int:
    """Where the white-space character that ends at data[at] begins, not before `low`; `at` where there is none."""
    first = at - 1
    while first > low and data[first] & 0xC0 == 0x80:
        first -= 1
    return first if first >= low and at > low and space_width(data, first, at) == at - first else at


@kernel(_i64(rw(_u8), _i64, _i64), allocates=False)
def _without_cart(data: Any, start: int, end: int) -> int:
    """Take every "items in cart" out of the line, with one white-space character before it; return its new end."""
    out = at = start
    kept = start  # what lies before is not looked at again: matches don't overlap
    while at < end:
        if data[at] | 32 == 105 and _is(data, at, end, _CART):
            out = max(kept, _before(data, kept, out))
            at += _CART.size
            kept = out
        else:
            data[out] = data[at]
            out += 1
            at += 1
    return out


@kernel(_i64(rw(_u8), _i64, _i64), allocates=False)
def _without_more(data: Any, start: int, end: int) -> int:
    """Take "read more" with three more characters off the end of the line, with one white-space character before it."""
    at = end
    for _ in range(3):
        if at <= start:
            return end
        at -= 1
        while at > start and data[at] & 0xC0 == 0x80:
            at -= 1
    at -= _MORE.size
    return _before(data, start, at) if at >= start and _is(data, at, end, _MORE) else end


@kernel(_i64(rw(_u8), _i64, _i64), allocates=False)
def _after_sign_in(data: Any, start: int, end: int) -> int:
    """Return where the line begins without a leading "sign-in" and one white-space character."""
    if not _is(data, start, end, _SIGN):
        return start
    start += _SIGN.size
    return start + space_width(data, start, end) if start < end else start


@kernel(_i64(rw(_u8), _i64, _i64), allocates=False)
def _newline(data: Any, at: int, end: int) -> int:
    """Place of the next newline, or end."""
    ones, highs = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
    while at + 8 <= end:
        x = load64(data, at) ^ np.uint64(0x0A0A0A0A0A0A0A0A)
        if (x - ones) & ~x & highs:
            break
        at += 8
    while at < end and data[at] != 10:
        at += 1
    return at


@kernel(types.boolean(rw(_u8), _i64, _i64), allocates=False)
def _has_cart(data: Any, start: int, end: int) -> bool:
    """Whether "items in cart" is in the line, found by its "ms i" which hardly any other text has."""
    for at in range(start + 3, end - _CART.size + 4):
        if data[at] | 32 == 109 and data[at + 2] == 32 and _is(data, at - 3, end, _CART):
            return True
    return False


@kernel(types.boolean(rw(_u8), _i64, _i64), allocates=False)
def _blank(data: Any, start: int, end: int) -> bool:
    first, last = strip(data, start, end)
    return bool(first >= last)


@kernel(_i64(rw(_u8), _i64, _i64, ro(_u8), _i64, _f64, _f64, _i64, _i64, rw2(_i64), _i64), allocates=False)
def _pass(data, end, kind, bits, rules, most_upper, most_digits, min_words, max_words, counts, d):  # type: ignore[no-untyped-def]
    """Do one pass over data[:end], in place; return the new end."""
    out = at = 0
    lines = 0
    while at <= end:
        stop = _newline(data, at, end)
        first, last = at, stop
        stays = True
        if kind < 4 and at < stop:
            if kind == 0:
                stays = not _too_many(data, at, stop, bits, UPPER, most_upper)
            elif kind == 1:
                stays = not _too_many(data, at, stop, bits, DIGIT, most_digits)
            elif kind == 2:
                stays = not _is_counter(data, at, stop, bits)
            else:
                stays = _split_words(data, at, stop, min_words) >= min_words
            counts[d, 1 + kind] += 0 if stays else 1
        elif kind >= 4 and at < stop:
            edits = False
            if kind == 4:
                edits = _has_cart(data, at, stop)
            elif kind == 5:
                last = _without_more(data, at, stop)
            else:
                first = _after_sign_in(data, at, stop)
            if edits or last - first < stop - at or _blank(data, at, stop):
                if _split_words(data, at, stop, max_words + 1) <= max_words:
                    if edits:
                        last = _without_cart(data, at, stop)
                    stays = not _blank(data, first, last)
                    counts[d, 5] += 1 if not stays or last - first < stop - at else 0
                else:
                    first, last = at, stop
        if stays:
            if lines:
                data[out] = 10
                out += 1
            if out == first:
                out = last
            else:
                for k in range(first, last):
                    data[out] = data[k]
                    out += 1
            lines += 1
        at = stop + 1
    return out


@kernel(_i64(rw(_u8), _i64), allocates=False)
def _stripped(data: Any, end: int) -> int:
    """Strip data[:end] in place; return the new end."""
    first, last = strip(data, 0, end)
    if first >= last:
        return 0
    if first > 0:
        for k in range(first, last):
            data[k - first] = data[k]
    return int(last - first)


@kernel(
    types.void(ro(_u8), ro(_i64), ro(_u8), _i64, _f64, _f64, _i64, _i64, rw(_u8), rw(_u8), rw(_i64), rw2(_i64)),
    allocates=False,
)  # fmt: skip
def clean_lines(data, offsets, bits, rules, most_upper, most_digits, min_words, max_words, work, out, out_offsets, counts):  # type: ignore[no-untyped-def]
    """Rewrite every document. A bound above 1 or below 0 words turns its pass off.

    work: u8, as long as the longest document; out: u8, as long as all; counts: i64[n, COLUMNS], zeros.
    """
    used = 0
    for d in range(offsets.size - 1):
        size = offsets[d + 1] - offsets[d]
        lines = 1
        for k in range(size):
            b = data[offsets[d] + k]
            work[k] = b
            lines += 1 if b == 10 else 0
        counts[d, LINES] = lines
        counts[d, WORDS_BEFORE] = count_words(work, 0, size, bits)
        for kind in range(7):
            on = (
                (kind == 0 and most_upper <= 1)
                or (kind == 1 and most_digits <= 1)
                or (kind == 2 and rules & COUNTERS)
                or (kind == 3 and min_words > 0)
                or (kind > 3 and rules & NAVIGATION)
            )
            if on and size:
                size = _pass(work, size, kind, bits, rules, most_upper, most_digits, min_words, max_words, counts, d)
                if kind != 3:
                    size = _stripped(work, size)
        same = size == offsets[d + 1] - offsets[d]  # passes only take away
        counts[d, WORDS_AFTER] = counts[d, WORDS_BEFORE] if same else count_words(work, 0, size, bits)
        for k in range(size):
            out[used + k] = work[k]
        used += size
        out_offsets[d + 1] = used
