"""An index of deduplication on disk: what later dumps are compared with, without reading the earlier ones.

    DIR/HEAD                          name of the newest version
    DIR/.lock                         who reads and writes here
    DIR/versions/<name>.json          a version: its parent, the settings of its hashes, its segments; never changed
    DIR/segments/<name>/              what one run added; never changed
        sets-0000000.arrow            dedup_minhash: _row, id, shingles: the exact shingle set of every document that stayed
        postings-0000000.arrow        dedup_minhash: key, _row: its band hashes, sorted
        values-0000000.arrow          dedup_exact: key, hash, id: the hash of its value, sorted

A version is named by a digest of what made it (the step, the documents it saw, the version it read), so a rerun finds its
own version and reads the one below it again. Every block (Arrow record batch) has a checksum in the version's file that is
tested before the block is used; the version's file has one of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from curate.errors import StoreError
from curate.fingerprint import canonical
from curate.store import flush, flush_folder, held, link_or_copy, write_atomic

U64 = npt.NDArray[np.uint64]

FORMAT = 1
ONE_A_DOCUMENT = ("sets", "values")  # kinds of files with a row a document
OPEN_FILES = 64  # mapped at a time by a process: an index has thousands, and many machines allow 1024
NAME_CHARS = 16

MEND = "Take the file from a copy of the index, or build the index again from an earlier version: `curate index info DIR` lists them."


@dataclass(frozen=True)
class Version:
    """What a run reads. `content` is the version's file."""

    root: Path
    content: dict[str, Any]

    @property
    def name(self) -> str:
        """Digest of what made it."""
        return str(self.content["name"])

    @property
    def parent(self) -> str | None:
        """The version it was built on, None for the first."""
        return self.content["parent"] or None

    @property
    def line(self) -> list[tuple[str, str | None, str]]:
        """(name, parent, digest of the input files) of it and of every version below, the newest first."""
        below = self.content.get("below")
        if below is None:  # versions before this was written down
            below = Index(self.root).version(self.parent).line if self.parent else []
        return [(self.name, self.parent, self.content["source"]), *((name, parent or None, source) for name, parent, source in below)]

    @property
    def segments(self) -> list[dict[str, Any]]:
        """Oldest first: {name, documents, files: [{name, bytes, blocks: [...]}]}."""
        return list(self.content["segments"])

    @property
    def documents(self) -> int:
        """Documents that it holds."""
        return sum(s["documents"] for s in self.segments)

    @property
    def bytes(self) -> int:
        """Bytes on disk."""
        return sum(f["bytes"] for s in self.segments for f in s["files"])


