"""Write a model in fastText's binary format, version 12, which fastText 0.9.2 and everything built on it loads.

Layout (`FastText::saveModel`, `Args::save`, `Dictionary::save`, `DenseMatrix::save`), little-endian:

    magic, version                        2 x i32
    dim ws epoch minCount neg wordNgrams loss model bucket minn maxn lrUpdateRate    12 x i32,  t f64
    entries, words, labels                3 x i32,  tokens i64,  -1 i64 (not pruned)
    each entry: bytes, NUL, count i64, type i8 (0 word, 1 label)
    0 u8, rows i64, columns i64, f32[rows, columns]       the input matrix
    0 u8, labels i64, columns i64, f32[labels, columns]   the output matrix
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from curate.classifiers.training import Trained

MAGIC, VERSION = 793_712_314, 12
PREFIX = b"__label__"
SOFTMAX, SUPERVISED = 3, 3
CHUNK_FLOATS = 1 << 22

# Settings that the file holds and training here does not use, with fastText's defaults.
WINDOW, NEGATIVES, LR_UPDATE_RATE, SAMPLING = 5, 5, 100, 1e-4


def write_model(model: Trained, path: Path) -> None:
    """Write the whole file beside `path` and rename it: nobody sees half a model."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with scratch.open("wb") as file:
            _write(model, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


def _write(model: Trained, file: BinaryIO) -> None:
    s = model.settings
    file.write(struct.pack("<2i", MAGIC, VERSION))
    settings = (s.dim, WINDOW, s.epochs, s.min_count, NEGATIVES, s.word_ngrams, SOFTMAX, SUPERVISED, s.used_buckets, s.min_chars,
                s.max_chars, LR_UPDATE_RATE)  # fmt: skip
    file.write(struct.pack("<12id", *settings, SAMPLING))
    n_words, n_labels = len(model.words), len(model.labels)
    file.write(struct.pack("<3i2q", n_words + n_labels, n_words, n_labels, model.tokens, -1))
    entries = [(word, count, 0) for word, count in zip(model.words, model.word_counts.tolist(), strict=True)]
    entries += [(PREFIX + label.encode(), count, 1) for label, count in zip(model.labels, model.label_counts.tolist(), strict=True)]
    file.writelines(word + b"\0" + struct.pack("<qb", count, kind) for word, count, kind in entries)
    for matrix in (model.weights, model.output):
        file.write(struct.pack("<B2q", 0, *matrix.shape))
        _write_floats(matrix.reshape(-1), file)


def _write_floats(numbers: npt.NDArray[np.float32], file: BinaryIO) -> None:
    for start in range(0, len(numbers), CHUNK_FLOATS):
        file.write(numbers[start : start + CHUNK_FLOATS].astype("<f4", copy=False).tobytes())
