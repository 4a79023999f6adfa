"""Which benchmark item a document shares word n-grams with: an index of hashed n-grams and one pass over the words.

Words are the hashes of `curate.kernels.shingles`. n documents, w words, g distinct entries of the index, t items.

An item of at least `ngram` words is the set of its n-grams. A shorter one is its first `least` words plus the rest: the
document must contain all of it, word for word. Items of fewer than `least` words match nothing.

The index is a Bloom filter of two bits in one word, 16 to 32 bits an entry (most look-ups end there, with one access to
memory), and an open-addressing table from 64-bit hash to entry: 25 to 45 bytes an entry in all. Hashes are not compared
with words: two different n-grams are taken for the same with a chance of 2^-64, so a million entries give one false hit
in about 2^44 words. uint64 arithmetic wraps around.

N-grams of numbers below 1,000 alone are left out: a problem that counts from 1 to 13 would match every table of contents.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import types

from curate.kernels.compiled import kernel, ro, rw
from curate.kernels.hashing import mix64
from curate.kernels.shingles import STEP, WordHashes, shingles, word_hashes
from curate.kernels.strings import I64

U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]
F64 = npt.NDArray[np.float64]

_SHORT = np.uint64(0xA5A5A5A55A5A5A5A)  # keeps beginnings of short items apart from n-grams of the same words
_u = np.uint64
_S6, _63, _ONE = _u(6), _u(63), _u(1)


class Index(NamedTuple):
    """All n-grams of t items, and the beginnings of short items."""

    ngram: int
    least: int  # words of a short item's beginning; 0: there are no short items
    bits: int  # the filter has 2^bits words, addressed by the high bits of a hash
    filter: U64  # u64[2^bits], two bits set for each entry
    keys: U64  # u64[slots], a power of two, addressed by the low bits of a hash
    entry: I32  # i32[slots], -1 where the slot is empty
    first: I64  # i64[g+1]: items of entry e are items[first[e]:first[e+1]]
    items: I32
    sizes: I64  # i64[t], distinct n-grams of an item; 1 for a short one, 0 for one that can't match
    word_first: I64  # i64[t+1]: words of short item j are words[word_first[j]:word_first[j+1]], none for a long one
    words: U64


class Matches(NamedTuple):
    """The item each document has the largest share of (the first one where shares are equal); -1 and 0.0 where none."""

    item: I32  # i32[n]
    share: F64  # f64[n], distinct n-grams of the item in the document / distinct n-grams of the item


@kernel(types.void(ro(types.uint64), types.int64, rw(types.uint64), rw(types.uint64), rw(types.int32)))
def _fill(hashes, bits, filter_words, keys, entry):  # type: ignore[no-untyped-def]
    """Enter distinct hashes; entry e is hashes[e]."""
    mask = _u(keys.size - 1)
    shift = _u(64 - bits)
    for e in range(hashes.size):
        h = hashes[e]
        filter_words[h >> shift] |= (_ONE << (h & _63)) | (_ONE << ((h >> _S6) & _63))
        slot = h & mask
        while entry[slot] >= 0:
            slot = (slot + _ONE) & mask
        keys[slot] = h
        entry[slot] = e


@kernel(
    types.void(
        ro(types.int64), ro(types.uint64), types.int64, types.int64, types.int64, ro(types.uint64), ro(types.uint64), ro(types.int32),
        ro(types.int64), ro(types.int32), ro(types.int64), ro(types.int64), ro(types.uint64), rw(types.int32), rw(types.float64),
    )
)  # fmt: skip
def _match(doc, words, ngram, least, bits, filter_words, keys, entry, first, items, sizes, item_first, item_words, out_item, out_share):  # type: ignore[no-untyped-def]
    """Write the best item and its share for each document; arguments as in Index and Matches.

    Each entry counts once a document, so that work is bounded by the words of the document plus the size of the index.
    """
    mask = _u(keys.size - 1)
    shift = _u(64 - bits)
    seen = np.full(first.size - 1, -1, np.int32)  # last document that had the entry
    counted = np.full(sizes.size, -1, np.int32)  # last document that `count` of an item is for
    count = np.zeros(sizes.size, np.int64)
    leaving_long = _ONE
    for _ in range(ngram):
        leaving_long *= STEP
    leaving_short = _ONE
    for _ in range(least):
        leaving_short *= STEP
    for d in range(doc.size - 1):
        best = np.int64(-1)
        low = doc[d]
        for kind in range(2 if least > 0 else 1):
            size = ngram if kind == 0 else least
            leaving = leaving_long if kind == 0 else leaving_short
            h = _u(0)
            for j in range(low, doc[d + 1]):
                h = h * STEP + words[j]
                if j - low >= size:
                    h -= words[j - size] * leaving
                if j - low + 1 < size:
                    continue
                g = mix64(h)
                if kind == 1:
                    g ^= _SHORT
                cell = filter_words[g >> shift]
                if not (cell >> (g & _63)) & (cell >> ((g >> _S6) & _63)) & _ONE:
                    continue
                slot = g & mask
                while entry[slot] >= 0 and keys[slot] != g:
                    slot = (slot + _ONE) & mask
                e = entry[slot]
                if e < 0 or (kind == 0 and seen[e] == d):
                    continue
                seen[e] = d
                for at in range(first[e], first[e + 1]):
                    t = np.int64(items[at])
                    if kind == 1:
                        a = j + 1 - size
                        length = item_first[t + 1] - item_first[t]
                        if counted[t] == d or a + length > doc[d + 1]:
                            continue
                        k = size
                        while k < length and words[a + k] == item_words[item_first[t] + k]:
                            k += 1
                        if k < length:
                            continue
                    if counted[t] != d:
                        counted[t] = d
                        count[t] = 0
                    count[t] += 1
                    # count / size as integers: t is better if its share is larger, or equal and it comes first
                    if best < 0 or best == t:
                        best = t
                    else:
                        here = count[t] * sizes[best]
                        there = count[best] * sizes[t]
                        if here > there or (here == there and t < best):
                            best = t
        out_item[d] = best
        out_share[d] = count[best] / sizes[best] if best >= 0 else 0.0


def build(words: WordHashes, ngram: int, least: int) -> Index:
    """Index items given as documents of hashed words. Same items, same index."""
    lengths = np.diff(words.doc)
    long = lengths >= ngram
    short = ~long & (lengths >= least)
    gram_hashes, gram_items = _grams(words, ngram, long)
    hashes, owners = [gram_hashes], [gram_items]
    short_items = np.flatnonzero(short)
    if len(short_items):
        # Beginnings: a document of `least` words has exactly one shingle of them.
        starts = words.doc[:-1][short_items]
        beginning = words.hash[starts[:, None] + np.arange(least)].ravel()
        ends = np.arange(len(short_items) + 1, dtype=np.int64) * least
        hashes.append(shingles(WordHashes(ends, beginning), least, unique=False).hash ^ _SHORT)
        owners.append(short_items)
    every, who = np.concatenate(hashes), np.concatenate(owners)
    order = np.lexsort((who, every))
    entries, starts_at = np.unique(every[order], return_index=True)
    first = np.append(starts_at, len(every)).astype(np.int64)
    sizes = np.bincount(gram_items, minlength=len(lengths)) + short
    word_sizes = np.where(short, lengths, 0)
    word_first = np.concatenate([[0], np.cumsum(word_sizes)]).astype(np.int64)
    of_short = words.hash[np.repeat(short, lengths)]
    bits = max(10, int(max(len(entries), 1) // 4 - 1).bit_length())
    slots = 1 << max(4, int(len(entries) * 3 // 2).bit_length())
    index = Index(
        ngram, least if len(short_items) else 0, bits, np.zeros(1 << bits, np.uint64), np.zeros(slots, np.uint64),
        np.full(slots, -1, np.int32), first, who[order].astype(np.int32), sizes, word_first, of_short,
    )  # fmt: skip
    _fill(entries, bits, index.filter, index.keys, index.entry)
    return index


def _grams(words: WordHashes, ngram: int, long: npt.NDArray[np.bool_]) -> tuple[U64, I64]:
    """(hash, item) of each distinct n-gram of each long item, without those of numbers alone."""
    numbers = word_hashes(pa.array([str(i) for i in range(1000)], pa.large_string())).hash
    others = np.concatenate([[0], np.cumsum(~np.isin(words.hash, numbers))])
    grams = shingles(words, ngram, unique=False)
    counts = np.diff(grams.doc)
    item = np.repeat(np.arange(len(counts)), counts)
    start = np.arange(len(item)) - grams.doc[item] + words.doc[item]
    item, start, hashes = item[long[item]], start[long[item]], grams.hash[long[item]]
    telling = others[start + ngram] > others[start]
    item, hashes = item[telling], hashes[telling]
    order = np.lexsort((hashes, item))
    item, hashes = item[order], hashes[order]
    fresh = np.ones(len(item), bool)
    fresh[1:] = (item[1:] != item[:-1]) | (hashes[1:] != hashes[:-1])
    return hashes[fresh], item[fresh]


def match(words: WordHashes, index: Index) -> Matches:
    """Find the item that each document has the largest share of."""
    n = len(words.doc) - 1
    out = Matches(np.empty(n, np.int32), np.empty(n, np.float64))
    _match(words.doc, words.hash, *index, *out)
    return out
