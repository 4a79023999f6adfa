"""Train a supervised fastText model: gather words, shuffle documents, run the kernel.

A seed decides everything: the order of the documents (a keyed shuffle by their number, kept for all epochs) and the random start.
One thread, since updates of several threads race and no two of fastText's own runs with `-thread 4` agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.errors import DataError

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]

END_OF_LINE = b"</s>"
CHUNK_TOKENS = 2_000_000  # trained on between two reports of progress
MAX_WORDS = 30_000_000  # fastText's own bound

AT_TOKENS, AT_DOCUMENTS = 1, 3  # places in the state of a run

N = TypeVar("N", bound=np.generic)
Progress = Callable[[float, str], None]  # share done, what is going on


@dataclass(frozen=True)
class Settings:
    """What fastText calls lr, epoch, dim, minCount, wordNgrams, minn, maxn, bucket, seed; defaults of its `supervised`."""

    lr: float = 0.1
    epochs: int = 5
    dim: int = 100
    min_count: int = 1
    word_ngrams: int = 1
    min_chars: int = 0
    max_chars: int = 0
    buckets: int = 2_000_000
    seed: int = 0

    @property
    def used_buckets(self) -> int:
        """0 where there are no n-grams to put into them, as in fastText."""
        return self.buckets if self.word_ngrams > 1 or self.max_chars > 0 else 0


@dataclass(frozen=True)
class Trained:
    """A model as fastText stores it."""

    settings: Settings
    words: tuple[bytes, ...]  # in order of rows
    word_counts: I64
    labels: tuple[str, ...]  # without the prefix, most frequent first
    label_counts: I64
    tokens: int
    weights: F32  # [words + buckets, dim]
    output: F32  # [labels, dim]
    loss: float  # mean over the last epoch


@dataclass
class Corpus:
    """Labelled documents as numbers of words. Four bytes a word; the texts themselves are not kept."""

    labels: Sequence[str]
    tokens: list[npt.NDArray[np.int32]] = field(default_factory=list)
    sizes: list[I64] = field(default_factory=list)
    targets: list[npt.NDArray[np.int32]] = field(default_factory=list)

    def __post_init__(self) -> None:
        from curate.kernels.fasttext_model import word_hash

        self._slots = np.full(1 << 16, -1, np.int32)
        self._hashes, self._counts = np.zeros(1 << 15, np.uint32), np.zeros(1 << 15, np.int64)
        self._spelled, self._starts = np.zeros(1 << 20, np.uint8), np.zeros((1 << 15) + 1, np.int64)
        # Word 0 is the end of a line. It is not in the hash table: a text can't contain it.
        self._spelled[:4] = np.frombuffer(END_OF_LINE, np.uint8)
        self._hashes[0], self._starts[1] = word_hash(END_OF_LINE), 4
        self._state = np.array([1, 4, 0], np.int64)

    def add(self, texts: pa.LargeStringArray, label: int | npt.NDArray[np.int32]) -> None:
        """Take documents. label: place in `labels`, one for all of them or one each."""
        from curate.kernels.fasttext_train import intern_words
        from curate.kernels.strings import views

        data, offsets = views(texts)
        n, at = len(offsets) - 1, 0
        ends = np.zeros(n, np.int64)
        tokens = np.empty((int(offsets[-1] - offsets[0]) + n) // 2 + n + 1, np.int32)
        self._state[2] = 0
        while at < n:
            at = intern_words(
                data, offsets, at, self._slots, self._hashes, self._spelled, self._starts, self._counts, tokens, ends, self._state
            )
            if at < n:
                self._make_room(int(offsets[at + 1] - offsets[at]))
        self.tokens.append(tokens[: self._state[2]].copy())
        self.sizes.append(np.diff(ends, prepend=0))
        self.targets.append(np.full(n, label, np.int32))

    def _make_room(self, size: int) -> None:
        """Let the table take at least one more document of that many bytes."""
        from curate.kernels.fasttext_train import fill_slots

        words, used = int(self._state[0]), int(self._state[1])
        if words > MAX_WORDS:
            raise DataError(f"The training texts have more than {MAX_WORDS:,} different words. Train on a sample: --max-mb.")
        room = max(2 * len(self._counts), 1 << (words + size // 2 + 2).bit_length())
        self._hashes, self._counts = _grown(self._hashes, room), _grown(self._counts, room)
        self._starts = _grown(self._starts, room + 1)
        self._spelled = _grown(self._spelled, max(2 * len(self._spelled), used + size))
        self._slots = np.full(2 * room, -1, np.int32)
        fill_slots(self._hashes, words, self._slots)

    def __len__(self) -> int:
        return sum(map(len, self.sizes))

    def table(self) -> tuple[U8, I64, npt.NDArray[np.uint32], I64]:
        """(spellings, where each starts, hashes, counts) of all words; word 0 is the end of a line, once a document."""
        words = int(self._state[0])
        counts = self._counts[:words].copy()
        counts[0] = len(self)
        return self._spelled, self._starts[: words + 1], self._hashes[:words], counts


def _grown(array: npt.NDArray[N], size: int) -> npt.NDArray[N]:
    grown = np.zeros(size, array.dtype)
    grown[: len(array)] = array
    return grown


def shuffled(n: int, seed: int) -> I64:
    """Numbers 0..n-1 in an order that the seed decides, the same for ever (numpy's generators may change)."""
    with np.errstate(over="ignore"):
        x = np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed) * np.uint64(0xD1B54A32D192ED03)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.argsort(x ^ (x >> np.uint64(31)), kind="stable")


