"""Sum the vectors of all words and character n-grams of documents: the costly part of running a fastText model.

n documents, D dimensions of the model (padded to a multiple of LANES).

Words go through in chunks, across documents, in four passes without unforeseeable branches, each having fetched what the
next one needs:

1. The next words are cut out of the text, eight bytes at a time, and looked up in the memory of words (`fasttext_lookup.py`).
2. The characters of those that it misses are laid out side by side, the n-grams that start at every one of them are hashed
   many at once, and become buckets.
3. The rows of the missed words are listed, and added up in fastText's order.
4. The vectors of all words are added to their documents, in the order of the text, and the missed ones are remembered.

On 60 MB of mixed text, where the memory misses 28 % of words, 0.6 to 0.7 of the time of going word by word.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from curate.kernels.compiled import kernel, leaf, ro, rw
from curate.kernels.fasttext_lookup import (
    CHUNK,
    COUNT,
    DOC,
    FROM,
    HASHED,
    HOME,
    LAST,
    MARK,
    SIZE,
    SLOT,
    START,
    TO,
    WORD,
    gather_words,
    look_up,
)
from curate.kernels.fasttext_words import OFFSET, PRIME, SIGN, hashed
from curate.kernels.lanes import add_lanes, high_half, ones, prefetch, sum_lanes

ROOM = 1024  # characters of missed words hashed at once
PLANE = ROOM + 128  # ROOM and what the longest n-gram reads beyond it
PLANES = 6  # bytes 0 to 3 of every character, sign-extended; how many they are; the running hash

# Positions are unsigned: numba then leaves out its test for negative indices.
_U64: Any = np.uint64
_0, _1, _2, _4, _6, _8, _16, _31, _63 = (_U64(i) for i in (0, 1, 2, 4, 6, 8, 16, 31, 63))
_CHUNK, _WORD, _COUNT, _MARK, _ROOM, _PLANE = _U64(CHUNK), _U64(WORD), _U64(COUNT), _U64(MARK), _U64(ROOM), _U64(PLANE)
_WIDTH, _HASH, _GRAMS = _U64(4 * PLANE), _U64(5 * PLANE), _U64(PLANES * PLANE)
_HAS_ROW, _BUCKET = _U64(1 << 31), _U64((1 << 31) - 1)
_OPEN, _CLOSE = np.uint32(ord("<")), np.uint32(ord(">"))
_NONE = ~_U64(0)
_CHAIN, LABEL_WORD = _U64(116049371), _U64(1 << 32)  # no sign-extended int32 equals the mark of a label


@leaf
def _word_number(h: Any, data: Any, start: Any, size: Any, slots: Any, word_bytes: Any, word_offsets: Any) -> Any:
    """Number of the entry data[start : start + size], whose hash is h, in the model's dictionary, or -1."""
    mask = _U64(slots.shape[0] - 1)
    place = _U64(h) & mask
    while slots[place] >= 0:
        first = _U64(word_offsets[slots[place]])
        same = _U64(word_offsets[slots[place] + 1]) - first == size
        i = _0
        while same and i < size:
            same = word_bytes[first + i] == data[start + i]
            i += _1
        if same:
            return np.int64(slots[place])
        place = (place + _1) & mask
    return np.int64(-1)


@leaf
def _fill(data: Any, at: Any, stop: Any, h: Any, n: Any, planes: Any, places: Any, widest: Any) -> Any:
    """Lay out characters of data[at:stop] from character n on, as long as there is room.

    places i64[ROOM]: where each starts. Returns (n, at, h: fastText's hash of the bytes from before, continued, widest character).
    """
    while at < stop and n < _ROOM:
        places[n] = at
        byte = data[at]
        planes[n] = np.uint32(byte) | (SIGN if byte > 127 else np.uint32(0))
        h = hashed(h, byte)
        at += _1
        size = _1
        while at < stop and data[at] & 0xC0 == 0x80 and size < _4:
            byte = data[at]
            planes[size * _PLANE + n] = np.uint32(byte) | SIGN
            h = hashed(h, byte)
            at += _1
            size += _1
        planes[_WIDTH + n] = np.uint32(size)
        widest = max(widest, size)
        n += _1
    return n, at, h, widest


