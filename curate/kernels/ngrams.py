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
A short question with answers matches where it is found whole with one of its answers at most 30 words behind,
or, if it is telling, with a label (`Q:`, `Answer:`) right before or behind it.

Memory: 12 bytes a distinct seed for the table, 2 for a Bloom filter before it (two bits in one word: most look-ups end
there), 4 a posting, 5 a word: about 23 bytes a word of the items. Look-ups are verified word by word (32 bits of each
hash), so a false hit needs five equal pairs: 2^-160. Of a seed that stands in more than MAX_POSTINGS places of the items
only so many are followed, and from one place of an item only 64 runs in a document, then only longer ones.
`ngram_index` builds the index, `ngram_seeds` looks seeds up, `ngram_runs` finds runs, `ngram_verdicts` judges items.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from curate.kernels.ngram_arrays import Index
from curate.kernels.ngram_runs import CANDIDATE, ITEM, RUN, SEEN, find_runs
from curate.kernels.ngram_seeds import I32
from curate.kernels.ngram_verdicts import ROW, SPAN, judge
from curate.kernels.shingles import WordHashes
from curate.kernels.strings import I64

F64 = npt.NDArray[np.float64]

SEED = 5  # words looked up; fewer where n-grams or items are shorter
MAX_SHARED = 8  # items that may share a telling seed
MAX_POSTINGS = 32
RULES = ("none", "ngram", "near", "question_answer")
_RUNS = 1 << 16  # room for runs at first


class Matches(NamedTuple):
    """Every item found in n documents, in order of documents; the best one of each document."""

    item: I32  # i32[n], the item with the largest score, the first one of equals; -1 where there is none
    share: F64  # f64[n], its score, 0.0 where there is none
    passes: npt.NDArray[np.bool_]  # bool[n], whether any item passes a rule
    rows: I64  # i64[r, 9]: document, item, rule, words of document from, to, of item from, to, words covered, n-grams found
    scores: F64  # f64[r]
    spans: I64  # i64[q, 3]: document, words from, to: every place that passes, in order, none touching the next


def match(words: WordHashes, index: Index) -> Matches:
    """Find the items in each document."""
    n = len(words.doc) - 1
    rows, scores, spans = [np.empty((0, ROW), np.int64)], [np.empty(0)], [np.empty((0, SPAN), np.int64)]
    for candidates, runs in _runs(words, index):
        row, score, span = _judged(words, index, candidates, runs)
        rows.append(row)
        scores.append(score)
        spans.append(span)
    table, all_scores = np.concatenate(rows), np.concatenate(scores)
    item, share, passes = np.full(n, -1, np.int32), np.zeros(n), np.zeros(n, np.bool_)
    worst_first = np.lexsort((-table[:, 1], all_scores, table[:, 0]))  # of several writes to one place the last one stays
    item[table[worst_first, 0]], share[table[worst_first, 0]] = table[worst_first, 1], all_scores[worst_first]
    passes[table[table[:, 2] > 0, 0]] = True
    return Matches(item, share, passes, table, all_scores, _merged(np.concatenate(spans)))


def _runs(words: WordHashes, index: Index) -> Iterator[tuple[I64, I64]]:
    """(candidates, runs) of as many documents at a time as the table of runs has room for; it grows for a larger one."""
    own, t = index.words, len(index.grams)
    hits = np.empty(int(np.diff(words.doc).max(initial=0)) + 1, np.int32)
    times, reached = np.zeros(len(own), np.uint8), np.zeros(len(own), np.int32)
    items, used = np.zeros((t, ITEM), np.int64), np.zeros(3, np.int64)
    room, start = _RUNS, 0
    while start < len(words.doc) - 1:
        runs, candidates = np.empty(RUN * room, np.int64), np.empty(CANDIDATE * room, np.int64)
        start = find_runs(
            start, words.doc, words.hash, index.settings, index.filter, index.slots, index.postings, own, index.flags, index.first,
            index.item_at, index.grams, index.near, hits, times, reached, items, runs, candidates, used,
        )  # fmt: skip
        room = max(room, int(used[2]))
        if used[1]:
            yield candidates[: CANDIDATE * used[1]], runs[: RUN * used[0]]
        if used[2]:
            items[:, SEEN] = 0  # the document that did not fit begins again


def _judged(words: WordHashes, index: Index, candidates: I64, runs: I64) -> tuple[I64, F64, I64]:
    """(rows, scores, spans) of candidates, by document and item."""
    table = candidates.reshape(-1, CANDIDATE)
    ordered = table[np.lexsort((table[:, 1], table[:, 0]))].reshape(-1)
    n_runs = len(runs) // RUN
    longest = int((index.first[table[:, 1] + 1] - index.first[table[:, 1]]).max())
    order, covered = np.empty(n_runs, np.int64), np.empty(longest, np.int32)
    rows, scores = np.empty(ROW * len(table), np.int64), np.empty(len(table))
    spans, used = np.empty(2 * SPAN * n_runs, np.int64), np.zeros(2, np.int64)
    judge(
        ordered, runs, words.doc, words.hash, index.settings, index.flags, index.first, index.grams, index.near, index.bound,
        index.answer_of, index.answer_first, index.answers, index.labels, order, covered, rows, scores, spans, used,
    )  # fmt: skip
    return rows[: ROW * used[0]].reshape(-1, ROW), scores[: used[0]], spans[: SPAN * used[1]].reshape(-1, SPAN)


def _merged(spans: I64) -> I64:
    """Places in order, those that touch made one."""
    joined: list[list[int]] = []
    for d, start, end in spans[np.lexsort((spans[:, 2], spans[:, 1], spans[:, 0]))].tolist():
        if joined and joined[-1][0] == d and joined[-1][2] >= start:
            joined[-1][2] = max(joined[-1][2], end)
        else:
            joined.append([d, start, end])
    return np.array(joined, np.int64).reshape(-1, 3)
