"""Read a supervised fastText model, `.bin` (dense) or `.ftz` (quantised), into the arrays that the kernels take.

The layout follows fastText 0.9.2 (`FastText::loadModel`, `Dictionary::load`, `QuantMatrix::load`). Every supervised model
can be read: losses softmax, hs, ns and ova, word n-grams, no character n-grams, pruned, with quantised norms, with a
quantised output matrix; format versions 11 and 12 (11 has no character n-grams in a supervised model).

Quantised rows are decoded once, norm times centroid in float32, which is the number fastText adds for that row. n-gram rows
are stored in the order of their buckets, so that a bucket's row is its rank among the buckets that survived pruning: a bit
per bucket (256 KB for two million, which stays in the second-level cache) and a running count replace a map of 8 MB. A dense
matrix stays where it is: a model mapped from a file is read from the page cache and shared by all workers.

A file is checked before it is believed: every count against the bytes that are there, every number of a row against the
matrix. A damaged one raises BadModel and takes no more memory than MAX_DECODED.
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
VERSIONS = (11, 12)
LABEL = "__label__"
END_OF_LINE = b"</s>"
HIERARCHICAL, NEGATIVE, SOFTMAX, ONE_VS_ALL = 1, 2, 3, 4
LOSSES = (HIERARCHICAL, NEGATIVE, SOFTMAX, ONE_VS_ALL)
MAX_GRAM = 64  # characters of an n-gram, words of a word n-gram; fastText has no bound, its defaults end at 6 and 1
MAX_DIM = 8192
MAX_DECODED = 4 << 30  # bytes of a quantised matrix once decoded
_CENTROIDS = 256
_SUPERVISED = 3
_NO_NODE = 10**15  # weight of a node of the Huffman tree that is not made yet


class BadModel(CurateError):
    """The file is not a fastText model that we can run."""

    exit_code = 2


@dataclass(frozen=True)
class FastTextModel:
    """Arrays of one model. Rows of `weights`: words first, then surviving n-gram buckets in bucket order."""

    labels: tuple[str, ...]  # without the prefix, in the model's order
    weights: F32  # [rows, dim]; may lie at any address, where it is a view of the file
    output: F32  # [labels or inner nodes, dim]
    left: I32  # [nodes] children in the Huffman tree, -1 at leaves; one element where the loss is not hierarchical
    right: I32
    slots: I32  # open addressing by fastText's 32-bit word hash: number of the entry or -1; a power of two long
    word_bytes: U8
    word_offsets: I64  # [entries + 1]; entries are the words, then the labels
    kept: U64  # one bit per bucket; one element where nothing was pruned
    rank: I32  # number of kept buckets before each 64-bit word of `kept`
    n_words: int
    buckets: int
    shortest: int  # n-gram, in characters
    longest: int
    end_row: int  # row of </s>, -1 where there is none
    pruned: bool
    loss: int  # HIERARCHICAL, NEGATIVE, SOFTMAX or ONE_VS_ALL
    word_ngrams: int  # longest n-gram of words; 1: words alone


class _Bytes:
    """A cursor over the file's bytes that reports truncation."""

    def __init__(self, raw: memoryview) -> None:
        self.raw, self.at = raw, 0
        self.size = len(raw)

    def unpack(self, layout: str) -> tuple[int, ...]:
        try:
            values = struct.unpack_from("<" + layout, self.raw, self.at)
        except struct.error as error:
            raise BadModel(f"fastText model: the file ends too early, at byte {self.size:,}") from error
        self.at += struct.calcsize("<" + layout)
        return values

    def array(self, kind: str, count: int) -> npt.NDArray[np.generic]:
        size = count * np.dtype(kind).itemsize
        if count < 0 or self.at + size > self.size:
            raise BadModel(f"fastText model: the file ends too early: {size:,} bytes due at byte {self.at:,} of {self.size:,}")
        values = np.frombuffer(self.raw, kind, count, self.at)
        self.at += size
        return values


@dataclass(frozen=True)
class _Header:
    """The settings that inference needs."""

    dim: int
    word_ngrams: int
    loss: int
    buckets: int
    shortest: int
    longest: int


