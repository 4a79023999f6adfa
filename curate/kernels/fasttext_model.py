"""Read a supervised fastText model, `.bin` (dense) or `.ftz` (quantised), into the arrays that the kernel of langid.py takes.

The layout follows fastText 0.9.2 (`FastText::loadModel`, `Dictionary::load`, `QuantMatrix::load`). Quantised rows are
decoded once, norm times centroid in float32, which is the number fastText adds for that row. n-gram rows are stored in
the order of their buckets, so that a bucket's row is its rank among the buckets that survived pruning: a bit per bucket
(256 KB for two million, which stays in the second-level cache) and a running count replace a map of 8 MB.

Not supported, and refused with a message: unsupervised models, word n-grams, negative sampling and one-vs-all losses.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.errors import CurateError

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
F32 = npt.NDArray[np.float32]

MAGIC = 793_712_314
LABEL = "__label__"
END_OF_LINE = b"</s>"
HIERARCHICAL, SOFTMAX = 1, 3
_CENTROIDS = 256


class BadModel(CurateError):
    """The file is not a fastText model that we can run."""

    exit_code = 2


@dataclass(frozen=True)
class FastTextModel:
    """Arrays of one model. Rows of `weights`: words first, then surviving n-gram buckets in bucket order."""

    labels: tuple[str, ...]  # without the prefix, in the model's order
    weights: F32  # [rows, dim]
    output: F32  # [labels or inner nodes, dim]
    left: I32  # [nodes] children in the Huffman tree, -1 at leaves; one element where the loss is softmax
    right: I32
    slots: I32  # open addressing by fastText's 32-bit word hash: word number or -1; a power of two long
    word_bytes: U8
    word_offsets: I64  # [words + 1]
    kept: U64  # one bit per bucket; one element where nothing was pruned
    rank: I32  # number of kept buckets before each 64-bit word of `kept`
    n_words: int
    buckets: int
    shortest: int  # n-gram, in characters
    longest: int
    end_row: int  # row of </s>, -1 where there is none
    pruned: bool


class _Bytes:
    """A cursor over the file's bytes that reports truncation."""

    def __init__(self, raw: bytes) -> None:
        self.raw, self.at = raw, 0

    def unpack(self, layout: str) -> tuple[int, ...]:
        try:
            values = struct.unpack_from("<" + layout, self.raw, self.at)
        except struct.error as error:
            raise BadModel("fastText model: the file ends too early") from error
        self.at += struct.calcsize("<" + layout)
        return values

    def array(self, kind: str, count: int) -> npt.NDArray[np.generic]:
        size = count * np.dtype(kind).itemsize
        if count < 0 or self.at + size > len(self.raw):
            raise BadModel("fastText model: the file ends too early")
        values = np.frombuffer(self.raw, kind, count, self.at)
        self.at += size
        return values

    def word(self) -> bytes:
        end = self.raw.find(b"\0", self.at)
        if end < 0:
            raise BadModel("fastText model: the file ends inside its word list")
        word, self.at = self.raw[self.at : end], end + 1
        return word


def parse(raw: bytes) -> FastTextModel:
    """Return the model in `raw`. Raises BadModel where it is damaged or of a kind we don't run."""
    file = _Bytes(raw)
    if len(raw) < 8 or file.unpack("2i")[0] != MAGIC:
        raise BadModel("not a fastText model: the file does not start with fastText's magic number")
    dim, _, _, _, _, word_ngrams, loss, kind, buckets, shortest, longest, _ = file.unpack("12i")
    file.unpack("d")
    if kind != 3 or word_ngrams > 1 or loss not in (HIERARCHICAL, SOFTMAX):
        raise BadModel(
            f"fastText model of kind {kind}, loss {loss}, wordNgrams {word_ngrams}: expected a supervised model (3) with "
            "hierarchical softmax (1) or softmax (3) and wordNgrams 1"
        )
    size, n_words, n_labels = file.unpack("3i")
    _, n_pruned = file.unpack("2q")
    entries = [(file.word(), file.unpack("qb")[0]) for _ in range(size)]
    pairs = file.array("<i4", 2 * max(n_pruned, 0)).reshape(-1, 2).astype(np.int64)
    weights = _matrix(file, quantised=bool(file.unpack("b")[0]))
    output = _matrix(file, quantised=bool(file.unpack("b")[0]))
    words = [word for word, _ in entries[:n_words]]
    weights, kept, rank = _prune(weights, pairs, n_words, buckets, n_pruned)
    left, right = _tree([count for _, count in entries[n_words:]]) if loss == HIERARCHICAL else (np.full(1, -1, np.int32),) * 2
    slots, word_bytes, word_offsets = _dictionary(words)
    _check(weights, output, dim, n_words, n_labels, buckets, n_pruned)
    end_row = words.index(END_OF_LINE) if END_OF_LINE in words else -1
    labels = tuple(word.decode("utf-8", "replace").removeprefix(LABEL) for word, _ in entries[n_words:])
    return FastTextModel(
        labels, weights, output, left, right, slots, word_bytes, word_offsets, kept, rank,
        n_words, max(buckets, 1), shortest, longest, end_row, n_pruned >= 0,
    )  # fmt: skip


