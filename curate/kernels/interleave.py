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
`mix_layout.FORESEEN` sources that would take too long: then, while shares are not those of 64 places ago, the one is next that is owed most,
the last 64 places counted twice as much as the rest.

An order within one of plan over every stretch exists for few plans (Fraenkel's conjecture). `tests/bench/loader.py` measures how
near these come; the certificate of a mix has its own figures.
"""

from __future__ import annotations

import numpy as np
from numba import types

from curate.kernels.compiled import inline, kernel, leaf, ro, ro2, rw

SPAN = 64
BITS = 40
UNIT = 1 << BITS


@leaf
def book(segment, shares, owed, recent, source, x, way):  # type: ignore[no-untyped-def]
    """Add (way 1) or take back (-1) the plan of place x, and what leaves the last SPAN with it."""
    for i in range(owed.shape[0]):
        share = way * shares[segment[x], i]
        owed[i] += share
        recent[i] += share
        if x >= SPAN:
            recent[i] -= way * shares[segment[x - SPAN], i]
    if x >= SPAN:
        recent[np.int64(source[x - SPAN])] += way * UNIT


@inline
def plain(shares, now, full, changing, owed, recent, left):  # type: ignore[no-untyped-def]
    """The next source by the rules for constant shares."""
    unit = np.int64(UNIT)
    forced, most = -1, unit
    best, soonest, weight = -1, np.inf, np.int64(0)
    ahead, nearest = -1, np.int64(0)  # where no source is owed anything
    spare, largest = -1, np.int64(0)
    for i in range(owed.shape[0]):
        if left[i] <= 0:
            continue
        share, due = shares[now, i], owed[i]
        if spare < 0 or due > largest:
            spare, largest = i, due
        if full and recent[i] >= most:
            forced, most = i, recent[i] + 1
        if full and recent[i] <= 0:
            continue
        if changing:
            if soonest == np.inf or 2 * recent[i] + due > weight:
                best, soonest, weight = i, 0.0, 2 * recent[i] + due
        elif due > 0 and (share > 0 or 2 * due >= unit):
            deadline = (unit - due) / share if share > 0 else -1.0
            if deadline < soonest:
                best, soonest = i, deadline
        elif share > 0 and (ahead < 0 or due > nearest):
            ahead, nearest = i, due
    return forced if forced >= 0 else best if best >= 0 else ahead if ahead >= 0 else spare


@kernel(
    types.void(
        ro(types.int64), ro2(types.int64), rw(types.int64), rw(types.int64), rw(types.int64), rw(types.uint16),
        types.int64, types.int64, types.boolean,
    ),
    allocates=False,
)  # fmt: skip
def walk(segment, shares, owed, recent, left, source, x, stop, forced):  # type: ignore[no-untyped-def]
    """Choose places x..stop-1 without looking ahead.

    segment: i64[], of every place; source: u16[], read and written; both begin with the min(x, SPAN) places before x or with more
    owed, recent: i64[k], plan less what was placed, in UNITs, since the start and in the last SPAN places before x
    left: i64[k], how many more of each source may come. owed, recent and left are brought up to date
    forced: by the rule for changing shares in any case
    Integers decide, but for one deadline: a division of doubles, equal on every CPU.
    """
    for at in range(x, stop):
        book(segment, shares, owed, recent, source, at, 1)
        full = at >= SPAN
        best = plain(shares, segment[at], full, full and (forced or segment[at] != segment[at - SPAN]), owed, recent, left)
        source[at] = best
        owed[best] -= UNIT
        recent[best] -= UNIT
        left[best] -= 1
