"""How much of a document repeats itself: lines, paragraphs, top 2-4 grams, duplicate 5-10 grams of words.

Rae et al. 2021, "Scaling Language Models" (Gopher), Table A1, in the reading of datatrove 0.10
(`gopher_repetition_filter.py`), which these kernels equal number by number:

  - a repeat of a line or a paragraph is every copy after the first; lines are split at runs of newlines (the pieces
    before a leading and after a trailing run are empty lines), paragraphs at runs of two or more after `str.strip`;
  - the top n-gram is the first of the most frequent ones; its share counts its length with single spaces times its
    frequency, even where that is 1, so shares above 1 are possible;
  - duplicate n-grams are looked for from left to right, a hit skips its n words, and two n-grams are the same when
    their words joined WITHOUT spaces are ("ab c" is "a bc");
  - every share of characters is of the whole text, white space included.

Lines and paragraphs are compared byte by byte. n-grams are compared by 64-bit hashes. Time is linear in bytes and
words; scratch is about 70 bytes a word and 40 bytes a line of the largest document. uint64 arithmetic wraps.

Two prunings, both exact up to those hashes, keep the tables small:
  - a (n+1)-gram can repeat only where the n-grams at its two first words do (2-4 grams);
  - joined n-grams of at least PREFIX bytes can be the same only where their first PREFIX bytes are. (Repeated
    5-grams say nothing about joined 6-grams: "a b c d e f" and "ab c d e f g" share letters, not words.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from curate.kernels.compiled import kernel, ro, rw, rw2
from curate.kernels.hashing import hash_range, load64
from curate.kernels.whitespace import strip

TOP = (2, 3, 4)
JOINED = (5, 6, 7, 8, 9, 10)
PREFIX = 12  # bytes: four CJK characters, two to three English words

_U = np.uint64
_MIX1 = _U(0x9E3779B97F4A7C15)
_MIX2 = _U(0xD6E8FEB86659FD93)
_BASE = _U(0xC2B2AE3D27D4EB4F)  # odd, so that it has an inverse modulo 2^64
_INVERSE = _U(pow(0xC2B2AE3D27D4EB4F, -1, 1 << 64))

_u8, _i32, _i64, _u64, _f64 = types.uint8, types.int32, types.int64, types.uint64, types.float64
_triple: Any = types.UniTuple(_i64, 3)  # type: ignore[no-untyped-call]  # numba has none


@kernel(_i64(_i64), allocates=False)
def _power_of_two(least: int) -> int:
    size = 16
    while size < least:
        size <<= 1
    return size


@kernel(_u64(_i64), allocates=False)
def _shift(size: int) -> Any:
    """How far to shift a 64-bit hash so that it indexes a table of `size` (a power of two)."""
    shift = _U(64)
    while size > 1:
        size >>= 1
        shift -= _U(1)
    return shift


@kernel(_triple(ro(_u8), _i64, _i64, _i64, rw(_i64), rw(_i64), rw(_u64), rw(_i32), _i64), allocates=False)
def _segments(
    data: Any, start: int, end: int, least: int, begins: Any, sizes: Any, hashes: Any, table: Any, most: int
) -> tuple[int, int, int]:
    """Split data[start:end] at runs of at least `least` newlines; return (segments, repeats, characters in repeats).

    begins, sizes, hashes, table: scratch for `most` segments, which is a bound on what will be found.
    """
    mask = _power_of_two(2 * most) - 1
    for slot in range(mask + 1):
        table[slot] = 0
    segments = distinct = repeats = chars = 0
    begin = start
    while begin >= 0:
        stop, following, at = end, -1, begin
        while at < end:
            if data[at] != 10:
                at += 1
                continue
            run = at
            while run < end and data[run] == 10:
                run += 1
            if run - at >= least:
                stop, following = at, run
                break
            at = run
        segments += 1
        size = stop - begin
        h = hash_range(data, begin, stop)
        p = np.int64(h & _U(mask))
        while table[p]:
            first = table[p] - 1
            k = 0
            if hashes[first] == h and sizes[first] == size:
                while k < size and data[begins[first] + k] == data[begin + k]:
                    k += 1
                if k == size:
                    break
            p = (p + 1) & mask
        if table[p]:
            repeats += 1
            for k in range(begin, stop):
                chars += 1 if data[k] & 0xC0 != 0x80 else 0
        else:
            begins[distinct], sizes[distinct], hashes[distinct] = begin, size, h
            distinct += 1
            table[p] = distinct
        begin = following
    return segments, repeats, chars


@kernel(types.void(ro(_u8), ro(_i64), rw2(_f64), rw(_i64)))
def segment_shares(data: Any, offsets: Any, shares: Any, chars: Any) -> None:
    """Measure repeated paragraphs and lines.

    data: u8[nbytes], offsets: i64[n+1]
    shares: f64[n, 4], written: share of paragraphs, of characters in them, of lines, of characters in them; 0 for
        empty text
    chars: i64[n], written: code points of each document
    """
    n = len(offsets) - 1
    most = 0
    for d in range(n):
        runs = 0
        for i in range(offsets[d] + 1, offsets[d + 1]):
            runs += 1 if data[i] == 10 and data[i - 1] != 10 else 0
        most = max(most, runs)
    most += 3  # a run at the very start, the piece after the last one, and one to spare
    begins, sizes, hashes = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.uint64)
    table = np.empty(_power_of_two(2 * most), np.int32)
    for d in range(n):
        start, end = offsets[d], offsets[d + 1]
        length = newlines = doubles = 0
        for i in range(start, end):
            length += 1 if data[i] & 0xC0 != 0x80 else 0
            newlines += 1 if data[i] == 10 else 0
        for i in range(start + 1, end):
            doubles += 1 if data[i] == 10 and data[i - 1] == 10 else 0
        chars[d] = length
        for k in range(4):
            shares[d, k] = 0.0
        if doubles:
            a, z = strip(data, start, end)
            count, repeats, repeated = _segments(data, a, z, 2, begins, sizes, hashes, table, newlines - doubles + 2)
            shares[d, 0] = repeats / count
            shares[d, 1] = repeated / length
        if newlines:
            count, repeats, repeated = _segments(data, start, end, 1, begins, sizes, hashes, table, newlines - doubles + 2)
            shares[d, 2] = repeats / count
            shares[d, 3] = repeated / length


@kernel(
    types.void(
        ro(_u64), _i64, rw(_i64), _i64, _i64, ro(_f64), types.boolean,
        rw(_u64), rw(_i32), rw(_i32), rw(_i32), rw(_i32), rw(_u8), _i64, rw2(_f64),
    ),
    allocates=False,
)  # fmt: skip
def _top(
    raw: Any, a: int, cum: Any, n: int, length: int, bounds: Any, everything: bool,
    key: Any, cand: Any, first: Any, count: Any, slots: Any, seen: Any, d: int, out: Any,
) -> None:  # fmt: skip
    """Write the shares of the top 2, 3 and 4-gram of one document to out[d, 4:7]; stop at the first above its bound.

    raw[a : a + n]: hashes of its words; cum: i64[n+1], code points before each word; the rest is scratch.
    """
    # Bigrams whose bucket is hit once can't repeat: most of a text never enters the exact table.
    if n < 2:
        return
    mask = _power_of_two(4 * n) - 1
    shift = _shift(mask + 1)
    for slot in range(mask + 1):
        seen[slot] = 0
    for i in range(n - 1):
        key[i] = raw[a + i] * _MIX1 + raw[a + i + 1]
        p = np.int64((key[i] * _MIX2) >> shift)
        seen[p] = 1 if seen[p] == 0 else 2
    nc = 0
    for i in range(n - 1):
        cand[nc] = i
        nc += 1 if seen[np.int64((key[i] * _MIX2) >> shift)] == 2 else 0
    for gram in TOP:
        if gram > n:
            return
        k = 0
        for q in range(nc):
            i = cand[q]
            if i + gram <= n:
                if gram > 2:
                    key[i] = key[i] * _MIX1 + raw[a + i + gram - 1]
                cand[k] = i
                k += 1
        nc = k
        mask = _power_of_two(2 * nc) - 1
        shift = _shift(mask + 1)
        for slot in range(mask + 1):
            slots[slot] = 0
        for q in range(nc):
            i = cand[q]
            h = key[i]
            p = np.int64((h * _MIX2) >> shift)
            while slots[p] and key[slots[p] - 1] != h:
                p = (p + 1) & mask
            if slots[p]:
                first[i] = slots[p] - 1
                count[first[i]] += 1
            else:
                slots[p] = i + 1
                first[i] = i
                count[i] = 1
        best, most = 0, 1
        for q in range(nc):
            i = cand[q]
            if first[i] == i and count[i] > most:
                best, most = i, count[i]
        out[d, gram + 2] = (cum[best + gram] - cum[best] + gram - 1) * most / length
        if out[d, gram + 2] > bounds[gram + 2] and not everything:
            return
        k = 0
        for q in range(nc - 1):
            i = cand[q]
            if cand[q + 1] == i + 1 and count[first[i]] > 1 and count[first[i + 1]] > 1:
                cand[k] = i
                k += 1
        nc = k


@kernel(types.void(ro(_u8), ro(_i64), ro(_i32), _i64, _i64, rw(_u8), rw(_i64), rw(_u64), rw(_u64)), allocates=False)
def _join(data: Any, start: Any, size: Any, a: int, n: int, joined: Any, at: Any, sums: Any, scale: Any) -> None:
    """Write the words of one document without spaces to `joined`, and what any run of words hashes to.

    at: i64[n+1], where word i starts in `joined`; sums: u64[n+1], sum of (byte + 1) * BASE^position before word i;
    scale: u64[n], BASE^-at[i]. The hash of words i..j is (sums[j] - sums[i]) * scale[i]: the same for the same text
    wherever it stands and however it is cut into words. A polynomial modulo 2^64 confuses Thue-Morse strings of 2^10
    letters and more; nothing else of that kind is known, and such text is taken for repetitive, which it nearly is.
    """
    o = np.int64(0)
    total, power, inverse = _U(0), _U(1), _U(1)
    for w in range(n):
        at[w], sums[w], scale[w] = o, total, inverse
        for k in range(start[a + w], start[a + w] + size[a + w]):
            b = data[k]
            joined[o] = b
            o += 1
            total += (_U(b) + _U(1)) * power
            power *= _BASE
            inverse *= _INVERSE
    at[n], sums[n] = o, total


@kernel(
    types.void(
        rw(_u8), rw(_i64), rw(_u64), rw(_u64), rw(_i64), _i64, _i64, ro(_f64), types.boolean,
        rw(_u64), rw(_i32), rw(_u8), rw(_i32), rw(_u8), _i64, rw2(_f64),
    ),
    allocates=False,
)  # fmt: skip
def _duplicates(
    joined: Any, at: Any, sums: Any, scale: Any, cum: Any, n: int, length: int, bounds: Any, everything: bool,
    key: Any, cand: Any, again: Any, slots: Any, seen: Any, d: int, out: Any,
) -> None:  # fmt: skip
    """Write the shares of duplicate 5 to 10-grams of one document to out[d, 7:13]; stop at the first above its bound."""
    if n < JOINED[0]:
        return
    mask = _power_of_two(4 * n) - 1
    shift = _shift(mask + 1)
    for slot in range(mask + 1):
        seen[slot] = 0
    for i in range(n):
        h = (load64(joined, at[i]) * _MIX1) ^ load64(joined, at[i] + PREFIX - 8)
        key[i] = (h * _MIX2) >> shift
        p = np.int64(key[i])
        seen[p] = 1 if seen[p] == 0 else 2
    nc = 0
    for i in range(n - JOINED[0] + 1):
        again[i] = seen[np.int64(key[i])] == 2
        cand[nc] = i
        nc += 1 if again[i] or at[i + JOINED[0]] - at[i] < PREFIX else 0
    for gram in JOINED:
        if gram > n:
            return
        k = 0
        for q in range(nc):
            i = cand[q]
            if i + gram <= n and (again[i] or at[i + gram] - at[i] < PREFIX):
                key[i] = (sums[i + gram] - sums[i]) * scale[i]
                cand[k] = i
                k += 1
        nc = k
        if bounds[gram + 2] == np.inf and not everything:
            continue
        mask = _power_of_two(2 * nc) - 1
        shift = _shift(mask + 1)
        for slot in range(mask + 1):
            slots[slot] = 0
        following = repeated = 0
        for q in range(nc):
            i = cand[q]
            if i < following:
                continue
            h = key[i]
            p = np.int64((h * _MIX2) >> shift)
            while slots[p] and key[slots[p] - 1] != h:
                p = (p + 1) & mask
            if slots[p]:
                repeated += cum[i + gram] - cum[i]
                following = i + gram
            else:
                slots[p] = i + 1
        out[d, gram + 2] = repeated / length
        if out[d, gram + 2] > bounds[gram + 2] and not everything:
            return


@kernel(types.void(ro(_u8), ro(_i64), ro(_i64), ro(_i32), ro(_u64), ro(_i32), ro(_i64), ro(_u8), ro(_f64), types.boolean, rw2(_f64)))
def ngram_shares(
    data: Any, doc: Any, start: Any, size: Any, raw: Any, chars: Any, length: Any, skip: Any, bounds: Any, everything: bool, shares: Any
) -> None:
    """Measure repeated n-grams.

    data: u8[nbytes]; doc, start, size, raw, chars: fields of `Words`; length: i64[n], code points of each document
    skip: u8[n], 1 where nothing is asked; bounds: f64[13], inf where there is none
    everything: measure all; otherwise stop at a document's first share above its bound
    shares: f64[n, 13], columns 4.. written (top 2-4, duplicate 5-10); 0 where not measured and where words are too few
    """
    n = len(doc) - 1
    most = longest = 0
    for d in range(n):
        if not skip[d]:
            most = max(most, doc[d + 1] - doc[d])
            count = 0
            for w in range(doc[d], doc[d + 1]):
                count += size[w]
            longest = max(longest, count)
    key, cand = np.empty(most, np.uint64), np.empty(most + 1, np.int32)
    first, frequency, slots = np.empty(most, np.int32), np.empty(most, np.int32), np.empty(_power_of_two(2 * most), np.int32)
    seen, again = np.empty(_power_of_two(4 * most), np.uint8), np.empty(most, np.uint8)
    at, cum = np.empty(most + 1, np.int64), np.empty(most + 1, np.int64)
    sums, scale = np.empty(most + 1, np.uint64), np.empty(most, np.uint64)
    joined = np.zeros(longest + PREFIX, np.uint8)
    tops = joins = everything
    for k in range(4, 7):
        tops |= bounds[k] != np.inf
    for k in range(7, 13):
        joins |= bounds[k] != np.inf
    for d in range(n):
        a, z = doc[d], doc[d + 1]
        for k in range(4, 13):
            shares[d, k] = 0.0
        if skip[d] or z - a < TOP[0]:
            continue
        cum[0] = 0
        for w in range(a, z):
            cum[w - a + 1] = cum[w - a] + chars[w]
        if tops:
            _top(raw, a, cum, z - a, length[d], bounds, everything, key, cand, first, frequency, slots, seen, d, shares)
        over = False
        for k in range(4, 7):
            over |= shares[d, k] > bounds[k]
        if joins and (everything or not over):
            _join(data, start, size, a, z - a, joined, at, sums, scale)
            _duplicates(joined, at, sums, scale, cum, z - a, length[d], bounds, everything, key, cand, again, slots, seen, d, shares)
