"""Markdown files: a file is a document; its front matter (YAML between `---` lines) becomes fields, not text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any, ClassVar, Literal

import msgspec
import yaml
from pydantic import Field

from curate.io.fields import NO_META, Gathering, RowError, id_maker, missing, value_of_text
from curate.io.files import COMPRESSED, File, list_files
from curate.io.lines import BOM, HEAD
from curate.io.reader import SPLIT_BYTES, Reader, Rows, Split, Unreadable
from curate.io.text import whole_file

SUFFIXES = tuple(name + packed for name in (".md", ".markdown", ".mdx", ".qmd", ".rmd") for packed in COMPRESSED)
_FRONT = re.compile(r"\A---[ \t]*\r?\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)


class MarkdownReader(Reader):
    """Markdown files. `columns`, `id` and `source` name keys of the front matter; keys that are not plain values stay in `meta`."""

    name: ClassVar[str] = "markdown"
    summary: ClassVar[str] = "Markdown files, front matter as fields"

    front_matter: Literal["fields", "text"] = Field(
        "fields", description="fields: YAML at the top goes to columns and meta; text: it stays"
    )

    def splits(self, base: str, split_bytes: int = SPLIT_BYTES) -> list[Split]:
        """List the files."""
        return [s for f in list_files(self.paths, base, SUFFIXES, self.name) for s in self.pieces(f, split_bytes)]

    def pieces(self, file: File, split_bytes: int) -> list[Split]:
        """The whole file."""
        return [Split(file.uri, file.path, file.size, file.fingerprint)]

    def read(self, split: Split, dataset: str) -> Iterator[Rows]:
        """Yield the document of a file."""
        rows = Gathering(self.columns)
        data, problem = whole_file(split, self.max_doc_bytes)
        try:
            if problem:
                raise RowError(problem)
            if data:
                self._add(data.removeprefix(BOM).decode(), split.path, dataset, rows)
        except RowError as error:
            rows.unreadable.append(Unreadable(split.path, 0, str(error), data[:HEAD]))
        yield from rows.take()

    def _add(self, text: str, path: str, dataset: str, rows: Gathering) -> None:
        front: dict[str, Any] = {}
        if self.front_matter == "fields":
            text, front = split_front_matter(text)
        for name in filter(None, (self.id,)):
            if name not in front:
                raise missing(name, list(front))
        plain = {name: _plain(value) for name, value in front.items()}
        columns = [None if (value := plain.get(n)) is None else value_of_text(n, kind, value) for n, kind in self.columns.items()]
        used = {*self.columns, *filter(None, (self.id or "id", self.source))}
        others = {name: value for name, value in front.items() if name not in used}
        meta = msgspec.json.encode(others, enc_hook=str).decode() if self.meta and others else NO_META
        source = plain.get(self.source) if self.source else None
        identity = plain.get(self.id or "id") or id_maker(dataset, path)(0)
        rows.add(len(text) + len(meta), identity, text, source or dataset, meta, *columns)


class _NoAliases(yaml.SafeLoader):
    """YAML's safe values without aliases, a few of which stand for gigabytes once they are written out."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias")
        return super().compose_node(parent, index)


def split_front_matter(text: str) -> tuple[str, dict[str, Any]]:
    """(text without its front matter, the front matter). What is no YAML mapping, or holds an alias, stays in the text."""
    found = _FRONT.match(text)
    if found is None:
        return text, {}
    try:
        front = yaml.load(found[1], _NoAliases)  # a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError):
        return text, {}
    if not isinstance(front, dict):
        return text, {}
    return text[found.end() :].lstrip("\r\n"), {str(name): value for name, value in front.items()}


def _plain(value: Any) -> str | None:
    """A value of the front matter as the text of a cell; None for null, lists and mappings."""
    if value is None or isinstance(value, list | dict | set | bytes):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, date | datetime) else str(value)
