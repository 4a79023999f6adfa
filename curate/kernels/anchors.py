"""Anchors of runs of tokens: few places from which every repeated run can be found.

Of all k-grams in a run of n tokens the one with the smallest hash, the first of equal ones, is the run's anchor (winnowing:
Schleimer, Wilkerson and Aiken 2003, section 4). It is a function of the run, so equal runs have equal anchors at the same place in them,
and neighbouring runs mostly share theirs: about 2 / (n - k + 2) of the tokens start one. Tokens that repeat with a short period have
more, at most one each. Arithmetic is uint64 and wraps around. d documents, t tokens, a anchors.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types

from curate.kernels.compiled import kernel, ro, rw
from curate.kernels.hashing import ODD3, U64, mix64
from curate.kernels.strings import I64

_U = np.uint64
_BASE = _U(0x9E3779B97F4A7C15)  # odd: a k-gram's hash is a polynomial of its mixed tokens in it


class Anchors(NamedTuple):
    """Anchors of d documents, in order."""

    doc: I64  # i64[d+1]: anchors of document i are doc[i]..doc[i+1]
    first: I64  # i64[a], last i64[a]: the runs that start at tokens first..last have this anchor
    last: I64
    key: U64  # u64[a]: hash of the k-gram; equal k-grams have equal ones


@kernel(
    types.void(
        ro(types.uint64), types.int64, types.int64, types.int64, types.int64,
        rw(types.int64), rw(types.uint64), rw(types.int64), rw(types.int64), rw(types.uint64), rw(types.int64),
    ),
    allocates=False,
)  # fmt: skip
def _find(tokens: Any, begin: int, end: int, n: int, k: int, queue: Any, hashes: Any, first: Any, last: Any, key: Any, count: Any) -> None:
    """Append the anchors of tokens[begin:end] to first, last, key at count[0]. Counts only where first has no room.

    queue i64[n + 2], hashes u64[n + 2]: scratch, places and hashes of k-grams that may still be the smallest (rings, hashes in order).
    """
    size = queue.shape[0]
    power = _U(1)
    for _ in range(k):
        power *= _BASE
    head = tail = np.int64(0)
    rolling = _U(0)
    held = np.int64(-1)
    found = count[0]
    for i in range(begin, end):
        rolling = rolling * _BASE + mix64(tokens[i] + ODD3)
        if i - begin >= k:
            rolling -= power * mix64(tokens[i - k] + ODD3)
        gram = i - k + 1
        if gram < begin:
            continue
        value = mix64(rolling)
        while tail > head and hashes[(tail - 1) % size] > value:
            tail -= 1
        queue[tail % size], hashes[tail % size] = gram, value
        tail += 1
        run = i - n + 1
        if run < begin:
            continue
        while queue[head % size] < run:
            head += 1
        if queue[head % size] != held:
            held = queue[head % size]
            if found < first.shape[0]:
                first[found], key[found] = run, mix64(hashes[head % size] ^ ODD3)  # the smallest hashes are small: spread them again
            found += 1
        if found <= last.shape[0]:
            last[found - 1] = run
    count[0] = found


def anchors(tokens: U64, doc: I64, n: int) -> Anchors:
    """Anchors of all runs of n tokens, n >= 2. tokens: u64[t]; doc: i64[d+1], tokens of document i are doc[i]..doc[i+1]."""
    k = (n + 1) // 2
    queue, hashes = np.zeros(n + 2, np.int64), np.zeros(n + 2, np.uint64)
    room = 64 + 4 * len(tokens) // max(1, n - k + 2)
    while True:
        first, last, key = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.uint64)
        count, ends = np.zeros(1, np.int64), np.zeros(len(doc), np.int64)
        for i, (begin, end) in enumerate(zip(doc[:-1].tolist(), doc[1:].tolist(), strict=True)):
            if end - begin >= n:
                _find(tokens, begin, end, n, k, queue, hashes, first, last, key, count)
            ends[i + 1] = count[0]
        found = int(ends[-1])
        if found <= room:
            return Anchors(ends, first[:found], last[:found], key[:found])
        room = found