class Index:
    """A folder of versions."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root).absolute()

    @property
    def head(self) -> str | None:
        """Name of the newest version, None where there is none yet."""
        try:
            return (self.root / "HEAD").read_text(encoding="ascii").strip() or None
        except FileNotFoundError:
            return None

    def version(self, name: str) -> Version:
        """Read a version's file. StoreError where it is absent or damaged."""
        path = self.root / "versions" / f"{name}.json"
        try:
            content = json.loads(path.read_bytes())
            held = content.pop("checksum")
        except FileNotFoundError as error:
            raise StoreError(f"{self.root} has no version {name}: {path} does not exist. {MEND}") from error
        except (ValueError, KeyError) as error:
            raise StoreError(f"{path} is damaged ({error}). {MEND}") from error
        if held != _checksum(canonical(content)):
            raise StoreError(f"{path} is damaged: its checksum is not the one it names. {MEND}")
        content["made_for"].setdefault("step", "dedup_minhash")  # the only one of versions that do not name it
        if content["format"] != FORMAT:
            raise StoreError(f"{path} has format {content['format']}, this version of curate reads {FORMAT}. Build the index again.")
        return Version(self.root, content)

    def chain(self) -> Iterator[Version]:
        """The newest version, the one it was built on, and so on."""
        name = self.head
        while name is not None:
            found = self.version(name)
            yield found
            name = found.parent

    def resolve(self, name_on: Callable[[str | None], str], source: str) -> str | None:
        """The version that a run reads: below its own where it has written one, else the newest (None: an empty index).

        name_on: name of the run's version on a given one; source: digest of its input files. A changed run on the files of
        the newest version takes that one's place; on files of an older one it is refused, for all of them would be found.
        """
        line = self._line()
        for name, parent, _ in line:
            if name_on(parent) == name:
                return parent
        for at, (name, parent, files) in enumerate(line):
            if files == source:
                if at:
                    raise StoreError(
                        f"{self.root} holds the documents of these input files already, as version {name}, and {at} later versions are "
                        f"built on it, so that with changed settings each would be a duplicate of itself. Use another index, or set the index "
                        f"back with `curate index reset {self.root} {parent or 'empty'}`."
                    )
                return parent
        return self.head

    def has(self, name: str) -> bool:
        """The version is the newest one or below it."""
        return any(name == there for there, _, _ in self._line())

    def _line(self) -> list[tuple[str, str | None, str]]:
        head = self.head
        return self.version(head).line if head else []

    def publish(self, name: str, parent: str | None, described: dict[str, Any], files: Sequence[tuple[str, Path]], source: str) -> None:
        """Add a version with one more segment, and make it the newest. A version that is there stays as it is.

        files: (name in the segment, existing file); linked, or copied where links are not possible
        """
        if self.has(name):
            return
        below = []
        if parent:
            before = self.version(parent)
            check_settings(before, described)  # another step of the same run may have added it
            below = before.segments
        self._add_segment(name, files)
        segment = describe_segment(self.root, name)
        self._write({"format": FORMAT, "name": name, "parent": parent or "", "made_for": described, "source": source,
                     "segments": [*below, segment]})  # fmt: skip

    def _add_segment(self, name: str, files: Sequence[tuple[str, Path]]) -> None:
        final = self.root / "segments" / name
        scratch = final.with_name(f".{name}.{os.getpid()}")
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        for inside, file in files:
            link_or_copy(file, scratch / inside)
        shutil.rmtree(final, ignore_errors=True)  # of a process that died before its version was written
        os.replace(scratch, final)
        flush_folder(final.parent)

    def _write(self, content: dict[str, Any]) -> None:
        content = {**content, "below": self.version(content["parent"]).line if content["parent"] else []}
        (self.root / "versions").mkdir(parents=True, exist_ok=True)
        text = json.dumps({**content, "checksum": _checksum(canonical(content))}, indent=1, sort_keys=True)
        write_atomic(self.root / "versions" / f"{content['name']}.json", text.encode())
        flush_folder(self.root / "versions")
        self.reset(content["name"])

    def reset(self, name: str | None) -> None:
        """Make a version the newest; None: start empty. Files of others stay where they are."""
        if name is not None:
            self.version(name)
        write_atomic(self.root / "HEAD", f"{name or ''}\n".encode())
        flush_folder(self.root)

    def merge(self, others: Sequence[Index]) -> Version:
        """A version with the segments of other indexes' newest versions too. Documents of two indexes are not compared with each other."""
        head = self.head
        own = self.version(head).content if head else None
        segments = list(own["segments"]) if own else []
        made_for = own["made_for"] if own else None
        for other in others:
            if other.head is None:
                raise StoreError(f"{other.root} holds no version: it is no index, or nothing was added to it yet.")
            theirs = other.version(other.head)
            made_for = made_for or theirs.content["made_for"]
            check_settings(theirs, made_for)
            for segment in theirs.segments:
                if segment["name"] not in {s["name"] for s in segments}:
                    verify_segment(other.root, segment)
                    self._add_segment(segment["name"], [(f["name"], _path(other.root, segment, f)) for f in segment["files"]])
                    segments.append(segment)
        name = _checksum(canonical([s["name"] for s in segments]))[:NAME_CHARS]
        if name != head and segments:
            self._write({"format": FORMAT, "name": name, "parent": head or "", "made_for": made_for, "source": "", "segments": segments})
        return self.version(name)

    def hold(self) -> contextlib.AbstractContextManager[None]:
        """Keep others out. StoreError naming the holder where somebody is in."""
        return held(
            self.root, f"The index {self.root} is in use by {{holder}}. Wait for it to end and run again: what is finished is kept."
        )


