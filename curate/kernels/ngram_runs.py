"""Find the runs of words that documents share with items: seeds, looked up and extended.

Documents d of words doc[d]:doc[d+1]; items i of words first[i]:first[i+1] of `own`, 32 bits a word. `ngrams` has the meaning
of it all. Runs go into a table of a fixed size, item by item in a chain; what does not fit is counted and not written, so
that the caller knows how large a table the document wants.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from curate.kernels.compiled import kernel, leaf, ro, rw, rw2
from curate.kernels.ngram_seeds import I32, U64, place_of, seeds_in
from curate.kernels.strings import I64

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]

NEAR_RUN = 5  # words of a run that counts for coverage
BLOCK = 64  # words of the items for one entry of `item_at`
COUNTS, TELLING, FOLLOWED = 1, 2, 4  # flags of a word: an n-gram that counts begins here; a telling seed; one with a posting here
RUN = 5  # fields of a run: place in `words`, place in `own`, words, the item's run before or -1, whether it counts for coverage
CANDIDATE = 3  # fields of an item worth a judgement: document, item, last run
ITEM = 4  # fields of an item's state in the last document that has it, SEEN - 1
SEEN, _LAST, _NEAR_WORDS, _CHOSEN = 0, 1, 2, 3  # the others: last run, words of runs that count, whether it is a candidate
_RESUMED = 2  # words that must be equal behind an edited one
_WORK = 64  # runs from one place of an item in a document

_n = types.int64
_WORDS, _OWN, _PLACES = ro(types.uint64), ro(types.uint32), ro(types.int64)
_TABLE, _ITEMS = rw(types.int64), rw2(types.int64)


@kernel(_n(_WORDS, _OWN, _n, _n, _n, _n, _n, _n, _n), allocates=False)
def _equal_words(words: U64, own: U32, u: int, v: int, to: int, low: int, high: int, begin: int, end: int) -> Any:
    """Words that are equal from places u of the document and v of the item on, in steps of `to`, 1 or -1."""
    size: Any = 0
    while low <= u < high and begin <= v < end and own[v] == np.uint32(words[u]):
        u, v, size = u + to, v + to, size + 1
    return size


@kernel(types.void(_TABLE, _TABLE, _ITEMS, _n, _n, _n, _n, _n), allocates=False)
def _add(runs: I64, used: I64, items: I64, i: int, at_document: int, at_item: int, size: int, counts: int) -> None:
    """Put a run at the end of the item's chain, where there is room."""
    r = RUN * used[0]
    if r + RUN <= runs.size:
        runs[r], runs[r + 1], runs[r + 2], runs[r + 3], runs[r + 4] = at_document, at_item, size, items[i, _LAST], counts
    items[i, _LAST] = used[0]
    used[0] += 1
    if counts != 0:
        items[i, _NEAR_WORDS] += size


@kernel(types.void(_WORDS, _OWN, _n, _n, _n, _n, _n, _n, _n, _n, _TABLE, _TABLE, _ITEMS), allocates=False)
def _over_edits(
    words: U64, own: U32, x: int, y: int, to: int, low: int, high: int, begin: int, end: int, i: int, runs: I64, used: I64, items: I64
) -> None:
    """Add the runs behind (`to` 1) or before (-1) one: from x, y over one word replaced, inserted or deleted, and again."""
    more: Any = _RESUMED
    while more >= _RESUMED:
        for edit in range(3):
            u = x + (to if edit != 2 else 0)
            v = y + (to if edit != 1 else 0)
            more = _equal_words(words, own, u, v, to, low, high, begin, end)
            if more >= _RESUMED:
                break
        if more >= _RESUMED:
            x, y = u + to * more, v + to * more
            _add(runs, used, items, i, u if to > 0 else x + 1, v if to > 0 else y + 1, more, 1)


@kernel(
    types.UniTuple(_n, 2)(_WORDS, _OWN, _n, _n, _n, _n, _n, _n, _n, rw(types.uint8), rw(types.int32)),  # type: ignore[no-untyped-call]
    allocates=False,
)
def _run_at(
    words: U64, own: U32, j: int, p: int, low: int, high: int, begin: int, end: int, seed: int, times: U8, reached: I32
) -> tuple[Any, Any]:
    """(words behind, words before) of the run through j and p; (0, 0) where the seed differs or longer ones were seen often.

    times: runs found at this word of an item, in the item's last document; reached: words of the longest of them
    """
    known = np.int64(reached[p])
    if times[p] >= _WORK and (p + known >= end or j + known >= high or own[p + known] != np.uint32(words[j + known])):
        return 0, 0
    size = _equal_words(words, own, j, p, 1, low, high, begin, end)
    if size < seed or (times[p] >= _WORK and size <= known):  # the tag may be equal and the words not
        return 0, 0
    reached[p] = max(known, size)
    times[p] = min(times[p] + 1, _WORK)
    return size, _equal_words(words, own, j - 1, p - 1, -1, low, high, begin, end)


