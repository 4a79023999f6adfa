"""Lines and paragraphs of a document that repeat, in the four readings of Gopher's rule.

Rae et al. 2021 (Gopher), Table A1. A reading decides where a text is cut, which pieces count, whether the first copy of
a repeated piece counts as repeated too, and what the characters in them are divided by:

    datatrove  lines between runs of newlines; paragraphs of the stripped text between runs of two or more; empty pieces
               at the ends count; copies after the first; characters of the whole text
    dclm       the same cuts, pieces stripped and empty ones dropped; all copies; characters of the pieces; one piece
               alone repeats nothing
    dolma      lines as datatrove (its `gopher_v2`); all copies; characters of the words; no paragraphs
    nemo       lines between newlines, blank ones dropped; paragraphs between pairs of newlines, empty ones count; copies
               after the first; characters of the pieces

Pieces are compared byte by byte. Time is linear; scratch is about 55 bytes a line of the largest document.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from curate.kernels.blocks import BLOCK, bytes_between, bytes_equal, count_bits, first_bit, low_bits
from curate.kernels.compiled import kernel, leaf, ro, rw, rw2
from curate.kernels.hashing import hash_piece, load64
from curate.kernels.ngram_tables import power_of_two
from curate.kernels.whitespace import strip

DATATROVE, DCLM, DOLMA, NEMO = range(4)  # readings, in the order of the step's choice

_U = np.uint64
_u8, _i32, _i64, _u64, _f64 = types.uint8, types.int32, types.int64, types.uint64, types.float64
_pair: Any = types.UniTuple(_i64, 2)  # type: ignore[no-untyped-call]  # numba has none
_four: Any = types.UniTuple(_i64, 4)  # type: ignore[no-untyped-call]  # numba has none


@kernel(_pair(ro(_u8), _i64, _i64), allocates=False)
def _measure(data: Any, start: int, end: int) -> Any:
    """Return (code points, runs of newlines) of data[start:end]."""
    chars, runs = np.int64(0), np.int64(0)
    before = _U(0)  # 1: the byte before the block is a newline
    at = start
    while at < end and at + BLOCK <= data.shape[0]:
        valid = low_bits(min(end - at, np.int64(BLOCK)))
        newlines = bytes_equal(data, at, 10) & valid
        chars += count_bits(~bytes_between(data, at, 0x80, 0xBF) & valid)
        runs += count_bits(newlines & ~(newlines << _U(1) | before))
        before = newlines >> _U(63)
        at += BLOCK
    for i in range(at, end):
        chars += 1 if data[i] & 0xC0 != 0x80 else 0
        runs += 1 if data[i] == 10 and (i == start or data[i - 1] != 10) else 0
    return chars, runs


@kernel(_i64(ro(_u8), _i64, _i64, rw(_i64), rw(_i64)), allocates=False)
def _newline_runs(data: Any, start: Any, end: int, stops: Any, nexts: Any) -> Any:
    """Write where the runs of newlines in data[start:end] start and end to stops, nexts; return how many there are."""
    runs: Any = 0
    closed: Any = 0
    one, before = _U(1), _U(0)  # before: 1 where the byte before the block is a newline
    at = start
    while at < end:
        n = min(end - at, np.int64(BLOCK))
        newlines = _U(0)
        if at + BLOCK <= data.shape[0]:
            newlines = bytes_equal(data, at, 10) & low_bits(n)
        else:
            for k in range(n):
                newlines |= _U(data[at + k] == 10) << _U(k)
        shifted = newlines << one | before
        begins, ends = newlines & ~shifted, shifted & ~newlines & low_bits(n)
        while begins:
            stops[runs] = at + first_bit(begins)
            runs += 1
            begins &= begins - one
        while ends:
            nexts[closed] = at + first_bit(ends)
            closed += 1
            ends &= ends - one
        before = newlines >> _U(63)
        at += n
    if closed < runs:
        nexts[closed] = end
    return runs


@leaf
def _same(data: Any, a: int, b: int, size: int) -> Any:
    """Whether data[a:a + size] == data[b:b + size] (a bool)."""
    k = 0
    while k + 8 <= size and load64(data, a + k) == load64(data, b + k):
        k += 8
    while k < size and data[a + k] == data[b + k]:
        k += 1
    return k == size


@kernel(
    _four(
        ro(_u8), _i64, _i64, _i64, _i64, rw(_i64), rw(_i64), _i64, rw(_i64), rw(_i64), rw(_u64), rw(_i32),
    ),
    allocates=False,
)  # fmt: skip
def _segments(
    data: Any,
    start: int,
    end: int,
    least: int,
    reading: int,
    stops: Any,
    nexts: Any,
    runs: int,
    begins: Any,
    sizes: Any,
    hashes: Any,
    table: Any,
) -> Any:
    """Cut data[start:end] at its runs of at least `least` newlines; return (pieces, repeats, characters in repeats, in all).

    stops, nexts: the runs, also those outside; begins, sizes, hashes, table: scratch for runs + 1 pieces. The characters in
    all pieces are counted for dclm and nemo alone.
    """
    mask = power_of_two(2 * (runs + 1)) - 1
    for slot in range(mask + 1):
        table[slot] = 0
    all_copies = reading in (DCLM, DOLMA)
    of_pieces = reading in (DCLM, NEMO)
    pieces = distinct = empty = 0
    repeats = chars = total = np.int64(0)
    begin = start
    for run in range(runs + 1):
        stop = following = end
        if run < runs:
            stop, following = stops[run], nexts[run]
            if stop < start or following > end or following - stop < least:
                continue
            if reading == NEMO and least == 2:  # pairs: a third newline belongs to the next piece, four leave an empty one
                empty += ((following - stop) >> 1) - 1
                following -= (following - stop) & 1
        first, last = begin, stop
        begin = following
        if reading == DCLM or (reading == NEMO and least == 1):
            a, z = strip(data, first, last)
            if a == z:
                continue
            if reading == DCLM:
                first, last = a, z
        size = last - first
        if size == 0:
            empty += 1
            continue
        pieces += 1
        length = _measure(data, first, last)[0] if of_pieces else 0
        total += length
        h = hash_piece(data, first, last)
        p = np.int64(h & _U(mask))
        while table[p]:
            other = abs(table[p]) - 1
            if hashes[other] == h and sizes[other] == size and _same(data, begins[other], first, size):
                break
            p = (p + 1) & mask
        if table[p]:
            copies = 2 if all_copies and table[p] > 0 else 1
            table[p] = -abs(table[p])
            repeats += copies
            chars += copies * (length if of_pieces else _measure(data, first, last)[0])
        else:
            begins[distinct], sizes[distinct], hashes[distinct] = first, size, h
            distinct += 1
            table[p] = distinct
    if empty > 1:
        repeats += empty if all_copies else empty - 1
    return pieces + empty, repeats, chars, total


@kernel(types.void(ro(_u8), ro(_i64), _i64, ro(_i64), rw2(_f64), rw(_i64)))
def segment_shares(data: Any, offsets: Any, reading: int, word_chars: Any, shares: Any, chars: Any) -> None:
    """Measure repeated paragraphs and lines.

    data: u8[nbytes], offsets: i64[n+1]; reading: DATATROVE, ...
    word_chars: i64[n], code points of the words, only read for dolma
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
    table = np.empty(power_of_two(2 * (most + 1)), np.int32)
    for d in range(n):
        for k in range(4):
            shares[d, k] = 0.0
        runs = _newline_runs(data, offsets[d], offsets[d + 1], stops, nexts)
        longest = 0
        for run in range(runs):
            longest = max(longest, nexts[run] - stops[run])
        for least in range(1, 3):
            if longest < least or (least == 2 and reading == DOLMA):
                continue
            start, end = offsets[d], offsets[d + 1]
            if least == 2 and reading == DATATROVE:
                start, end = strip(data, start, end)
            count, repeats, repeated, total = _segments(data, start, end, least, reading, stops, nexts, runs, begins, sizes, hashes, table)
            if reading == DATATROVE:
                total = chars[d]
            elif reading == DOLMA:
                total = max(word_chars[d], np.int64(1))
            if repeats:
                shares[d, 4 - 2 * least] = repeats / count
                shares[d, 5 - 2 * least] = repeated / total if total else 0.0
