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

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types
from numba.extending import intrinsic

from curate.kernels.compiled import kernel, leaf, ro, rw
from curate.kernels.fasttext_model import END_OF_LINE, HIERARCHICAL, FastTextModel, word_hash
from curate.kernels.fasttext_output import best_labels, best_leaf
from curate.kernels.hashing import load64
from curate.kernels.strings import I64, U8

SLOTS = 1 << 15  # remembered words: 64 bytes of key and count + D floats each, 4.2 MB for D = 16
SCRATCH = 512  # rows to be added
LANES = 16  # vectors are padded with zeros to a multiple of this and added that many numbers at a time
HEAD = 8  # 64-bit words before the vector of a remembered word: 4 for its bytes, one for its count, three empty (a cache line)

# Positions are unsigned: numba then leaves out its test for negative indices.
_U64: Any = np.uint64
_0, _1, _2, _3, _4, _5, _6, _7, _8 = (_U64(i) for i in range(9))
_9, _10, _11, _12, _13, _14, _15, _16 = (_U64(i) for i in range(9, 17))
_I64_0: Any = np.int64(0)
_63, _LONGEST_KEY = _U64(63), _U64(32)
_OFFSET, _PRIME, _SIGN = np.uint32(2166136261), np.uint32(16777619), np.uint32(0xFFFFFF00)
_MIX = np.uint64(0x9E3779B97F4A7C15)
_ODD0, _ODD1, _ODD2, _ODD3 = (_U64(i) for i in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93, 0xA0761D6478BD642F))
_MARK_END, _MARK_LABEL = np.uint64(int.from_bytes(b"</s>", "little")), np.uint64(int.from_bytes(b"__label_", "little"))
_HIGH, _LOW, _SPACES, _FROM_9, _FROM_14 = (_U64(0x0101010101010101 * i) for i in (0x80, 0x7F, 0x20, 0x80 - 9, 0x80 - 14))
_CHAIN, _LABEL_WORD = _U64(116049371), _U64(1 << 32)  # no sign-extended int32 equals the mark of a label
_END_HASH = _U64(word_hash(END_OF_LINE) - (1 << 32 if word_hash(END_OF_LINE) >> 31 else 0) & (1 << 64) - 1)


