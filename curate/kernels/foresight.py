"""Places of an order while the planned shares change: chosen with the next 64 places in view.

What every run of 64 places that ends within the next 64 may still hold of each source is known: its older part stands. That
gives each window of a source to come a first and a last place. Whether all of them can be kept is decided exactly by handing
every place to the one that is due first (Jackson 1955; unit jobs with release times and deadlines). So of the sources after
which it can be kept, the one is next that is owed most; it is also asked that no source leave its plan since the start by more
than one place, as long as that can be kept too.

A choice may still make a run of 64 impossible that begins with it. Then the last 128 places are chosen anew, what is owed
blurred by up to half a place or a whole one, up to `TRIES` times, and the first order is taken that comes 64 places past the one
where it was stuck. The blur is a hash of the place, the source and the number of the attempt, so the order is a function of the plan.
"""

from __future__ import annotations

import numpy as np
from numba import types

from curate.kernels.compiled import kernel, leaf, ro, ro2, rw, rw2

SPAN = 64
BITS = 40
UNIT = 1 << BITS
AHEAD = 2 * SPAN  # places before a change from which on it is in view, and that are chosen anew
TRIES = 512
FORCED = 8  # places that are taken as they come where nothing helps
ROUNDING = 1 << 12  # UNITs: shares are rounded to one, 64 of them add up
NEVER = 1 << 30

_STATE = (ro(types.int64), ro2(types.int64), rw(types.int64), rw(types.int64), rw(types.int64), rw(types.uint16))


@leaf
def book(segment, shares, owed, recent, x, way):  # type: ignore[no-untyped-def]
    """Add (way 1) or take back (-1) the plan of place x, and of the place that leaves the last SPAN."""
    for i in range(owed.shape[0]):
        share = shares[segment[x], i]
        owed[i] += way * share
        recent[i] += way * share
        if x >= SPAN:
            recent[i] -= way * shares[segment[x - SPAN], i]


@leaf
def put(owed, recent, left, source, x, way):  # type: ignore[no-untyped-def]
    """Count (way 1) or uncount (-1) the source at place x."""
    i = np.int64(source[x])
    owed[i] -= way * UNIT
    recent[i] -= way * UNIT
    left[i] -= way


@leaf
def depart(recent, source, x, way):  # type: ignore[no-untyped-def]
    """What stood SPAN places before x is no longer among the last."""
    if x >= SPAN:
        recent[np.int64(source[x - SPAN])] += way * UNIT


@kernel(
    types.int64(ro2(types.int64), types.int64, types.boolean, types.boolean, rw(types.int64), rw(types.int64), rw(types.int64)),
    allocates=False,
)
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


@kernel(types.void(*_STATE, types.int64, types.int64, types.int64, rw2(types.int64), rw2(types.int64)), allocates=False)
def frame(segment, shares, owed, recent, left, source, x, ahead, bound, need, allow):  # type: ignore[no-untyped-def]
    """Write how many of each source at least, need[u, i], and at most, allow[u, i], may stand in places x..x + u.

    bound: no source farther than this from its plan since the start; 0: however far
    """
    limit = np.int64(UNIT + ROUNDING)
    for i in range(owed.shape[0]):
        late, due, least = recent[i], owed[i], np.int64(0)
        for u in range(ahead):
            at = x + u
            if u:
                share = shares[segment[at], i]
                late += share
                due += share
                if at >= SPAN:
                    late -= shares[segment[at - SPAN], i]
                    if source[at - SPAN] == i:
                        late += UNIT
            most = left[i]
            if at >= SPAN - 1:
                least = max(least, -((limit - late) >> BITS))
                most = min(most, (late + limit) >> BITS)
            if bound > 0:
                least = max(least, -((bound - due) >> BITS))
                most = min(most, (due + bound) >> BITS)
            need[u, i], allow[u, i] = least, most
        for u in range(ahead - 2, -1, -1):
            allow[u, i] = min(allow[u, i], allow[u + 1, i])


@kernel(types.boolean(types.int64, types.int64, rw2(types.int64), rw2(types.int64), rw(types.int64), rw(types.int64)), allocates=False)
def keeps(first, ahead, need, allow, placed, due):  # type: ignore[no-untyped-def]
    """Whether the frame can be kept if `first` comes next: it can if it is by taking always the one due first after it."""
    k = placed.shape[0]
    for i in range(k):
        placed[i], due[i] = 0, 0
        while due[i] < ahead and need[due[i], i] <= 0:
            due[i] += 1
    for u in range(ahead):
        chosen, soonest, pressing = -1, np.int64(NEVER), 0
        for i in range(k):
            pressing += due[i] <= u
            if placed[i] < allow[u, i] and due[i] < soonest:
                chosen, soonest = i, due[i]
        if u == 0:
            chosen = first if allow[0, first] > 0 else -1
        if chosen < 0:
            return False
        placed[chosen] += 1
        pressing -= due[chosen] <= u
        while due[chosen] < ahead and need[due[chosen], chosen] <= placed[chosen]:
            due[chosen] += 1
        if pressing + (due[chosen] <= u):
            return False
    return True


