"""The index of benchmark files, built once and kept in the cache folder: `$CURATE_CACHE/benchmarks/<fingerprint>.npz`.

The fingerprint is of the files' contents and names and of every setting that decides the index, so that a file may be
copied to another machine or shared by many. It holds the items' texts, which the evidence quotes.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from curate.errors import DataError
from curate.kernels.cache import cache_folder
from curate.kernels.ngram_arrays import Index
from curate.steps.benchmark_items import Item, benchmark_bytes, read_questions, row_of, short_names, words_of

FORMAT = 4
CJK_SHARE = 0.5  # of an item's words that are single characters: then it is measured in characters


@dataclass(frozen=True)
class Benchmarks:
    """Index of t items, their names and texts."""

    index: Index
    names: list[str]
    texts: list[str]

    def benchmark(self, item: int) -> str:
        """Name of the file that an item is from."""
        return row_of(self.names[item])[0]

    def usable(self) -> dict[str, tuple[int, int]]:
        """By benchmark: items, and those that are long enough to be found, in one of their texts."""
        rows: dict[tuple[str, str], bool] = {}
        for name, grams in zip(self.names, self.index.grams.tolist(), strict=True):
            rows[row_of(name)] = rows.get(row_of(name), False) or grams > 0
        found: dict[str, tuple[int, int]] = {}
        for (benchmark, _), usable in rows.items():
            items, long = found.get(benchmark, (0, 0))
            found[benchmark] = (items + 1, long + usable)
        return found


class Rules(NamedTuple):
    """Settings of `decontaminate` that decide the index."""

    fields: tuple[str, ...] | None
    mapping: str | None
    ngram: int
    least: int
    near: float | None
    bound: float
    by_words: bool


def open_benchmarks(files: Sequence[str], rules: Rules) -> Benchmarks:
    """Load the index from the cache, or build it and keep it there. Raises DataError where files can't be read."""
    path = cache_folder().parent / "benchmarks" / f"{fingerprint(files, rules)}.npz"
    held = _load(path)
    if held is not None:
        return held
    made = _build(list(read_questions(files, rules.fields, rules.mapping)), rules)
    _save(made, path)
    return made


def fingerprint(files: Sequence[str], rules: Rules) -> str:
    """Digest of what decides an index."""
    digest = hashlib.sha256(repr((FORMAT, tuple(rules))).encode())
    mappings = Path(__file__).parent.parent / "benchmarks" / "mappings.yaml"
    digest.update(mappings.read_bytes())
    for file, name in zip(files, short_names(files), strict=True):
        digest.update(f"{name}\0".encode() + hashlib.sha256(benchmark_bytes(file)).digest())
    return digest.hexdigest()[:24]


def _build(items: list[tuple[Item, tuple[str, ...]]], rules: Rules) -> Benchmarks:
    from curate.kernels.ngram_index import NEAR_CHARACTERS, NEAR_WORDS, build
    from curate.kernels.ngrams import SEED
    from curate.kernels.shingles import word_hashes

    # A question too short for a seed is read together with its first answer.
    texts = [f"{i.text}\n{a[0]}" if a and words_of(i.text) < SEED and i.text.isascii() else i.text for i, a in items]
    words = word_hashes(pa.array(texts, pa.large_string()))
    characters = np.array([sum("\u3040" <= c <= "\u9fff" for c in text) for text in texts], np.int64)
    chinese = characters > CJK_SHARE * np.diff(words.doc)
    least = np.where(chinese, NEAR_CHARACTERS, NEAR_WORDS).astype(np.int32)
    answers = [(at, a) for at, (_, given) in enumerate(items) for a in given]
    index = build(
        words, rules.ngram, rules.least, near=rules.near, bound=rules.bound, by_words=rules.by_words, near_least=least, answers=answers
    )
    return Benchmarks(index, [i.name for i, _ in items], texts)


def _save(made: Benchmarks, path: Path) -> None:
    """Write beside and rename, so that several workers may build the same index; a full disk only costs the cache."""
    scratch = path.with_name(f".{path.stem}-{os.getpid()}.npz")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        names = np.frombuffer("\0".join(made.names).encode("utf-8", "surrogatepass"), np.uint8)
        sizes = np.array([len(t.encode("utf-8", "surrogatepass")) for t in made.texts], np.int64)
        joined = np.frombuffer("".join(made.texts).encode("utf-8", "surrogatepass"), np.uint8)
        np.savez(scratch, **made.index._asdict(), names=names, texts=joined, text_sizes=sizes)
        os.replace(scratch, path)
    except OSError:
        scratch.unlink(missing_ok=True)


def _load(path: Path) -> Benchmarks | None:
    """The kept index; None where there is none or it is broken."""
    try:
        with np.load(path, allow_pickle=False) as file:
            index = Index(*(file[name] for name in Index._fields))
            names = file["names"].tobytes().decode("utf-8", "surrogatepass").split("\0")
            ends = np.cumsum(file["text_sizes"])
            joined = file["texts"].tobytes()
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    starts = np.concatenate([[0], ends])
    texts = [joined[a:b].decode("utf-8", "surrogatepass") for a, b in zip(starts[:-1].tolist(), ends.tolist(), strict=True)]
    return Benchmarks(index, names, texts)


def check_usable(found: Benchmarks, against: Sequence[str], least: int) -> None:
    """Raise DataError where no item can ever be found."""
    if not (found.index.grams > 0).any():
        raise DataError(
            f"decontaminate: the benchmark files {list(against)} have {len(found.texts)} items, none of at least {least} words. "
            "Check `fields`, or lower `min_item_words`."
        )