@leaf
def _hash_grams(planes: Any, n: Any, widest: Any, shortest: Any, longest: Any) -> None:
    """Hash the n-grams that start at each of n characters: one plane for each length from `shortest` on, after the first PLANES.

    n-grams that run on beyond their word are hashed too, and never used.
    """
    for c in range(n):
        planes[_HASH + c] = OFFSET
    for g in range(longest):
        gram = _U64(g)
        to = _HASH if gram + _1 < shortest else _GRAMS + (gram + _1 - shortest) * _PLANE
        source = _HASH if gram < shortest else _GRAMS + (gram - shortest) * _PLANE
        for c in range(n):
            planes[to + c] = (planes[source + c] ^ planes[c + gram]) * PRIME
        for k in range(_1, widest):
            for c in range(n):
                h = planes[to + c]
                planes[to + c] = (h ^ planes[k * _PLANE + c + gram]) * PRIME if planes[_WIDTH + c + gram] > k else h


@leaf
def _to_buckets(planes: Any, n: Any, lengths: Any, buckets: Any, kept: Any) -> None:
    """Replace the hashes of n-grams by their buckets; the top bit says that the bucket has a row (buckets are below 2^31)."""
    inverse = ~_0 // buckets + _1  # h % buckets without a division: Lemire, Kaser and Kurz 2019 (arXiv:1902.01961)
    for at in range(_GRAMS, _GRAMS + lengths * _PLANE, _PLANE):
        for c in range(at, at + n):
            bucket = high_half(inverse * _U64(planes[c]), buckets)
            planes[c] = np.uint32(bucket | ((kept[bucket >> _6] >> (bucket & _63) << _31) & _HAS_ROW))


@leaf
def _rank(bucket: Any, kept: Any, rank: Any) -> Any:
    """u64: how many buckets below this one have a row."""
    return _U64(rank[bucket >> _6]) + ones(kept[bucket >> _6] & ((_1 << (bucket & _63)) - _1))


@leaf
def _list_rows(
    planes: Any, first: Any, starts: Any, last: Any, opened: Any, word_row: Any, shortest: Any, longest: Any,
    kept: Any, rank: Any, n_words: Any, row_bytes: Any, weights: Any, listed: Any, count: Any,
) -> Any:  # fmt: skip
    """List the rows of a word, in fastText's order: its own, then those of the n-grams that start at characters first .. starts - 1.

    word_row: where it starts in weights, or _NONE; last: one behind the word's last character, '>' included;
    opened: the first one is '<', which alone is no n-gram. listed[count:] gets where rows start, in bytes. Returns the new count.
    Buckets without a row are overwritten by the next one: a branch would be guessed wrong every other time.
    """
    if word_row != _NONE:
        listed[count] = word_row
        count += _1
    fresh = count
    for c in range(first, starts):
        lowest = _2 if opened and c == first and shortest == _1 else shortest
        at = _GRAMS + (lowest - shortest) * _PLANE + c
        for g in range(lowest, longest + _1):
            bucket = _U64(planes[at])
            listed[count] = bucket & _BUCKET
            count += (bucket >> _31) & _U64(c + g <= last)
            at += _PLANE
    for k in range(fresh, count):
        row = (n_words + _rank(listed[k], kept, rank)) * row_bytes
        prefetch(weights, row)
        listed[k] = row
    return count


@leaf
def _word_row(
    h: Any, data: Any, start: Any, size: Any, slots: Any, word_bytes: Any, word_offsets: Any, longest_word: Any, n_words: Any, row_bytes: Any
) -> Any:  # fmt: skip
    """Where the row of a word starts, in bytes; _NONE where the model has none; LABEL_WORD for one of its labels."""
    if size > longest_word:
        return _NONE
    word = _word_number(h, data, start, size, slots, word_bytes, word_offsets)
    if word >= np.int64(n_words):
        return LABEL_WORD
    return _U64(word) * row_bytes if word >= 0 else _NONE


