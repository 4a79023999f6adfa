"""Places of an order while the planned shares change: chosen with the next 64 places in view.

What every run of 64 places that ends within the next 64 may still hold of each source is known: its older part stands. That
gives each window of a source to come a first and a last place. Whether all of them can be kept is decided exactly by handing
every place to the one that is due first (Jackson 1955; unit jobs with release times and deadlines). So of the sources after
which it can be kept, the one is next that is owed most; it is also asked that no source leave its plan since the start by more
than one place, as long as that can be kept too.

A choice may still make a run of 64 impossible that begins with it. Then the last 128 places are chosen anew, what is owed
blurred by up to half a place or a whole one, and the first order is taken that comes 64 places past the one where it was stuck
(curate.mix_layout). The blur is a hash of the place, the source and the number of the attempt, so the order is a function of the plan.
"""

from __future__ import annotations

import numpy as np
from numba import types

from curate.kernels.compiled import inline, kernel, ro, ro2, rw, rw2
from curate.kernels.interleave import BITS, SPAN, UNIT, book

ROUNDING = 1 << 12  # UNITs: shares are rounded to one, 64 of them add up
FAR = 1 << 58  # no bound


@inline
def frame(segment, shares, owed, recent, left, source, x, ahead, bound, need, allow, due, late, since):  # type: ignore[no-untyped-def]
    """Write how many of each source at least, need[u, i], and at most, allow[u, i], may stand in places x..x + u, and due[i], the
    place of the first that is needed.

    bound: no source farther than this from its plan since the start
    """
    k = owed.shape[0]
    for i in range(k):
        late[i], since[i], due[i] = recent[i], owed[i], 0
    for u in range(ahead):
        at = x + u
        if u:
            row = segment[at]
            for i in range(k):
                late[i] += shares[row, i]
                since[i] += shares[row, i]
            if at >= SPAN:
                row = segment[at - SPAN]
                for i in range(k):
                    late[i] -= shares[row, i]
                late[np.int64(source[at - SPAN])] += UNIT
        limit = np.int64(UNIT + ROUNDING) if at >= SPAN - 1 else np.int64(FAR)
        for i in range(k):
            least, other = (late[i] - limit + UNIT - 1) >> BITS, (since[i] - bound + UNIT - 1) >> BITS
            least = least if least > other else other
            due[i] = least if least > due[i] else due[i]
            need[u, i] = due[i]
            most, other = (late[i] + limit) >> BITS, (since[i] + bound) >> BITS
            most = most if most < other else other
            allow[u, i] = most if most < left[i] else left[i]
    for i in range(k):
        due[i], late[i] = ahead, allow[ahead - 1, i]
    for u in range(ahead - 1, -1, -1):
        for i in range(k):
            due[i] = u if need[u, i] > 0 else due[i]
            late[i] = allow[u, i] if allow[u, i] < late[i] else late[i]
            allow[u, i] = late[i]


@inline
def keeps(first, ahead, need, allow, due, placed, key):  # type: ignore[no-untyped-def]
    """Whether the frame can be kept if `first` comes next: it can if it is by taking always the one due first after it."""
    k = due.shape[0]
    for i in range(k):
        placed[i], key[i] = 0, due[i] << 16 | i
    for u in range(ahead + 1):
        soonest, chosen = np.int64(FAR), np.int64(FAR)
        row = u if u < ahead else ahead - 1
        for i in range(k):
            soonest = key[i] if key[i] < soonest else soonest
            free = key[i] if placed[i] < allow[row, i] else np.int64(FAR)
            chosen = free if free < chosen else chosen
        if soonest >> 16 < u:
            return False
        if u == ahead:
            break
        if u == 0:
            chosen = key[first] if allow[0, first] > 0 else np.int64(FAR)
        if chosen == FAR:
            return False
        at, one = chosen >> 16, chosen & 0xFFFF
        placed[one] += 1
        while at < ahead and need[at, one] <= placed[one]:
            at += 1
        key[one] = at << 16 | one
    return True


@inline
def blurred(owed, place, i, attempt):  # type: ignore[no-untyped-def]
    """What a source is owed, less a hash in 0 .. UNIT / 2 (odd attempts) or 0 .. UNIT (even ones); attempt 0: as it is."""
    if attempt == 0:
        return owed
    x = np.uint64(place) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(i * 1024 + attempt) * np.uint64(0xD1B54A32D192ED03)
    x = (x ^ (x >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(32))) * np.uint64(0x94D049BB133111EB)
    return owed - np.int64(x >> np.uint64(24 + attempt % 2))


@inline
def wished(owed, left, tried, place, attempt):  # type: ignore[no-untyped-def]
    """The source that is owed most, of those not tried that have anything to give; -1: none."""
    found, most = -1, np.int64(0)
    for i in range(owed.shape[0]):
        if tried[i] == 0 and left[i] > 0:
            score = blurred(owed[i], place, i, attempt)
            if found < 0 or score > most:
                found, most = i, score
    return found


@inline
def foreseen(segment, shares, owed, recent, left, source, x, ahead, base, attempt, need, allow, due, late, since, tried):  # type: ignore[no-untyped-def]
    """The source for place x; -1: none keeps to the plan."""
    for wide in range(2):
        frame(
            segment, shares, owed, recent, left, source, x, ahead, np.int64(FAR) if wide else np.int64(UNIT), need, allow, due, late, since
        )
        for i in range(owed.shape[0]):
            tried[i] = 0
        while True:
            best = wished(owed, left, tried, base + x, attempt)
            if best < 0:
                break
            if keeps(best, ahead, need, allow, due, late, since):
                return best
            tried[best] = 1
    return -1


@kernel(
    types.int64(
        ro(types.int64), ro2(types.int64), rw(types.int64), rw(types.int64), rw(types.int64), rw(types.uint16),
        rw2(types.int64), rw2(types.int64), rw(types.int64), rw(types.int64), rw(types.int64), rw(types.int64),
        types.int64, types.int64, types.int64, types.int64, types.int64,
    ),
    allocates=False,
)  # fmt: skip
def look_ahead(segment, shares, owed, recent, left, source, need, allow, due, late, since, tried, end, x, stop, base, attempt):  # type: ignore[no-untyped-def]
    """Choose places x..stop-1 and return `stop`, or the first place where no choice keeps to the plan.

    segment: i64[], of every place from `base` on, AHEAD more than `source` has; source: u16[], read and written
    x, stop, end (of the mix) count from the first entry of `source`, which is place `base`
    owed, recent, left: i64[k], as in `interleave.walk`, brought up to date; need, allow: i64[SPAN, k] and due .. tried: i64[k]: scratch
    attempt: 0, the first, or a number that blurs
    """
    for at in range(x, stop):
        book(segment, shares, owed, recent, source, at, 1)
        best = foreseen(
            segment, shares, owed, recent, left, source, at, min(SPAN, end - at), base, attempt, need, allow, due, late, since, tried
        )
        if best < 0:
            book(segment, shares, owed, recent, source, at, -1)
            return at
        source[at] = best
        owed[best] -= UNIT
        recent[best] -= UNIT
        left[best] -= 1
    return stop
