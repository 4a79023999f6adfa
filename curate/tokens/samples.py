"""Which documents a tokenizer learns from: a share of each source, chosen by the ids, so that order and shards don't matter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from curate.errors import DataError
from curate.registry import nearest

MAX_COPIES = 100.0  # a small source of great weight is read so often at most


def shares(sizes: Mapping[str, int], max_bytes: int, weights: Mapping[str, float] | None) -> dict[str, float]:
    """How often each document of a source is read: below 1 a part of them, above 1 all of them and some again.

    sizes: bytes of text by source; max_bytes: to read in all
    weights: share of the bytes that each source is to have; None: as they come. Sources without a weight are left out.
    Raises DataError for a weight of a source that is not there.
    """
    total = sum(sizes.values())
    if weights is None:
        return dict.fromkeys(sizes, min(1.0, max_bytes / total) if total else 1.0)
    missing = [name for name in weights if not sizes.get(name)]
    if missing:
        near = nearest(missing[0], list(sizes))
        raise DataError(f"weights: no text has the source {missing[0]!r}.{near} There are: {', '.join(sorted(sizes)[:20])}.")
    wanted = min(max_bytes, sum(sizes[name] for name in weights))
    whole = sum(weights.values())
    return {name: min(MAX_COPIES, wanted * weight / whole / sizes[name]) for name, weight in weights.items()}


def drawn(batch: pa.RecordBatch, share: Mapping[str, float], seed: int) -> list[str]:
    """Texts of a batch that are not empty, each as often as the share of its source says.

    The part of a share below 1 falls to documents whose id, hashed with the seed, lies under it. One share for all: `{"": share}`.
    """
    texts, everywhere = batch.column("text"), share.get("")
    if everywhere == 1.0:
        return [text for text in texts.to_pylist() if text]
    key = seed & (1 << 64) - 1
    sources = [""] * len(batch) if everywhere is not None else batch.column("source").to_pylist()
    found = []
    for text, name, source in zip(texts.to_pylist(), batch.column("id").to_pylist(), sources, strict=True):
        times = share.get(source or "", 0.0)
        if text and times:
            part = int((times % 1.0) * 2.0**64)
            found += [text] * (int(times) + (part > 0 and xxhash.xxh64_intdigest(name.encode(), key) < part))
    return found


def bytes_by_source(batches: Iterable[pa.RecordBatch]) -> dict[str, int]:
    """Bytes of text by source; of texts without one under ''."""
    found: dict[str, int] = {}
    for batch in batches:
        sizes = pc.fill_null(pc.binary_length(batch.column("text")), 0).to_numpy(zero_copy_only=False)
        names = pc.fill_null(batch.column("source"), "").dictionary_encode()
        sums = np.bincount(names.indices.to_numpy(zero_copy_only=False), sizes, minlength=len(names.dictionary))
        for name, size in zip(names.dictionary.to_pylist(), sums.tolist(), strict=True):
            found[name] = found.get(name, 0) + int(size)
    return found
