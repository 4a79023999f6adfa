"""Naive twin of the fastText kernel, and small models made up from a seed, in fastText's own file format."""

from __future__ import annotations

import math
import re
import struct

import numpy as np
import numpy.typing as npt

from curate.kernels.fasttext_model import FastTextModel, word_hash

F32 = npt.NDArray[np.float32]
_SPACE = re.compile(rb"[ \t\n\v\f\r\0]+")


def predict(model: FastTextModel, text: str) -> tuple[int, float]:
    """(label number, probability) by dictionaries and float64 sums; (-1, 0.0) for text without a word."""
    words = [word for word in _SPACE.split(text.encode()) if word]
    if not words:
        return -1, 0.0
    offsets = model.word_offsets
    number = {bytes(model.word_bytes[offsets[i] : offsets[i + 1]]): i for i in range(model.n_words)}
    bits = np.unpackbits(model.kept.view(np.uint8), bitorder="little")
    row_of = {int(bucket): model.n_words + i for i, bucket in enumerate(np.flatnonzero(bits))}
    rows = []
    for word in words:
        if word == b"</s>" or word.startswith(b"__label__"):
            continue
        rows += [number[word]] if word in number else []
        characters = ["<", *word.decode(), ">"]
        for i in range(len(characters)):
            for length in range(max(1, model.shortest), model.longest + 1):
                gram = characters[i : i + length]
                if len(gram) < length or (length == 1 and gram[0] in "<>" and i in (0, len(characters) - 1)):
                    continue
                bucket = word_hash("".join(gram).encode()) % model.buckets
                if not model.pruned:
                    rows.append(model.n_words + bucket)
                elif bucket in row_of:
                    rows.append(row_of[bucket])
    rows += [model.end_row] if model.end_row >= 0 else []
    if not rows:
        return -1, 0.0
    hidden = model.weights[rows].astype(np.float64).mean(0)
    chances = _leaves(model, hidden)
    best = int(np.argmax(chances))
    return best, chances[best]


def _leaves(model: FastTextModel, hidden: npt.NDArray[np.float64]) -> list[float]:
    dots = model.output.astype(np.float64) @ hidden
    if len(model.left) == 1:
        exponentials = np.exp(dots - dots.max())
        return list(exponentials / exponentials.sum() + 1e-5)
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
    quantised: bool = False, kept: int | None = None, seed: int = 0,
) -> bytes:  # fmt: skip
    """A model file with random weights. kept: number of n-gram buckets that survive pruning (None: no pruning)."""
    random = np.random.default_rng(seed)
    raw = struct.pack("<2i12id", 793712314, 12, dim, 5, 5, 1, 5, 1, loss, 3, buckets, shortest, longest, 100, 1e-4)
    raw += struct.pack("<3i2q", len(words) + n_labels, len(words), n_labels, 1000, -1 if kept is None else kept)
    raw += b"".join(word.encode() + b"\0" + struct.pack("<qb", 100, 0) for word in words)
    raw += b"".join(f"__label__l{i}".encode() + b"\0" + struct.pack("<qb", (n_labels - i) * 3, 1) for i in range(n_labels))
    if kept is not None:
        chosen = random.choice(buckets, kept, replace=False)
        raw += b"".join(struct.pack("<2i", bucket, row) for row, bucket in enumerate(chosen))
    rows = len(words) + (buckets if kept is None else kept)
    raw += struct.pack("<b", quantised) + (_quantised(random, rows, dim) if quantised else _dense(random, rows, dim))
    return raw + struct.pack("<b", 0) + _dense(random, n_labels, dim)


def _dense(random: np.random.Generator, rows: int, columns: int) -> bytes:
    return struct.pack("<2q", rows, columns) + random.normal(0, 2, (rows, columns)).astype("<f4").tobytes()


def _quantised(random: np.random.Generator, rows: int, columns: int, width: int = 4) -> bytes:
    parts = -(-columns // width)
    raw = struct.pack("<b2qi", 1, rows, columns, rows * parts) + random.integers(0, 256, rows * parts, np.uint8).tobytes()
    raw += struct.pack("<4i", columns, parts, width, columns % width or width) + random.normal(0, 2, columns * 256).astype("<f4").tobytes()
    raw += random.integers(0, 256, rows, np.uint8).tobytes()
    return raw + struct.pack("<4i", 1, 1, 1, 1) + random.uniform(0.5, 2, 256).astype("<f4").tobytes()
