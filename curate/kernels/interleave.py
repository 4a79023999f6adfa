"""Put the windows of several sources into one order that keeps to the planned shares all the way, while the shares may change.

The plan gives each source a share of every place; shares are whole numbers of `UNIT`. What a source is owed since the start,
and what it is owed in the last 64 places, is therefore exact. Three rules, the first that applies decides:

1. A source that would otherwise fall a whole place behind its plan of the last 64 places is next.
2. Of the sources that would stay less than one place ahead of that plan, the one is next that must come soonest if it is to
   stay less than one place behind its plan since the start (earliest deadline first). A source whose share has ended comes
   at once where it is owed half a place or more. While shares are not those of 64 places ago, the one is next instead that is
   owed most, the last 64 places counted twice as much as the rest.
3. No source comes more often than `left` says: what it has to give.

While shares are constant every run of 64 places is within one place of plan: with one place of 64 to fill the counts add up
to 63, so some source lies below its plan. Of 300 random mixes of two to eight sources with a ramp, nine in ten were within one in
every run of 64 as well, the worst was off by 1.72. Since the start, constant shares were off by at most 1.90, nine in ten mixes by no
more than 1; over a ramp by at most 2.14 (an order within one of plan over every stretch exists for few plans: Fraenkel's
conjecture). `tests/bench/loader.py` measures it; the certificate of a mix has its own figures.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import types

from curate.kernels.compiled import kernel, ro, ro2, rw

SPAN = 64
UNIT = 1 << 40  # a whole place; 64 of them and more stay far below 2^63
MAX_SOURCES = 65536

I64 = npt.NDArray[np.int64]


@kernel(
    types.void(
        ro(types.int64),
        ro2(types.int64),
        types.int64,
        types.int64,
        rw(types.int64),
        rw(types.int64),
        rw(types.int64),
        rw(types.int64),
        rw(types.uint16),
        rw(types.int64),
    ),
    allocates=False,
)
def order(ends, shares, start, tail, owed, recent, left, used, source, ordinal):  # type: ignore[no-untyped-def]
    """Fill places start, start + 1, ... of an order.

    ends: i64[s], place after the last of each segment, rising; shares: i64[s, k], each row adds up to UNIT
    tail: places before `start` that `source` begins with: min(start, SPAN) or more
    owed, recent: i64[k], plan less what was placed, in UNITs, since the start and in the last SPAN places, before `start`
    left: i64[k], how many more may come; used: i64[k], how many came
    source: u16[tail + n], ordinal: i64[n], written: which source stands at each place, and its how-manieth
    owed, recent, left and used are brought up to date. Integers decide, but for the deadline: a division of doubles, equal on every CPU.
    """
    k, n = owed.shape[0], ordinal.shape[0]
    unit = np.int64(UNIT)
    now, then = 0, 0
    for t in range(n):
        place = start + t
        while ends[now] <= place:
            now += 1
        full = place >= SPAN
        if full:
            while ends[then] <= place - SPAN:
                then += 1
            recent[source[tail + t - SPAN]] += unit
        forced, most = -1, unit
        best, soonest, weight = -1, np.inf, np.int64(0)
        ahead, nearest = -1, np.int64(0)  # where no source is owed anything
        spare, largest = -1, np.int64(0)
        for i in range(k):
            share = shares[now, i]
            owed[i] += share
            recent[i] += share
            if full:
                recent[i] -= shares[then, i]
            if left[i] <= 0:
                continue
            due = owed[i]
            if spare < 0 or due > largest:
                spare, largest = i, due
            if full and recent[i] >= most:
                forced, most = i, recent[i] + 1
            if full and recent[i] <= 0:
                continue
            if full and now != then:
                if soonest == np.inf or 2 * recent[i] + due > weight:
                    best, soonest, weight = i, 0.0, 2 * recent[i] + due
            elif due > 0 and (share > 0 or 2 * due >= unit):
                deadline = (unit - due) / share if share > 0 else -1.0
                if deadline < soonest:
                    best, soonest = i, deadline
            elif share > 0 and (ahead < 0 or due > nearest):
                ahead, nearest = i, due
        chosen = forced if forced >= 0 else best if best >= 0 else ahead if ahead >= 0 else spare
        source[tail + t] = chosen
        ordinal[t] = used[chosen]
        used[chosen] += 1
        left[chosen] -= 1
        owed[chosen] -= unit
        recent[chosen] -= unit
