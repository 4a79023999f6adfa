"""Which benchmark items a document repeats: an index of the items' words, and one pass over the words of documents.

Words are the hashes of `curate.kernels.shingles`. n documents, w words, t items, m words of all items together.

Seed and extend, as BLAST does (Altschul et al. 1990): a document's runs of `seed` words are looked up in the index, and
each one that an item has is extended to the longest run of words that the two share. From the runs follow

    share      distinct n-grams of the item within runs of `ngram` words or more / all its distinct n-grams;
               with `by_words`: words of the item in such runs / all its words; 1.0 for a shorter item found whole
    coverage   words of the item in runs of NEAR_RUN words or more, and in what follows them over one edited word (of two
               words or more, and again), that begin within one place of the document, 1.5 times
               the item's words long / all its words; the largest over all places. It survives edited words.
               A run counts if one of its seeds is telling: at most MAX_SHARED items have it, and it does not count upwards

N-grams of numbers below 1,000 alone are left out: a problem that counts from 1 to 13 would match every table of contents.
A short question with answers matches where it is found whole with one of its answers at most ANSWER_WITHIN words behind,
or, if it is telling, with a label (`Q:`, `Answer:`) right before or behind it.

Memory: 12 bytes a distinct seed for the table, 2 for a Bloom filter before it (two bits in one word: most look-ups end
there), 4 a posting, 5 a word: about 23 bytes a word of the items. Look-ups are verified word by word (32 bits of each
hash), so a false hit needs five equal pairs: 2^-160. Of a seed that stands in more than MAX_POSTINGS places of the items
only so many are followed, and from one place of an item only WORK runs in a document, then only longer ones.
uint64 arithmetic wraps around. `curate.kernels.ngram_index` builds the index.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import types

from curate.kernels.compiled import kernel, leaf, ro, rw
from curate.kernels.hashing import mix64
from curate.kernels.shingles import STEP, WordHashes
from curate.kernels.strings import I64

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]
F64 = npt.NDArray[np.float64]

SEED = 5  # words looked up; fewer where n-grams or items are shorter
NEAR_RUN = 5  # words of a run that counts for coverage
RESUMED = 2  # words that must be equal behind an edited one
MAX_SHARED = 8  # items that may share a telling seed
MAX_POSTINGS = 32
ANSWER_WITHIN = 30  # words between a short question and its answer
WORK = 64
BLOCK = 64  # words of the items for one entry of `item_at`
COUNTS, TELLING, FOLLOWED = 1, 2, 4  # flags of a word: an n-gram that counts begins here; a telling seed; one with a posting here
NGRAM, NEAR, QUESTION = 1, 2, 3  # rules by which a match passes; 0: it passes none
RULES = ("none", "ngram", "near", "question_answer")
_FIELDS = 9

_u = np.uint64
_S6, _S32, _63, _ONE, _LOW = _u(6), _u(32), _u(63), _u(1), _u(0xFFFFFFFF)


class Index(NamedTuple):
    """Words of t items, and where each of their seeds stands."""

    settings: I64  # i64[4]: ngram, seed, whether share counts words, max words of a near window times two per item word
    filter: U64  # u64[f], two bits set for each distinct seed
    slots: U64  # u64[s]: low half of a seed's hash << 32 | place in postings + 1; 0 where empty
    postings: I32  # place of a seed in `words`; the last one of each seed is written as ~place
    words: U32  # u32[m], low halves of the words' hashes, item after item
    flags: U8  # u8[m], COUNTS | TELLING | FOLLOWED
    first: I64  # i64[t+1]: words of item i are words[first[i]:first[i+1]]
    item_at: I32  # i32[m // BLOCK + 1], item of every BLOCK-th word
    grams: I32  # i32[t], what share is of; 1 for an item that matches as a whole only; 0 for one that can't
    near: I32  # i32[t], words that coverage needs; 0: the item is not matched by coverage
    bound: F64  # f64[1], share that a match needs; 0.0: one n-gram
    answer_of: I64  # i64[t+1]: answers of item i are answer_first[answer_of[i]:answer_of[i+1]]
    answer_first: I64  # i64[a+1]: words of an answer
    answers: U32
    labels: U32  # words that stand before or behind a question: q, a, question, answer ...


class Matches(NamedTuple):
    """Every item found in n documents, in order of documents; the best one of each document."""

    item: I32  # i32[n], the item with the largest score, the first one of equals; -1 where there is none
    share: F64  # f64[n], its score, 0.0 where there is none
    passes: npt.NDArray[np.bool_]  # bool[n], whether any item passes a rule
    rows: I64  # i64[r, 9]: document, item, rule, words of document from, to, of item from, to, words covered, n-grams found
    scores: F64  # f64[r]
    spans: I64  # i64[q, 3]: document, words from, to: every place that passes, in order, none touching the next


@kernel(types.void(ro(types.uint64), ro(types.int32), rw(types.uint64), rw(types.uint64)), allocates=False)
def fill(hashes: U64, places: I32, filter_words: U64, slots: U64) -> None:
    """Enter distinct seeds; postings of seed e begin at places[e]."""
    n_filter, n_slots = _u(filter_words.size), _u(slots.size)
    for e in range(hashes.size):
        g = hashes[e]
        filter_words[((g >> _S32) * n_filter) >> _S32] |= (_ONE << (g & _63)) | (_ONE << ((g >> _S6) & _63))
        at: Any = np.int64(((g >> _S32) * n_slots) >> _S32)
        while slots[at] != _u(0):
            at = at + 1 if at + 1 < slots.size else 0
        slots[at] = ((g & _LOW) << _S32) | _u(places[e] + 1)


@kernel(types.int64(ro(types.uint64), types.int64, types.int64, types.int64, ro(types.uint64), rw(types.int32)), allocates=False)
def _seeds(words: U64, low: int, high: int, seed: int, filter_words: U64, out: I32) -> Any:
    """Write where seeds of words[low:high] begin that the filter lets through; return how many.

    Without branches, so that the processor has many accesses to the filter under way at a time.
    """
    n_filter = _u(filter_words.size)
    leaving: Any = _ONE
    for _ in range(seed - 1):
        leaving *= STEP
    h: Any = _u(0)
    for j in range(low, min(low + seed - 1, high)):
        h = h * STEP + words[j]
    found: Any = 0
    for j in range(low + seed - 1, high):
        h = h * STEP + words[j]
        g = mix64(h)
        h -= words[j - seed + 1] * leaving
        cell = filter_words[((g >> _S32) * n_filter) >> _S32]
        out[found] = j + 1 - seed
        found += np.int64((cell >> (g & _63)) & (cell >> ((g >> _S6) & _63)) & _ONE)
    return found


_INDEX = (
    ro(types.int64), ro(types.uint64), ro(types.uint64), ro(types.int32), ro(types.uint32), ro(types.uint8), ro(types.int64),
    ro(types.int32), ro(types.int32), ro(types.int32), ro(types.float64), ro(types.int64), ro(types.int64), ro(types.uint32), ro(types.uint32),
)  # fmt: skip


@leaf
def _place(words, at, seed, slots):  # type: ignore[no-untyped-def]
    """First place in postings of the seed that begins at `at`, or -1."""
    h = _u(0)
    for j in range(at, at + seed):
        h = h * STEP + words[j]
    g = mix64(h)
    slot: Any = np.int64(((g >> _S32) * _u(slots.size)) >> _S32)
    tag = g & _LOW
    while slots[slot] != _u(0):
        if slots[slot] >> _S32 == tag:
            return np.int64(slots[slot] & _LOW) - 1
        slot = slot + 1 if slot + 1 < slots.size else 0
    return np.int64(-1)


_RESULT: Any = types.Tuple((rw(types.int64), rw(types.int64), rw(types.float64), rw(types.int64)))  # type: ignore[no-untyped-call]  # numba has none


@kernel(_RESULT(ro(types.int64), ro(types.uint64), *_INDEX, rw(types.int32), rw(types.float64), rw(types.boolean)))
def _match(doc, words, settings, filter_words, slots, postings, own, flags, first, item_at, grams, near, bound, answer_of, answer_first, answers, labels, out_item, out_score, out_passes):  # type: ignore[no-untyped-def]  # fmt: skip
    """Find runs document by document, then judge the items that have enough of them; returns (used, rows, scores, spans)."""
    ngram, seed, by_words = settings[0], settings[1], settings[2] != 0
    long_run = ngram - seed + 1  # so many seeds in a row may be an n-gram
    t = grams.size
    last_doc = np.full(t, -1, np.int64)
    head = np.empty(t, np.int64)  # last run of the item in this document
    sum_near = np.empty(t, np.int64)
    times = np.zeros(own.size, np.uint8)  # runs found at this word of an item, in the item's last document
    reached = np.zeros(own.size, np.int32)  # words of the longest of them
    state = np.zeros(t, np.uint8)
    longest_item = 1
    for c in range(t):
        longest_item = max(longest_item, first[c + 1] - first[c])
    most = 1
    for d in range(doc.size - 1):
        most = max(most, doc[d + 1] - doc[d])
    hits = np.empty(most + 1, np.int32)
    runs = np.empty(5 * 1024, np.int64)  # place in document, place in item, words, the item's run before, telling
    chosen = np.empty(1024, np.int64)
    covered = np.zeros(longest_item, np.int32)
    order = np.empty(1024, np.int64)
    rows = np.empty(_FIELDS * 256, np.int64)
    scores = np.empty(256, np.float64)
    spans = np.empty(3 * 256, np.int64)
    n_rows = n_spans = 0
    for d in range(doc.size - 1):
        low, high = doc[d], doc[d + 1]
        out_item[d], out_score[d], out_passes[d] = -1, 0.0, False
        n_hits = _seeds(words[low:high], 0, high - low, seed, filter_words, hits)
        n_runs = n_chosen = 0
        at = 0
        while at < n_hits:
            end = at + 1
            while end < n_hits and hits[end] == hits[end - 1] + 1:
                end += 1
            may_be_long = end - at >= long_run
            for k in range(at, end):
                j = low + np.int64(hits[k])
                place = _place(words, j, seed, slots)
                if place < 0:
                    continue
                more = True
                while more:
                    p = np.int64(postings[place])
                    place += 1
                    if p < 0:
                        p, more = ~p, False
                    telling = (flags[p] & TELLING) != 0
                    i = np.int64(item_at[p // BLOCK])
                    while first[i + 1] <= p:
                        i += 1
                    if not telling and not may_be_long and first[i + 1] - first[i] >= ngram:
                        continue
                    # The seed before this one was handled: then the run is known.
                    if (
                        k > at
                        and p > first[i]
                        and (flags[p - 1] & FOLLOWED) != 0
                        and own[p - 1] == np.uint32(words[j - 1] & _LOW)
                        and (may_be_long or first[i + 1] - first[i] < ngram or (flags[p - 1] & TELLING) != 0)
                    ):
                        continue
                    if last_doc[i] != d:
                        last_doc[i], head[i], sum_near[i], state[i] = d, -1, 0, 0
                        times[first[i] : first[i + 1]] = 0
                        reached[first[i] : first[i + 1]] = 0
                    size: Any = np.int64(reached[p])
                    if times[p] >= WORK and (
                        p + size >= first[i + 1] or j + size >= high or own[p + size] != np.uint32(words[j + size] & _LOW)
                    ):
                        continue
                    size = 0
                    while p + size < first[i + 1] and j + size < high and own[p + size] == np.uint32(words[j + size] & _LOW):
                        size += 1
                    if size < seed:
                        continue  # the tag was equal, the words were not
                    if times[p] >= WORK and size <= reached[p]:
                        continue
                    reached[p] = max(np.int64(reached[p]), size)
                    times[p] = min(times[p] + 1, WORK)
                    back = 0
                    while p - back > first[i] and j - back > low and own[p - back - 1] == np.uint32(words[j - back - 1] & _LOW):
                        back += 1
                    size += back
                    counts = telling
                    for q in range(p - back, p - back + size - seed + 1):
                        counts = counts or (flags[q] & TELLING) != 0
                    if 5 * n_runs + 5 > runs.size:
                        bigger = np.empty(2 * runs.size, np.int64)
                        bigger[: runs.size] = runs
                        runs = bigger
                    r = 5 * n_runs
                    runs[r], runs[r + 1], runs[r + 2] = j - back, p - back, size
                    runs[r + 3], runs[r + 4] = head[i], np.int64(counts and size >= NEAR_RUN)
                    head[i] = n_runs
                    n_runs += 1
                    if runs[r + 4] and near[i] > 0:
                        sum_near[i] += size
                        # Over one edited word at a time (replaced, inserted, deleted) to further words, to the right, then left.
                        for side in range(2):
                            to = 1 if side == 0 else -1
                            x = j - back + size if side == 0 else j - back - 1
                            y = p - back + size if side == 0 else p - back - 1
                            while True:
                                more_words = 0
                                for edit in range(3):
                                    u = x + (to if edit != 2 else 0)
                                    v = y + (to if edit != 1 else 0)
                                    more_words = 0
                                    while low <= u < high and first[i] <= v < first[i + 1] and own[v] == np.uint32(words[u] & _LOW):
                                        u, v, more_words = u + to, v + to, more_words + 1
                                    if more_words >= RESUMED:
                                        x, y = u, v
                                        break
                                if more_words < RESUMED:
                                    break
                                if 5 * n_runs + 5 > runs.size:
                                    bigger = np.empty(2 * runs.size, np.int64)
                                    bigger[: runs.size] = runs
                                    runs = bigger
                                r = 5 * n_runs
                                runs[r] = x - more_words if side == 0 else x + 1
                                runs[r + 1] = y - more_words if side == 0 else y + 1
                                runs[r + 2], runs[r + 3], runs[r + 4] = more_words, head[i], 1
                                head[i] = n_runs
                                n_runs += 1
                                sum_near[i] += more_words
                    whole = size == first[i + 1] - first[i]
                    if (
                        state[i] == 0
                        and grams[i] + near[i] > 0
                        and (size >= ngram or (whole and size < ngram) or (near[i] > 0 and sum_near[i] >= near[i]))
                    ):
                        state[i] = 1
                        if n_chosen == chosen.size:
                            longer = np.empty(2 * chosen.size, np.int64)
                            longer[:n_chosen] = chosen
                            chosen = longer
                        chosen[n_chosen] = i
                        n_chosen += 1
            at = end
        chosen[:n_chosen].sort()
        spans_before = n_spans
        for c in range(n_chosen):
            i = chosen[c]
            begin, length = first[i], first[i + 1] - first[i]
            count = 0
            r = head[i]
            while r >= 0:
                count += 1
                r = runs[5 * r + 3]
            if count > order.size:
                order = np.empty(2 * count, np.int64)
            r = head[i]
            for k in range(count - 1, -1, -1):
                order[k] = r
                r = runs[5 * r + 3]
            for k in range(1, count):  # nearly sorted already: a run is found at one of its first telling seeds
                r = order[k]
                b = k - 1
                while b >= 0 and runs[5 * order[b]] > runs[5 * r]:
                    order[b + 1] = order[b]
                    b -= 1
                order[b + 1] = r
            # Share: n-grams, or words, of the item in long runs.
            covered[:length] = 0
            found = 0
            rule = 0
            best_run = np.int64(-1)
            for k in range(count):
                r = 5 * order[k]
                p, size = runs[r + 1] - begin, runs[r + 2]
                if length < ngram:
                    if size < length:
                        continue
                    if answer_of[i + 1] > answer_of[i]:
                        answered = False
                        after = runs[r] + size
                        for x in range(labels.size):
                            asked = runs[r] > low and np.uint32(words[runs[r] - 1] & _LOW) == labels[x]
                            asked = asked or (after < high and np.uint32(words[after] & _LOW) == labels[x])
                            answered = answered or (asked and runs[r + 4] != 0)
                        for a in range(answer_of[i], answer_of[i + 1]):
                            width = answer_first[a + 1] - answer_first[a]
                            for b in range(after, min(after + ANSWER_WITHIN, high - width + 1)):
                                x = 0
                                while x < width and np.uint32(words[b + x] & _LOW) == answers[answer_first[a] + x]:
                                    x += 1
                                answered = answered or (x == width and width > 0)
                        if not answered:
                            continue
                        rule = QUESTION
                    elif grams[i] == 0:
                        continue
                    found = max(found, grams[i])
                elif size >= ngram:
                    for q in range(p, p + size if by_words else p + size - ngram + 1):
                        if covered[q] == 0 and (by_words or (flags[begin + q] & COUNTS) != 0):
                            covered[q] = 1
                            found += 1
                else:
                    continue
                if best_run < 0 or size > runs[best_run + 2]:
                    best_run = r
            share = found / grams[i] if found > 0 else 0.0
            by_share = found > 0 and share >= bound[0]
            if by_share and rule == 0:
                rule = NGRAM
            if not by_share:
                rule = 0
            # Coverage: a window over runs in order; counts of each word of the item go up and down with it.
            covered[:length] = 0
            best: Any = 0
            now = 0
            best_from: Any = np.int64(-1)
            best_to: Any = np.int64(-1)
            if near[i] > 0:
                left = 0
                reach = length + length // 2
                open_from = open_to = np.int64(-1)
                for k in range(count):
                    r = 5 * order[k]
                    if runs[r + 4] == 0:
                        continue
                    while runs[5 * order[left]] + reach < runs[r] + NEAR_RUN:
                        x = 5 * order[left]
                        if runs[x + 4] != 0:
                            for q in range(runs[x + 1] - begin, runs[x + 1] - begin + runs[x + 2]):
                                covered[q] -= 1
                                now -= covered[q] == 0
                        left += 1
                    for q in range(runs[r + 1] - begin, runs[r + 1] - begin + runs[r + 2]):
                        now += covered[q] == 0
                        covered[q] += 1
                    if now > best:
                        best, best_from, best_to = now, left, k
                    if now >= near[i]:
                        x = left
                        while runs[5 * order[x] + 4] == 0:
                            x += 1
                        start, stop = runs[5 * order[x]], runs[r] + runs[r + 2]
                        if open_to >= start:
                            open_to = max(open_to, stop)
                        else:
                            if open_to >= 0:
                                if 3 * n_spans + 3 > spans.size:
                                    bigger = np.empty(2 * spans.size, np.int64)
                                    bigger[: spans.size] = spans
                                    spans = bigger
                                spans[3 * n_spans], spans[3 * n_spans + 1], spans[3 * n_spans + 2] = d, open_from, open_to
                                n_spans += 1
                            open_from, open_to = start, stop
                if open_to >= 0:
                    if 3 * n_spans + 3 > spans.size:
                        bigger = np.empty(2 * spans.size, np.int64)
                        bigger[: spans.size] = spans
                        spans = bigger
                    spans[3 * n_spans], spans[3 * n_spans + 1], spans[3 * n_spans + 2] = d, open_from, open_to
                    n_spans += 1
            by_near = near[i] > 0 and best >= near[i]
            if found == 0 and not by_near:
                continue
            score = share
            if by_near and not by_share:
                rule, score = NEAR, best / length
            if n_rows == scores.size:
                bigger = np.empty(2 * rows.size, np.int64)
                bigger[: rows.size] = rows
                rows = bigger
                more_scores = np.empty(2 * n_rows, np.float64)
                more_scores[:n_rows] = scores
                scores = more_scores
            from_doc = to_doc = from_item = to_item = np.int64(0)
            if rule == NEAR:
                from_item, from_doc = np.int64(length), high
                for k in range(best_from, best_to + 1):
                    r = 5 * order[k]
                    if runs[r + 4] != 0:
                        from_doc, to_doc = min(from_doc, runs[r]), max(to_doc, runs[r] + runs[r + 2])
                        from_item = min(from_item, runs[r + 1] - begin)
                        to_item = max(to_item, runs[r + 1] - begin + runs[r + 2])
            else:
                from_doc, to_doc = runs[best_run], runs[best_run] + runs[best_run + 2]
                from_item = runs[best_run + 1] - begin
                to_item = from_item + runs[best_run + 2]
            w = _FIELDS * n_rows
            rows[w], rows[w + 1], rows[w + 2] = d, i, rule
            rows[w + 3], rows[w + 4], rows[w + 5], rows[w + 6] = from_doc - low, to_doc - low, from_item, to_item
            rows[w + 7], rows[w + 8] = best, found
            scores[n_rows] = score
            n_rows += 1
            if by_share:
                for k in range(count):
                    r = 5 * order[k]
                    if runs[r + 2] >= min(ngram, length):
                        if 3 * n_spans + 3 > spans.size:
                            bigger = np.empty(2 * spans.size, np.int64)
                            bigger[: spans.size] = spans
                            spans = bigger
                        spans[3 * n_spans], spans[3 * n_spans + 1], spans[3 * n_spans + 2] = d, runs[r], runs[r] + runs[r + 2]
                        n_spans += 1
            out_passes[d] = out_passes[d] or rule > 0
            if out_item[d] < 0 or score > out_score[d]:
                out_item[d], out_score[d] = i, score
        for k in range(spans_before, n_spans):
            spans[3 * k + 1] -= low
            spans[3 * k + 2] -= low
    used = np.empty(2, np.int64)
    used[0], used[1] = n_rows, n_spans
    return used, rows, scores, spans


def match(words: WordHashes, index: Index) -> Matches:
    """Find the items in each document."""
    n = len(words.doc) - 1
    item, share, passes = np.empty(n, np.int32), np.empty(n, np.float64), np.empty(n, np.bool_)
    used, rows, scores, spans = _match(words.doc, words.hash, *index, item, share, passes)
    table = rows[: _FIELDS * used[0]].reshape(-1, _FIELDS)
    return Matches(item, share, passes, table, scores[: used[0]], _merged(spans[: 3 * used[1]].reshape(-1, 3)))


def _merged(spans: I64) -> I64:
    """Places in order, those that touch made one."""
    joined: list[list[int]] = []
    for d, start, end in spans[np.lexsort((spans[:, 2], spans[:, 1], spans[:, 0]))].tolist():
        if joined and joined[-1][0] == d and joined[-1][2] >= start:
            joined[-1][2] = max(joined[-1][2], end)
        else:
            joined.append([d, start, end])
    return np.array(joined, np.int64).reshape(-1, 3)
