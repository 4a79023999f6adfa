"""Judge the items that a document shares enough with, from the runs of words that `ngram_runs` found.

Every item has a chain of runs in the table of runs. `ngrams` has the meaning of share, coverage and the rules.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from curate.kernels.compiled import kernel, leaf, ro, rw
from curate.kernels.ngram_runs import CANDIDATE, COUNTS, NEAR_RUN, RUN, U8, U32
from curate.kernels.ngram_seeds import I32, U64
from curate.kernels.strings import I64

NGRAM, NEAR, QUESTION = 1, 2, 3  # rules by which a match passes; 0: it passes none
ROW = 9  # fields of a judged item: document, item, rule, words of document from, to, of item from, to, words covered, n-grams found
SPAN = 3  # fields of a place that passes: document, words from, to
_ANSWER_WITHIN = 30  # words between a short question and its answer

_n = types.int64
_READ, _WRITTEN, _OWN = ro(types.int64), rw(types.int64), ro(types.uint32)


@kernel(_n(_READ, _n, _WRITTEN), allocates=False)
def _in_order(runs: I64, last: int, order: I64) -> Any:
    """Write where the runs of a chain begin in the table, by their place in the document; return how many there are."""
    count: Any = 0
    r: Any = last
    while r >= 0:
        count += 1
        r = runs[RUN * r + 3]
    r = last
    for k in range(count - 1, -1, -1):
        order[k] = RUN * r
        r = runs[RUN * r + 3]
    for k in range(1, count):  # nearly sorted already: a run is found at one of its first telling seeds
        r = order[k]
        before: Any = k - 1
        while before >= 0 and runs[order[before]] > runs[r]:
            order[before + 1] = order[before]
            before -= 1
        order[before + 1] = r
    return count


@kernel(types.boolean(ro(types.uint64), _n, _n, _READ, _n, _READ, _READ, _n, _OWN, _OWN), allocates=False)
def _answered(
    words: U64, low: int, high: int, runs: I64, r: int, answer_of: I64, answer_first: I64, i: int, answers: U32, labels: U32
) -> Any:
    """Whether the question that run r holds stands there with one of its answers (an empty one: always) or, if it is telling, with a label."""
    start, after = runs[r], runs[r] + runs[r + 2]
    for x in range(labels.size):
        if runs[r + 4] != 0 and start > low and np.uint32(words[start - 1]) == labels[x]:
            return True
        if runs[r + 4] != 0 and after < high and np.uint32(words[after]) == labels[x]:
            return True
    for a in range(answer_of[i], answer_of[i + 1]):
        width = answer_first[a + 1] - answer_first[a]
        for b in range(after, min(after + _ANSWER_WITHIN, high - width + 1)):
            equal: Any = 0
            while equal < width and np.uint32(words[b + equal]) == answers[answer_first[a] + equal]:
                equal += 1
            if equal == width:
                return True
    return False


@kernel(_n(_READ, _READ, _n, _n), allocates=False)
def _longest(runs: I64, order: I64, count: int, least: int) -> Any:
    """The longest run of at least so many words, the first one of equals, or -1."""
    best: Any = -1
    size: Any = least - 1
    for k in range(count):
        if runs[order[k] + 2] > size:
            best, size = order[k], runs[order[k] + 2]
    return best


@kernel(_n(_READ, _READ, _n, _n, _n, _n, ro(types.uint8), rw(types.int32)), allocates=False)
def _found(runs: I64, order: I64, count: int, begin: int, ngram: int, by_words: int, flags: U8, covered: I32) -> Any:
    """N-grams that count, or words, of an item in runs of `ngram` words or more; `covered` is zeros before."""
    found: Any = 0
    for k in range(count):
        p, size = runs[order[k] + 1], runs[order[k] + 2]
        for q in range(p, p + size - (0 if by_words else ngram - 1) if size >= ngram else p):
            if covered[q - begin] == 0 and (by_words or flags[q] & COUNTS != 0):
                covered[q - begin] = 1
                found += 1
    return found


@leaf
def _clear(covered, length):  # type: ignore[no-untyped-def]
    """Zeros for the words of an item."""
    for q in range(length):
        covered[q] = 0


@kernel(_n(_READ, _n, _n, rw(types.int32), _n), allocates=False)
def _shift(runs: I64, r: int, begin: int, covered: I32, by: int) -> Any:
    """Add 1 or -1 to each word of a run; return by how many the covered words change."""
    change: Any = 0
    for q in range(runs[r + 1] - begin, runs[r + 1] - begin + runs[r + 2]):
        if by > 0:
            change += covered[q] == 0
        covered[q] += by
        if by < 0:
            change -= covered[q] == 0
    return change


@leaf
def _add_span(spans, used, d, start, stop, since):  # type: ignore[no-untyped-def]
    """Add a place, or make the last one longer where it is the item's own (after `since`) and reaches this one."""
    s = SPAN * used[1]
    if used[1] > since and spans[s - 1] >= start:
        spans[s - 1] = max(spans[s - 1], stop)
    else:
        spans[s], spans[s + 1], spans[s + 2] = d, start, stop
        used[1] += 1


