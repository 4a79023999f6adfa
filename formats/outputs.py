"""Rows to one file: JSON lines (plain, gzip, zstd), a JSON list, or Parquet; by suffix, written beside and renamed at the end."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, cast

import msgspec

from curate.errors import RecipeError
from formats.adapters.adapter import Row
from formats.parquet_rows import ParquetRows

SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".json", ".parquet")
_FRAME_BYTES = 32 << 20  # of JSON in one zstd frame, so that several workers can read a big file
_HELD_ROWS = 64  # small enough to stay in the processor's cache


def check_suffix(path: Path) -> str:
    """The suffix that picks the form. Raises RecipeError for another one."""
    found = next((s for s in (".jsonl.gz", ".jsonl.zst", ".jsonl", ".json", ".parquet") if path.name.endswith(s)), None)
    if found is None:
        raise RecipeError(f"{path}: the suffix picks the form of the file; it must be one of {', '.join(SUFFIXES)}.")
    return found


class Output:
    """A file of rows. Use it as a context manager: what was written appears only where no error came."""

    def __init__(self, path: Path) -> None:
        self.suffix = check_suffix(path)
        self.path, self.scratch = path, path.with_name(f".{path.name}.{os.getpid()}.tmp")
        self.held: list[Row] = []
        self._encoder = msgspec.json.Encoder()
        self._frame: list[bytes] = []
        self._in_frame = self._rows = 0
        self.notes: list[str] = []

    def __enter__(self) -> Output:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.suffix == ".parquet":
            self._table = ParquetRows(self.scratch)
        else:
            raw = self.scratch.open("wb")
            self._raw = raw
            self._file = cast(BinaryIO, gzip.GzipFile("", "wb", 6, raw, mtime=0)) if self.suffix == ".jsonl.gz" else raw
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self._close()
                os.replace(self.scratch, self.path)
        finally:
            if self.suffix == ".parquet":
                self._table.abandon()
            else:
                self._raw.close()
            self.scratch.unlink(missing_ok=True)

    def write(self, rows: list[Row]) -> None:
        """Add rows."""
        held = self.held
        held += rows
        done = len(held) - len(held) % _HELD_ROWS  # pieces of one size, so that frames do not depend on how rows arrive
        for at in range(0, done, _HELD_ROWS):
            self._put(held[at : at + _HELD_ROWS])
        del held[:done]

    def _put(self, rows: list[Row]) -> None:
        if self.suffix == ".parquet":
            self._table.write(rows)
        elif self.suffix == ".json":
            made = [self._encoder.encode(row) for row in rows]
            self._file.write((b",\n" if self._rows else b"[\n") + b",\n".join(made))
        elif self.suffix == ".jsonl.zst":
            self._frame.append(self._encoder.encode_lines(rows))
            self._in_frame += len(self._frame[-1])
            if self._in_frame >= _FRAME_BYTES:
                self._end_frame()
        else:
            self._file.write(self._encoder.encode_lines(rows))
        self._rows += len(rows)

    def _end_frame(self) -> None:
        import zstandard

        if self._frame:
            self._file.write(zstandard.ZstdCompressor(level=3, write_checksum=True).compress(b"".join(self._frame)))
        self._frame, self._in_frame = [], 0

    def _close(self) -> None:
        if self.held:
            self._put(self.held)
            self.held = []
        if self.suffix == ".parquet":
            self.notes = self._table.close()
            return
        if self.suffix == ".json":
            self._file.write(b"\n]\n" if self._rows else b"[]\n")
        if self.suffix == ".jsonl.zst":
            self._end_frame()
        if self._file is not self._raw:
            self._file.close()
        self._raw.flush()
        os.fsync(self._raw.fileno())


def write_json_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    """A small file of JSON lines, in one go."""
    with Output(path) as out:
        out.write(rows)