def check_settings(version: Version, wanted: dict[str, Any]) -> None:
    """StoreError where the version's hashes were made with other settings."""
    held = version.content["made_for"]
    if held["step"] != wanted["step"]:
        raise StoreError(f"The index {version.root} was made by {held['step']}, so {wanted['step']} can't use it. Name another folder.")
    other = [f"{k}: {held.get(k)!r} there, {wanted[k]!r} here" for k in wanted if held.get(k) != wanted[k]]
    if other:
        raise StoreError(
            f"The index {version.root} was made with other settings ({'; '.join(other)}). Use the same ones, or another index."
        )


class Blocks:
    """Checked record batches of a segment's files of one kind (by default of all), in order."""

    def __init__(self, root: Path, segment: dict[str, Any], kind: str = "") -> None:
        self._root, self._segment = root, segment
        self._files = [f for f in segment["files"] if f["name"].startswith(kind)]
        self.all = [(f, number, block) for f in self._files for number, block in enumerate(f["blocks"])]
        self._checked: set[int] = set()

    @cached_property
    def starts(self) -> list[int]:
        """Rows before each block, and all rows."""
        total = [0]
        for _, _, block in self.all:
            total.append(total[-1] + block["rows"])
        return total

    @cached_property
    def keys(self) -> tuple[U64, U64]:
        """First and last key of each block, where the first column is a sorted hash."""
        found = [(block["first"], block["last"]) for _, _, block in self.all]
        return np.array([first for first, _ in found], np.uint64), np.array([last for _, last in found], np.uint64)

    def read(self, at: int) -> pa.RecordBatch:
        """Block `at`, its checksum tested the first time. StoreError where it is damaged."""
        file, number, block = self.all[at]
        path = _path(self._root, self._segment, file)
        try:
            held = path.stat()
            if held.st_size != file["bytes"]:
                raise ValueError(f"it has {held.st_size} bytes, expected {file['bytes']}")
            batch = _mapped(str(path), held.st_ino, held.st_mtime_ns).get_batch(number)
            if at not in self._checked:
                if _batch_checksum(batch) != block["checksum"]:
                    raise ValueError(f"the checksum of block {number} is not the one in the version's file")
                self._checked.add(at)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise StoreError(f"The index file {path} is damaged: {error}. {MEND}") from error
        return batch


@lru_cache(maxsize=OPEN_FILES)
def _mapped(path: str, inode: int, changed: int) -> Any:
    """An index file, open for reading. inode, changed: of the file, so that one that was put in its place is another one."""
    return pa.ipc.open_file(pa.memory_map(path))


def verify_segment(root: Path, segment: dict[str, Any]) -> None:
    """Test every block of a segment."""
    blocks = Blocks(root, segment)
    for at in range(len(blocks.all)):
        blocks.read(at)


def describe_segment(root: Path, name: str) -> dict[str, Any]:
    """What a version's file says of a new segment; its files are flushed and read once."""
    folder = root / "segments" / name
    files: list[dict[str, Any]] = []
    for path in sorted(folder.iterdir()):
        flush(path)
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        blocks = []
        for number in range(reader.num_record_batches):
            batch = reader.get_batch(number)
            first = batch.column(0)
            blocks.append(
                {"rows": len(batch), "first": first[0].as_py(), "last": first[len(batch) - 1].as_py(), "checksum": _batch_checksum(batch)}
            )
        files.append({"name": path.name, "bytes": path.stat().st_size, "blocks": blocks})
    documents = sum(b["rows"] for f in files if f["name"].startswith(ONE_A_DOCUMENT) for b in f["blocks"])
    return {"name": name, "documents": documents, "files": files}


def _path(root: Path, segment: dict[str, Any], file: dict[str, Any]) -> Path:
    return root / "segments" / str(segment["name"]) / str(file["name"])


def _batch_checksum(batch: pa.RecordBatch) -> str:
    content = xxhash.xxh3_64()
    for column in batch.columns:
        for buffer in column.buffers():
            if buffer is not None:
                content.update(memoryview(buffer))
    return content.hexdigest()


def _checksum(content: bytes) -> str:
    return xxhash.xxh3_128_hexdigest(content)
