"""Sum the vectors of all words and character n-grams of documents: the costly part of running a fastText model.

n documents, D dimensions of the model (padded to a multiple of LANES).

Words go through in chunks, across documents, in passes with few branches that can't be foreseen, each having fetched what the next
one needs:

1. Words are found in the text, 64 bytes at a time, cut out, and looked up in the memory of words (`fasttext_lookup.py`).
2. The characters of those that it misses are laid out side by side, the n-grams that start at every one of them are hashed
   eight at once, and become buckets (`fasttext_grams.py`).
3. The rows of the missed words are listed, and added up in fastText's order.
4. The vectors of all words are added to their documents, in the order of the text, and the missed ones are remembered.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from curate.kernels.compiled import kernel, leaf, ro, rw
from curate.kernels.fasttext_grams import GRAMS, LEFT, ROOM, count_left, fill, fill_ascii, hash_grams, list_rows, narrow, row_rank
from curate.kernels.fasttext_lanes import BLOCK
from curate.kernels.fasttext_lookup import (
    CHUNK,
    COUNT,
    FIRST,
    HASHED,
    HOME,
    LAST,
    MARK,
    ROW,
    SHORT,
    SIZE,
    SLOT,
    START,
    WORD,
    find_words,
    gather_words,
    look_up,
)
from curate.kernels.fasttext_words import OFFSET, hashed
from curate.kernels.lanes import add_all, add_lanes, sum_lanes

# Positions are unsigned: numba then leaves out its test for negative indices.
_U64: Any = np.uint64
_0, _1, _2, _4, _6, _8, _16, _63 = (_U64(i) for i in (0, 1, 2, 4, 6, 8, 16, 63))
_CHUNK, _WORD, _COUNT, _MARK, _ROOM = _U64(CHUNK), _U64(WORD), _U64(COUNT), _U64(MARK), _U64(ROOM)
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
def _word_hash(data: Any, start: Any, stop: Any) -> Any:
    h = OFFSET
    for i in range(start, stop):
        h = hashed(h, data[i])
    return h


@leaf
def _begin_word(
    data: Any, words: Any, w: Any, memory: Any, slots: Any, word_bytes: Any, word_offsets: Any, likely: Any, settings: Any
) -> None:  # fmt: skip
    """Look a word up in the model's dictionary. ROW: where its row starts, in bytes, or _NONE; COUNT and MARK in its slot.

    fastText's hash is only made of words that `likely` does not rule out, or for word n-grams.
    """
    h, size, start, slot = words[w + HASHED], words[w + SIZE], words[w + START], words[w + SLOT]
    row, mark = _NONE, _0
    place = h & ((_U64(likely.shape[0]) << _6) - _1)
    maybe = (likely[place >> _6] >> (place & _63)) & _1 if words[w + SHORT] else _U64(size <= settings[5])
    if maybe or settings[6] > _1:
        fasttext_hash = _word_hash(data, start, start + size)
        mark = _U64(np.int64(np.int32(fasttext_hash)))
        if maybe:
            word = _word_number(fasttext_hash, data, start, size, slots, word_bytes, word_offsets)
            if word >= np.int64(settings[0]):
                mark = LABEL_WORD
            elif word >= 0:
                row = _U64(word) * (settings[4] << _2)
    memory[slot + _COUNT], memory[slot + _MARK], words[w + ROW] = _0, mark, row


@leaf
def _lay_out(
    data: Any, words: Any, missed: Any, plain: Any, n_missed: Any, m: Any, begun: Any, at: Any, memory: Any, planes: Any, places: Any,
    slots: Any, word_bytes: Any, word_offsets: Any, likely: Any, settings: Any,
) -> Any:  # fmt: skip
    """Lay out missed words from number m on, until the room is full. FIRST, LAST: their characters, '<' and '>' included.

    begun: word m goes on at data[at]. Returns (m, n, border, widest, whole): the word that did not fit in or n_missed; characters, and how
    many of them are those of ASCII words; whether no part of word m was laid out.
    """
    n, border, widest, whole = _0, _0, _1, True
    while m < n_missed:
        w, first = missed[m], n
        size = words[w + SIZE]
        if m < plain and n + size + _2 > _ROOM:
            break
        if not begun:
            _begin_word(data, words, w, memory, slots, word_bytes, word_offsets, likely, settings)
            at = words[w + START]
            if n < _ROOM:
                planes[n] = _OPEN
                n += _1
        if m < plain:
            fill_ascii(words, w, n, planes)
            n += size
            border = n + _1
        else:
            stop = words[w + START] + size
            n, reached, widest = fill(data, at, stop, n, planes, places, widest)
            if reached < stop or n == _ROOM:
                whole = first > _0
                if whole:
                    narrow(planes, first, n)
                    n = first
                break
        planes[n] = _CLOSE
        n += _1
        count_left(planes, first, n)
        planes[LEFT + n - _1] = np.uint32(0)  # no n-gram starts at '>'
        words[w + FIRST], words[w + LAST] = first, n
        m, begun = m + _1, False
    return m, n, border, widest, whole


@leaf
def _sum_missed(
    data: Any, words: Any, missed: Any, plain: Any, n_missed: Any, memory: Any, vectors: Any, planes: Any, places: Any, listed: Any,
    upto: Any, weights: Any, slots: Any, word_bytes: Any, word_offsets: Any, likely: Any, kept: Any, rank: Any, settings: Any,
) -> None:  # fmt: skip
    """Set count, mark and vector in the slot of every missed word: its rows summed in float32, one after the other.

    A word of more characters than there is room for goes through in pieces that overlap by the longest n-gram.
    """
    n_words, buckets, shortest, longest, dim, nowhere = (
        settings[0],
        settings[1],
        max(settings[2], _1),
        settings[3],
        settings[4],
        settings[7],
    )
    lengths = longest + _1 - shortest if longest >= shortest else _0
    m, begun, at = _0, False, _0
    while m < n_missed:
        m0, begun0 = m, begun
        m, n, border, widest, whole = _lay_out(
            data, words, missed, plain, n_missed, m, begun, at, memory, planes, places, slots, word_bytes, word_offsets, likely, settings
        )
        stop_word = m
        if not whole:  # a piece of a long word, which fills the room alone
            stop_word, words[missed[m] + FIRST] = m + _1, _0
            words[missed[m] + LAST] = n - longest if longest > _0 else _0
            count_left(planes, _0, n)
            begun, at = True, _U64(places[n - max(longest, _1)])
        else:
            begun = False
        hash_grams(planes, n, border, widest, shortest, longest, lengths, buckets, nowhere)
        if shortest == _1 and lengths > _0:
            for j in range(m0, stop_word):
                if j > m0 or not begun0:
                    planes[GRAMS + words[missed[j] + FIRST]] = np.uint32(nowhere)  # '<' alone is no n-gram
        if widest > _1:
            narrow(planes, border, n)
        list_rows(planes, n, lengths, kept, rank, n_words, dim << _2, weights, listed, upto)
        for j in range(m0, stop_word):
            w, new = missed[j], j > m0 or not begun0
            slot = words[w + SLOT]
            begin, end = upto[words[w + FIRST]], upto[words[w + LAST]]
            if memory[slot + _MARK] == LABEL_WORD:
                begin = end
            elif new and words[w + ROW] != _NONE:
                begin -= _1  # the rows of the word before are summed already
                listed[begin] = words[w + ROW]
            memory[slot + _COUNT] += end - begin
            for q in range(_0, dim, _16):
                sum_lanes(vectors, ((slot + _8) << _1) + q, weights, q << _2, listed, begin, end, new)


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
            add_lanes(total, home + q, weights, ((n_words + row_rank(bucket, kept, rank)) * dim + q) << _2)
        rows += _1
    chains[n_before % longest] = word
    return rows


_U8, _I32, _I64, _U64S = types.uint8, types.int32, types.int64, types.uint64
_POOL = types.void(
    ro(_U8), ro(_I64), ro(_U8), ro(_I32), ro(_U8), ro(_I64), ro(_U64S), ro(_U64S), ro(_I32), ro(_U64S),
    rw(_U64S), rw(types.float32), rw(_U64S), rw(_U64S), rw(types.uint32), rw(_I64), rw(_U64S), rw(_U64S), rw(_U64S), rw(_U8), rw(_U64S),
    rw(types.float64), rw(_I64),
)  # fmt: skip


@kernel(_POOL, allocates=False)
def pool(
    data: Any, offsets: Any, weights: Any, slots: Any, word_bytes: Any, word_offsets: Any, likely: Any, kept: Any, rank: Any, settings: Any,
    memory: Any, vectors: Any, words: Any, missed: Any, planes: Any, places: Any, listed: Any, upto: Any, chains: Any, tail: Any, bounds: Any,
    total: Any, n_rows: Any,
) -> None:  # fmt: skip
    """Sum the vectors of all words and n-grams of each document.

    data u8[nbytes], offsets i64[n+1]; weights: the bytes of f32[rows * D]; slots .. word_offsets, kept, rank: the fields of FastTextModel, kept
    and rank with a row for every bucket where nothing was pruned, and kept with 64 buckets more that have none
    likely u64[power of two]: a set bit for every dictionary word of at most KEY bytes (`place_of`), and few others
    settings u64[8]: n_words, buckets, shortest, longest, D, bytes of the longest word, longest word n-gram, a bucket without a row
    memory u64[(S + CHUNK + 1) * (HEAD + D / 2)]: S remembered words, S a power of two; CHUNK new ones; the mark at the end
    of a document, which the caller sets. vectors f32[]: the same memory
    words u64[WORD * CHUNK], missed u64[2 * CHUNK + 2], planes: `empty_planes`, places i64[ROOM], listed u64[(ROOM + 1) * (n-gram lengths + 1)],
    upto u64[ROOM + 1], chains u64[longest word n-gram], tail u8[2 * BLOCK], bounds u64[2 * CHUNK]: scratch
    total f64[n * D], n_rows i64[n]: zeros; become the sums, and how many vectors are in them
    Linear in the number of bytes: each character starts at most (longest n-gram) n-grams.
    """
    dim, word_ngrams = settings[4], settings[6]
    stride = _8 + (dim >> _1)
    n_slots = _U64(memory.shape[0]) // stride - _CHUNK - _1
    end_mark = (n_slots + _CHUNK) * stride
    n_docs = _U64(offsets.shape[0] - 1)
    size = _U64(data.shape[0])
    near = min(size, _U64(BLOCK - 1))
    for i in range(_U64(2 * BLOCK)):
        tail[i] = data[size - near + i] if i < near else np.uint8(0)
    d, at, inside, seen, n, n_hashes = _0, _U64(offsets[0]), _0, _0, _0, _0
    while d < n_docs:
        d, at, inside, seen, n = find_words(data, tail, offsets, d, at, inside, seen, bounds, n)
        count = gather_words(data, tail, bounds, n, memory, n_slots, stride, words)
        bounds[0], n = bounds[max(n, _1) - _1], inside
        plain, n_missed = look_up(words, count, memory, n_slots, stride, missed)
        if n_missed > _0:
            _sum_missed(
                data, words, missed, plain, n_missed, memory, vectors, planes, places, listed, upto,
                weights, slots, word_bytes, word_offsets, likely, kept, rank, settings,
            )  # fmt: skip
        w, end = _0, count * _WORD
        while w < end:
            first, doc, rows = w, d, _0
            while w < end and doc == d:  # the words of one document
                rows += memory[words[w + SLOT] + _COUNT]
                doc = words[w + START] if words[w + SIZE] == _0 else d
                w += _WORD
            if word_ngrams > _1:
                for word in range(first, w, _WORD):
                    slot = words[word + SLOT]
                    for q in range(_0, dim, _16):
                        add_lanes(total, doc * dim + q, vectors, ((slot + _8) << _1) + q)
                    mark = memory[slot + _MARK]
                    if mark != LABEL_WORD:
                        rows += _add_chains(total, doc * dim, weights, chains, n_hashes, mark, kept, rank, settings)
                        n_hashes = _0 if slot == end_mark else n_hashes + _1
            else:
                for q in range(_0, dim, _16):
                    add_all(total, doc * dim + q, vectors, _16 + q, words, first + SLOT, w, _WORD)
            n_rows[doc] += np.int64(rows)
        for m in range(n_missed):
            w = missed[m]
            slot, home = words[w + SLOT], words[w + HOME]
            if home != end_mark:
                for i in range(_4):
                    memory[home + i] = words[w + i]
                for i in range(_4, stride):
                    memory[home + i] = memory[slot + i]