def _native(name: str, *operands: Any) -> Any:
    """The function u64 -> u64 that LLVM calls `name`, one machine instruction."""

    def typed(_: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            from llvmlite import ir

            extra = [ir.Constant(ir.IntType(1), operand) for operand in operands]
            function = builder.module.declare_intrinsic(
                name, [ir.IntType(64)], ir.FunctionType(ir.IntType(64), [ir.IntType(64)] + [e.type for e in extra])
            )
            return builder.call(function, [*arguments, *extra])

        return types.uint64(types.uint64), generate

    return intrinsic(typed)


_ones = _native("llvm.ctpop")
_trailing_zeros = _native("llvm.cttz", 0)  # 64 for 0


def _typed_high(_: Any, a: Any, b: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        from llvmlite import ir

        wide = ir.IntType(128)
        product = builder.mul(builder.zext(arguments[0], wide), builder.zext(arguments[1], wide))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), generate


_high_half: Any = intrinsic(_typed_high)


@leaf
def _eight(data: Any, at: Any) -> Any:
    """u64: data[at : at + 8], the first byte lowest; NUL beyond the end of data."""
    if at + _8 <= _U64(data.shape[0]):
        return load64(data, np.int64(at))
    bytes_ = _0
    for i in range(at, _U64(data.shape[0])):
        bytes_ |= _U64(data[i]) << ((i - at) << _3)
    return bytes_


@leaf
def _to_white(bytes_: Any) -> Any:
    """How many of eight bytes come before the first white space: space, \\t \\n \\v \\f \\r, NUL. No sum reaches the next byte."""
    low = bytes_ & _LOW
    other = (low + _LOW) & ((low ^ _SPACES) + _LOW) & (~(low + _FROM_9) | (low + _FROM_14))
    return _trailing_zeros(~(other | bytes_) & _HIGH) >> _3


def _typed_add(_: Any, into: Any, to: Any, rows: Any, at: Any) -> Any:
    """Type and code of add_lanes(into: f32[] or f64[], to: u64, rows: f32[], at: u64): into[to : to + LANES] += rows[at : at + LANES]."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        from llvmlite import ir

        single, wide = (
            ir.VectorType(t, LANES) for t in (ir.FloatType(), ir.DoubleType() if into.dtype == types.float64 else ir.FloatType())
        )
        sums, added = (context.make_array(signature.args[k])(context, builder, arguments[k]) for k in (0, 2))
        target = builder.bitcast(builder.gep(sums.data, [arguments[1]]), wide.as_pointer())
        source = builder.load(builder.bitcast(builder.gep(added.data, [arguments[3]]), single.as_pointer()), align=4)
        if wide != single:
            source = builder.fpext(source, wide)
        builder.store(builder.fadd(builder.load(target, align=4), source), target, align=4)
        return context.get_dummy_value()

    return types.void(into, types.uint64, rows, types.uint64), generate


_add_lanes: Any = intrinsic(_typed_add)


@leaf
def _add_listed(into: Any, to: Any, rows: Any, listed: Any, count: Any, dim: Any) -> None:
    """into[to : to + dim] += each of the first `count` rows named in `listed`, in that order."""
    for q in range(_0, dim, _16):
        for k in range(count):
            _add_lanes(into, to + q, rows, listed[k] + q)


@leaf
def _add_vector(total: Any, home: Any, vectors: Any, vector: Any, dim: Any) -> None:
    """total[home : home + dim] += vectors[vector : vector + dim], in float64."""
    for q in range(_0, dim, _16):
        _add_lanes(total, home + q, vectors, vector + q)


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


@leaf
def _list_grams(
    data: Any,
    start: Any,
    stop: Any,
    opened: Any,
    shortest: Any,
    longest: Any,
    buckets: Any,
    inverse: Any,
    kept: Any,
    pruned: Any,
    listed: Any,
    count: Any,
) -> Any:
    """Append the buckets of the n-grams that start at one character of a word ending at `stop`, or at its '<' if `opened`.

    Buckets without a row are overwritten by the next one: a branch would be guessed wrong every other time.
    Returns (new count, where the second character starts).
    """
    h, grams, at, after = _OFFSET, _0, start, stop
    if opened:
        h, grams, after = _hashed(h, np.uint8(60)), _1, start
    while grams < longest:
        closed = at >= stop
        if closed:
            h = _hashed(h, np.uint8(62))
        else:
            h = _hashed(h, data[at])
            at += _1
            while at < stop and data[at] & 0xC0 == 0x80:
                h = _hashed(h, data[at])
                at += _1
        if grams == _0:
            after = at
        grams += _1
        if grams >= shortest:
            bucket = _high_half(inverse * _U64(h), buckets)
            listed[count] = bucket
            count += (kept[bucket >> _6] >> (bucket & _63)) & _1 if pruned else _1
        if closed:
            break
    return count, after


@leaf
def _to_rows(listed: Any, first: Any, count: Any, kept: Any, rank: Any, pruned: Any, n_words: Any, dim: Any) -> None:
    """Replace the buckets in listed[first : count] by where their rows start."""
    for k in range(first, count):
        bucket = listed[k]
        if pruned:
            below = kept[bucket >> _6] & ((_1 << (bucket & _63)) - _1)  # kept buckets below it in this 64-bit word
            bucket = _U64(rank[bucket >> _6]) + _ones(below)
        listed[k] = (n_words + bucket) * dim


@leaf
def _signed_hash(data: Any, start: Any, stop: Any) -> Any:
    """u64: fastText's hash of data[start:stop] as the sign-extended int32 that its word n-grams are made from."""
    h = _OFFSET
    for i in range(start, stop):
        h = _hashed(h, data[i])
    return _U64(np.int64(np.int32(h)))


@leaf
def _add_chains(
    total: Any, home: Any, weights: Any, chains: Any, n_before: Any, longest: Any, word: Any,
    buckets: Any, kept: Any, rank: Any, pruned: Any, n_words: Any, dim: Any,
) -> Any:  # fmt: skip
    """Add the rows of all word n-grams that end with this word; returns how many.

    chains u64[longest]: hash of the words from one start up to the last; the start numbered i is at i % longest.
    """
    rows = _0
    for back in range(_1, min(n_before, longest - _1) + _1):
        place = (n_before - back) % longest
        chains[place] = chains[place] * _CHAIN + word
        bucket = chains[place] % buckets
        if pruned:
            if (kept[bucket >> _6] >> (bucket & _63)) & _1 == _0:
                continue
            bucket = _U64(rank[bucket >> _6]) + _ones(kept[bucket >> _6] & ((_1 << (bucket & _63)) - _1))
        _add_vector(total, home, weights, (n_words + bucket) * dim, dim)
        rows += _1
    chains[n_before % longest] = word
    return rows


_POOL = types.void(
    ro(types.uint8), ro(types.int64), ro(types.float32), ro(types.int32), ro(types.uint8), ro(types.int64), ro(types.uint64), ro(types.int32),
    ro(types.uint64), rw(types.uint64), rw(types.float32), rw(types.uint64), rw(types.uint64), rw(types.float64),
    rw(types.int64),
)  # fmt: skip


@kernel(_POOL, allocates=False)
def pool(
    data: Any, offsets: Any, weights: Any, slots: Any, word_bytes: Any, word_offsets: Any, kept: Any, rank: Any, settings: Any,
    memory: Any, vectors: Any, listed: Any, chains: Any, total: Any, n_rows: Any,
) -> None:  # fmt: skip
    """Sum the vectors of all words and n-grams of each document.

    data u8[nbytes], offsets i64[n+1]; weights f32[rows * D], slots .. settings: the fields of FastTextModel
    memory u64[(S + 1) * (HEAD + D / 2)]: remembered words; the last is scratch for longer words. vectors f32[]: the same memory
    listed u64[SCRATCH], chains u64[longest word n-gram]: scratch; total f64[n * D]: written; n_rows i64[n]: number of vectors summed, 0 for a document without words
    Linear in the number of bytes: each character starts at most (longest n-gram) n-grams.
    """
    n_words, buckets, shortest, longest, end_row, dim = settings[0], settings[1], settings[2], settings[3], settings[4], settings[6]
    pruned, longest_word, word_ngrams = settings[5] != _0, settings[7], settings[8]
    inverse = ~_0 // buckets + _1  # h % buckets without a division: Lemire, Kaser and Kurz 2019 (arXiv:1902.01961)
    stride = _8 + (dim >> _1)
    n_slots = _U64(memory.shape[0]) // stride - _1
    slot_mask = n_slots - _1
    full = _U64(listed.shape[0]) - longest - _1
    total[:] = 0.0
    for d in range(offsets.shape[0] - 1):
        home = np.uint64(d) * dim
        rows, has_word, n_hashes = _0, False, _0
        at, stop = np.uint64(offsets[d]), np.uint64(offsets[d + 1])
        while at < stop:
            # One word, up to 32 of its bytes in k0 .. k3: the last eight first, zeros behind.
            start = at
            first = last = k0 = _eight(data, at)
            k1 = k2 = k3 = _0
            n = min(_to_white(first), stop - at)
            while n == _8:
                at += _8
                last = _eight(data, at)
                n = min(_to_white(last), stop - at)
                if at - start < _LONGEST_KEY:
                    k0, k1, k2, k3 = last, k0, k1, k2
            at += n
            size = at - start
            at += _1  # the white space after it
            if size == _0:
                continue
            if size < _LONGEST_KEY:
                k0 &= (_1 << (n << _3)) - _1
            has_word = True
            if size == _4 and k0 == _MARK_END:
                continue  # marks of fastText's training files, not words
            if size > _8 and first == _MARK_LABEL and data[start + _8] == 95:
                continue
            slot, known = n_slots * stride, False
            if size <= _LONGEST_KEY:
                h = (k0 * _ODD0) ^ (k1 * _ODD1) ^ (k2 * _ODD2) ^ (k3 * _ODD3)
                h = (h ^ (h >> np.uint64(32))) * _MIX
                slot = ((h >> np.uint64(40)) & slot_mask) * stride
                known = (memory[slot] ^ k0) | (memory[slot + _1] ^ k1) | (memory[slot + _2] ^ k2) | (memory[slot + _3] ^ k3) == _0
                if not known:
                    memory[slot], memory[slot + _1], memory[slot + _2], memory[slot + _3] = k0, k1, k2, k3
            vector = (slot + _8) << _1
            if not known:
                word_end = start + size
                found, count, fresh, mark = _0, _0, _0, _0
                for q in range(vector, vector + dim):
                    vectors[q] = np.float32(0)
                if size <= longest_word:
                    word = _word_number(data, start, size, slots, word_bytes, word_offsets)
                    if word >= np.int64(n_words):
                        mark = _LABEL_WORD
                    elif word >= 0:
                        listed[0], count, fresh = _U64(word) * dim, _1, _1
                if word_ngrams > _1 and mark == _0:
                    mark = _signed_hash(data, start, word_end)
                # n-grams of "<word>"
                i, opened = (start if mark != _LABEL_WORD else word_end), True
                while i < word_end:
                    count, i = _list_grams(data, i, word_end, opened, shortest, longest, buckets, inverse, kept, pruned, listed, count)
                    opened = False
                    if count > full or i >= word_end:
                        _to_rows(listed, fresh, count, kept, rank, pruned, n_words, dim)
                        _add_listed(vectors, vector, weights, listed, count, dim)
                        found += count
                        count, fresh = _0, _0
                memory[slot + _4], memory[slot + _5] = found, mark
            _add_vector(total, home, vectors, vector, dim)
            rows += memory[slot + _4]
            if word_ngrams > _1 and memory[slot + _5] != _LABEL_WORD:
                rows += _add_chains(
                    total, home, weights, chains, n_hashes, word_ngrams, memory[slot + _5], buckets, kept, rank, pruned, n_words, dim
                )
                n_hashes += _1
        if has_word and word_ngrams > _1:
            rows += _add_chains(total, home, weights, chains, n_hashes, word_ngrams, _END_HASH, buckets, kept, rank, pruned, n_words, dim)
        if has_word and end_row < n_words:
            _add_vector(total, home, weights, end_row * dim, dim)
            rows += _1
        n_rows[d] = rows


class Identifier:
    """A model with its memory of words. One per process and step."""

    def __init__(self, model: FastTextModel, slots: int = SLOTS) -> None:
        """slots: how many words are remembered, a power of two; the result does not depend on it."""
        self.labels = model.labels
        self._model = m = model
        self._dim = (m.weights.shape[1] + LANES - 1) // LANES * LANES
        self._weights, output = _padded(m.weights, self._dim), _padded(m.output, self._dim)
        self._output = output if m.loss == HIERARCHICAL else np.ascontiguousarray(output.reshape(-1, self._dim).T).reshape(-1)
        end_row = m.end_row if m.end_row >= 0 else m.n_words
        longest_word = int(np.diff(m.word_offsets).max())
        self._settings = np.array(
            [m.n_words, m.buckets, m.shortest, m.longest, end_row, m.pruned, self._dim, longest_word, m.word_ngrams], np.uint64
        )
        self._memory = _aligned((slots + 1) * (HEAD + self._dim // 2))
        self._listed, self._chains = np.zeros(SCRATCH, np.uint64), np.zeros(m.word_ngrams, np.uint64)
        nodes = 2 * len(m.labels) + 1
        self._hidden, self._stack, self._chance = np.zeros(self._dim, np.float32), np.zeros(nodes, np.int64), np.zeros(nodes, np.float64)
        self._dots = np.zeros(len(m.labels), np.float32)

    def __call__(self, data: U8, offsets: I64) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
        """Return (number of the best label or -1, its score) of every document of a large_string column."""
        m, n = self._model, len(offsets) - 1
        if m.loss != HIERARCHICAL:
            label, score = self.top(data, offsets, 1)
            return label[:, 0], score[:, 0]
        label, score = np.empty(n, np.int32), np.empty(n, np.float64)
        best_leaf(*self._sums(data, offsets), self._output, m.left, m.right, self._hidden, self._stack, self._chance, label, score)
        return label, score

    def top(self, data: U8, offsets: I64, k: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
        """Return the k best labels of every document, best first, and their scores: i32[n, k] and f64[n, k].

        -1 and 0.0 where there are fewer: text without a word, fewer labels, or a probability below 1e-5 in a tree.
        """
        if k < 1:
            raise ValueError(f"top {k} labels: expected at least 1")
        n = len(offsets) - 1
        label, score = np.empty(n * k, np.int32), np.empty(n * k, np.float64)
        self._rank(data, offsets, k, label, score)
        return label.reshape(n, k), score.reshape(n, k)

    def probabilities(self, data: U8, offsets: I64) -> npt.NDArray[np.float64]:
        """Return the score of every label, f64[n, L]; all 0.0 for text without a word."""
        n = len(offsets) - 1
        score = np.empty(n * len(self.labels), np.float64)
        self._rank(data, offsets, 0, np.empty(0, np.int32), score)
        return score.reshape(n, len(self.labels))

    def _rank(self, data: U8, offsets: I64, k: int, label: npt.NDArray[np.int32], score: npt.NDArray[np.float64]) -> None:
        m = self._model
        best_labels(
            *self._sums(data, offsets), self._output, m.left, m.right, m.loss, k, self._hidden, self._dots, self._chance, label, score
        )  # fmt: skip

    def _sums(self, data: U8, offsets: I64) -> tuple[npt.NDArray[np.float64], I64]:
        """Return the sum of all vectors of each document, f64[n * D], and how many they are, i64[n]."""
        m, n = self._model, len(offsets) - 1
        total, n_rows = np.empty(n * self._dim, np.float64), np.empty(n, np.int64)
        pool(
            data, offsets, self._weights, m.slots, m.word_bytes, m.word_offsets, m.kept, m.rank, self._settings,
            self._memory, self._memory.view(np.float32), self._listed, self._chains, total, n_rows,
        )  # fmt: skip
        return total, n_rows


def _padded(matrix: npt.NDArray[np.float32], dim: int) -> npt.NDArray[np.float32]:
    wide = np.zeros((matrix.shape[0], dim), np.float32)
    wide[:, : matrix.shape[1]] = matrix
    return wide.reshape(-1)


def _aligned(size: int) -> npt.NDArray[np.uint64]:
    """u64[size] of zeros that starts a cache line."""
    wide = np.zeros(size + 7, np.uint64)
    skip = -wide.ctypes.data // 8 % 8
    return wide[skip : skip + size]
