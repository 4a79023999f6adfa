"""Items of benchmark files: what must not turn up in training text.

    .jsonl .ndjson   one JSON object a line           .json     a list of objects
    .txt             one item a line                  .parquet  one row an item
    all but parquet also with .gz or .zst

The text of an item is its chosen fields, joined by newlines in the row's order. Where no fields are named and the file's
name is that of a benchmark in `curate/benchmarks/mappings.yaml`, that mapping says which fields are question, answers and
choices. Else the fields are: the top-level fields with a name of PROMPT_FIELDS (whatever its case); in a row without any of them, those of CONTEXT_FIELDS;
failing that, all fields that hold text. So the reading passage beside a question, mostly quoted from a public page, and
answers and choices, often a few words, do not count unless named.
"""

from __future__ import annotations

import glob
import gzip
import io
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from curate.errors import DataError

PROMPT_FIELDS = frozenset({"question", "query", "prompt", "problem", "problem_statement", "instruction", "input", "turns", "goal", "stem"})
CONTEXT_FIELDS = frozenset({"text", "content", "context", "ctx", "sentence", "story", "passage", "premise", "hypothesis"})
SUFFIXES = (".jsonl", ".ndjson", ".json", ".txt", ".parquet")

ALONE_WORDS = 20  # white-space words of a solution in code that is an item by itself
SHORT_QUESTION = (3, 4)  # words of a question with answers that is found between labels only
LABELS = (
    ("Q", "A"),
    ("Question", "Answer"),
    ("User", "Assistant"),
    ("Human", "Assistant"),
    ("Instruction", "Response"),
    ("Prompt", "Response"),
)
NO_ANSWER_NEEDED = ""  # among the answers of an item: its text says enough
_DOCSTRING = re.compile(r'"""(.*?)"""|\'\'\'(.*?)\'\'\'', re.DOTALL)
_SNAKE = re.compile(r"(?<=[a-z0-9])_+([a-z0-9])")


class Item(NamedTuple):
    """One benchmark item: "file:row", rows counted from 1 (lines where the file has lines), and its text.

    Another text by which the same row is known has a word behind: "file:row canonical_solution".
    """

    name: str
    text: str


def row_of(item: str) -> tuple[str, str]:
    """(file, row) of an item's name."""
    file, _, row = item.rpartition(":")
    return file, row.partition(" ")[0]


