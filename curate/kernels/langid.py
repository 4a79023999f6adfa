"""Run a fastText classifier over whole documents: the language identification kernel.

n documents, D dimensions of the model, W words of a document, L labels.

Runs every supervised model: `fasttext_model.py` reads it, `fasttext_pool.py` sums vectors, `fasttext_output.py` ranks labels.

Labels equal fastText's `predict(text with newlines as spaces, k=1)` on all 77,000 real documents compared by `tests/parity/
test_langid_parity.py`, and on models of every loss, quantised or not (docs/language.md); scores agree to 6e-6 on documents up to 20 kB. Beyond, they differed by up to
5e-5 (9 documents by more than 1e-5), and in the worst of those ours was within 3e-7 of a sum in float64. Where we differ,
on purpose:

* Order of sums. fastText adds the vectors of all words and n-grams of a text one after the other in float32. We add
  those of one word in float32, then the words in float64. A word's vector then depends on the word alone, so it can be
  remembered, and the result is the same bits whether it was remembered or not, in any batch. Long texts lose less.
* The probability of a label is a product in float64 of the branch probabilities; fastText's is exp of a float32 sum of
  logarithms.
* The token `</s>` inside a text is skipped. fastText ends the text there and ignores the rest.

The memory of words is one per `Identifier`, so an Identifier must not be called by two threads at once.
"""

from __future__ import annotations

import contextlib
import mmap

import numpy as np
import numpy.typing as npt

from curate.kernels.fasttext_grams import ROOM, empty_planes
from curate.kernels.fasttext_lanes import BLOCK, KEY
from curate.kernels.fasttext_lookup import CHUNK, COUNT, HEAD, MARK, WORD, place_of
from curate.kernels.fasttext_model import END_OF_LINE, HIERARCHICAL, FastTextModel, word_hash
from curate.kernels.fasttext_output import best_labels, best_leaf
from curate.kernels.fasttext_pool import pool
from curate.kernels.lanes import LANES
from curate.kernels.strings import I64, U8

SLOTS = 1 << 17  # remembered words at most: 64 bytes for the word and D floats each, 16.8 MB for D = 16
MEMORY = 32 << 20  # bytes of this at most, so that a model of 256 dimensions remembers 16,384
HUGE_PAGE = 2 << 20
MOST_LIKELY = 24  # 2^this bits at most tell dictionary words from others: 2 MB
ALIGNED = 256 << 20  # bytes of a matrix up to which it is copied to where its rows start cache lines


class Identifier:
    """A model with its memory of words. One per process and step."""

    def __init__(self, model: FastTextModel, slots: int = SLOTS) -> None:
        """slots: how many words are remembered, a power of two; the result does not depend on it."""
        self.labels = model.labels
        self._model = m = model
        self._dim = (m.weights.shape[1] + LANES - 1) // LANES * LANES
        self._weights, output = _row_bytes(m.weights, self._dim), _padded(m.output, self._dim)
        self._output = output if m.loss == HIERARCHICAL else np.ascontiguousarray(output.reshape(-1, self._dim).T).reshape(-1)
        longest_word = int(np.diff(m.word_offsets).max())
        self._settings = np.array([m.n_words, m.buckets, m.shortest, m.longest, self._dim, longest_word, m.word_ngrams, 0], np.uint64)
        kept, self._below = (m.kept, m.rank) if m.pruned else _every_bucket(m.buckets)
        self._kept, self._settings[7] = np.append(kept, np.uint64(0)), 64 * len(kept)
        self._likely = _likely(m)
        self._memory = _memory(model, self._dim, slots)
        lengths = max(0, m.longest - max(m.shortest, 1) + 1)
        self._scratch = (
            np.zeros(WORD * CHUNK, np.uint64), np.zeros(2 * CHUNK + 2, np.uint64), empty_planes(lengths), np.zeros(ROOM, np.int64),
            np.zeros((ROOM + 1) * (lengths + 1), np.uint64), np.zeros(ROOM + 1, np.uint64), np.zeros(m.word_ngrams, np.uint64),
            np.zeros(2 * BLOCK, np.uint8), np.zeros(2 * CHUNK, np.uint64),
        )  # fmt: skip
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
        total, n_rows = np.zeros(n * self._dim, np.float64), np.zeros(n, np.int64)
        pool(
            data, offsets, self._weights, m.slots, m.word_bytes, m.word_offsets, self._likely, self._kept, self._below,
            self._settings, self._memory, self._memory.view(np.float32), *self._scratch, total, n_rows,
        )  # fmt: skip
        return total, n_rows


