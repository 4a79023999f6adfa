"""Naive twin of the fastText kernel, and small models made up from a seed, in fastText's own file format."""

from __future__ import annotations

import math
import re
import struct

import numpy as np
import numpy.typing as npt

from curate.kernels.fasttext_model import HIERARCHICAL, SOFTMAX, FastTextModel, word_hash

F32 = npt.NDArray[np.float32]
_SPACE = re.compile(rb"[ \t\n\v\f\r\0]+")


def predict(model: FastTextModel, text: str) -> tuple[int, float]:
    """(label number, probability) by dictionaries and float64 sums; (-1, 0.0) for text without a word."""
    chances = every(model, text)
    best = max(range(len(chances)), key=lambda label: (chances[label], label)) if chances else -1
    return (best, chances[best]) if chances else (-1, 0.0)


def every(model: FastTextModel, text: str) -> list[float]:
    """Probability of every label; [] for text without a word."""
    rows = rows_of(model, text)
    return _leaves(model, model.weights[rows].astype(np.float64).mean(0)) if rows else []


def rows_of(model: FastTextModel, text: str) -> list[int]:
    """Numbers of the rows of `weights` that are added up, in fastText's order."""
    words = [word for word in _SPACE.split(text.encode()) if word]
    if not words:
        return []
    offsets = model.word_offsets
    number = {bytes(model.word_bytes[offsets[i] : offsets[i + 1]]): i for i in range(len(offsets) - 1)}
    bits = np.unpackbits(model.kept.view(np.uint8), bitorder="little")
    row_of = {int(bucket): model.n_words + i for i, bucket in enumerate(np.flatnonzero(bits))}
    rows: list[int] = []
    hashes: list[int] = []

    def add(bucket: int) -> None:
        if not model.pruned:
            rows.append(model.n_words + bucket)
        elif bucket in row_of:
            rows.append(row_of[bucket])

    for word in words:
        if word == b"</s>" or word.startswith(b"__label__") or number.get(word, -1) >= model.n_words:
            continue
        hashes.append(word_hash(word))
        rows += [number[word]] if word in number else []
        characters = ["<", *word.decode(), ">"]
        for i in range(len(characters)):
            for length in range(max(1, model.shortest), model.longest + 1):
                gram = characters[i : i + length]
                if len(gram) < length or (length == 1 and gram[0] in "<>" and i in (0, len(characters) - 1)):
                    continue
                add(word_hash("".join(gram).encode()) % model.buckets)
    signed = [h - (1 << 32) if h >> 31 else h for h in [*hashes, word_hash(b"</s>")]]
    for i in range(len(signed)):
        h = signed[i] % (1 << 64)
        for j in range(i + 1, min(len(signed), i + model.word_ngrams)):
            h = (h * 116049371 + signed[j]) % (1 << 64)
            add(h % model.buckets)
    rows += [model.end_row] if model.end_row >= 0 else []
    return rows


def _leaves(model: FastTextModel, hidden: npt.NDArray[np.float64]) -> list[float]:
    dots = model.output.astype(np.float64) @ hidden
    if model.loss == SOFTMAX:
        exponentials = np.exp(dots - dots.max())
        return list(exponentials / exponentials.sum() + 1e-5)
    if model.loss != HIERARCHICAL:
        steps = [max(-8.0, min(8.0, math.floor((dot + 8) * 32) / 32 - 8)) for dot in dots]
        return [(0.0 if dot < -8 else 1.0 if dot > 8 else 1 / (1 + math.exp(-step))) + 1e-5 for dot, step in zip(dots, steps, strict=True)]
    n = len(model.labels)
    chances = [0.0] * (2 * n - 1)
    chances[-1] = 1.0
    for node in range(2 * n - 2, n - 1, -1):
        f = 1 / (1 + math.exp(-dots[node - n]))
        chances[model.right[node]] = chances[node] * (f + 1e-5)
        chances[model.left[node]] = chances[node] * (1 - f + 1e-5)
    return chances[:n]


def made_up(
    words: list[str], n_labels: int, *, dim: int = 10, loss: int = 1, shortest: int = 2, longest: int = 4, buckets: int = 500,
    quantised: bool = False, kept: int | None = None, seed: int = 0, word_ngrams: int = 1, quantised_output: bool = False,
    norms: bool = True, version: int = 12,
) -> bytes:  # fmt: skip
    """A model file with random weights. kept: number of n-gram buckets that survive pruning (None: no pruning)."""
    random = np.random.default_rng(seed)
    raw = struct.pack("<2i12id", 793712314, version, dim, 5, 5, 1, 5, word_ngrams, loss, 3, buckets, shortest, longest, 100, 1e-4)
    raw += struct.pack("<3i2q", len(words) + n_labels, len(words), n_labels, 1000, -1 if kept is None else kept)
    raw += b"".join(word.encode() + b"\0" + struct.pack("<qb", 100, 0) for word in words)
    raw += b"".join(f"__label__l{i}".encode() + b"\0" + struct.pack("<qb", (n_labels - i) * 3, 1) for i in range(n_labels))
    if kept is not None:
        chosen = random.choice(buckets, kept, replace=False)
        raw += b"".join(struct.pack("<2i", bucket, row) for row, bucket in enumerate(chosen))
    rows = len(words) + (buckets if kept is None else kept)
    raw += struct.pack("<b", quantised) + (_quantised(random, rows, dim, norms) if quantised else _dense(random, rows, dim))
    output = _quantised(random, n_labels, dim, norms) if quantised_output else _dense(random, n_labels, dim)
    return raw + struct.pack("<b", quantised_output) + output


def _dense(random: np.random.Generator, rows: int, columns: int) -> bytes:
    return struct.pack("<2q", rows, columns) + random.normal(0, 2, (rows, columns)).astype("<f4").tobytes()


def _quantised(random: np.random.Generator, rows: int, columns: int, norms: bool, width: int = 4) -> bytes:
    parts = -(-columns // width)
    raw = struct.pack("<b2qi", norms, rows, columns, rows * parts) + random.integers(0, 256, rows * parts, np.uint8).tobytes()
    raw += struct.pack("<4i", columns, parts, width, columns % width or width) + random.normal(0, 2, columns * 256).astype("<f4").tobytes()
    if not norms:
        return raw
    raw += random.integers(0, 256, rows, np.uint8).tobytes()
    return raw + struct.pack("<4i", 1, 1, 1, 1) + random.uniform(0.5, 2, 256).astype("<f4").tobytes()
