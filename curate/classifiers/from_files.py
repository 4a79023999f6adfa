"""Train a classifier on files and measure it: what `curate classifier train` does.

Held out are whole texts: a document's side follows from a hash of its normalised text, so copies of it lie on one side and
a model can't be praised for what it learnt by heart. Near-duplicates may still lie on both: deduplicate before.
"""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.classifiers import binary, report
from curate.classifiers.evaluation import evaluate
from curate.classifiers.training import Corpus, Progress, Settings, train_model
from curate.errors import DataError, RecipeError
from curate.io.reader import Reader, Split
from curate.tokens.from_files import GUESSED_RATIO, PACKED, reader_for

U64 = npt.NDArray[np.uint64]

NO_LABEL = set(" \t\n\v\f\r\0")


@dataclass
class _Gathered:
    """Training documents as numbers, held-out ones as texts, and hashes of all to find contradictions."""

    corpus: Corpus
    held: list[pa.LargeStringArray] = field(default_factory=list)
    held_labels: list[npt.NDArray[np.int64]] = field(default_factory=list)
    hashes: list[list[U64]] = field(default_factory=list)
    unreadable: int = 0
    empty: int = 0


def train_from_files(
    inputs: Mapping[str, Sequence[str]],
    out: Path,
    settings: Settings,
    *,
    text: str = "text",
    held_out: float = 0.1,
    max_bytes: int | None = None,
    progress: Progress = lambda share, what: None,
) -> dict[str, Any]:
    """Read, train, write `out` (a fastText .bin), measure; return the report, which lies beside it as .json (and .html with plotly).

    inputs: label -> files, globs or dataset folders; the first label is the one that pages and tables show first
    held_out: share of the texts of each class that only measure; 0 for none
    max_bytes: text to read of each class at most, a sample by id; None for all
    Raises RecipeError for wrong arguments, DataError where a class has no documents on either side.
    """
    _check_labels(inputs)
    started = time.monotonic()
    labels = tuple(inputs)
    gathered = _gather(inputs, labels, text, held_out, max_bytes, settings.seed, progress)
    trained = train_model(gathered.corpus, settings, progress)
    out.parent.mkdir(parents=True, exist_ok=True)
    progress(1.0, f"writing {out.name} and measuring")
    binary.write_model(trained, out)
    made: dict[str, Any] = {
        "model": out.name,
        "labels": list(labels),
        "settings": asdict(settings) | {"buckets": settings.used_buckets, "held_out": held_out},
        "trained_on": {"documents": {label: int(trained.label_counts[trained.labels.index(label)]) for label in labels},
                       "tokens": trained.tokens, "words": len(trained.words), "loss": round(trained.loss, 6)},
        "notes": _notes(gathered, labels),
        "held_out": _measure(out, gathered, labels) if held_out else None,
        "seconds": round(time.monotonic() - started, 3),
    }  # fmt: skip
    report.write_json(made, out.with_suffix(".json"))
    if held_out and importlib.util.find_spec("plotly") is not None:
        report.write_html(made, out.with_suffix(".html"))
    return made


def _check_labels(inputs: Mapping[str, Sequence[str]]) -> None:
    if len(inputs) < 2:
        raise RecipeError(
            f"A classifier needs at least two classes, got {', '.join(inputs) or 'none'}. Give --negative or one more --label."
        )
    for label in inputs:
        if not label or NO_LABEL & set(label):
            raise RecipeError(f"A label must be one word without white space, got {label!r}.")


