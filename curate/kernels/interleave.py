"""Put the windows of several sources into one order that keeps to the planned shares all the way, while the shares may change.

The plan gives each source a share of every place; shares are whole numbers of `UNIT`. What a source is owed since the start,
and what it is owed in the last 64 places, is therefore exact.

While shares are constant, three rules, the first that applies decides:

1. A source that would otherwise fall a whole place behind its plan of the last 64 places is next.
2. Of the sources that would stay less than one place ahead of that plan, the one is next that must come soonest if it is to
   stay less than one place behind its plan since the start (earliest deadline first). A source whose share has ended comes
   at once where it is owed half a place or more.
3. No source comes more often than `left` says: what it has to give.

So every run of 64 places is within one place of plan: with one place of 64 to fill the counts add up to 63, so some source
lies below its plan. From 128 places before shares change to 64 after it, `curate.kernels.foresight` chooses. With more than
`FORESEEN` sources that would take too long: then, while shares are not those of 64 places ago, the one is next that is owed most,
the last 64 places counted twice as much as the rest.

An order within one of plan over every stretch exists for few plans (Fraenkel's conjecture). `tests/bench/loader.py` measures how
near these come; the certificate of a mix has its own figures.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import types

from curate.kernels.compiled import kernel, ro, ro2, rw, rw2
from curate.kernels.foresight import AHEAD, SPAN, book, depart, foresee, plain, put

MAX_SOURCES = 65536
FORESEEN = 128  # sources

I64 = npt.NDArray[np.int64]


@kernel(
    types.void(
        ro(types.int64),
        ro2(types.int64),
        types.int64,
        types.int64,
        types.int64,
        rw(types.int64),
        rw(types.int64),
        rw(types.int64),
        rw(types.int64),
        rw(types.uint16),
        rw(types.int64),
        rw(types.uint16),
        rw2(types.int64),
        rw(types.int64),
    ),
    allocates=False,
)
def order(segment, shares, start, tail, end, owed, recent, left, used, source, ordinal, kept, work, budget):  # type: ignore[no-untyped-def]
    """Fill places start, start + 1, ... of an order.

    segment: i64[tail + n + AHEAD], of each place from start - tail on (after the last place of the mix: its last)
    shares: i64[segments, k], each row adds up to UNIT; end: places of the mix
    tail: places before `start` that `source` begins with: min(start, SPAN)
    owed, recent: i64[k], plan less what was placed, in UNITs, since the start and in the last SPAN places, before `start`
    left: i64[k], how many more may come; used: i64[k], how many came
    source: u16[tail + n], ordinal: i64[n], written: which source stands at each place, and its how-manieth
    kept, work, budget: see `foresee`
    owed, recent, left and used are brought up to date. Integers decide, but for one deadline: a division of doubles, equal on every CPU.
    """
    base, stop = start - tail, source.shape[0]
    few = owed.shape[0] <= FORESEEN
    x = tail
    while x < stop:
        until = x
        while few and until < stop and segment[max(0, until - SPAN)] != segment[until + AHEAD]:
            until += 1
        if until > x:
            x = foresee(segment, shares, owed, recent, left, source, kept, work, budget, end - base, x, until, base, tail)
            continue
        book(segment, shares, owed, recent, x, 1)
        depart(recent, source, x, 1)
        full = x >= SPAN
        source[x] = plain(shares, segment[x], full, full and segment[x] != segment[x - SPAN], owed, recent, left)
        put(owed, recent, left, source, x, 1)
        x += 1
    for at in range(tail, stop):
        ordinal[at - tail] = used[source[at]]
        used[source[at]] += 1