@leaf
def blurred(owed, place, i, attempt):  # type: ignore[no-untyped-def]
    """What a source is owed, less a hash in 0 .. UNIT / 2 (odd attempts) or 0 .. UNIT (even ones); attempt 0: as it is."""
    if attempt == 0:
        return owed
    x = np.uint64(place) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(i * 1024 + attempt) * np.uint64(0xD1B54A32D192ED03)
    x = (x ^ (x >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(32))) * np.uint64(0x94D049BB133111EB)
    return owed - np.int64(x >> np.uint64(24 + attempt % 2))


@leaf
def wished(owed, left, tried, place, attempt):  # type: ignore[no-untyped-def]
    """The source that is owed most, of those not tried that have anything to give; -1: none."""
    found, most = -1, np.int64(0)
    for i in range(owed.shape[0]):
        if tried[i] == 0 and left[i] > 0:
            score = blurred(owed[i], place, i, attempt)
            if found < 0 or score > most:
                found, most = i, score
    return found


@kernel(types.int64(*_STATE, rw2(types.int64), types.int64, types.int64, types.int64, types.int64, types.int64), allocates=False)
def stretch(segment, shares, owed, recent, left, source, work, end, x, stop, base, attempt):  # type: ignore[no-untyped-def]
    """Choose places x..stop-1 and return `stop`, or the first place where no choice keeps to the plan.

    x, stop, end (of the mix) count from the first entry of `source`, which is place `base`.
    """
    k = owed.shape[0]
    need, allow = work[:SPAN], work[SPAN : 2 * SPAN]
    placed, due, tried = work[2 * SPAN], work[2 * SPAN + 1], work[2 * SPAN + 2]
    for at in range(x, stop):
        book(segment, shares, owed, recent, at, 1)
        depart(recent, source, at, 1)
        ahead, best = min(SPAN, end - at), -1
        for bound in (np.int64(UNIT), np.int64(0)):
            frame(segment, shares, owed, recent, left, source, at, ahead, bound, need, allow)
            for i in range(k):
                tried[i] = 0
            while True:
                best = wished(owed, left, tried, base + at, attempt)
                if best < 0 or keeps(best, ahead, need, allow, placed, due):
                    break
                tried[best] = 1
            if best >= 0:
                break
        if best < 0:
            depart(recent, source, at, -1)
            book(segment, shares, owed, recent, at, -1)
            return at
        source[at] = best
        put(owed, recent, left, source, at, 1)
    return stop


@leaf
def copied(there, start, here, at, count):  # type: ignore[no-untyped-def]
    for i in range(count):
        here[at + i] = there[start + i]


@kernel(types.void(*_STATE, types.int64, types.int64, types.int64), allocates=False)
def replayed(segment, shares, owed, recent, left, source, x, stop, way):  # type: ignore[no-untyped-def]
    """Count what stands at x..stop-1 (way 1), or take it back (-1)."""
    for at in range(x, stop):
        book(segment, shares, owed, recent, at, way)
        depart(recent, source, at, way)
        put(owed, recent, left, source, at, way)


@kernel(
    types.int64(
        *_STATE, rw(types.uint16), rw2(types.int64), rw(types.int64), types.int64, types.int64, types.int64, types.int64, types.int64
    ),
    allocates=False,
)
def foresee(segment, shares, owed, recent, left, source, kept, work, budget, end, x, stop, base, tail):  # type: ignore[no-untyped-def]
    """Choose places x..stop-1 or a few more, and return how far it came. Places before `tail` stay as they are.

    segment: i64[], of every place from `base` on, AHEAD more than `source` has; source: u16[], read and written
    owed, recent, left: as in `order`; kept: u16[AHEAD + SPAN], work: i64[2 * SPAN + 3, k]: scratch
    budget: i64[1], attempts that are left, taken from
    """
    while True:
        x = stretch(segment, shares, owed, recent, left, source, work, end, x, stop, base, 0)
        if x >= stop:
            return x
        back, goal = max(tail, x - AHEAD), min(x + SPAN, source.shape[0])
        reached, furthest = x, x
        copied(source, back, kept, 0, x - back)
        for attempt in range(1, min(TRIES, budget[0]) + 1):
            budget[0] -= 1
            replayed(segment, shares, owed, recent, left, source, back, reached, -1)
            reached = stretch(segment, shares, owed, recent, left, source, work, end, back, goal, base, attempt)
            if reached > furthest:
                furthest = reached
                copied(source, back, kept, 0, reached - back)
            if reached == goal:
                break
        if reached < goal:
            replayed(segment, shares, owed, recent, left, source, back, reached, -1)
            copied(kept, 0, source, back, furthest - back)
            replayed(segment, shares, owed, recent, left, source, back, furthest, 1)
            goal = min(furthest + FORCED, source.shape[0])
            for at in range(furthest, goal):
                book(segment, shares, owed, recent, at, 1)
                depart(recent, source, at, 1)
                source[at] = plain(shares, segment[at], at >= SPAN, at >= SPAN, owed, recent, left)
                put(owed, recent, left, source, at, 1)
            reached = goal
        x = reached
        if x >= stop:
            return x
