"""How much of a document repeats itself: top 2-4 grams and duplicate 5-10 grams of words, in datatrove's reading.

Rae et al. 2021, "Scaling Language Models" (Gopher), Table A1, in the reading of datatrove 0.10
(`gopher_repetition_filter.py`), which these kernels equal number by number:

  - the top n-gram is the first of the most frequent ones; its share counts its length with single spaces times its
    frequency, even where that is 1, so shares above 1 are possible;
  - duplicate n-grams: see `joined_grams`;
  - every share of characters is of the whole text, white space included.

Lines and paragraphs are the matter of `segments`, the other readings of `tuple_grams`. n-grams are compared by 64-bit
hashes. Time is linear in bytes and words; scratch is about 70 bytes a word of the largest document.

Two prunings, both exact up to those hashes, keep exact tables small: a slot of a small table is hit at least as often as
each of its n-grams occurs, so only the fullest ones can hold the top n-gram; and a (n+1)-gram can repeat only where the
n-grams at its two first words do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from curate.kernels.compiled import kernel, ro, rw, rw2
from curate.kernels.hashing import ODD1, ODD2, fold_multiply
from curate.kernels.joined_grams import SLACK, joined_shares
from curate.kernels.ngram_tables import count_exactly, power_of_two, slot_shift

TOP = (2, 3, 4)
_NEVER = 2**31 - 1

_u8, _i32, _u32, _i64, _u64, _f64 = types.uint8, types.int32, types.uint32, types.int64, types.uint64, types.float64
_pair: Any = types.UniTuple(_i64, 2)  # type: ignore[no-untyped-call]  # numba has none


@kernel(_i64(ro(_u64), _i64, _i64, rw(_u64), ro(_u32), _i64, rw(_u8), _u64), allocates=False)
def _fill_slots(raw: Any, a: int, gram: int, key: Any, cand: Any, nc: int, seen: Any, shift: Any) -> Any:
    """Write the keys of the n-grams at cand[:nc] (at every word below nc for bigrams) and count them by slot in `seen`.

    Counts stop at 255; the largest is returned. A slot is hit at least as often as each of its n-grams occurs.
    """
    for p in range(power_of_two(4 * nc)):
        seen[p] = 0
    fullest: Any = 0
    first, last = np.uint64(a), np.uint64(a + gram - 1)  # without a sign nobody counts from the end
    for q in range(nc):
        i = np.uint64(q if gram == 2 else cand[q])
        h = fold_multiply((raw[first + i] if gram == 2 else key[i]) ^ ODD1, raw[last + i] ^ ODD2)
        key[i] = h
        p = h >> shift
        hits = np.int64(seen[p])
        hits += 1 if hits < 255 else 0
        seen[p] = hits
        fullest = max(fullest, hits)
    return fullest


@kernel(_pair(ro(_u64), _i64, rw(_u32), _i64, ro(_u8), _u64, _i64, rw(_u32)), allocates=False)
def _select(key: Any, gram: int, cand: Any, nc: int, seen: Any, shift: Any, least: int, few: Any) -> tuple[int, int]:
    """Thin cand[:nc] out to those whose slot was hit twice, write those with `least` hits to few; return how many of each."""
    twice = often = 0
    for q in range(nc):
        i = q if gram == 2 else np.int64(cand[q])
        hits = seen[key[i] >> shift]
        cand[twice] = i
        twice += 1 if hits > 1 else 0
        few[often] = i
        often += 1 if hits >= least else 0
    return twice, often


@kernel(
    types.void(
        ro(_u64), ro(_i32), _i64, _i64, _i64, ro(_f64), types.boolean,
        rw(_u64), rw(_u32), rw(_u32), rw(_i32), rw(_i32), rw(_u32), rw(_u8), _i64, rw2(_f64),
    ),
    allocates=False,
)  # fmt: skip
def _top_shares(
    raw: Any, chars: Any, a: int, n: int, length: int, bounds: Any, everything: bool,
    key: Any, cand: Any, few: Any, first: Any, count: Any, slots: Any, seen: Any, d: int, out: Any,
) -> None:  # fmt: skip
    """Write the shares of the top 2, 3 and 4-gram of one document to out[d, 4:7]; stop at the first above its bound.

    raw, chars[a : a + n]: hashes and code points of its words; the rest is scratch.
    """
    nc = n - 1
    for gram in TOP:
        if gram > n:
            return
        while gram > 2 and nc and np.int64(cand[nc - 1]) + gram > n:
            nc -= 1
        shift = slot_shift(power_of_two(4 * nc))
        least = _fill_slots(raw, a, gram, key, cand, nc, seen, shift) if nc > 1 else 1
        most, best = np.int64(1), np.int64(0)
        if least < 2:
            nc = 0
        else:
            nc, often = _select(key, gram, cand, nc, seen, shift, least, few)
            top = count_exactly(key, few, often, first, count, slots)
            most = (top + _NEVER) >> 32
            if most < least and least > 2:  # n-grams shared a slot: look at all that may be as frequent as the best so far
                _, often = _select(key, 0, cand, nc, seen, shift, max(most, 2), few)
                top = count_exactly(key, few, often, first, count, slots)
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
            i = np.int64(cand[q])
            cand[k] = i
            k += 1 if np.int64(cand[q + 1]) == i + 1 else 0
        nc = k


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
    key, at, joined = np.empty(most, np.uint64), np.empty(most + 1, np.int64), np.zeros(longest + SLACK, np.uint8)
    cand, few = np.empty(most + 1, np.uint32), np.empty(most + 1, np.uint32)
    first, frequency = np.empty(most, np.int32), np.empty(most, np.int32)
    slots, seen = np.empty(power_of_two(4 * most), np.uint32), np.empty(power_of_two(4 * most), np.uint8)
    pairs = np.empty(power_of_two(most >> 1), np.uint64)
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
            _top_shares(raw, chars, a, z - a, length[d], bounds, everything, key, cand, few, first, frequency, slots, seen, d, shares)
        over = False
        for k in range(4, 7):
            over |= shares[d, k] > bounds[k]
        if joins and (everything or not over):
            joined_shares(
                data, start, size, chars, a, z - a, length[d], bounds, everything,
                joined, at, key, cand, first, few, slots, pairs, d, shares,
            )  # fmt: skip
