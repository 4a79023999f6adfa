"""Plain text files: a file or a line is a document. UTF-8 only; plain, gzip or zstd, told by content."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from curate.io.fields import NO_META, Gathering, batch_of, id_maker, in_batches, not_utf8, repeated, schema_of, valid_utf8
from curate.io.files import COMPRESSED, File, list_files, open_file
from curate.io.lines import BOM, HEAD, LineBlock, line_splits, read_lines, too_long
from curate.io.reader import SPLIT_BYTES, Reader, Rows, Split, Unreadable
from curate.io.streams import Broken, decompressed, fill
from curate.kernels.strings import from_buffers

SUFFIXES = tuple(name + packed for name in (".txt", ".text", ".md", ".rst") for packed in COMPRESSED)


class TextReader(Reader):
    """Text files. Line ends (LF, CRLF) are not part of a line's text; blank lines are passed over; a BOM is removed."""

    name: ClassVar[str] = "text"
    summary: ClassVar[str] = "plain text: a document per file or per line"

    per: Literal["document", "line"] = Field("document", description="what is a document: each file, or each line")

    def splits(self, base: str, split_bytes: int = SPLIT_BYTES) -> list[Split]:
        """List the pieces to read."""
        return [s for f in list_files(self.paths, base, SUFFIXES, self.name) for s in self.pieces(f, split_bytes)]

    def pieces(self, file: File, split_bytes: int) -> list[Split]:
        """Cut one file at lines; where a file is a document, not at all."""
        return line_splits(file, split_bytes) if self.per == "line" else [Split(file.uri, file.path, file.size, file.fingerprint)]

    def read(self, split: Split, dataset: str) -> Iterator[Rows]:
        """Yield the documents of a split."""
        if self.per == "document":
            yield from self._file(split, dataset)
            return
        for block in read_lines(split, self.max_doc_bytes):
            yield from self._lines(block, split.path, dataset)

    def _file(self, split: Split, dataset: str) -> Iterator[Rows]:
        rows = Gathering(self.columns)
        data, problem = whole_file(split, self.max_doc_bytes)
        if problem:
            rows.unreadable.append(Unreadable(split.path, 0, problem, data[:HEAD]))
        elif data:
            text = data.removeprefix(BOM).decode()
            rows.add(len(data), id_maker(dataset, split.path)(0), text, dataset, NO_META, *[None] * len(self.columns))
        yield from rows.take()

    def _lines(self, block: LineBlock, path: str, dataset: str) -> Iterator[Rows]:
        data = np.frombuffer(block.data or b"\0", np.uint8)
        begin, end = block.start[:-1].copy(), block.start[1:].copy()
        for newline in (10, 13):
            end -= (end > begin) & (data[np.maximum(end - 1, 0)] == newline)
        if not block.base and block.data.startswith(BOM):
            begin[0] = len(BOM)
        both = np.stack([begin, end], axis=1).ravel()
        both = both if len(both) else np.zeros(1, np.int64)
        text = from_buffers(data, both).take(pa.array(np.arange(0, len(both) - 1, 2)))
        problems: dict[int, str] = {row: too_long(self.max_doc_bytes) for row in np.flatnonzero(end - begin > self.max_doc_bytes).tolist()}
        if not valid_utf8(block.data):
            problems.update((row, why) for row in range(len(begin)) if (why := not_utf8(block.data[begin[row] : end[row]])))
        keep = np.array([bool(line.strip()) for line in block.data.split(b"\n")[: len(begin)]], bool)
        reports = [Unreadable(path, block.offset(row), why, block.line(row)[:HEAD]) for row, why in sorted(problems.items())]
        keep[list(problems)] = False
        rows = np.flatnonzero(keep)
        new_id = id_maker(dataset, path)
        ids = [new_id(offset) for offset in (block.base + block.start[rows]).tolist()]
        none = {name: pa.nulls(len(rows), kind) for name, kind in self.extra_columns().items()}
        batch = batch_of(
            schema_of(self.columns),
            ids,
            text.take(pa.array(rows)),
            repeated(dataset, len(rows), pa.string()),
            repeated(NO_META, len(rows), pa.large_string()),
            none,
        )
        yield from in_batches(batch, (*block.unreadable, *reports))


def whole_file(split: Split, most: int) -> tuple[bytes, str | None]:
    """(the decompressed bytes of a file, what is wrong with them): broken, more than `most`, not UTF-8; None where nothing is."""
    with closing(open_file(split.uri, split.fingerprint)) as file:
        try:
            data, broken, _ = fill(decompressed(file), most + 1)
        except Broken as error:
            data, broken = b"", error
    return data, str(broken) if broken else too_long(most) if len(data) > most else not_utf8(data)
