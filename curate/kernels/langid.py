"""Run a fastText classifier over whole documents: the language identification kernel.

n documents, D dimensions of the model, W words of a document, L labels.

Labels equal fastText's `predict(text with newlines as spaces, k=1)` on all 77,000 real documents compared by `tests/parity/
test_langid_parity.py`; scores agree to 6e-6 on documents up to 20 kB. Beyond, they differed by up to
5e-5 (9 documents by more than 1e-5), and in the worst of those ours was within 3e-7 of a sum in float64. Where we differ,
on purpose:

* Order of sums. fastText adds the vectors of all words and n-grams of a text one after the other in float32. We add
  those of one word in float32, then the words in float64. A word's vector then depends on the word alone, so it can be
  remembered, and the result is the same bits whether it was remembered or not, in any batch. Long texts lose less.
* The probability of a label is a product in float64 of the branch probabilities (fastText: exp of a float32 sum of
  logarithms), each plus 1e-5 as there; so a score may exceed 1 by some 1e-5. The exponential is our own polynomial:
  the C library's may differ in the last bit from one CPU type to another.
* The token `</s>` inside a text is skipped. fastText ends the text there and ignores the rest.

Words are remembered by their bytes (up to 32 of them, never NUL, which is white space here), compared whole: a hash only
chooses the place. The memory is one per `Identifier`, so an Identifier must not be called by two threads at once.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from curate.kernels.compiled import kernel, leaf, ro, rw
from curate.kernels.fasttext_model import FastTextModel
from curate.kernels.strings import I64, U8

SLOTS = 1 << 15  # remembered words: 32 byte key + D floats each, 3.2 MB for D = 16
SCRATCH = 512  # 5 for a word's bytes, the rest for rows to be added
LANES = 8  # vectors are padded with zeros to a multiple of this and added that many numbers at a time

# Positions are unsigned: numba then leaves out its test for negative indices.
_U64: Any = np.uint64
_0, _1, _2, _3, _4, _5, _6, _7, _8 = (_U64(i) for i in range(9))
_I64_0: Any = np.int64(0)
_63, _LONGEST_KEY = _U64(63), _U64(32)
_OFFSET, _PRIME, _SIGN = np.uint32(2166136261), np.uint32(16777619), np.uint32(0xFFFFFF00)
_MIX = np.uint64(0x9E3779B97F4A7C15)
_MARK_END, _MARK_LABEL = np.uint64(int.from_bytes(b"</s>")), np.uint64(int.from_bytes(b"__label_"))
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_INVERSE_FACTORIALS = np.array([1.0 / math.factorial(i) for i in range(13, -1, -1)])
_ODD, _PAIRS, _NIBBLES, _BYTES = (np.uint64(m) for m in (0x5555555555555555, 0x3333333333333333, 0x0F0F0F0F0F0F0F0F, 0x0101010101010101))


@leaf
def _add_listed(into: Any, to: Any, rows: Any, listed: Any, count: Any, dim: Any) -> None:
    """into[to : to + dim] += each of the first `count` rows named in `listed`, in that order, the sums kept in registers."""
    for q in range(_0, dim, _8):
        i = to + q
        a0, a1, a2, a3 = into[i], into[i + _1], into[i + _2], into[i + _3]
        a4, a5, a6, a7 = into[i + _4], into[i + _5], into[i + _6], into[i + _7]
        for k in range(count):
            j = listed[k] + q
            a0 += rows[j]
            a1 += rows[j + _1]
            a2 += rows[j + _2]
            a3 += rows[j + _3]
            a4 += rows[j + _4]
            a5 += rows[j + _5]
            a6 += rows[j + _6]
            a7 += rows[j + _7]
        into[i], into[i + _1], into[i + _2], into[i + _3] = a0, a1, a2, a3
        into[i + _4], into[i + _5], into[i + _6], into[i + _7] = a4, a5, a6, a7


@leaf
def _hashed(h: Any, b: Any) -> Any:
    """One byte of fastText's hash: FNV-1a in 32 bits (wraps around), the byte sign-extended."""
    return np.uint32((h ^ (np.uint32(b) | (_SIGN if b > 127 else np.uint32(0)))) * _PRIME)