def parse(raw: bytes | memoryview) -> FastTextModel:
    """Return the model in `raw`, which must not change while the model lives. Raises BadModel where we can't run it."""
    raw = memoryview(raw)
    file = _Bytes(raw)
    header = _header(file)
    n_words, n_labels, n_pruned, starts, counts, end = _entries(file)
    pairs = file.array("<i4", 2 * max(n_pruned, 0)).reshape(-1, 2).astype(np.int64)
    quantised = bool(file.unpack("b")[0])
    if n_pruned >= 0 and not quantised:
        raise BadModel("fastText model: pruned but not quantised: an invalid file of an early fastText")
    weights = _matrix(file, quantised)
    output = _matrix(file, bool(file.unpack("b")[0]) and quantised)
    _check(header, weights, output, n_words, n_labels, n_pruned)
    weights, kept, rank = _prune(weights, pairs, n_words, header.buckets, n_pruned)
    tree = header.loss == HIERARCHICAL
    if tree and not 0 <= counts[n_words:].min() <= counts[n_words:].max() < _NO_NODE:
        raise BadModel("fastText model: its labels have impossible counts")
    left, right = _tree(counts[n_words:].tolist()) if tree else (np.full(1, -1, np.int32),) * 2
    from curate.kernels.fasttext_words import dictionary

    slots, word_bytes, offsets = dictionary(np.frombuffer(raw, np.uint8), starts, end)
    word = [word_bytes[offsets[i] : offsets[i + 1]].tobytes() for i in range(n_words, n_words + n_labels)]
    labels = tuple(label.decode("utf-8", "replace").removeprefix(LABEL) for label in word)
    return FastTextModel(
        labels, weights, output, left, right, slots, word_bytes, offsets, kept, rank, n_words, max(header.buckets, 1),
        header.shortest, header.longest, _end_row(word_bytes, offsets, n_words), n_pruned >= 0, header.loss, header.word_ngrams,
    )  # fmt: skip


def _header(file: _Bytes) -> _Header:
    if file.size < 8 or file.unpack("i")[0] != MAGIC:
        raise BadModel("not a fastText model: the file does not start with fastText's magic number")
    version = file.unpack("i")[0]
    dim, _, _, _, _, word_ngrams, loss, kind, buckets, shortest, longest, _ = file.unpack("12i")
    file.unpack("d")
    if version not in VERSIONS:
        raise BadModel(f"fastText model of format version {version}: expected 11 or 12")
    if kind != _SUPERVISED:
        raise BadModel(f"fastText model of kind {kind}: expected a supervised one (3); word vectors have no labels")
    if loss not in LOSSES:
        raise BadModel(f"fastText model with loss {loss}: expected hs (1), ns (2), softmax (3) or ova (4)")
    longest = 0 if version == 11 else longest
    sane = 1 <= dim <= MAX_DIM and shortest >= 0 and 0 <= longest <= MAX_GRAM and word_ngrams <= MAX_GRAM and buckets >= 0
    if not sane or (buckets == 0 and (longest > 0 or word_ngrams > 1)):
        raise BadModel(
            f"fastText model with dim {dim}, bucket {buckets}, minn {shortest}, maxn {longest}, wordNgrams {word_ngrams}: expected "
            f"dim in 1..{MAX_DIM}, n-grams of at most {MAX_GRAM}, and buckets where there are n-grams"
        )
    return _Header(dim, max(word_ngrams, 1), loss, buckets, shortest, longest)


def _entries(file: _Bytes) -> tuple[int, int, int, I64, I64, int]:
    """Return (words, labels, pruned n-grams or -1, where each entry starts, its count, where the last one ends)."""
    from curate.kernels.fasttext_words import TAIL, find_entries

    size, n_words, n_labels = file.unpack("3i")
    _, n_pruned = file.unpack("2q")
    if n_labels < 1 or n_words < 0 or size != n_words + n_labels or n_pruned < -1:
        raise BadModel(f"fastText model with {n_words} words and {n_labels} labels, {size} in all, {n_pruned} n-grams: no such model")
    if size * (TAIL + 1) > file.size - file.at:
        raise BadModel(f"fastText model: the file ends too early for its {size:,} words and labels")
    starts, counts, kinds = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size, np.uint8)
    end = find_entries(np.frombuffer(file.raw, np.uint8), file.at, starts, counts, kinds)
    if end < 0:
        raise BadModel("fastText model: the file ends inside its word list")
    if kinds[:n_words].any() or (kinds[n_words:] != 1).any():
        raise BadModel("fastText model: its word list is not words, then labels")
    file.at = end
    return n_words, n_labels, n_pruned, starts, counts, end


