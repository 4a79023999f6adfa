"""Naive twins of the mix: the order of places, the permutation, the windows."""

from __future__ import annotations

import numpy as np

SPAN = 64
UNIT = 1 << 40
ROUNDING = 1 << 12


def interleave(segments: list[tuple[int, list[int]]], limits: list[int], attempts: int = 0) -> list[int]:
    """Source of every place, by the rules of `curate.kernels.interleave` and `foresight`, counted anew at every place.

    segments: (places, share of each source in UNITs); limits: how often each source comes in all; attempts: to choose places anew
    """
    order = Interleaving(segments, limits, attempts)
    while len(order.chosen) < len(order.plan):
        stop = len(order.chosen)
        while stop < len(order.plan) and order.number(stop - SPAN) != order.number(stop + 2 * SPAN):
            stop += 1
        if stop > len(order.chosen):
            order.foresee(stop)
        else:
            order.chosen.append(order.plain(changing=False))
    return order.chosen


class Interleaving:
    """An order in the making."""

    def __init__(self, segments: list[tuple[int, list[int]]], limits: list[int], attempts: int) -> None:
        changes = [number for number, (_, shares) in enumerate(segments) if not number or shares != segments[number - 1][1]]
        self.numbers = [max(c for c in changes if c <= number) for number, (places, _) in enumerate(segments) for _ in range(places)]
        self.plan = [shares for places, shares in segments for _ in range(places)]
        self.limits, self.attempts, self.k = limits, attempts, len(limits)
        self.chosen: list[int] = []

    def number(self, place: int) -> int:
        return self.numbers[min(max(0, place), len(self.numbers) - 1)]

    def planned(self, start: int, stop: int) -> list[int]:
        return [sum(self.plan[p][i] for p in range(max(0, start), stop)) for i in range(self.k)]

    def owed(self, start: int) -> list[int]:
        """Planned less chosen in places start.. up to the one that is next."""
        planned, there = self.planned(start, len(self.chosen) + 1), self.chosen[max(0, start) :]
        return [planned[i] - UNIT * there.count(i) for i in range(self.k)]

    def open(self) -> list[int]:
        return [i for i in range(self.k) if self.chosen.count(i) < self.limits[i]]

    def plain(self, changing: bool) -> int:
        place = len(self.chosen)
        now, owed, recently = self.plan[place], self.owed(0), self.owed(place + 1 - SPAN)
        full = place >= SPAN
        forced = [i for i in self.open() if full and recently[i] >= UNIT]
        allowed = [i for i in self.open() if not full or recently[i] > 0]
        late = [i for i in allowed if owed[i] > 0 and (now[i] or 2 * owed[i] >= UNIT)]
        early = [i for i in allowed if now[i] and i not in late]
        if forced:
            return max(forced, key=lambda i: (recently[i], -i))
        if full and changing and allowed:
            return max(allowed, key=lambda i: (2 * recently[i] + owed[i], -i))
        if late:
            return min(late, key=lambda i: ((UNIT - owed[i]) / now[i] if now[i] else -1.0, i))
        return max(early or self.open(), key=lambda i: (owed[i], -i))

    def frame(self, bound: int) -> list[list[tuple[int, int]]]:
        """For each of the next places and each source: how many at least and at most may stand from the next place up to it."""
        place, rows = len(self.chosen), []
        for at in range(place, min(place + SPAN, len(self.plan))):
            row = []
            since, last = self.planned(0, at + 1), self.planned(at + 1 - SPAN, at + 1)
            for i in range(self.k):
                count = self.chosen.count(i)
                least, most = 0, self.limits[i] - count
                if at >= SPAN - 1:
                    late = last[i] - UNIT * self.chosen[max(0, at + 1 - SPAN) :].count(i)
                    least, most = max(least, -((UNIT + ROUNDING - late) // UNIT)), min(most, (late + UNIT + ROUNDING) // UNIT)
                if bound:
                    due = since[i] - UNIT * count
                    least, most = max(least, -((bound - due) // UNIT)), min(most, (due + bound) // UNIT)
                row.append((least, most))
            rows.append(row)
        return [[(max(r[i][0] for r in rows[: u + 1]), min(r[i][1] for r in rows[u:])) for i in range(self.k)] for u in range(len(rows))]

    def fits(self, first: int, frame: list[list[tuple[int, int]]]) -> bool:
        """Whether the frame holds if `first` comes next and then always what is due first."""
        placed = [0] * self.k
        for u, row in enumerate(frame):

            def due(i: int, u: int = u) -> int:
                return next((v for v in range(u, len(frame)) if frame[v][i][0] > placed[i]), len(frame))

            free = [i for i in range(self.k) if placed[i] < row[i][1]]
            chosen = first if u == 0 else min(free, key=due, default=-1)
            if chosen not in free:
                return False
            placed[chosen] += 1
            if any(placed[i] < row[i][0] for i in range(self.k)):
                return False
        return True

    def stretch(self, stop: int, attempt: int) -> bool:
        """Choose up to `stop`; False where no choice keeps to the plan."""
        while len(self.chosen) < stop:
            owed = self.owed(0)
            wish = sorted(self.open(), key=lambda i: (-blurred(owed[i], len(self.chosen), i, attempt), i))
            frames = (self.frame(bound) for bound in (UNIT, 0))
            pick = next((i for frame in frames for i in wish if self.fits(i, frame)), None)
            if pick is None:
                return False
            self.chosen.append(pick)
        return True

    def foresee(self, stop: int) -> None:
        while not self.stretch(stop, 0):
            place = len(self.chosen)
            goal, best = min(place + SPAN, len(self.plan)), self.chosen.copy()
            begin = self.chosen[: max(0, place - 2 * SPAN)]
            for attempt in range(1, min(512, self.attempts) + 1):
                self.attempts -= 1
                self.chosen = begin.copy()
                reached = self.stretch(goal, attempt)
                best = self.chosen if len(self.chosen) > len(best) else best
                if reached:
                    break
            else:
                self.chosen = best.copy()
                while len(self.chosen) < min(len(best) + 8, len(self.plan)):
                    self.chosen.append(self.plain(changing=True))
            if len(self.chosen) >= stop:
                return


def blurred(owed: int, place: int, i: int, attempt: int) -> int:
    """What is owed, less a hash in 0 .. UNIT / 2 or, in even attempts, 0 .. UNIT."""
    if not attempt:
        return owed
    word = (1 << 64) - 1
    x = (place * 0x9E3779B97F4A7C15 + (i * 1024 + attempt) * 0xD1B54A32D192ED03) & word
    x = (x ^ x >> 29) * 0xBF58476D1CE4E5B9 & word
    x = (x ^ x >> 32) * 0x94D049BB133111EB & word
    return owed - (x >> 24 + attempt % 2)


def best_fit(sizes: list[int], room: int) -> int:
    """Windows that best-fit decreasing needs: each piece, largest first, where the least room is left that still holds it."""
    left: list[int] = []
    for size in sorted(sizes, reverse=True):
        fitting = [i for i, room_left in enumerate(left) if room_left >= size]
        if not fitting:
            left.append(room)
            fitting = [len(left) - 1]
        left[min(fitting, key=lambda i: left[i])] -= size
    return len(left)


def permuted(position: int, n: int, keys: list[int]) -> int:
    """The Feistel network with cycle walking, in unbounded integers cut to 64 bits."""
    half = max(1, (max(n - 1, 0).bit_length() + 1) // 2)
    word, mask = (1 << 64) - 1, (1 << half) - 1
    value = position
    while True:
        left, right = value >> half, value & mask
        for key in keys:
            mixed = ((right + key) & word) * 0x9E3779B97F4A7C15 & word
            mixed ^= mixed >> 29
            mixed = mixed * 0xBF58476D1CE4E5B9 & word
            left, right = right, left ^ (mixed >> 32 & mask)
        value = left << half | right
        if value < n:
            return value


def windows(documents: list[list[int]], seq_len: int) -> list[list[int]]:
    """All whole windows of the documents put back to back."""
    flat = [token for document in documents for token in document]
    return [flat[i : i + seq_len] for i in range(0, len(flat) - seq_len + 1, seq_len)]


def worst_errors(sources: np.ndarray, segments: list[tuple[int, list[int]]]) -> tuple[float, float]:
    """Largest distance from plan, in places: since the start, and over any SPAN places in a row."""
    k = len(segments[0][1])
    plan = np.concatenate([np.tile(np.array(shares) / UNIT, (places, 1)) for places, shares in segments])
    off = np.vstack([np.zeros(k), np.cumsum(np.eye(k)[sources] - plan, axis=0)])
    return float(np.abs(off).max()), float(np.abs(off[SPAN:] - off[:-SPAN]).max(initial=0))
