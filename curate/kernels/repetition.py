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
words; scratch is about 70 bytes a word and 55 bytes a line of the largest document. uint64 arithmetic wraps.

Two prunings, both exact up to those hashes, keep the tables small:
  - a (n+1)-gram can repeat only where the n-grams at its two first words do (2-4 grams);
  - joined n-grams of at least 12, 15, 22 or 30 bytes can be the same only where their first 12, 15, ... bytes are. (Repeated
    5-grams say nothing about joined 6-grams: "a b c d e f" and "ab c d e f g" share letters, not words.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from curate.kernels.compiled import kernel, leaf, ro, rw, rw2
from curate.kernels.hashing import ODD1, ODD2, ODD3, SEED, fold_multiply, hash_range, load64
from curate.kernels.whitespace import strip

TOP = (2, 3, 4)
JOINED = (5, 6, 7, 8, 9, 10)
PREFIXES = (12, 15, 22, 30)  # bytes: 4, 5, 7 and 10 CJK characters, 3 to 7 English words; at most 8 between two
SLACK = 32  # bytes after the joined words that may be read or written: the longest prefix, two words of 64 bits

_U = np.uint64
_MIX1 = _U(0x9E3779B97F4A7C15)
_MIX2 = _U(0xD6E8FEB86659FD93)
_ONES = _U(0x0101010101010101)
_LOW = _U(0x7F7F7F7F7F7F7F7F)
_NEWLINES = _U(0x0A0A0A0A0A0A0A0A)
_NEVER = 2**31 - 1

_u8, _i32, _i64, _u64, _f64 = types.uint8, types.int32, types.int64, types.uint64, types.float64
_pair: Any = types.UniTuple(_i64, 2)  # type: ignore[no-untyped-call]  # numba has none
_triple: Any = types.UniTuple(_i64, 3)  # type: ignore[no-untyped-call]  # numba has none


def _store64(_: Any, data: Any, at: Any, value: Any) -> Any:
    """Type and code of store64(data: u8[], at: i64, value: u64): eight bytes to any address, no bounds check."""
    from llvmlite import ir

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        address = builder.bitcast(builder.gep(array.data, [arguments[1]]), ir.IntType(64).as_pointer())
        builder.store(arguments[2], address, align=1)
        return context.get_dummy_value()

    return types.void(data, types.int64, types.uint64), generate


store64: Any = intrinsic(_store64)


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


@leaf
def _newlines(word: Any) -> Any:
    """u64: 1 in every byte of `word` that is a newline, 0 in the others (no carry leaves a byte: exact)."""
    rest = word ^ _NEWLINES
    return (~(((rest & _LOW) + _LOW) | rest) >> _U(7)) & _ONES


@leaf
def _inner(word: Any) -> Any:
    """u64: 1 in every byte of `word` that continues a code point, 0 in the others."""
    return (word >> _U(7)) & ~(word >> _U(6)) & _ONES


@kernel(_pair(ro(_u8), _i64, _i64), allocates=False)
def _measure(data: Any, start: int, end: int) -> tuple[int, int]:
    """Return (code points, runs of newlines) of data[start:end], eight bytes at a time."""
    if end == start:
        return 0, 0
    blocks = (end - start - 1) >> 3
    inner, runs = _U(0), _U(0)
    for k in range(blocks):
        at = start + 1 + 8 * k
        word = load64(data, at)
        inner += (_inner(word) * _ONES) >> _U(56)
        runs += ((_newlines(word) & ~_newlines(load64(data, at - 1))) * _ONES) >> _U(56)
    chars: Any = 8 * blocks - np.int64(inner)
    count: Any = np.int64(runs)
    chars += 1 if data[start] & 0xC0 != 0x80 else 0
    count += 1 if data[start] == 10 else 0
    for at in range(start + 1 + 8 * blocks, end):
        chars += 1 if data[at] & 0xC0 != 0x80 else 0
        count += 1 if data[at] == 10 and data[at - 1] != 10 else 0
    return chars, count


@kernel(_i64(ro(_u8), _i64, _i64, rw(_i64), rw(_i64)), allocates=False)
def _newline_runs(data: Any, start: Any, end: int, stops: Any, nexts: Any) -> int:
    """Write where the runs of newlines in data[start:end] start and end to stops, nexts; return how many there are."""
    runs = 0
    at = start
    while at < end:
        if at + 8 <= end:
            found = _newlines(load64(data, at))
            if found == _U(0):
                at += 8
                continue
            lowest = found & (~found + _U(1))
            at += np.int64((((lowest - _U(1)) & _ONES) * _ONES) >> _U(56))
        elif data[at] != 10:
            at += 1
            continue
        stops[runs] = at
        at += 1
        while at < end and data[at] == 10:
            at += 1
        nexts[runs] = at
        runs += 1
    return runs


@kernel(_triple(ro(_u8), _i64, _i64, _i64, rw(_i64), rw(_i64), _i64, rw(_i64), rw(_i64), rw(_u64), rw(_i32)), allocates=False)
def _segments(
    data: Any, start: int, end: int, least: int, stops: Any, nexts: Any, runs: int, begins: Any, sizes: Any, hashes: Any, table: Any
) -> tuple[int, int, int]:
    """Split data[start:end] at its runs of at least `least` newlines; return (segments, repeats, characters in repeats).

    stops, nexts: the runs, also those outside; begins, sizes, hashes, table: scratch for runs + 1 segments.
    """
    mask = _power_of_two(2 * (runs + 1)) - 1
    for slot in range(mask + 1):
        table[slot] = 0
    segments = distinct = repeats = chars = 0
    begin = start
    for run in range(runs + 1):
        stop = end
        if run < runs:
            stop = stops[run]
            if stop < start or nexts[run] > end or nexts[run] - stop < least:
                continue
        segments += 1
        size = stop - begin
        h = hash_range(data, begin, stop)
        p = np.int64(h & _U(mask))
        while table[p]:
            first = table[p] - 1
            if hashes[first] == h and sizes[first] == size:
                k, other = 0, begins[first]
                while k + 8 <= size and load64(data, other + k) == load64(data, begin + k):
                    k += 8
                while k < size and data[other + k] == data[begin + k]:
                    k += 1
                if k == size:
                    break
            p = (p + 1) & mask
        if table[p]:
            repeats += 1
            chars += _measure(data, begin, stop)[0]
        else:
            begins[distinct], sizes[distinct], hashes[distinct] = begin, size, h
            distinct += 1
            table[p] = distinct
        if run < runs:
            begin = nexts[run]
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
        chars[d], runs = _measure(data, offsets[d], offsets[d + 1])
        most = max(most, runs)
    stops, nexts = np.empty(most, np.int64), np.empty(most, np.int64)
    begins, sizes, hashes = np.empty(most + 1, np.int64), np.empty(most + 1, np.int64), np.empty(most + 1, np.uint64)
    table = np.empty(_power_of_two(2 * (most + 1)), np.int32)
    for d in range(n):
        start, end, length = offsets[d], offsets[d + 1], chars[d]
        for k in range(4):
            shares[d, k] = 0.0
        runs = _newline_runs(data, start, end, stops, nexts)
        longest = 0
        for run in range(runs):
            longest = max(longest, nexts[run] - stops[run])
        if longest > 1:
            a, z = strip(data, start, end)
            count, repeats, repeated = _segments(data, a, z, 2, stops, nexts, runs, begins, sizes, hashes, table)
            shares[d, 0] = repeats / count
            shares[d, 1] = repeated / length
        if runs:
            count, repeats, repeated = _segments(data, start, end, 1, stops, nexts, runs, begins, sizes, hashes, table)
            shares[d, 2] = repeats / count
            shares[d, 3] = repeated / length


@kernel(
    types.void(
        ro(_u64), ro(_i32), _i64, _i64, _i64, ro(_f64), types.boolean,
        rw(_u64), rw(_i32), rw(_i32), rw(_i32), rw(_i32), rw(_u8), _i64, rw2(_f64),
    ),
    allocates=False,
)  # fmt: skip
def _top(
    raw: Any, chars: Any, a: int, n: int, length: int, bounds: Any, everything: bool,
    key: Any, cand: Any, first: Any, count: Any, slots: Any, seen: Any, d: int, out: Any,
) -> None:  # fmt: skip
    """Write the shares of the top 2, 3 and 4-gram of one document to out[d, 4:7]; stop at the first above its bound.

    raw, chars[a : a + n]: hashes and code points of its words; the rest is scratch.
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
        seen[p] = (seen[p] << 1) | 1
    nc = 0
    for i in range(n - 1):
        cand[nc] = i
        nc += 1 if seen[np.int64((key[i] * _MIX2) >> shift)] > 1 else 0
    for gram in TOP:
        if gram > n:
            return
        while nc and cand[nc - 1] + gram > n:
            nc -= 1
        if gram > 2:
            for q in range(nc):
                i = cand[q]
                key[i] = key[i] * _MIX1 + raw[a + i + gram - 1]
        mask = _power_of_two(4 * nc) - 1
        shift = _shift(mask + 1)
        for slot in range(mask + 1):
            slots[slot] = 0
        # No branches that a processor can't foresee: half of the bigrams of a text are copies.
        top: Any = np.int64(1) << 32  # count << 32, less the position of the first copy
        for q in range(nc):
            i = cand[q]
            h = key[i]
            p = np.int64((h * _MIX2) >> shift)
            earliest = np.int64(slots[p]) - 1 if slots[p] else i
            while key[earliest] != h:
                p = (p + 1) & mask
                earliest = np.int64(slots[p]) - 1 if slots[p] else i
            slots[p] = earliest + 1
            first[i] = earliest
            count[i] = 0
            count[earliest] += 1
            top = max(top, (np.int64(count[earliest]) << 32) - earliest)
        most = (top + _NEVER) >> 32
        best = (most << 32) - top
        width = gram - 1
        for w in range(a + best, a + best + gram):
            width += chars[w]
        out[d, gram + 2] = width * most / length
        if out[d, gram + 2] > bounds[gram + 2] and not everything:
            return
        k = 0
        for q in range(nc - 1):
            i = cand[q]
            j = cand[q + 1]
            cand[k] = i
            k += 1 if (j == i + 1) & (count[first[i]] > 1) & (count[first[j]] > 1) else 0
        nc = k


@kernel(types.void(ro(_u8), ro(_i64), ro(_i32), _i64, _i64, rw(_u8), rw(_i64)), allocates=False)
def _join(data: Any, start: Any, size: Any, a: int, n: int, joined: Any, at: Any) -> None:
    """Write the words of one document without spaces to `joined`, and where word i starts in it to at[i], i64[n+1].

    Sixteen bytes are written at once where they can be read; those after the word are overwritten by the next one, and
    `joined` has SLACK bytes for those after the last.
    """
    o = np.int64(0)
    for w in range(n):
        at[w] = o
        begin, width = start[a + w], size[a + w]
        if begin + 16 <= data.shape[0] and width <= 16:
            store64(joined, o, load64(data, begin))
            store64(joined, o + 8, load64(data, begin + 8))
        else:
            for k in range(width):
                joined[o + k] = data[begin + k]
        o += width
    at[n] = o


@leaf
def _hash_run(joined: Any, begin: int, end: int) -> Any:
    """u64: hash of joined[begin:end]; sixteen bytes a step, the last ones read from the end (they may overlap)."""
    size = end - begin
    if size < 8:
        return hash_range(joined, begin, end)
    state = _U(size) * SEED
    while end - begin > 16:
        state = fold_multiply(state ^ load64(joined, begin), ODD1 ^ load64(joined, begin + 8))
        begin += 16
    begin = end - 16 if size >= 16 else begin
    state = fold_multiply(state ^ load64(joined, begin), ODD2 ^ load64(joined, end - 8))
    return fold_multiply(state ^ SEED, ODD3)


@kernel(
    types.void(
        rw(_u8), rw(_i64), ro(_i32), _i64, _i64, _i64, ro(_f64), types.boolean,
        rw(_u64), rw(_i32), rw(_i32), rw(_i32), rw(_u8), _i64, rw2(_f64),
    ),
    allocates=False,
)  # fmt: skip
def _duplicates(
    joined: Any, at: Any, chars: Any, a: int, n: int, length: int, bounds: Any, everything: bool,
    key: Any, cand: Any, alone: Any, slots: Any, seen: Any, d: int, out: Any,
) -> None:  # fmt: skip
    """Write the shares of duplicate 5 to 10-grams of one document to out[d, 7:13]; stop at the first above its bound.

    joined, at: as _join wrote them; chars[a : a + n]: code points of the words; the rest is scratch.
    """
    if n < JOINED[0]:
        return
    # alone[i]: no n-gram of at least so many bytes that starts at word i can repeat.
    nc = n - JOINED[0] + 1
    for i in range(nc):
        cand[i] = i
    for stage in range(len(PREFIXES)):
        prefix = PREFIXES[stage]
        mask = _power_of_two(4 * nc) - 1
        shift = _shift(mask + 1)
        for slot in range(mask + 1):
            seen[slot] = 0
        for q in range(nc):
            i = cand[q]
            h = key[i] if stage else load64(joined, at[i])
            h = (h * _MIX1) ^ load64(joined, at[i] + prefix - 8)
            h ^= h >> _U(32)
            key[i] = h
            p = np.int64((h * _MIX2) >> shift)
            seen[p] = (seen[p] << 1) | 1
        k = 0
        for q in range(nc):
            i = cand[q]
            alone[i] = prefix
            cand[k] = i
            k += 1 if seen[np.int64((key[i] * _MIX2) >> shift)] > 1 else 0
        nc = k
    for q in range(nc):
        alone[cand[q]] = _NEVER
    nc = 0
    for i in range(n - JOINED[0] + 1):
        cand[nc] = i
        nc += 1 if at[i + JOINED[0]] - at[i] < alone[i] else 0
    for gram in JOINED:
        if gram > n:
            return
        while nc and cand[nc - 1] + gram > n:
            nc -= 1
        k = 0
        for q in range(nc):
            i = cand[q]
            cand[k] = i
            k += 1 if at[i + gram] - at[i] < alone[i] else 0
        nc = k
        if nc < 2:
            return
        if bounds[gram + 2] == np.inf and not everything:
            continue
        mask = _power_of_two(4 * nc) - 1
        shift = _shift(mask + 1)
        for slot in range(mask + 1):
            slots[slot] = 0
        following: Any = np.int64(0)
        repeated: Any = np.int64(0)
        for q in range(nc):
            i = cand[q]
            if i < following:
                continue
            h = _hash_run(joined, at[i], at[i + gram])
            key[i] = h
            p = np.int64(h >> shift)
            earliest = np.int64(slots[p]) - 1 if slots[p] else i
            while key[earliest] != h:
                p = (p + 1) & mask
                earliest = np.int64(slots[p]) - 1 if slots[p] else i
            slots[p] = earliest + 1
            if earliest < i:
                following = i + gram
                for w in range(a + i, a + following):
                    repeated += chars[w]
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
        a, z = doc[d], doc[d + 1]
        if not skip[d] and z > a:
            most = max(most, z - a)
            longest = max(longest, start[z - 1] + size[z - 1] - start[a])
    key, cand = np.empty(most, np.uint64), np.empty(most + 1, np.int32)
    first, frequency, slots = np.empty(most, np.int32), np.empty(most, np.int32), np.empty(_power_of_two(4 * most), np.int32)
    seen, at = np.empty(_power_of_two(4 * most), np.uint8), np.empty(most + 1, np.int64)
    joined = np.zeros(longest + SLACK, np.uint8)
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
        if tops:
            _top(raw, chars, a, z - a, length[d], bounds, everything, key, cand, first, frequency, slots, seen, d, shares)
        over = False
        for k in range(4, 7):
            over |= shares[d, k] > bounds[k]
        if joins and (everything or not over):
            _join(data, start, size, a, z - a, joined, at)
            _duplicates(joined, at, chars, a, z - a, length[d], bounds, everything, key, cand, first, slots, seen, d, shares)