@leaf
def _word_hash(data: Any, start: Any, stop: Any) -> Any:
    h = OFFSET
    for i in range(start, stop):
        h = hashed(h, data[i])
    return h


@leaf
def _sum_missed(
    data: Any, words: Any, missed: Any, n_missed: Any, memory: Any, vectors: Any, planes: Any, places: Any, listed: Any,
    weights: Any, slots: Any, word_bytes: Any, word_offsets: Any, kept: Any, rank: Any, settings: Any,
) -> None:  # fmt: skip
    """Set count, mark and vector in the slot of every missed word: its rows summed in float32, one after the other.

    A word of more characters than there is room for goes through in pieces that overlap by the longest n-gram.
    """
    n_words, buckets, shortest, longest, dim = settings[0], settings[1], max(settings[2], _1), settings[3], settings[4]
    longest_word = settings[5]
    lengths = longest + _1 - shortest if longest >= shortest else _0
    m, begun, at = _0, False, words[missed[0] + START]
    while m < n_missed:
        # Lay out words until the room is full.
        n, widest, m0, begun0, whole = _0, _1, m, begun, True
        while m < n_missed:
            w = missed[m]
            stop, before, h = words[w + START] + words[w + SIZE], n, OFFSET
            if not begun and n < _ROOM:
                planes[n], planes[_WIDTH + n] = _OPEN, np.uint32(1)
                n += _1
            n, reached, h, widest = _fill(data, at, stop, h, n, planes, places, widest)
            if reached < stop or n == _ROOM:
                whole = before > _0
                n = before if whole else n
                break
            planes[n], planes[_WIDTH + n] = _CLOSE, np.uint32(1)
            n += _1
            words[w + LAST], words[w + HASHED] = n, _U64(h)
            m, begun = m + _1, False
            if m < n_missed:
                at = words[missed[m] + START]
        stop_word = m if whole else m + _1
        _hash_grams(planes, n, widest, shortest, longest)
        _to_buckets(planes, n, lengths, buckets, kept)
        # List rows and have them fetched, for all words before the first sum.
        first, count = _0, _0
        for j in range(m0, stop_word):
            w, complete, new = missed[j], j < m, j > m0 or not begun0
            slot, row = words[w + SLOT], _NONE
            if new:
                start, size = words[w + START], words[w + SIZE]
                h = np.uint32(words[w + HASHED]) if complete else _word_hash(data, start, start + size)
                row = _word_row(h, data, start, size, slots, word_bytes, word_offsets, longest_word, n_words, dim << _2)
                memory[slot + _COUNT] = _0
                memory[slot + _MARK] = LABEL_WORD if row == LABEL_WORD else _U64(np.int64(np.int32(h)))
            last = words[w + LAST] if complete else n
            words[w + FROM] = count
            if memory[slot + _MARK] != LABEL_WORD:
                starts = first if longest == _0 else (last - _1 if complete else last - longest)
                count = _list_rows(
                    planes, first, starts, last, new, row, shortest, longest,
                    kept, rank, n_words, dim << _2, weights, listed, count,
                )  # fmt: skip
            words[w + TO], first = count, last
        for j in range(m0, stop_word):
            w, new = missed[j], j > m0 or not begun0
            slot = words[w + SLOT]
            memory[slot + _COUNT] += words[w + TO] - words[w + FROM]
            for q in range(_0, dim, _16):
                sum_lanes(vectors, ((slot + _8) << _1) + q, weights, q << _2, listed, words[w + FROM], words[w + TO], new)
        if not whole:
            begun, at = True, _U64(places[n - max(longest, _1)])


@leaf
def _add_chains(
    total: Any, home: Any, weights: Any, chains: Any, n_before: Any, word: Any, kept: Any, rank: Any, settings: Any
) -> Any:  # fmt: skip
    """Add the rows of all word n-grams that end with this word, of which `n_before` stand before it; return how many.

    chains u64[longest]: hash of the words from one start up to the last; the start numbered i is at i % longest.
    """
    n_words, buckets, dim, longest = settings[0], settings[1], settings[4], settings[6]
    rows = _0
    for back in range(_1, min(n_before, longest - _1) + _1):
        place = (n_before - back) % longest
        chains[place] = chains[place] * _CHAIN + word
        bucket = chains[place] % buckets
        if (kept[bucket >> _6] >> (bucket & _63)) & _1 == _0:
            continue
        for q in range(_0, dim, _16):
            add_lanes(total, home + q, weights, ((n_words + _rank(bucket, kept, rank)) * dim + q) << _2)
        rows += _1
    chains[n_before % longest] = word
    return rows