def _padded(matrix: npt.NDArray[np.float32], dim: int) -> npt.NDArray[np.float32]:
    wide = np.zeros((matrix.shape[0], dim), np.float32)
    wide[:, : matrix.shape[1]] = matrix
    return wide.reshape(-1)


def _row_bytes(matrix: npt.NDArray[np.float32], dim: int) -> U8:
    """The bytes of a matrix padded to `dim` columns; itself where it is large and needs none, so that it stays in its file."""
    if matrix.shape[1] == dim and matrix.nbytes > ALIGNED:
        return matrix.reshape(-1).view(np.uint8)
    wide = _aligned(matrix.shape[0] * dim // 2).view(np.float32).reshape(matrix.shape[0], dim)
    wide[:, : matrix.shape[1]] = matrix
    return wide.reshape(-1).view(np.uint8)


def _memory(model: FastTextModel, dim: int, slots: int) -> npt.NDArray[np.uint64]:
    """Room for remembered words, new ones, and the mark at the end of a document, which is set here."""
    stride = HEAD + dim // 2
    while slots * stride * 8 > MEMORY:
        slots //= 2
    memory = _aligned((slots + CHUNK + 1) * stride)
    end = (slots + CHUNK) * stride
    mark = word_hash(END_OF_LINE)
    memory[end + MARK] = (mark - (1 << 32) if mark >> 31 else mark) & (1 << 64) - 1  # the sign-extended int32
    if model.end_row >= 0:
        memory[end + COUNT] = 1
        memory[end + HEAD : end + stride].view(np.float32)[: model.weights.shape[1]] = model.weights[model.end_row]
    return memory


def _every_bucket(buckets: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int32]]:
    """`kept` and `rank` of a model from which nothing was pruned, so that the kernel knows one kind of model only."""
    n = (buckets + 63) // 64
    return np.full(n, ~np.uint64(0)), np.arange(0, n * 64, 64, dtype=np.int32)


def _likely(m: FastTextModel) -> npt.NDArray[np.uint64]:
    """A bit for every entry of the dictionary of at most KEY bytes, at least 16 times as many as entries.

    Nine of ten words that are not remembered are not in the dictionary either; finding that out there costs three cache misses.
    """
    sizes, n = np.diff(m.word_offsets), len(m.word_offsets) - 1
    bits = np.zeros(1 << min(MOST_LIKELY, max(6, (16 * n).bit_length())), np.uint8)
    for at in range(0, n, 1 << 16):
        entries = at + np.flatnonzero(sizes[at : at + (1 << 16)] <= KEY)
        keys = np.zeros((len(entries), KEY), np.uint8)
        for i in range(KEY):
            longer = np.flatnonzero(sizes[entries] > i)
            keys[longer, i] = m.word_bytes[m.word_offsets[entries[longer]] + i]
        bits[place_of(keys.view(np.uint64)) & np.uint64(len(bits) - 1)] = 1
    return np.packbits(bits, bitorder="little").view("<u8").astype(np.uint64)


def _aligned(size: int) -> npt.NDArray[np.uint64]:
    """u64[size] of zeros that starts a cache line; a large one on huge pages, where the system has them and gives them to who asks.

    Words are looked up all over it: with pages of 4 KB many look-ups wait for the address of their page first.
    """
    if size * 8 < HUGE_PAGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        wide, edge = np.zeros(size * 8 + 64, np.uint8), 64
    else:
        pages, edge = mmap.mmap(-1, size * 8 + HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), HUGE_PAGE
        with contextlib.suppress(OSError):  # a kernel without them
            pages.madvise(mmap.MADV_HUGEPAGE)
        wide = np.frombuffer(pages, np.uint8)
    skip = -wide.ctypes.data % edge
    return wide[skip : skip + size * 8].view(np.uint64)