@leaf
def _word_number(data: Any, start: Any, size: Any, slots: Any, word_bytes: Any, word_offsets: Any) -> Any:
    """Number of the word data[start : start + size] in the model's dictionary, or -1."""
    h = _OFFSET
    for i in range(start, start + size):
        h = _hashed(h, data[i])
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


_POOL = types.void(
    ro(types.uint8), ro(types.int64), ro(types.float32), ro(types.int32), ro(types.uint8), ro(types.int64), ro(types.uint64), ro(types.int32),
    ro(types.uint64), rw(types.uint64), rw(types.float32), rw(types.int64), rw(types.uint64), rw(types.float64),
    rw(types.int64),
)  # fmt: skip


@kernel(_POOL, allocates=False)
def pool(
    data: Any, offsets: Any, weights: Any, slots: Any, word_bytes: Any, word_offsets: Any, kept: Any, rank: Any, settings: Any,
    keys: Any, vectors: Any, counts: Any, scratch: Any, total: Any, n_rows: Any,
) -> None:  # fmt: skip
    """Sum the vectors of all words and n-grams of each document.

    data u8[nbytes], offsets i64[n+1]; weights f32[rows * D], slots .. settings: the fields of FastTextModel
    keys u64[S * 4], vectors f32[(S + 1) * D], counts i64[S + 1]: remembered words; the last is scratch for longer words
    scratch u64[SCRATCH]; total f64[n * D]: written; n_rows i64[n]: number of vectors summed, 0 for a document without words
    Linear in the number of bytes: each character starts at most (longest n-gram) n-grams.
    """
    n_words, buckets, shortest, longest, end_row, dim = (
        settings[0],
        np.uint32(settings[1]),
        settings[2],
        settings[3],
        settings[4],
        settings[6],
    )
    pruned = settings[5] != _0
    n_slots = np.uint64(counts.shape[0] - 1)
    slot_mask = n_slots - _1
    key, listed = scratch[:5], scratch[5:]
    full = listed.shape[0] - np.int64(longest)
    total[:] = 0.0
    for d in range(offsets.shape[0] - 1):
        home = np.uint64(d) * dim
        rows, has_word = _I64_0, False
        at, stop = np.uint64(offsets[d]), np.uint64(offsets[d + 1])
        while at < stop:
            # One word, its bytes packed into `key` on the way. White space: space, \t \n \v \f \r, NUL.
            start, packed = at, _0
            key[0], key[1], key[2], key[3] = _0, _0, _0, _0
            while at < stop:
                b = data[at]
                if b <= 32 and (b == 32 or b == 0 or 9 <= b <= 13):
                    break
                packed = (packed << _8) | np.uint64(b)
                at += _1
                if (at - start) & _7 == _0:
                    key[min((at - start - _1) >> _3, _4)] = packed
                    packed = _0
            size = at - start
            at += _1  # the white space after it
            if size == _0:
                continue
            has_word = True
            if size & _7 != _0:
                key[min(size >> _3, _4)] = packed
            if (size == _4 and key[0] == _MARK_END) or (size > _8 and key[0] == _MARK_LABEL and data[start + _8] == 95):
                continue  # marks of fastText's training files, not words
            slot = n_slots
            known = False
            if size <= _LONGEST_KEY:
                h = (key[0] ^ (key[0] >> np.uint64(29))) * _MIX
                h = (h ^ key[1] ^ (h >> np.uint64(32))) * _MIX
                h = (h ^ key[2] ^ (h >> np.uint64(32))) * _MIX
                h = (h ^ key[3] ^ (h >> np.uint64(32))) * _MIX
                slot = (h >> np.uint64(40)) & slot_mask
                k = slot << _2
                known = keys[k] == key[0] and keys[k + _1] == key[1] and keys[k + _2] == key[2] and keys[k + _3] == key[3]
                if not known:
                    keys[k], keys[k + _1], keys[k + _2], keys[k + _3] = key[0], key[1], key[2], key[3]
            vector = slot * dim
            if not known:
                found, count = _I64_0, _I64_0
                for q in range(vector, vector + dim):
                    vectors[q] = np.float32(0)
                word = _word_number(data, start, size, slots, word_bytes, word_offsets)
                if word >= 0:
                    listed[0], count = _U64(word) * dim, 1
                # n-grams of "<word>": position 0 is '<', 1 .. size the word, size + 1 is '>'.
                end = size + _2
                i = _0
                while i < end:
                    j, after, grams = i, end, _1
                    b = np.uint8(60) if i == _0 else (np.uint8(62) if i > size else data[start + i - _1])
                    h32 = _OFFSET
                    while j < end and grams <= longest:
                        while True:
                            h32 = _hashed(h32, b)
                            j += _1
                            b = np.uint8(62) if j > size else data[start + j - _1]
                            if b & 0xC0 != 0x80:
                                break
                        if grams == _1:
                            after = j
                        if grams >= shortest and not (grams == _1 and (i == _0 or j == end)):
                            bucket = np.uint64(h32 % buckets)
                            row = n_words + bucket
                            alive = True
                            if pruned:
                                bits, shift = kept[bucket >> _6], bucket & _63
                                alive = (bits >> shift) & _1 != _0
                                if alive:
                                    x = bits & ((_1 << shift) - _1)  # kept buckets below it in this 64-bit word: count bits
                                    x = x - ((x >> _1) & _ODD)
                                    x = (x & _PAIRS) + ((x >> _2) & _PAIRS)
                                    x = (((x + (x >> _4)) & _NIBBLES) * _BYTES) >> np.uint64(56)
                                    row = n_words + np.uint64(rank[bucket >> _6]) + x
                            if alive:
                                listed[count] = row * dim
                                count += 1
                        grams += _1
                    i = after
                    if count > full or i == end:
                        _add_listed(vectors, vector, weights, listed, count, dim)
                        found += count
                        count = 0
                counts[slot] = found
            for q in range(dim):
                total[home + q] += np.float64(vectors[vector + q])
            rows += counts[slot]
        if has_word and end_row < n_words:
            for q in range(dim):
                total[home + q] += np.float64(weights[end_row * dim + q])
            rows += 1
        n_rows[d] = rows