def _gather(
    inputs: Mapping[str, Sequence[str]],
    labels: tuple[str, ...],
    text: str,
    held_out: float,
    max_bytes: int | None,
    seed: int,
    progress: Progress,
) -> _Gathered:
    gathered = _Gathered(Corpus(labels))
    for number, (label, given) in enumerate(inputs.items()):
        gathered.hashes.append([])
        splits = [(reader, split) for reader in [reader_for(one, text) for one in given] for split in reader.splits(os.getcwd())]
        size = sum(split.size * (GUESSED_RATIO if split.uri.endswith(PACKED) else 1) for _, split in splits)
        share = 1.0 if max_bytes is None else min(1.0, max_bytes / max(1, size))
        before = len(gathered.corpus)
        _read_class(gathered, number, splits, share, held_out, seed, lambda: progress(0.0, f"reading, {len(gathered.corpus):,} documents"))
        held = sum(int((chunk == number).sum()) for chunk in gathered.held_labels)
        if len(gathered.corpus) == before or (held_out and not held):
            got = f"{len(gathered.corpus) - before} to train on and {held} held out"
            raise DataError(f"Class {label!r} has too few documents with text: {got}. Give more, or another --held-out.")
    return gathered


def _read_class(
    gathered: _Gathered, number: int, splits: list[tuple[Reader, Split]], share: float, held_out: float, seed: int, read: Callable[[], None]
) -> None:
    from curate.kernels.content_hash import content_hashes

    for reader, split in splits:
        for rows in reader.read(split, "input"):
            gathered.unreadable += len(rows.unreadable)
            texts = _drawn(rows.batch, share, seed)
            with_word = pc.fill_null(pc.match_substring_regex(texts, r"[^ \t\n\v\f\r\x00]"), False)
            gathered.empty += len(texts) - int(pc.sum(with_word).as_py() or 0)
            texts = texts.filter(with_word)
            hashes = content_hashes(texts, normalized=True)[:, 0].copy()
            gathered.hashes[number].append(hashes)
            aside = _held(hashes, held_out, seed)
            gathered.corpus.add(texts.filter(pa.array(~aside)), number)
            gathered.held.append(texts.filter(pa.array(aside)))
            gathered.held_labels.append(np.full(int(aside.sum()), number, np.int64))
            read()


def _drawn(batch: pa.RecordBatch, share: float, seed: int) -> pa.LargeStringArray:
    """Texts of a batch; below a share of 1 those whose id, hashed with the seed, falls under it."""
    import xxhash

    texts = batch.column("text")
    if share >= 1.0:
        return texts
    bound, key = int(share * 2.0**64), seed & (1 << 64) - 1
    return texts.filter(
        pa.array([xxhash.xxh64_intdigest(name.encode(), key) < bound for name in batch.column("id").to_pylist()], pa.bool_())
    )


def _held(hashes: U64, share: float, seed: int) -> npt.NDArray[np.bool_]:
    """True for texts whose hash, mixed with the seed, falls under the share."""
    mixed = (hashes ^ np.uint64((seed * 0x9E3779B97F4A7C15) & (1 << 64) - 1)) * np.uint64(0xD6E8FEB86659FD93)
    return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53 < share


def _notes(gathered: _Gathered, labels: tuple[str, ...]) -> list[str]:
    """What the user should know of the data."""
    notes = []
    unique = [np.unique(np.concatenate([*parts, np.zeros(0, np.uint64)])) for parts in gathered.hashes]
    total = sum(len(part) for parts in gathered.hashes for part in parts)
    copies = total - sum(map(len, unique))
    both = total - copies - len(np.unique(np.concatenate(unique)))
    if copies:
        notes.append(f"{copies:,} of {total:,} documents are copies of another one of their class (lower case, white space folded)")
    if both:
        notes.append(f"{both:,} texts stand in more than one class: no model can be right on both")
    if gathered.empty:
        notes.append(f"{gathered.empty:,} documents without a word were left out")
    if gathered.unreadable:
        notes.append(f"{gathered.unreadable:,} rows could not be read and were left out")
    return notes


def _measure(model: Path, gathered: _Gathered, labels: tuple[str, ...]) -> dict[str, Any]:
    """Score the held-out texts with the file just written, as the `classifier` step would."""
    from curate.kernels.langid import Identifier
    from curate.kernels.strings import views
    from curate.steps.fasttext_file import load

    identifier = Identifier(load(str(model)))
    scores = np.concatenate([identifier.probabilities(*views(texts)) for texts in gathered.held])
    return evaluate(scores[:, [identifier.labels.index(label) for label in labels]], np.concatenate(gathered.held_labels), labels)
