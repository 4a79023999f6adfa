"""What every registered reader keeps to: the schema, ids that don't depend on splits or places, odd text, empty input."""

from __future__ import annotations

import csv
import gzip
import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate import registry
from curate.errors import DataError
from curate.io.reader import Reader
from curate.schema import DOCUMENT
from tests.curate.io.archive_files import arc_record, warc_record

TEXTS = ["plain", "two\nlines", "", "\u00e9\u4f60\U0001f600\u200b\u0301 \u2028\u0085", "x" * (1 << 20), "tab\t\"quote\", 'comma'", " "]


def jsonl(folder: Path, texts: list[str]) -> None:
    (folder / "a.jsonl").write_text("".join(json.dumps({"text": t, "k": i}) + "\n" for i, t in enumerate(texts)))


def parquet(folder: Path, texts: list[str]) -> None:
    pq.write_table(
        pa.table({"text": pa.array(texts, pa.string()), "k": pa.array(range(len(texts)), pa.int64())}),
        folder / "a.parquet",
        row_group_size=2,
    )


def arrow(folder: Path, texts: list[str]) -> None:
    table = pa.table({"text": pa.array(texts, pa.string()), "k": pa.array(range(len(texts)), pa.int64())})
    with pa.ipc.new_file(str(folder / "a.arrow"), table.schema) as writer:
        writer.write_table(table, max_chunksize=2)


def delimited(folder: Path, texts: list[str]) -> None:
    with (folder / "a.csv").open("w", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("text", "k"), *((t, str(i)) for i, t in enumerate(texts))])


def text(folder: Path, texts: list[str]) -> None:
    for number, each in enumerate(texts):
        (folder / f"{number}.txt").write_text(each, newline="")


def archive(folder: Path, texts: list[str]) -> None:
    """A file of each kind that the three archive readers find by its ending."""
    for kind, name in (("response", "a.warc.gz"), ("conversion", "a.warc.wet.gz")):
        records = [warc_record(kind, t, f"http://example.org/{i}", {"X-K": str(i)}) for i, t in enumerate(texts)]
        (folder / name).write_bytes(b"".join(gzip.compress(r, 1) for r in records))
    (folder / "a.arc").write_bytes(b"".join(arc_record(t, f"http://example.org/{i}") for i, t in enumerate(texts)))


def markdown(folder: Path, texts: list[str]) -> None:
    for number, each in enumerate(texts):
        (folder / f"{number}.md").write_text(f"---\nk: {number}\n---\n" + each, newline="")


MAKE: dict[str, Callable[[Path, list[str]], None]] = {
    "jsonl": jsonl, "parquet": parquet, "arrow": arrow, "csv": delimited, "text": text,
}  # fmt: skip
MAKE["markdown"] = markdown
ARCHIVES = ("warc", "wet", "arc") if importlib.util.find_spec("fastwarc") and importlib.util.find_spec("resiliparse") else ()
MAKE |= dict.fromkeys(ARCHIVES, archive)
OWN = ("jsonl", "parquet", "arrow", "csv", "text", "warc", "wet", "arc", "hf", "code", "markdown", "installed_docs")


def documents(reader: Reader, base: Path, split_bytes: int = 1 << 28) -> list[dict[str, Any]]:
    rows = []
    for split in reader.splits(str(base), split_bytes):
        for batch, unreadable in reader.read(split, "data"):
            assert batch.schema.equals(pa.schema([*DOCUMENT, *(pa.field(n, t) for n, t in reader.extra_columns().items())]))
            batch.validate(full=True)
            assert batch.column("id").null_count == batch.column("text").null_count == batch.column("meta").null_count == 0
            assert tuple(unreadable) == ()
            rows += batch.to_pylist()
    return rows


def test_every_reader_is_listed() -> None:
    assert {n for n, where in registry.READERS.items() if where.startswith("curate.io.")} == set(OWN)
    for name in OWN:
        assert registry.load("readers", name).name == name
        assert registry.load("readers", name).summary


@pytest.mark.parametrize("name", MAKE)
def test_documents(name: str, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    MAKE[name](here, TEXTS)
    reader = registry.load("readers", name)(paths=("here",))
    rows = documents(reader, tmp_path)
    assert [r["text"] for r in rows] == [t for t in TEXTS if t or name != "text"]
    assert len({r["id"] for r in rows}) == len(rows)
    assert all(isinstance(json.loads(r["meta"]), dict) for r in rows)
    assert all(str(json.loads(r["meta"]).get("k", i)) == str(i) for i, r in enumerate(rows))
    for split_bytes in (30_000, 500_000):
        assert documents(reader, tmp_path, split_bytes) == rows
    shutil.move(here, tmp_path / "there")
    moved = registry.load("readers", name)(paths=(str(tmp_path / "there"),))
    assert documents(moved, Path("/")) == rows


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize("texts", [[], ["one"]])
def test_few_rows(name: str, texts: list[str], tmp_path: Path) -> None:
    MAKE[name](tmp_path, texts)
    reader = registry.load("readers", name)(paths=(".",))
    if name in ("text", "markdown") and not texts:
        with pytest.raises(DataError, match="nothing to read"):
            reader.splits(str(tmp_path))
        return
    assert [r["text"] for r in documents(reader, tmp_path)] == texts


@pytest.mark.parametrize("name", OWN)
def test_unknown_setting(name: str) -> None:
    with pytest.raises(ValueError, match="tetx"):
        registry.load("readers", name)(paths=("a",), tetx="b")


@pytest.mark.parametrize("name", MAKE)
def test_nothing_there(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="gone"):
        registry.load("readers", name)(paths=("gone/*",)).splits(str(tmp_path))