@leaf
def _exp(x: Any) -> Any:
    """exp(x) for |x| up to 40 (clipped beyond), the same bits on every CPU."""
    y = min(max(x, -40.0), 40.0)
    k = math.floor(y * 1.4426950408889634 + 0.5)
    r = (y - k * _LN2_HIGH) - k * _LN2_LOW
    p = 0.0
    for i in range(14):
        p = p * r + _INVERSE_FACTORIALS[i]
    return math.ldexp(p, int(k))


_CHOOSE = types.void(
    ro(types.float64), ro(types.int64), ro(types.float32), ro(types.int32), ro(types.int32), rw(types.float32), rw(types.int64), rw(types.float64),
    rw(types.int32), rw(types.float64),
)  # fmt: skip


@kernel(_CHOOSE, allocates=False)
def choose(
    total: Any, n_rows: Any, output: Any, left: Any, right: Any, hidden: Any, stack: Any, chance: Any, label: Any, score: Any
) -> None:  # fmt: skip
    """Write the most probable label of each document and its probability.

    total f64[n * D], n_rows i64[n]: what `pool` wrote; output f32[nodes * D]
    left, right i32[2L - 1]: Huffman tree of a hierarchical softmax; one element each for a plain softmax
    hidden f32[D], stack i64[nodes + 2], chance f64[nodes + 2]: scratch
    label i32[n]: -1 where n_rows is 0; score f64[n]: a float32 value, 0.0 there
    """
    n = n_rows.shape[0]
    dim = hidden.shape[0]
    tree = left.shape[0] > 1
    n_labels = (left.shape[0] + 1) // 2
    nodes = left.shape[0] if tree else output.shape[0] // dim
    for d in range(n):
        label[d], score[d] = -1, 0.0
        if n_rows[d] == 0:
            continue
        for q in range(dim):
            hidden[q] = np.float32(total[d * dim + q] / n_rows[d])
        best, best_label = -1.0, _I64_0 - 1
        # Tree: walk it, the likelier branch first. Plain: every label's dot product, kept in `chance`.
        stack[0], chance[0], depth = nodes - 1, 1.0, nodes if not tree else 1
        top = -1e30
        while depth > 0:
            depth -= 1
            node, p = (stack[depth], chance[depth]) if tree else (depth, 0.0)
            if tree and p <= best:
                continue
            if tree and left[node] < 0:
                best, best_label = p, node
                continue
            dot = np.float32(0)
            base = (node - n_labels if tree else node) * dim
            for q in range(dim):
                dot += output[base + q] * hidden[q]
            if not tree:
                chance[node] = np.float64(dot)
                if chance[node] >= top:
                    top, best_label = chance[node], node
                continue
            f = np.float64(np.float32(1.0 / (1.0 + _exp(-np.float64(dot)))))
            p_right, p_left = p * (f + 1e-5), p * (1.0 - f + 1e-5)
            right_last = p_right >= p_left
            stack[depth], chance[depth] = (left[node], p_left) if right_last else (right[node], p_right)
            stack[depth + 1], chance[depth + 1] = (right[node], p_right) if right_last else (left[node], p_left)
            depth += 2
        if not tree:
            z = 0.0
            for node in range(nodes):
                z += _exp(chance[node] - top)
            best = 1.0 / z + 1e-5
        label[d] = best_label
        score[d] = np.float64(np.float32(best))