def _check(weights: F32, output: F32, dim: int, n_words: int, n_labels: int, buckets: int, n_pruned: int) -> None:
    rows = n_words + (n_pruned if n_pruned >= 0 else buckets)
    if n_labels < 1 or weights.shape != (rows, dim) or output.shape != (n_labels, dim):
        raise BadModel(
            f"fastText model: matrices of shape {weights.shape} and {output.shape}, expected {(rows, dim)} and {(n_labels, dim)}"
        )


def _matrix(file: _Bytes, quantised: bool) -> F32:
    if not quantised:
        rows, columns = file.unpack("2q")
        return np.ascontiguousarray(file.array("<f4", rows * columns).reshape(rows, columns), np.float32)
    has_norm = file.unpack("b")[0]
    rows, columns = file.unpack("2q")
    codes = file.array("u1", file.unpack("i")[0])
    centroids, dims = _quantiser(file)
    norm = np.ones(rows, np.float32)
    if has_norm:
        norm_codes = file.array("u1", rows)
        norm = _quantiser(file)[0][norm_codes].astype(np.float32)
    parts, width, last = dims
    if rows < 0 or len(codes) != rows * parts or (parts - 1) * width + last != columns:
        raise BadModel("fastText model: a quantised matrix does not fit its code book")
    decoded = np.empty((rows, columns), np.float32)
    for part, column in enumerate(codes.reshape(rows, parts).T):
        wide = last if part == parts - 1 else width
        start = part * _CENTROIDS * width
        book = centroids[start : start + _CENTROIDS * wide].reshape(_CENTROIDS, wide)
        decoded[:, part * width : part * width + wide] = norm[:, None] * book[column]
    return decoded


def _quantiser(file: _Bytes) -> tuple[F32, tuple[int, int, int]]:
    dim, parts, width, last = file.unpack("4i")
    return file.array("<f4", dim * _CENTROIDS).astype(np.float32), (parts, width, last)


def _prune(weights: F32, pairs: I64, n_words: int, buckets: int, n_pruned: int) -> tuple[F32, U64, I32]:
    """Put n-gram rows into bucket order; return (weights, bit per kept bucket, running counts)."""
    if n_pruned < 0:
        return weights, np.zeros(1, np.uint64), np.zeros(1, np.int32)
    bits = np.zeros((max(buckets, 1) + 63) // 64 * 64, np.uint8)
    ordered = pairs[np.argsort(pairs[:, 0], kind="stable")]
    if len(ordered) and not (ordered[0, 0] >= 0 and ordered[-1, 0] < buckets and pairs[:, 1].min() >= 0 and pairs[:, 1].max() < n_pruned):
        raise BadModel("fastText model: its list of pruned n-grams names rows that do not exist")
    bits[ordered[:, 0]] = 1
    kept = np.packbits(bits, bitorder="little").view("<u8").astype(np.uint64)
    counts = bits.reshape(-1, 64).sum(1)
    rank = (np.cumsum(counts) - counts).astype(np.int32)
    grams = weights[n_words:][ordered[:, 1]]
    return np.ascontiguousarray(np.concatenate([weights[:n_words], grams])), kept, rank


def _tree(counts: list[int]) -> tuple[I32, I32]:
    """Build the Huffman tree over labels as fastText does (labels are sorted by falling count); node 2n-2 is the root."""
    n = len(counts)
    left, right = np.full(2 * n - 1, -1, np.int32), np.full(2 * n - 1, -1, np.int32)
    weight = [*counts, *([10**15] * (n - 1))]
    leaf, node = n - 1, n
    for parent in range(n, 2 * n - 1):
        children = []
        for _ in range(2):
            if leaf >= 0 and weight[leaf] < weight[node]:
                children.append(leaf)
                leaf -= 1
            else:
                children.append(node)
                node += 1
        left[parent], right[parent] = children
        weight[parent] = weight[children[0]] + weight[children[1]]
    return left, right


def word_hash(word: bytes) -> int:
    """fastText's word hash: FNV-1a in 32 bits over sign-extended bytes."""
    h = 2166136261
    for byte in word:
        h = ((h ^ (byte | (0xFFFFFF00 if byte > 127 else 0))) * 16777619) & 0xFFFFFFFF
    return h


def _dictionary(words: list[bytes]) -> tuple[I32, U8, I64]:
    size = 1 << max(4, (4 * len(words)).bit_length())
    slots = np.full(size, -1, np.int32)
    for number, word in enumerate(words):
        at = word_hash(word) & (size - 1)
        while slots[at] >= 0:
            at = (at + 1) & (size - 1)
        slots[at] = number
    offsets = np.zeros(len(words) + 1, np.int64)
    offsets[1:] = np.cumsum([len(word) for word in words])
    return slots, np.frombuffer(b"".join(words) or b"\0", np.uint8), offsets