@kernel(types.UniTuple(_n, 3)(_READ, _READ, _n, _n, _n, _n, _n, _n, rw(types.int32), _WRITTEN, _WRITTEN), allocates=False)  # type: ignore[no-untyped-call]
def _coverage(
    runs: I64, order: I64, count: int, d: int, low: int, begin: int, length: int, need: int, covered: I32, spans: I64, used: I64
) -> tuple[Any, Any, Any]:
    """(words covered, first run, last run) of the best window; windows that cover `need` words go into spans.

    A window over runs in order; counts of each word of the item go up and down with it. `covered` is zeros before.
    """
    best: Any = 0
    now: Any = 0
    best_from: Any = -1
    best_to: Any = -1
    left: Any = 0
    since = used[1]
    for k in range(count):
        r = order[k]
        if runs[r + 4] == 0:
            continue
        while runs[order[left]] + length + length // 2 < runs[r] + NEAR_RUN or runs[order[left] + 4] == 0:
            if runs[order[left] + 4] != 0:
                now += _shift(runs, order[left], begin, covered, -1)
            left += 1
        now += _shift(runs, r, begin, covered, 1)
        if now > best:
            best, best_from, best_to = now, left, k
        if now >= need:
            _add_span(spans, used, d, runs[order[left]] - low, runs[r] + runs[r + 2] - low, since)
    return best, best_from, best_to


@leaf
def _place_near(runs, order, first_run, last_run, begin, rows, w):  # type: ignore[no-untyped-def]
    """Write the words that runs of a window span in the document and in the item."""
    start, stop = runs[order[first_run]], 0
    item_start, item_stop = runs[order[first_run] + 1], 0
    for k in range(first_run, last_run + 1):
        r = order[k]
        if runs[r + 4] != 0:
            stop, item_start = max(stop, runs[r] + runs[r + 2]), min(item_start, runs[r + 1])
            item_stop = max(item_stop, runs[r + 1] + runs[r + 2])
    rows[w], rows[w + 1], rows[w + 2], rows[w + 3] = start, stop, item_start - begin, item_stop - begin


@kernel(
    types.void(
        _READ, _READ, _READ, ro(types.uint64), _READ, ro(types.uint8), _READ, ro(types.int32), ro(types.int32), ro(types.float64),
        _READ, _READ, _OWN, _OWN, _WRITTEN, rw(types.int32), _WRITTEN, rw(types.float64), _WRITTEN, _WRITTEN,
    ), allocates=False,
)  # fmt: skip
def judge(candidates, runs, doc, words, settings, flags, first, grams, near, bound, answer_of, answer_first, answers, labels, order, covered, rows, scores, spans, used):  # type: ignore[no-untyped-def]  # fmt: skip
    """Write a row and a score for each candidate with anything found, and the places of those that pass.

    order: i64[all runs]; covered: i32[longest item]; rows: i64[ROW * candidates]; scores: f64[candidates]
    spans: i64[SPAN * 2 * all runs]; used: i64[2], set to rows and spans written
    """
    ngram, by_words = settings[0], settings[2]
    used[0] = used[1] = 0
    for c in range(0, candidates.size, CANDIDATE):
        d, i = candidates[c], candidates[c + 1]
        low, begin, length = doc[d], first[i], first[i + 1] - first[i]
        count = _in_order(runs, candidates[c + 2], order)
        longest: Any = _longest(runs, order, count, min(ngram, length))
        found: Any = 0
        rule: Any = NGRAM
        if length >= ngram:
            _clear(covered, length)
            found = _found(runs, order, count, begin, ngram, by_words, flags, covered)
        elif answer_of[i + 1] > answer_of[i]:
            rule, longest = QUESTION, -1
            for k in range(count - 1, -1, -1):
                if runs[order[k] + 2] == length and _answered(
                    words, low, doc[d + 1], runs, order[k], answer_of, answer_first, i, answers, labels
                ):
                    found, longest = grams[i], order[k]
        elif longest >= 0:
            found = grams[i]
        score = found / grams[i] if found > 0 else 0.0
        by_share = found > 0 and score >= bound[0]
        best: Any = 0
        if near[i] > 0:
            _clear(covered, length)
            best, first_run, last_run = _coverage(runs, order, count, d, low, begin, length, near[i], covered, spans, used)
        by_near = near[i] > 0 and best >= near[i]
        if found == 0 and not by_near:
            continue
        w = ROW * used[0]
        if by_near and not by_share:
            rule, score = NEAR, best / length
            _place_near(runs, order, first_run, last_run, begin, rows, w + 3)
        else:
            p, size = runs[longest + 1] - begin, runs[longest + 2]
            rows[w + 3], rows[w + 4], rows[w + 5], rows[w + 6] = runs[longest], runs[longest] + size, p, p + size
        rows[w], rows[w + 1], rows[w + 2], rows[w + 7], rows[w + 8] = d, i, rule if by_share or by_near else 0, best, found
        rows[w + 3] -= low
        rows[w + 4] -= low
        scores[used[0]] = score
        used[0] += 1
        for k in range(count if by_share else 0):
            if runs[order[k] + 2] >= min(ngram, length):
                _add_span(spans, used, d, runs[order[k]] - low, runs[order[k]] + runs[order[k] + 2] - low, used[1])