class Identifier:
    """A model with its memory of words. One per process and step."""

    def __init__(self, model: FastTextModel, slots: int = SLOTS) -> None:
        """slots: how many words are remembered, a power of two; the result does not depend on it."""
        self.labels = model.labels
        self._model = model
        self._dim = (model.weights.shape[1] + LANES - 1) // LANES * LANES
        self._weights, self._output = _padded(model.weights, self._dim), _padded(model.output, self._dim)
        m = model
        end_row = m.end_row if m.end_row >= 0 else m.n_words
        self._settings = np.array([m.n_words, m.buckets, m.shortest, m.longest, end_row, m.pruned, self._dim], np.uint64)
        self._keys = np.zeros(slots * 4, np.uint64)
        self._vectors = np.zeros((slots + 1) * self._dim, np.float32)
        self._counts = np.zeros(slots + 1, np.int64)
        self._scratch = np.zeros(SCRATCH, np.uint64)
        nodes = max(len(m.left), len(m.output)) + 2
        self._hidden, self._stack, self._chance = np.zeros(self._dim, np.float32), np.zeros(nodes, np.int64), np.zeros(nodes, np.float64)

    def __call__(self, data: U8, offsets: I64) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
        """Return (number of the best label or -1, its score) of every document of a large_string column."""
        m, n = self._model, len(offsets) - 1
        total, n_rows = np.empty(n * self._dim, np.float64), np.empty(n, np.int64)
        pool(
            data, offsets, self._weights, m.slots, m.word_bytes, m.word_offsets, m.kept, m.rank, self._settings,
            self._keys, self._vectors, self._counts, self._scratch, total, n_rows,
        )  # fmt: skip
        label, score = np.empty(n, np.int32), np.empty(n, np.float64)
        choose(total, n_rows, self._output, m.left, m.right, self._hidden, self._stack, self._chance, label, score)
        return label, score


def _padded(matrix: npt.NDArray[np.float32], dim: int) -> npt.NDArray[np.float32]:
    wide = np.zeros((matrix.shape[0], dim), np.float32)
    wide[:, : matrix.shape[1]] = matrix
    return wide.reshape(-1)