def train_model(corpus: Corpus, settings: Settings, progress: Progress = lambda share, what: None) -> Trained:
    """Fit a softmax classifier. Memory: the rows of the input matrix that are met (dim x 4 bytes each) and four bytes a word of text.

    progress: called with the share done and the mean loss since the last call, in words
    Raises DataError where there are fewer than two classes with documents, or no word occurs min_count times.
    """
    from curate.kernels.fasttext_train import random_start, train

    s = settings
    spelled, starts, hashes, counts = corpus.table()
    frequent = _frequent(counts, s.min_count)
    labels, label_counts, targets = _labels(corpus)
    row_starts, rows = _rows(spelled, starts, frequent, s)
    offsets = np.zeros(len(targets) + 1, np.int64)
    np.cumsum(np.concatenate(corpus.sizes), out=offsets[1:])
    tokens = np.concatenate(corpus.tokens)
    n_rows, total = len(frequent) + s.used_buckets, len(tokens) + 2 * len(targets)
    weights, output = np.zeros(n_rows * s.dim, np.float32), np.zeros(len(labels) * s.dim, np.float32)
    random_start(weights, len(weights) // 10, 1.0 / s.dim, s.seed)
    shape = np.array([s.dim, len(frequent), s.used_buckets, s.word_ngrams, s.epochs * total, len(labels)], np.int64)
    listed = np.zeros(_most_rows(corpus, np.diff(row_starts), s.word_ngrams), np.int64)
    order, state = shuffled(len(targets), s.seed), np.zeros(4, np.int64)
    scratch, chances = np.zeros(2 * s.dim, np.float32), np.zeros(len(labels))
    steps = max(1, CHUNK_TOKENS * len(targets) // total)
    mean = 0.0
    while state[AT_TOKENS] < shape[4]:
        before = int(state[AT_DOCUMENTS])
        loss = train(tokens, offsets, order, targets, hashes, row_starts, rows, shape, s.lr, weights, output, listed, scratch, chances,
                     state, steps)  # fmt: skip
        mean = loss / (int(state[AT_DOCUMENTS]) - before)
        progress(min(1.0, state[AT_TOKENS] / shape[4]), f"training, loss {mean:.4f}")
    words = tuple(spelled[starts[w] : starts[w + 1]].tobytes() for w in frequent.tolist())
    return Trained(s, words, counts[frequent], labels, label_counts, total, weights.reshape(-1, s.dim), output.reshape(-1, s.dim), mean)


def _frequent(counts: I64, min_count: int) -> I64:
    """Words of the table that get a row, most frequent first."""
    found = np.flatnonzero(counts >= min_count)
    if not (found > 0).any():
        raise DataError(f"No word occurs {min_count} times in the training texts. Give more text, or a lower --min-count.")
    return found[np.argsort(-counts[found], kind="stable")]


def _labels(corpus: Corpus) -> tuple[tuple[str, ...], I64, npt.NDArray[np.int32]]:
    """(labels, documents of each, label of every document): most frequent first, as fastText orders them."""
    targets = np.concatenate([*corpus.targets, np.zeros(0, np.int32)])
    counts = np.bincount(targets, minlength=len(corpus.labels)).astype(np.int64)
    if len(counts) < 2 or not counts.all():
        empty = [label for label, count in zip(corpus.labels, counts, strict=True) if not count]
        raise DataError(f"A classifier needs documents of at least two classes; there are none of {', '.join(empty) or 'a second one'}.")
    order = np.argsort(-counts, kind="stable")
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    return tuple(corpus.labels[i] for i in order), counts[order], place[targets]


def _rows(spelled: U8, starts: I64, frequent: I64, s: Settings) -> tuple[I64, I64]:
    """(where the rows of each word of the table start, rows): its own and those of its n-grams of characters."""
    from curate.kernels.fasttext_train import rows_of_words

    row_of = np.full(len(starts) - 1, -1, np.int64)
    row_of[frequent] = np.arange(len(frequent))
    row_starts, rows = np.zeros(len(starts), np.int64), np.zeros(len(frequent), np.int64)
    buckets = max(1, s.used_buckets)
    needed = rows_of_words(spelled, starts, row_of, s.min_chars, s.max_chars, len(frequent), buckets, row_starts, rows)
    if needed > len(rows):
        rows = np.zeros(needed, np.int64)
        rows_of_words(spelled, starts, row_of, s.min_chars, s.max_chars, len(frequent), buckets, row_starts, rows)
    return row_starts, rows


def _most_rows(corpus: Corpus, rows_of: I64, word_ngrams: int) -> int:
    """Rows of the document that has the most."""
    most = 0
    for tokens, sizes in zip(corpus.tokens, corpus.sizes, strict=True):
        sums = np.concatenate([np.zeros(1, np.int64), np.cumsum(rows_of[tokens])])
        ends = np.cumsum(sizes)
        rows = sums[ends] - sums[ends - sizes] + sizes * (word_ngrams - 1)
        most = max(most, int(rows.max(initial=0)))
    return most + int(rows_of[0]) + word_ngrams
