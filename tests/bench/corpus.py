"""Make the benchmark's input: real documents, word-edited copies until there is enough text, as jsonl.zst files.

Everything follows from the source files, a size and a seed. Documents are kept whole, whatever their length; `id` is
`<source file>:<line>`, of a copy `<source file>:<line>+<number>`.

A copy is another document, no near-duplicate: 30 to 60 % of its words (a share drawn for each copy) are replaced by words
drawn from the same source file in proportion to their frequency, so that it stays in its language; of the word 5-grams
0.7^5 = 17 % survive at most on average. A CJK character counts as a word. Documents under 50 words are not copied.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import re
import shutil
from collections import defaultdict
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import zstandard

VERSION = 1  # of this recipe: a change makes a new folder
MIN_WORDS, LEAST, MOST = 50, 0.3, 0.6
VOCABULARY_WORDS = 200_000  # running words of each source file that replacements are drawn from
CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
WORD = re.compile(f"([{CJK}]|[^\\W{CJK}]+)")


@dataclass(frozen=True)
class Corpus:
    """What was made. `text_bytes` counts UTF-8 text, not JSON."""

    folder: Path
    documents: int
    copies: int
    text_bytes: int
    longest_bytes: int
    file_bytes: int

    @property
    def pattern(self) -> str:
        """Glob of its files."""
        return str(self.folder / "*.jsonl.zst")

    def record(self) -> dict[str, Any]:
        """As plain data."""
        return {**asdict(self), "folder": self.folder.name}


def make_corpus(sources: Path, work: Path, megabytes: float, seed: int, files: int = 16) -> Corpus:
    """Make, or find in `work`, about `megabytes` (10^6 bytes) of text in `files` files.

    sources: a folder of .jsonl, .jsonl.gz and .jsonl.zst files with a `text` field
    Where the sources hold more than asked for, a part drawn by the seed is taken and nothing is copied.
    """
    paths = sorted(p for p in sources.iterdir() if ".jsonl" in p.suffixes)
    if not paths:
        raise SystemExit(f"no .jsonl files in {sources}; set CURATE_TEST_DATA")
    asked = {
        "version": VERSION,
        "bytes": round(megabytes * 1e6),
        "seed": seed,
        "files": files,
        "sources": [[p.name, p.stat().st_size] for p in paths],
    }
    folder = work / f"corpus-{megabytes:g}MB-{seed}"
    found = _finished(folder, asked)
    if found is not None:
        return found
    rows, copies = _documents(paths, asked["bytes"], random.Random(seed))
    return _write(rows, copies, folder, files, asked)


def make_subset(corpus: Corpus, work: Path, megabytes: float, source: str = "") -> Corpus:
    """The first documents of every file of a corpus, about `megabytes` together, in as many files.

    source: take those of this source file only
    """
    paths = sorted(corpus.folder.glob("*.jsonl.zst"))
    asked = {"version": VERSION, "bytes": round(megabytes * 1e6), "of": corpus.folder.name, "files": len(paths), "source": source}
    folder = work / f"{corpus.folder.name}-first-{megabytes:g}MB{'-' * bool(source)}{source}"
    found = _finished(folder, asked)
    if found is not None:
        return found
    heads = [_head(path, asked["bytes"] / len(paths), source) for path in paths]
    rows = [row for rank in zip_longest(*heads) for row in rank if row is not None]
    return _write(rows, sum("+" in name for name, _ in rows), folder, len(paths), asked)


def _documents(paths: list[Path], wanted: int, rng: random.Random) -> tuple[list[tuple[str, str]], int]:
    """(id, text) of all documents and of as many copies as are needed, shuffled; and the number of copies."""
    rows = [(f"{path.name.partition('.')[0]}:{line}", text) for path in paths for line, text in enumerate(_texts(path))]
    rng.shuffle(rows)
    size, taken = 0, len(rows)
    for i, (_, text) in enumerate(rows):
        size += len(text.encode())
        if size >= wanted:
            taken = i + 1
            break
    if taken < len(rows) or size >= wanted:
        return rows[:taken], 0
    made = _copies(rows, wanted - size, rng)
    rows += made
    rng.shuffle(rows)
    return rows, len(made)


def _copies(rows: list[tuple[str, str]], wanted: int, rng: random.Random) -> list[tuple[str, str]]:
    """Edited copies of about `wanted` bytes; every document once, then every document again."""
    words = _vocabulary(rows)
    made: list[tuple[str, str]] = []
    size = round_ = 0
    while size < wanted:
        round_ += 1
        before = size
        for name, text in rows:
            parts = WORD.split(text)
            if len(parts) // 2 < MIN_WORDS:
                continue
            parts[1::2] = _replace(parts[1::2], words[name.partition(":")[0]], rng)
            copy = "".join(parts)
            made.append((f"{name}+{round_}", copy))
            size += len(copy.encode())
            if size >= wanted:
                break
        if size == before:
            raise SystemExit(f"no document has {MIN_WORDS} words: nothing to copy")
    return made


def _replace(words: list[str], vocabulary: list[str], rng: random.Random) -> list[str]:
    draw, n, share = rng.random, len(vocabulary), rng.uniform(LEAST, MOST)
    return [vocabulary[int(draw() * n)] if draw() < share else word for word in words]


def _vocabulary(rows: list[tuple[str, str]]) -> dict[str, list[str]]:
    """Running words by source file, from its first documents in the shuffled order."""
    found: dict[str, list[str]] = defaultdict(list)
    for name, text in rows:
        words = found[name.partition(":")[0]]
        if len(words) < VOCABULARY_WORDS:
            words += WORD.findall(text)
    return found


def _texts(path: Path) -> list[str]:
    raw = path.read_bytes()
    if path.suffix == ".gz":
        raw = gzip.decompress(raw)
    elif path.suffix == ".zst":
        raw = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(raw)).read()
    return [json.loads(line)["text"] for line in raw.split(b"\n") if line.strip()]


def _head(path: Path, wanted: float, source: str) -> list[tuple[str, str]]:
    """First documents of a file until they have `wanted` bytes."""
    rows: list[tuple[str, str]] = []
    size = 0
    with zstandard.open(path, "rt", encoding="utf-8", newline="\n") as file:
        for line in file:
            row = json.loads(line)
            if not row["id"].startswith(source):
                continue
            rows.append((row["id"], row["text"]))
            size += len(row["text"].encode())
            if size >= wanted:
                break
    return rows


def _write(rows: list[tuple[str, str]], copies: int, folder: Path, files: int, asked: dict[str, Any]) -> Corpus:
    """Write document i to file i % files; corpus.json last."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for number in range(files):
        with zstandard.open(folder / f"{number:02d}.jsonl.zst", "wb", cctx=zstandard.ZstdCompressor(level=3)) as file:
            for name, text in rows[number::files]:
                file.write(json.dumps({"id": name, "text": text}, ensure_ascii=False).encode() + b"\n")
    sizes = [len(text.encode()) for _, text in rows]
    made = {
        "documents": len(rows),
        "copies": copies,
        "text_bytes": sum(sizes),
        "longest_bytes": max(sizes),
        "file_bytes": sum(p.stat().st_size for p in folder.glob("*.jsonl.zst")),
    }
    (folder / "corpus.json").write_text(json.dumps({"asked": asked, "made": made}, indent=1) + "\n")
    return Corpus(folder, **made)


def _finished(folder: Path, asked: dict[str, Any]) -> Corpus | None:
    """The corpus in this folder, if it is the one asked for."""
    mark = folder / "corpus.json"
    if not mark.exists():
        return None
    content = json.loads(mark.read_text())
    return Corpus(folder, **content["made"]) if content["asked"] == asked else None
