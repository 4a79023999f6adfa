"""Items of benchmark files: what must not turn up in training text.

    .jsonl .ndjson   one JSON object a line           .json     a list of objects
    .txt             one item a line                  .parquet  one row an item
    all but parquet also with .gz or .zst

The text of an item is its chosen fields, joined by newlines in the row's order. Where no fields are named, they are: the
top-level fields with a name of PROMPT_FIELDS (whatever its case); in a row without any of them, those of CONTEXT_FIELDS;
failing that, all fields that hold text. So the reading passage beside a question, mostly quoted from a public page, and
answers and choices, often a few words, do not count unless named.
"""

from __future__ import annotations

import glob
import gzip
import io
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from curate.errors import DataError

PROMPT_FIELDS = frozenset({"question", "query", "prompt", "problem", "problem_statement", "instruction", "input", "turns", "goal", "stem"})
CONTEXT_FIELDS = frozenset({"text", "content", "context", "ctx", "sentence", "story", "passage", "premise", "hypothesis"})
SUFFIXES = (".jsonl", ".ndjson", ".json", ".txt", ".parquet")


class Item(NamedTuple):
    """One benchmark item: "file:row", rows counted from 1 (lines where the file has lines), and its text."""

    name: str
    text: str


def expand(against: Sequence[str]) -> list[str]:
    """Replace globs by the files they match, sorted; a glob that matches nothing stays, to be reported as missing."""
    files: list[str] = []
    for path in against:
        matched = sorted(glob.glob(path, recursive=True)) if glob.has_magic(path) and not os.path.exists(path) else []
        files += matched or [path]
    return list(dict.fromkeys(files))


def short_names(files: Sequence[str]) -> list[str]:
    """Shortest tail of each path that tells it from the others: names must not depend on where the data lie."""
    parts = [os.path.normpath(f).replace(os.sep, "/").split("/") for f in files]
    for depth in range(1, max(map(len, parts), default=0) + 1):
        names = ["/".join(p[-depth:]) for p in parts]
        if len(set(names)) == len(names):
            return names
    return list(files)


def read_items(files: Sequence[str], fields: Sequence[str] | None) -> Iterator[Item]:
    """Yield the items of all files in order. Raises DataError where a file or a field is missing or can't be read."""
    for file, name in zip(files, short_names(files), strict=True):
        found = False
        seen: set[str] = set()
        for number, row in _rows(file):
            seen.update(row)
            found |= bool(fields) and any(f in row for f in fields or ())
            yield Item(f"{name}:{number}", item_text(row, fields))
        if fields and seen and not found:
            raise DataError(f"Benchmark file {file!r} has none of the fields {list(fields)}. It has: {', '.join(sorted(seen))}.")


def item_text(row: dict[str, Any], fields: Sequence[str] | None) -> str:
    """Text of the chosen fields, see the head of this file. Strings, and lists of strings; anything else has none."""
    texts = {name: text for name, value in row.items() if (text := _text(value))}
    if fields is not None:
        chosen = [name for name in texts if name in fields]
    else:
        chosen = [name for name in texts if name.lower() in PROMPT_FIELDS]
        chosen = chosen or [name for name in texts if name.lower() in CONTEXT_FIELDS] or list(texts)
    return "\n".join(texts[name] for name in chosen)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "\n".join(v for v in value if isinstance(v, str)) if isinstance(value, list) else ""


def _rows(file: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """(row number from 1, fields) of every row that has any."""
    plain = file.removesuffix(".gz").removesuffix(".zst")
    suffix = os.path.splitext(plain)[1].lower()
    if suffix not in SUFFIXES:
        raise DataError(f"Benchmark file {file!r}: expected a name that ends in {', '.join(SUFFIXES)}, perhaps with .gz or .zst.")
    if suffix == ".parquet":
        yield from _parquet(file)
        return
    content = _content(file)
    if suffix == ".json":
        rows = _parsed(content, file, 0)
        if not isinstance(rows, list):
            raise DataError(f"Benchmark file {file!r}: expected a JSON list of items, got {type(rows).__name__}.")
        yield from ((i, _fields(row, file, i)) for i, row in enumerate(rows, 1))
        return
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line.strip():
            continue
        if suffix == ".txt":
            yield number, {"text": line.decode("utf-8", "replace")}
        else:
            yield number, _fields(_parsed(line, file, number), file, number)


def _parquet(file: str) -> Iterator[tuple[int, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(file)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"Benchmark file {file!r} can't be read: {error}") from error
    yield from enumerate(table.to_pylist(), 1)


def _content(file: str) -> bytes:
    import zstandard

    try:
        with open(file, "rb") as stream:
            raw = stream.read()
        if file.endswith(".gz"):
            return gzip.decompress(raw)
        if file.endswith(".zst"):
            return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(raw), read_across_frames=True).read()
    except FileNotFoundError as error:
        raise DataError(f"Benchmark file {file!r} does not exist. Check `against` of the step decontaminate.") from error
    except (OSError, EOFError, zstandard.ZstdError) as error:
        raise DataError(f"Benchmark file {file!r} can't be read: {error}") from error
    return raw


def _parsed(content: bytes, file: str, number: int) -> Any:
    try:
        return json.loads(content)
    except ValueError as error:
        raise DataError(f"Benchmark file {file!r}{f', line {number}' if number else ''}: expected JSON, got {error}.") from error


def _fields(row: Any, file: str, number: int) -> dict[str, Any]:
    if isinstance(row, str):
        return {"text": row}
    if not isinstance(row, dict):
        raise DataError(f"Benchmark file {file!r}, row {number}: expected a JSON object, got {type(row).__name__}.")
    return row
