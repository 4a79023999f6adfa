"""Naive twin of training a fastText classifier: lists, dictionaries and float32 numbers, one at a time."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from curate.kernels.fasttext_model import word_hash

F32 = npt.NDArray[np.float32]
_SPACE = re.compile(rb"[ \t\n\v\f\r\0]+")
END = b"</s>"


def words_of(text: str) -> list[bytes]:
    return [w for w in _SPACE.split(text.encode()) if w and w != END and not w.startswith(b"__label__")]


def character_grams(word: bytes, shortest: int, longest: int) -> list[bytes]:
    characters = ["<", *word.decode(), ">"]
    grams = []
    for i in range(len(characters)):
        for length in range(shortest, longest + 1):
            gram = characters[i : i + length]
            alone = length == 1 and i in (0, len(characters) - 1)
            if len(gram) == length and length > 0 and not alone:
                grams.append("".join(gram).encode())
    return grams


def uniform(count: int, bound: float, seed: int) -> list[np.float32]:
    """minstd_rand, two draws a number, as libstdc++ fills a double."""
    x = seed % 2147483647 or 1
    made = []
    for _ in range(count):
        draws = []
        for _ in range(2):
            x = x * 48271 % 2147483647
            draws.append(x - 1)
        unit = (draws[0] + draws[1] * 2147483646.0) / 2147483646.0**2
        made.append(np.float32(unit * (2 * bound) - bound))
    return made


def signed(h: int) -> int:
    return h - (1 << 32) if h >= 1 << 31 else h


def train(
    documents: list[tuple[str, int]], n_labels: int, order: list[int], *, lr: float, epochs: int, dim: int, min_count: int,
    word_ngrams: int, min_chars: int, max_chars: int, buckets: int, seed: int,
) -> tuple[list[bytes], F32, F32]:  # fmt: skip
    """(words in order of rows, input matrix, output matrix). documents: (text, label); order: how they are taken."""
    texts = [words_of(text) for text, _ in documents]
    counts: dict[bytes, int] = {END: len(texts)}
    for words in texts:
        for word in words:
            counts[word] = counts.get(word, 0) + 1
    kept = sorted((w for w in counts if counts[w] >= min_count), key=lambda w: -counts[w])
    row = {w: i for i, w in enumerate(kept)}
    buckets = buckets if word_ngrams > 1 or max_chars > 0 else 0
    weights = np.zeros((len(kept) + buckets, dim), np.float32)
    flat = weights.reshape(-1)
    start = uniform(len(flat) // 10, 1.0 / dim, seed)
    flat[: len(start)] = start
    output = np.zeros((n_labels, dim), np.float32)
    total = sum(len(words) + 2 for words in texts)
    seen = pending = at = 0
    while seen < epochs * total:
        d = order[at % len(order)]
        at += 1
        rate = np.float32(lr * (1.0 - float(np.float32(seen) / np.float32(epochs * total))))
        line = [*texts[d], END]
        pending += len(line) + 1
        rows = []
        for word in line:
            rows += [row[word]] if word in row else []
            if word != END and max_chars > 0:
                rows += [len(kept) + word_hash(g) % buckets for g in character_grams(word, min_chars, max_chars)]
        for i in range(len(line)):
            h = signed(word_hash(line[i])) & (1 << 64) - 1
            for j in range(i + 1, min(i + word_ngrams, len(line))):
                h = (h * 116_049_371 + signed(word_hash(line[j]))) & (1 << 64) - 1
                rows.append(len(kept) + h % buckets)
        if rows:
            _step(weights, output, rows, documents[d][1], rate)
        if pending > 100:
            seen, pending = seen + pending, 0
    return kept, weights, output


def _step(weights: F32, output: F32, rows: list[int], label: int, rate: np.float32) -> None:
    hidden = np.zeros(weights.shape[1], np.float32)
    for r in rows:
        hidden += weights[r]
    hidden *= np.float32(1.0 / len(rows))
    dots = []
    for line in output:
        dot = np.float32(0)
        for a, b in zip(line, hidden, strict=True):
            dot = np.float32(dot + np.float32(a * b))
        dots.append(dot)
    grown = [np.float32(np.exp(float(d - max(dots)))) for d in dots]
    z = np.float32(0)
    for g in grown:
        z = np.float32(z + g)
    gradient = np.zeros_like(hidden)
    for k, g in enumerate(grown):
        alpha = np.float32(rate * np.float32(np.float32(k == label) - np.float32(g / z)))
        gradient += alpha * output[k]
        output[k] += alpha * hidden
    gradient *= np.float32(1.0 / len(rows))
    for r in rows:
        weights[r] += gradient