_POOL = types.void(
    ro(types.uint8), ro(types.int64), ro(types.uint8), ro(types.int32), ro(types.uint8), ro(types.int64), ro(types.uint64), ro(types.int32),
    ro(types.uint64), rw(types.uint64), rw(types.float32), rw(types.uint64), rw(types.uint64), rw(types.uint32), rw(types.int64),
    rw(types.uint64), rw(types.uint64), rw(types.float64), rw(types.int64),
)  # fmt: skip


@kernel(_POOL, allocates=False)
def pool(
    data: Any, offsets: Any, weights: Any, slots: Any, word_bytes: Any, word_offsets: Any, kept: Any, rank: Any, settings: Any,
    memory: Any, vectors: Any, words: Any, missed: Any, planes: Any, places: Any, listed: Any, chains: Any, total: Any, n_rows: Any,
) -> None:  # fmt: skip
    """Sum the vectors of all words and n-grams of each document.

    data u8[nbytes], offsets i64[n+1]; weights: the bytes of f32[rows * D]; slots .. rank: the fields of FastTextModel, kept and rank with a row for every bucket where nothing was pruned
    settings u64[7]: n_words, buckets, shortest, longest, D, bytes of the longest word, longest word n-gram
    memory u64[(S + CHUNK + 1) * (HEAD + D / 2)]: S remembered words, S a power of two; CHUNK new ones; the mark at the end
    of a document, which the caller sets. vectors f32[]: the same memory
    words u64[WORD * CHUNK], missed u64[CHUNK + 1], planes u32[(PLANES + n-gram lengths) * PLANE], places i64[ROOM],
    listed u64[(ROOM + 1) * (n-gram lengths + 1)], chains u64[longest word n-gram]: scratch
    total f64[n * D], n_rows i64[n]: written; the sums, and how many vectors are in them; 0 for a document without words
    Linear in the number of bytes: each character starts at most (longest n-gram) n-grams.
    """
    dim, word_ngrams = settings[4], settings[6]
    stride = _8 + (dim >> _1)
    n_slots = _U64(memory.shape[0]) // stride - _CHUNK - _1
    end_mark = (n_slots + _CHUNK) * stride
    n_docs = _U64(offsets.shape[0] - 1)
    total[:] = 0.0
    n_rows[:] = 0
    d, at, seen, n_hashes = _0, _U64(offsets[0]), False, _0
    while d < n_docs:
        count, d, at, seen = gather_words(data, offsets, d, at, seen, memory, n_slots, stride, words)
        n_missed = look_up(words, count, memory, n_slots, stride, missed)
        if n_missed > _0:
            _sum_missed(
                data, words, missed, n_missed, memory, vectors, planes, places, listed,
                weights, slots, word_bytes, word_offsets, kept, rank, settings,
            )  # fmt: skip
        for w in range(_0, count * _WORD, _WORD):
            slot, doc = words[w + SLOT], words[w + DOC]
            for q in range(_0, dim, _16):
                add_lanes(total, doc * dim + q, vectors, ((slot + _8) << _1) + q)
            rows = memory[slot + _COUNT]
            if word_ngrams > _1 and memory[slot + _MARK] != LABEL_WORD:
                rows += _add_chains(total, doc * dim, weights, chains, n_hashes, memory[slot + _MARK], kept, rank, settings)
                n_hashes = _0 if slot == end_mark else n_hashes + _1
            n_rows[doc] += np.int64(rows)
        for m in range(n_missed):
            w = missed[m]
            slot, home = words[w + SLOT], words[w + HOME]
            if home != end_mark:
                for i in range(_4):
                    memory[home + i] = words[w + i]
                for i in range(_4, stride):
                    memory[home + i] = memory[slot + i]