@lru_cache(maxsize=1)
def mappings() -> dict[str, dict[str, Any]]:
    """Named mappings of benchmarks: question, answers, choices, alone, translated, names."""
    import yaml

    content = (Path(__file__).parent.parent / "benchmarks" / "mappings.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(content))


def mapping_of(file: str) -> str | None:
    """Name of the mapping for a file or data set by what it is called: `gsm8k_test.jsonl.gz`, `hf://datasets/cais/mmlu/...`."""
    known = {_plain(name): key for key, entry in mappings().items() for name in (key, *entry["names"])}
    parts = file.replace(os.sep, "/").split("/")
    stem = parts[-1].split(".")[0]
    words = re.split(r"[_-]+", stem.lower())
    tries = [_plain("".join(words[:n])) for n in range(len(words), 0, -1)]
    tries += [_plain("".join(parts[i : i + 2])) for i in range(len(parts) - 1)] if "://" in file else []
    return next((known[name] for name in tries if name in known), None)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def expand(against: Sequence[str]) -> list[str]:
    """Replace globs by the files they match, sorted; a glob that matches nothing stays, to be reported as missing."""
    files: list[str] = []
    for path in against:
        if "://" in path:
            files += _remote(path)
            continue
        matched = sorted(glob.glob(path, recursive=True)) if glob.has_magic(path) and not os.path.exists(path) else []
        files += matched or [path]
    return list(dict.fromkeys(files))


def _remote(path: str) -> list[str]:
    """Addresses that a glob on another file system matches, sorted: `hf://datasets/openai/gsm8k/main/test-*.parquet`, `s3://...`."""
    import fsspec

    if not glob.has_magic(path):
        return [path]
    try:
        return sorted(file.full_name for file in fsspec.open_files(path)) or [path]
    except (OSError, ImportError, ValueError) as error:
        raise DataError(f"Benchmark files {path!r} can't be listed: {error}") from error


def short_names(files: Sequence[str]) -> list[str]:
    """Shortest tail of each path that tells it from the others: names must not depend on where the data lie."""
    parts = [os.path.normpath(f).replace(os.sep, "/").split("/") for f in files]
    for depth in range(1, max(map(len, parts), default=0) + 1):
        names = ["/".join(p[-depth:]) for p in parts]
        if len(set(names)) == len(names):
            return names
    return list(files)


def read_items(files: Sequence[str], fields: Sequence[str] | None, mapping: str | None = None) -> Iterator[Item]:
    """Yield the items of all files in order, without their answers; arguments and errors as for `read_questions`."""
    return (item for item, _ in read_questions(files, fields, mapping))


def read_questions(
    files: Sequence[str], fields: Sequence[str] | None, mapping: str | None = None
) -> Iterator[tuple[Item, tuple[str, ...]]]:
    """Yield the items of all files in order, each with the answers that a mapping names. Raises DataError where a file or a field is missing or can't be read.

    mapping: name of the mapping for all files; None: each file's own, by its name; "none": no mapping
    """
    for file, name in zip(files, short_names(files), strict=True):
        found = False
        seen: set[str] = set()
        chosen = None if fields else mappings().get(mapping or mapping_of(file) or "")
        for number, row in _rows(file):
            seen.update(row)
            found |= bool(fields) and any(f in row for f in fields or ())
            mapped = None if chosen is None else _mapped(row, chosen)
            if mapped is None:
                yield Item(f"{name}:{number}", item_text(row, fields)), ()
                continue
            yield Item(f"{name}:{number}", mapped[0]), mapped[1]
            yield from _variants(f"{name}:{number}", *mapped, row, chosen or {})
        if fields and seen and not found:
            raise DataError(f"Benchmark file {file!r} has none of the fields {list(fields)}. It has: {', '.join(sorted(seen))}.")


def _variants(
    name: str, question: str, answers: tuple[str, ...], row: Mapping[str, Any], chosen: Mapping[str, Any]
) -> Iterator[tuple[Item, tuple[str, ...]]]:
    """Other texts by which an item is known: a solution alone, code as other languages spell it, a short question between labels."""
    for field in chosen.get("alone", ()):
        code = _text(row.get(field))
        if len(code.split()) >= ALONE_WORDS:
            yield Item(f"{name} {field}", code), ()
    if chosen.get("translated"):
        for number, text in enumerate(translated(question), 1):
            yield Item(f"{name} variant {number}", text), ()
    if answers and SHORT_QUESTION[0] <= words_of(question) <= SHORT_QUESTION[1]:
        for before, behind in LABELS:
            yield Item(f"{name} {before} {behind}", f"{before}: {question}\n{behind}:"), (NO_ANSWER_NEEDED,)


def words_of(text: str) -> int:
    """How many words the index makes of a text, but for Chinese and Japanese, whose characters it takes one by one."""
    return len(re.findall(r"\w+", text))


def translated(prompt: str) -> list[str]:
    """What translations of a prompt in Python keep (HumanEval-X, MultiPL-E): names in camelCase; each docstring, and its prose, in both spellings."""
    docstrings = ["".join(found) for found in _DOCSTRING.findall(prompt)]
    texts = [prompt, *(text for doc in docstrings for text in (doc, doc.partition(">>>")[0]))]
    both = [spelt for text in texts for spelt in (text, _SNAKE.sub(lambda m: m[1].upper(), text))]
    return [text for text in dict.fromkeys(both) if text != prompt and text.strip()]


def _mapped(row: Mapping[str, Any], mapping: Mapping[str, Any]) -> tuple[str, tuple[str, ...]] | None:
    """(question, answers) by a mapping; None where the row has none of its question fields."""
    question = "\n".join(text for field in mapping["question"] if (text := _text(_inner(row, field))))
    if not question:
        return None
    given = [row.get(field) for field in mapping.get("choices", ())]
    choices = [c for value in given for c in _choices(value)]
    answers = [a for field in mapping["answers"] for a in _answers(row.get(field), choices)]
    return question, tuple(dict.fromkeys(a for a in answers if a.strip()))


def _inner(row: Mapping[str, Any], field: str) -> Any:
    """Value of a field; `a.b`: of b in a, which is an object or a list of objects, of which the first one counts."""
    outer, dot, inner = field.partition(".")
    value = row.get(outer)
    if not dot:
        return value
    first = value[0] if isinstance(value, list) and value else value
    return first.get(inner) if isinstance(first, Mapping) else None


def _choices(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        value = value.get("text", ())
    if isinstance(value, str):
        return [value]
    return [v for v in value if isinstance(v, str)] if isinstance(value, list) else []


def _answers(value: Any, choices: list[str]) -> list[str]:
    """Texts of answers: a letter or a number from 0 picks a choice where there are choices; `;` parts a list in one text."""
    if isinstance(value, Mapping):
        value = value.get("text") or value.get("value") or ()
    if isinstance(value, list):
        return [text for v in value for text in _answers(v, choices)]
    if isinstance(value, bool) or value is None:
        return []
    text = str(value).strip()
    if choices:
        at = int(text) if text.isdigit() else "ABCDEFGHIJ".find(text.upper()) if len(text) == 1 else -1
        return [choices[at]] if 0 <= at < len(choices) else []
    return text.split("; ")


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
        table = pq.read_table(io.BytesIO(benchmark_bytes(file)))
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"Benchmark file {file!r} can't be read: {error}") from error
    yield from enumerate(table.to_pylist(), 1)


def _content(file: str) -> bytes:
    import zstandard

    raw = benchmark_bytes(file)
    try:
        if file.endswith(".gz"):
            return gzip.decompress(raw)
        if file.endswith(".zst"):
            return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(raw), read_across_frames=True).read()
    except (OSError, EOFError, zstandard.ZstdError) as error:
        raise DataError(f"Benchmark file {file!r} can't be read: {error}") from error
    return raw


def benchmark_bytes(file: str) -> bytes:
    """Bytes of a local file or of any address that fsspec knows, as they are. Raises DataError where they can't be read."""
    try:
        if "://" not in file:
            with open(file, "rb") as stream:
                return stream.read()
        import fsspec

        with fsspec.open(file, "rb") as stream:
            return bytes(stream.read())
    except FileNotFoundError as error:
        raise DataError(f"Benchmark file {file!r} does not exist. Check `against` of the step decontaminate.") from error
    except (OSError, ImportError, ValueError) as error:
        raise DataError(f"Benchmark file {file!r} can't be read: {error}") from error


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