def _end_row(word_bytes: U8, offsets: I64, n_words: int) -> int:
    """Number of the word </s>, -1 where there is none."""
    for number in np.flatnonzero(np.diff(offsets[: n_words + 1]) == len(END_OF_LINE)).tolist():
        if word_bytes[offsets[number] : offsets[number + 1]].tobytes() == END_OF_LINE:
            return number
    return -1


def _check(header: _Header, weights: F32, output: F32, n_words: int, n_labels: int, n_pruned: int) -> None:
    rows, dim = n_words + (n_pruned if n_pruned >= 0 else header.buckets), header.dim
    if weights.shape != (rows, dim) or output.shape != (n_labels, dim):
        raise BadModel(
            f"fastText model: matrices of shape {weights.shape} and {output.shape}, expected {(rows, dim)} and {(n_labels, dim)}"
        )


def _matrix(file: _Bytes, quantised: bool) -> F32:
    if not quantised:
        rows, columns = file.unpack("2q")
        if rows < 0 or columns < 1:
            raise BadModel(f"fastText model: a matrix of {rows} rows and {columns} columns")
        matrix: F32 = file.array("<f4", rows * columns).reshape(rows, columns)  # type: ignore[assignment]
        return matrix
    has_norm = file.unpack("b")[0]
    rows, columns = file.unpack("2q")
    codes = file.array("u1", file.unpack("i")[0])
    dim, centroids, (parts, width, last) = _quantiser(file)
    if rows < 0 or dim != columns or min(parts, width, last) < 1 or len(codes) != rows * parts or (parts - 1) * width + last != columns:
        raise BadModel("fastText model: a quantised matrix does not fit its code book")
    if rows * columns * 4 > MAX_DECODED:
        raise BadModel(f"fastText model: a quantised matrix of {rows:,} x {columns:,} would take more than {MAX_DECODED >> 30} GiB")
    norm = np.ones(rows, np.float32)
    if has_norm:
        norm_codes = file.array("u1", rows)
        one, values, _ = _quantiser(file)
        if one != 1:
            raise BadModel("fastText model: norms are quantised as numbers, not vectors")
        norm = values[norm_codes]
    decoded = np.empty((rows, columns), np.float32)
    for part, column in enumerate(codes.reshape(rows, parts).T):
        wide = last if part == parts - 1 else width
        start = part * _CENTROIDS * width
        book = centroids[start : start + _CENTROIDS * wide].reshape(_CENTROIDS, wide)
        decoded[:, part * width : part * width + wide] = norm[:, None] * book[column]
    return decoded


def _quantiser(file: _Bytes) -> tuple[int, F32, tuple[int, int, int]]:
    dim, parts, width, last = file.unpack("4i")
    return dim, file.array("<f4", dim * _CENTROIDS).astype(np.float32), (parts, width, last)


def _prune(weights: F32, pairs: I64, n_words: int, buckets: int, n_pruned: int) -> tuple[F32, U64, I32]:
    """Put n-gram rows into bucket order; return (weights, bit per kept bucket, running counts)."""
    if n_pruned < 0:
        return weights, np.zeros(1, np.uint64), np.zeros(1, np.int32)
    ordered = pairs[np.argsort(pairs[:, 0], kind="stable")]
    if n_pruned and not (
        ordered[0, 0] >= 0 and ordered[-1, 0] < buckets and pairs[:, 1].min() >= 0 and pairs[:, 1].max() < n_pruned
        and (np.diff(ordered[:, 0]) > 0).all()
    ):  # fmt: skip
        raise BadModel("fastText model: its list of pruned n-grams names rows that do not exist")
    bits = np.zeros((max(buckets, 1) + 63) // 64 * 64, np.uint8)
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
    weight = [*counts, *([_NO_NODE] * (n - 1))]
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
