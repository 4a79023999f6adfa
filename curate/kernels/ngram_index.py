"""Build, save and load the index of benchmark items that `curate.kernels.ngrams` matches documents with."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.kernels.ngram_arrays import Index
from curate.kernels.ngram_runs import BLOCK, COUNTS, FOLLOWED, TELLING, U8
from curate.kernels.ngram_seeds import I32, U64, fill
from curate.kernels.ngrams import MAX_POSTINGS, MAX_SHARED, SEED
from curate.kernels.shingles import WordHashes, shingles, word_hashes
from curate.kernels.strings import I64

LABELS = "q a question answer questions answers prompt response user assistant human instruction"
NEAR_WORDS, NEAR_CHARACTERS = 9, 13  # words that coverage needs at least; characters in Chinese and Japanese


def build(
    words: WordHashes,
    ngram: int,
    least: int,
    *,
    near: float | None = None,
    bound: float = 0.0,
    by_words: bool = False,
    near_least: I32 | None = None,
    answers: Sequence[tuple[int, str]] = (),
) -> Index:
    """Index items given as documents of hashed words. Same items, same index.

    least: an item of fewer words matches only as a short question with answers; one of `least` to `ngram` - 1 as a whole
    near: share of an item's words that coverage needs; None: no match by coverage
    bound: share that matches need; near_least: i32[t], words that coverage needs at least
    answers: (item, text of an answer), by item; of items below `least` words only; an empty one stands behind every question
    """
    lengths = np.diff(words.doc)
    seed = min(SEED, ngram, least)
    flags = np.zeros(len(words.hash), np.uint8)
    telling_number = _telling_number(words)
    own = _count_ngrams(words, lengths, ngram, telling_number, flags)
    grams = np.where(lengths >= ngram, lengths if by_words else own, lengths >= least).astype(np.int32)
    hashes, where = _seeds(words, lengths, seed)
    order = np.lexsort((where, hashes))
    hashes, where = hashes[order], where[order]
    owner = np.repeat(np.arange(len(lengths)), lengths)
    postings, entries, places = _postings(hashes, where, owner, ~_counting(words, where, seed), flags)
    index_filter = np.zeros(max(1024, -(-len(entries) // 4)), np.uint64)
    slots = np.zeros(max(64, len(entries) * 3 // 2 + 1), np.uint64)
    fill(entries, places, index_filter, slots)
    can_near = np.zeros(len(lengths), np.int32)
    if near is not None:
        need = np.array([ceil(round(max(near, bound) * n, 6)) for n in lengths.tolist()], np.int32)
        can_near = np.where(lengths >= least, np.maximum(need, NEAR_WORDS if near_least is None else near_least), 0).astype(np.int32)
    answer_of, answer_words = _answers([(i, a) for i, a in answers if seed <= lengths[i] < min(least, ngram)], len(lengths))
    grams[np.flatnonzero(np.diff(answer_of))] = 1
    item_at = np.append(owner[::BLOCK], max(len(lengths) - 1, 0)).astype(np.int32)
    return Index(
        np.array([ngram, seed, by_words, 0], np.int64), index_filter, slots, postings, words.hash.astype(np.uint32), flags,
        words.doc, item_at, grams, can_near, np.array([bound]), answer_of, answer_words.doc, answer_words.hash.astype(np.uint32),
        word_hashes(pa.array([LABELS], pa.large_string())).hash.astype(np.uint32),
    )  # fmt: skip


def _answers(answers: Sequence[tuple[int, str]], t: int) -> tuple[I64, WordHashes]:
    """(where the answers of each item begin, their words); without answers that have text but no word."""
    hashed = word_hashes(pa.array([a for _, a in answers], pa.large_string()))
    kept = [answer for answer, width in zip(answers, np.diff(hashed.doc).tolist(), strict=True) if width or not answer[1]]
    first = np.searchsorted(np.array([i for i, _ in kept], np.int64), np.arange(t + 1)).astype(np.int64)
    return first, word_hashes(pa.array([a for _, a in kept], pa.large_string()))


def _numbers() -> U64:
    """Hashes of the words 0 to 999."""
    return word_hashes(pa.array([str(i) for i in range(1000)], pa.large_string())).hash


def _counting(words: WordHashes, where: I64, size: int) -> npt.NDArray[np.bool_]:
    """Whether the `size` words from each place count upwards by one: 4 5 6 7 8."""
    numbers = _numbers()
    order = np.argsort(numbers)
    at = np.minimum(np.searchsorted(numbers[order], words.hash), len(numbers) - 1)
    value = np.where(numbers[order][at] == words.hash, order[at], -1)
    upwards = (value[:-1] >= 0) & (value[1:] == value[:-1] + 1)
    total = np.concatenate([[0], np.cumsum(upwards)])
    counting: npt.NDArray[np.bool_] = total[where + size - 1] - total[where] == size - 1
    return counting


def _telling_number(words: WordHashes) -> I64:
    """i64[m+1]: words before each place that are no numbers below 1,000."""
    return np.concatenate([[0], np.cumsum(~np.isin(words.hash, _numbers()))])


def _seeds(words: WordHashes, lengths: I64, size: int) -> tuple[U64, I64]:
    """(hash, place of its first word) of every run of `size` words of items that are long enough."""
    runs = shingles(words, size, unique=False)
    counts = np.diff(runs.doc)
    item = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(len(item)) - runs.doc[item] + words.doc[item]
    long = lengths[item] >= size
    return runs.hash[long], place[long]


def _count_ngrams(words: WordHashes, lengths: I64, ngram: int, telling_number: I64, flags: U8) -> I64:
    """Flag the first n-gram of each kind in an item, without those of numbers alone; return how many each item has."""
    hashes, where = _seeds(words, lengths, ngram)
    telling = telling_number[where + ngram] > telling_number[where]
    hashes, where = hashes[telling], where[telling]
    item = np.searchsorted(words.doc, where, side="right") - 1
    order = np.lexsort((where, hashes, item))
    item, hashes, where = item[order], hashes[order], where[order]
    fresh = np.ones(len(item), bool)
    fresh[1:] = (item[1:] != item[:-1]) | (hashes[1:] != hashes[:-1])
    flags[where[fresh]] |= COUNTS
    return np.bincount(item[fresh], minlength=len(lengths))


def _postings(hashes: U64, where: I64, owner: I64, worded: npt.NDArray[np.bool_], flags: U8) -> tuple[I32, U64, I32]:
    """(postings, distinct hashes, where the postings of each begin); flags telling seeds. Arguments sorted by hash and place."""
    entries, begin, counts = np.unique(hashes, return_index=True, return_counts=True)
    entry = np.repeat(np.arange(len(entries)), counts)
    items = owner[where]
    new_item = np.ones(len(entry), bool)
    new_item[1:] = (entry[1:] != entry[:-1]) | (items[1:] != items[:-1])
    sharing = np.bincount(entry[new_item], minlength=len(entries))
    flags[where[(sharing[entry] <= MAX_SHARED) & worded]] |= TELLING
    rank = np.arange(len(entry)) - begin[entry]
    kept = rank < MAX_POSTINGS
    last = np.minimum(counts[entry], MAX_POSTINGS) - 1 == rank
    flags[where[kept]] |= FOLLOWED
    postings = np.where(last, ~where, where)[kept].astype(np.int32)
    places = np.concatenate([[0], np.cumsum(np.minimum(counts, MAX_POSTINGS))])[:-1].astype(np.int32)
    return postings, entries, places


def memory(index: Index) -> int:
    """Bytes of all arrays."""
    return sum(array.nbytes for array in index)
