"""Train a tokenizer on files outside a recipe: what `curate tokenizer train` does."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from curate import registry
from curate.errors import RecipeError
from curate.io.reader import Reader, Split
from curate.tokens.training import Algorithm, drawn, train_tokenizer

READERS = {
    "parquet": "parquet",
    "arrow": "arrow",
    "csv": "csv",
    "jsonl": "jsonl",
    "json": "jsonl",
    "ndjson": "jsonl",
    "txt": "text",
    "md": "text",
}
PACKED = ("gz", "zst")
GUESSED_RATIO = 3  # text bytes for a byte of a compressed file, to choose the sample's share


class _Texts:
    """Lists of texts out of the splits, sampled by id; can be read again."""

    def __init__(self, splits: list[tuple[Reader, Split]], share: float) -> None:
        self._splits, self.share = splits, share
        self.documents = self.bytes = 0

    def __iter__(self) -> Iterator[list[str]]:
        self.documents = self.bytes = 0
        for reader, split in self._splits:
            for rows in reader.read(split, "input"):
                texts = drawn(rows.batch, self.share, 0)
                self.documents += len(texts)
                self.bytes += sum(len(text.encode()) for text in texts)
                yield texts


def train_from_files(inputs: Sequence[str], out: Path, *, vocab_size: int, algorithm: str, text: str, special_tokens: Sequence[str] | None,
                     max_bytes: int) -> dict[str, Any]:  # fmt: skip
    """Read the files, train, write `out` (tokenizer.json); return {"vocab_size", "bytes", "documents"}.

    inputs: files, globs, folders of a dataset; the kind of a file is told by its suffix
    Raises RecipeError for an unknown kind or algorithm, DataError where nothing matches or there is no text.
    """
    if algorithm not in Algorithm.__args__:  # type: ignore[attr-defined]
        known = list(Algorithm.__args__)  # type: ignore[attr-defined]
        raise RecipeError(f"--algorithm must be one of {', '.join(known)}, got {algorithm!r}.{registry.nearest(algorithm, known)}")
    splits = [(reader, split) for reader in [reader_for(given, text) for given in inputs] for split in reader.splits(os.getcwd())]
    size = sum(split.size * (GUESSED_RATIO if split.uri.endswith(PACKED) else 1) for _, split in splits)
    texts = _Texts(splits, min(1.0, max_bytes / max(1, size)))
    extra = {} if special_tokens is None else {"special_tokens": special_tokens}
    trained = train_tokenizer(texts, vocab_size=vocab_size, algorithm=algorithm, **extra)  # type: ignore[arg-type]
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = out.with_name(f".{out.name}.{os.getpid()}")
    scratch.write_bytes(trained.content)
    os.replace(scratch, out)
    return {"vocab_size": trained.vocab_size, "bytes": texts.bytes, "documents": texts.documents}


def reader_for(given: str, text: str) -> Reader:
    """The reader for a file, a glob, or the folder of a dataset."""
    if os.path.isdir(given):
        given = os.path.join(given, "part-*.parquet" if list(Path(given).glob("part-*.parquet")) else "**/*.jsonl*")
    suffixes = [s for s in os.path.basename(given).rstrip("*").lower().split(".")[1:] if s not in PACKED]
    kind = READERS.get(suffixes[-1]) if suffixes else None
    if kind is None:
        raise RecipeError(
            f"{given}: the kind of file can't be told from its name. Known: {', '.join('.' + s for s in READERS)}, each also .gz or .zst."
        )
    field = {} if kind == "text" else {"text": text}
    reader: Reader = registry.load("readers", kind)(paths=(os.path.abspath(given),), meta=False, **field)
    return reader