@leaf
def _any_telling(flags, start, stop):  # type: ignore[no-untyped-def]
    """Whether a telling seed begins in start:stop."""
    seen = np.uint8(0)
    for q in range(start, stop):
        seen |= flags[q]
    return seen & TELLING != 0


@leaf
def _follow(d, i, j, p, low, high, words, settings, own, flags, first, grams, near, times, reached, items, runs, candidates, used):  # type: ignore[no-untyped-def]  # fmt: skip
    """Add the run through j and p, with those over edits, and name the item once it may match."""
    ngram, seed, begin, end = settings[0], settings[1], first[i], first[i + 1]
    if items[i, SEEN] != d + 1:
        items[i, SEEN], items[i, _LAST], items[i, _NEAR_WORDS], items[i, _CHOSEN] = d + 1, -1, 0, 0
        for q in range(np.uint64(begin), np.uint64(end)):  # unsigned, and one array a loop: then it is a memset
            times[q] = 0
        for q in range(np.uint64(begin), np.uint64(end)):
            reached[q] = 0
    ahead, back = _run_at(words, own, j, p, low, high, begin, end, seed, times, reached)
    if ahead == 0:
        return
    size = ahead + back
    counts = size >= NEAR_RUN and _any_telling(flags, p - back, p + ahead - seed + 1)
    _add(runs, used, items, i, j - back, p - back, size, np.int64(counts))
    if counts and near[i] > 0:
        _over_edits(words, own, j + ahead, p + ahead, 1, low, high, begin, end, i, runs, used, items)
        _over_edits(words, own, j - back - 1, p - back - 1, -1, low, high, begin, end, i, runs, used, items)
    enough = size >= min(ngram, end - begin) or (near[i] > 0 and items[i, _NEAR_WORDS] >= near[i])
    if items[i, _CHOSEN] == 0 and grams[i] + near[i] > 0 and enough:
        items[i, _CHOSEN] = 1
        c = CANDIDATE * used[1]
        if c + CANDIDATE <= candidates.size:
            candidates[c], candidates[c + 1] = d, i
        used[1] += 1


@kernel(
    _n(
        _n, _PLACES, _WORDS, _PLACES, ro(types.uint64), ro(types.uint64), ro(types.int32), _OWN, ro(types.uint8), _PLACES,
        ro(types.int32), ro(types.int32), ro(types.int32), rw(types.int32), rw(types.uint8), rw(types.int32),
        _ITEMS, _TABLE, _TABLE, _TABLE,
    ), allocates=False,
)  # fmt: skip
def find_runs(start, doc, words, settings, filter_words, slots, postings, own, flags, first, item_at, grams, near, hits, times, reached, items, runs, candidates, used):  # type: ignore[no-untyped-def]  # fmt: skip
    """Fill the tables from document `start` on; return the first document that did not fit, or the number of documents.

    Postings of each seed are followed, but those inside a run that is known.
    runs: i64[RUN * r], candidates: i64[CANDIDATE * r]; items: i64[t, ITEM], SEEN is 0 before the call; hits: i32[longest document + 1]
    used: i64[3], set to runs and candidates of the documents before the one returned, and runs with that one
    """
    ngram, seed = settings[0], settings[1]
    used[0] = used[1] = used[2] = 0
    for d in range(start, doc.size - 1):
        n_runs, n_candidates, low, high = used[0], used[1], doc[d], doc[d + 1]
        n_hits = seeds_in(words, low, high, seed, filter_words, hits)
        since = until = 0  # hits of seeds one after another
        for k in range(n_hits):
            if k == until:
                since, until = k, k + 1
                while until < n_hits and hits[until] == hits[until - 1] + 1:
                    until += 1
            j = low + np.int64(hits[k])
            may_be_long = until - since > ngram - seed  # so many seeds in a row may be an n-gram
            place: Any = place_of(words, j, seed, slots)
            while place >= 0:
                p = np.int64(postings[place])
                place += 1
                if p < 0:
                    p, place = ~p, np.int64(-1)
                i = np.int64(item_at[p // BLOCK])
                while first[i + 1] <= p:
                    i += 1
                every = may_be_long or first[i + 1] - first[i] < ngram  # follow seeds that are not telling too
                if not every and flags[p] & TELLING == 0:
                    continue
                before = k > since and p > first[i] and flags[p - 1] & FOLLOWED != 0 and own[p - 1] == np.uint32(words[j - 1])
                if not (before and (every or flags[p - 1] & TELLING != 0)):
                    _follow(d, i, j, p, low, high, words, settings, own, flags, first, grams, near, times, reached, items, runs, candidates, used)  # fmt: skip
        if RUN * used[0] > runs.size:
            used[2], used[0], used[1] = used[0], n_runs, n_candidates
            return d
        for c in range(n_candidates, used[1]):
            candidates[CANDIDATE * c + 2] = items[candidates[CANDIDATE * c + 1], _LAST]
    return doc.size - 1
