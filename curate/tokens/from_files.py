"""Train a tokenizer on files outside a recipe: what `curate tokenizer train` does."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from curate import registry
from curate.errors import RecipeError
from curate.io.reader import Reader, Split
from curate.tokens.samples import bytes_by_source, drawn, shares
from curate.tokens.training import Algorithm, train_tokenizer
from curate.tokens.training import Split as Cut

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


class Input(NamedTuple):
    """A piece of a file to read, and the source that its rows have where they don't say one."""

    reader: Reader
    split: Split
    source: str


class _Texts:
    """Lists of texts out of the inputs, sampled by id; can be read again."""

    def __init__(self, inputs: list[Input], share: Mapping[str, float]) -> None:
        self._inputs, self._share = inputs, share
        self.documents = self.bytes = 0

    def __iter__(self) -> Iterator[list[str]]:
        self.documents = self.bytes = 0
        for batch in batches_of(self._inputs):
            texts = drawn(batch, self._share, 0)
            self.documents += len(texts)
            self.bytes += sum(len(text.encode()) for text in texts)
            yield texts


def batches_of(inputs: Iterable[Input]) -> Iterator[pa.RecordBatch]:
    """The rows of the inputs, in order."""
    for reader, split, source in inputs:
        for rows in reader.read(split, source):
            yield rows.batch


def list_inputs(inputs: Sequence[str], text: str) -> list[Input]:
    """The pieces of files, globs and folders. A row's source is what its dataset says, or the name of its file."""
    return [
        Input(reader, split, source_name(split.path))
        for given in inputs for reader in [reader_for(given, text)] for split in reader.splits(os.getcwd())
    ]  # fmt: skip


def source_name(given: str) -> str:
    """The name of a file without its endings."""
    return os.path.basename(os.path.abspath(given)).partition(".")[0]


def train_from_files(inputs: Sequence[str], out: Path, *, vocab_size: int, algorithm: str, text: str, special_tokens: Sequence[str] | None,
                     max_bytes: int, weights: Mapping[str, float] | None = None, pretokenizer: str = "gpt2") -> dict[str, Any]:  # fmt: skip
    """Read the files, train, write `out` (tokenizer.json); return {"vocab_size", "bytes", "documents"}
    and, where there are weights by source, "times_read".

    inputs: files, globs, folders of a dataset; the kind of a file is told by its suffix
    Raises RecipeError for an unknown kind or algorithm, DataError where nothing matches or there is no text.
    """
    if algorithm not in Algorithm.__args__:  # type: ignore[attr-defined]
        known = list(Algorithm.__args__)  # type: ignore[attr-defined]
        raise RecipeError(f"--algorithm must be one of {', '.join(known)}, got {algorithm!r}.{registry.nearest(algorithm, known)}")
    if pretokenizer not in Cut.__args__:  # type: ignore[attr-defined]
        raise RecipeError(f"--pretokenizer must be one of {', '.join(Cut.__args__)}, got {pretokenizer!r}.")  # type: ignore[attr-defined]
    found = list_inputs(inputs, text)
    if weights is None:  # one reading less: the size is guessed
        sizes = {"": sum(i.split.size * (GUESSED_RATIO if i.split.uri.endswith(PACKED) else 1) for i in found)}
    else:
        sizes = bytes_by_source(batches_of(found))
    share = shares(sizes, max_bytes, weights)
    texts = _Texts(found, share)
    extra = {} if special_tokens is None else {"special_tokens": special_tokens}
    trained = train_tokenizer(texts, vocab_size=vocab_size, algorithm=algorithm, pretokenizer=pretokenizer, **extra)  # type: ignore[arg-type]
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = out.with_name(f".{out.name}.{os.getpid()}")
    scratch.write_bytes(trained.content)
    os.replace(scratch, out)
    told = {} if weights is None else {"times_read": dict(sorted(share.items()))}
    return {"vocab_size": trained.vocab_size, "bytes": texts.bytes, "documents": texts.documents, **told}


def reader_for(given: str, text: str) -> Reader:
    """The reader for a file, a glob, or the folder of a dataset."""
    dataset = False
    if os.path.isdir(given):
        dataset = bool(list(Path(given).glob("part-*.parquet")))
        given = os.path.join(given, "part-*.parquet" if dataset else "**/*.jsonl*")
    suffixes = [s for s in os.path.basename(given).rstrip("*").lower().split(".")[1:] if s not in PACKED]
    kind = READERS.get(suffixes[-1]) if suffixes else None
    if kind is None:
        raise RecipeError(
            f"{given}: the kind of file can't be told from its name. Known: {', '.join('.' + s for s in READERS)}, each also .gz or .zst."
        )
    field = {} if kind == "text" else {"text": text}
    if dataset:
        field["source"] = "source"
    reader: Reader = registry.load("readers", kind)(paths=(os.path.abspath(given),), meta=False, **field)
    return reader
