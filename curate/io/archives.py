"""Crawl archives: WARC, WET and ARC files, plain or gzip (or zstd), told by content.

A document is a record that the settings want: by type, by HTTP status, by media type. Its text is the decoded body: HTML
of a page (`extract` makes prose of it), plain text of a WET record. Everything else is counted by reason in the
manifest (`skipped`), everything broken is quarantined with its offset: truncated files, damaged gzip members, bad
headers, lengths that are wrong. Files larger than a split are cut at gzip members (plain files: at records).

The headers of a record are fields: `columns` makes columns of them, `meta` holds them all. The id is WARC-Record-ID, as
in data sets made of Common Crawl; records without one (ARC) get a derived id. Revisit records have no body of their own
and are counted, not resolved.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import datetime
from typing import Any, BinaryIO, ClassVar, Self

import msgspec
from pydantic import Field, field_validator, model_validator

from curate.errors import MissingDependency
from curate.io.archive_records import ARC_START, Damage, Header, Record, read_records, record_size
from curate.io.byte_cursor import ByteCursor, Place
from curate.io.charsets import decode
from curate.io.fields import Gathering, RowError, id_maker, value_of_text
from curate.io.files import COMPRESSED, File, is_local, list_files, open_file, ranges
from curate.io.gzip_members import find_member
from curate.io.http_message import HEADERS, Head, decode_body, parse_head
from curate.io.lines import HEAD, too_long
from curate.io.reader import SPLIT_BYTES, Reader, Rows, Split, Unreadable
from curate.io.streams import Broken, compression

FIELDS = (
    "url", "date", "mime", "status", "charset", "type", "record_id", "host", "ip", "digest", "language", "truncated", "warcinfo_id",
    "refers_to", "last_modified", "content_language", "location", "robots", "replaced",
)  # fmt: skip
_WARC = {
    "url": "warc-target-uri", "date": "warc-date", "record_id": "warc-record-id", "ip": "warc-ip-address", "digest": "warc-payload-digest",
    "language": "warc-identified-content-language", "truncated": "warc-truncated", "warcinfo_id": "warc-warcinfo-id",
    "refers_to": "warc-refers-to",
}  # fmt: skip
_HTTP = {"last_modified": "last-modified", "content_language": "content-language", "location": "location", "robots": "x-robots-tag"}
_MARKUP = re.compile(
    rb"\s*(?:<!--.{0,500}?-->\s*)*<(?:!doctype\s+html|html|head|body|title|meta|script|div|p|table|h1)\b", re.IGNORECASE | re.DOTALL
)
_HOST = re.compile(r"[a-z][a-z0-9+.-]*://(?:[^/?#@]*@)?([^/?#:@]*)", re.IGNORECASE)
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]+)", re.IGNORECASE)
_VAGUE = ("", "application/octet-stream", "unk", "no-type", "unknown")


class ArchiveReader(Reader):
    """What the three readers share. `columns` and `source` name fields of a record: see FIELDS."""

    suffixes: ClassVar[tuple[str, ...]]

    columns: Mapping[str, str] = Field(
        {"url": "string", "date": "timestamp", "mime": "string", "status": "int"},
        description=f"fields to keep as typed columns: name -> string, int, float, bool or timestamp; fields are {', '.join(FIELDS)}",
    )
    types: tuple[str, ...] = Field(("response", "resource"), min_length=1, description="record types that are documents")
    mime: tuple[str, ...] | None = Field(
        ("text/html", "application/xhtml+xml"),
        description="media types that are documents, as `text/html` or `text/*`: as identified by the crawler, else as the server said, "
        "else HTML where it looks like HTML; null: all that can be decoded",
    )
    status: tuple[int, ...] | None = Field((200,), description="HTTP statuses that are documents; records without one pass; null: all")

    @field_validator("types", "mime", "status", mode="before")
    @classmethod
    def _one_value(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str | int) else value

    @model_validator(mode="after")
    def _known_fields(self) -> Self:
        for name in (*self.columns, *filter(None, [self.id, self.source])):
            if name not in FIELDS:
                raise ValueError(f"a record has no field {name!r}; there are {', '.join(FIELDS)}")
        return self

    def splits(self, base: str, split_bytes: int = SPLIT_BYTES) -> list[Split]:
        """List the pieces to read. Raises MissingDependency without the extra `html`."""
        for package in ("fastwarc", "resiliparse"):
            if importlib.util.find_spec(package) is None:
                raise MissingDependency.extra(package, "html", f"reader {self.name!r}")
        return [s for f in list_files(self.paths, base, self.suffixes, self.name) for s in _pieces(f, split_bytes)]

    def read(self, split: Split, dataset: str) -> Iterator[Rows]:
        """Yield the documents of a split."""
        rows = Gathering(self.columns)
        with closing(open_file(split.uri, split.fingerprint)) as file:
            try:
                cursor = ByteCursor(file, split.start)
            except Broken as error:
                rows.unreadable.append(Unreadable(split.path, 0, str(error), b""))
                yield from rows.take()
                return
            documents = _Documents(self, split.path, dataset, rows)
            for record in read_records(cursor, split.end, documents.wanted, self.max_doc_bytes):
                documents.take(record)
                if rows.full:
                    yield from rows.take()
        yield from rows.take()


class WarcReader(ArchiveReader):
    """WARC files of a crawl: pages as HTML."""

    name: ClassVar[str] = "warc"
    summary: ClassVar[str] = "crawl archives (WARC): pages as HTML"
    suffixes: ClassVar[tuple[str, ...]] = tuple(f".warc{packed}" for packed in COMPRESSED)


class WetReader(ArchiveReader):
    """WET files of Common Crawl: the text of pages."""

    name: ClassVar[str] = "wet"
    summary: ClassVar[str] = "text of crawled pages (WET)"
    suffixes: ClassVar[tuple[str, ...]] = tuple(f".wet{packed}" for packed in COMPRESSED)

    types: tuple[str, ...] = Field(("conversion",), min_length=1, description="record types that are documents")
    mime: tuple[str, ...] | None = Field(("text/plain",), description="media types that are documents; null: all that can be decoded")
    columns: Mapping[str, str] = Field(
        {"url": "string", "date": "timestamp", "language": "string"},
        description=f"fields to keep as typed columns: name -> string, int, float, bool or timestamp; fields are {', '.join(FIELDS)}",
    )


class ArcReader(ArchiveReader):
    """ARC files, what crawlers wrote before WARC (to 2009 and later)."""

    name: ClassVar[str] = "arc"
    summary: ClassVar[str] = "crawl archives (ARC): pages as HTML"
    suffixes: ClassVar[tuple[str, ...]] = tuple(f".arc{packed}" for packed in COMPRESSED)


class _Documents:
    """Turns records of one file into rows."""

    def __init__(self, reader: ArchiveReader, path: str, dataset: str, rows: Gathering) -> None:
        self.reader, self.path, self.dataset, self.rows = reader, path, dataset, rows
        self.kinds = list(reader.columns.items())
        self.reason = ""  # why the record at hand is no document
        self.head: Head | None = None
        self.mime = ""

    def wanted(self, header: Header, begin: bytes) -> int | None:
        """Decide by type, status and media type, and remember the HTTP head for `take`: its size, None for no document."""
        reader = self.reader
        self.head, self.mime = None, ""
        self.reason = "" if header.type in reader.types else f"type {header.type[:40]}"
        if self.reason:
            return None
        if begin.startswith(b"HTTP/"):
            self.head = parse_head(begin)
        status = self.head.status if self.head else None
        if status is not None and reader.status is not None and status not in reader.status:
            self.reason = f"status {status}"
            return None
        self.mime = _media_type(header, self.head, begin)
        if reader.mime is not None and not any(_fits(self.mime, m) for m in reader.mime):
            self.reason = f"mime {self.mime[:60] or '(none)'}"
        return None if self.reason else self.head.size if self.head else 0

    def take(self, record: Record | Damage) -> None:
        """Add a record's document, or note why there is none."""
        if isinstance(record, Damage):
            self._broken(record.place, record.error, record.head)
        elif self.reason:
            self.rows.skipped[self.reason] += 1
        elif record.body is None:
            self._broken(record.place, too_long(self.reader.max_doc_bytes), b"")
        else:
            try:
                self._add(record, record.body)
            except RowError as error:
                self._broken(record.place, str(error), record.head[:HEAD] + record.body[:HEAD])

    def _add(self, record: Record, content: bytes) -> None:
        limit = self.reader.max_doc_bytes
        fields = _fields(record)
        problem = ""
        if self.head is not None:
            fields |= {name: self.head.headers[key] for name, key in _HTTP.items() if key in self.head.headers}
            content, problem = decode_body(content, self.head.headers, limit)
            if problem and not content:
                raise RowError(problem)
            if self.head.status is not None:
                fields["status"] = str(self.head.status)
        if len(content) > limit:
            raise RowError(too_long(limit))
        declared = _CHARSET.search(self.head.headers.get("content-type", "") if self.head else record.headers.get("content-type", ""))
        text, charset, replaced = decode(content, declared[1] if declared else None)
        fields |= {"mime": self.mime, "charset": charset}
        if replaced:
            fields["replaced"] = str(replaced)
        if problem:
            fields["truncated"] = problem
        self._row(record.place, fields, text)

    def _row(self, place: Place, fields: dict[str, str], text: bytes) -> None:
        reader = self.reader
        columns = [value_of_text(n, kind, fields[n]) if n in fields else None for n, kind in self.kinds]
        identity = fields.get(reader.id or "record_id")
        if identity is None and reader.id:
            raise RowError(f"no field {reader.id!r} to take the id from; the record has {', '.join(fields)}")
        source = fields.get(reader.source, self.dataset) if reader.source else self.dataset
        meta = msgspec.json.encode(fields).decode() if reader.meta else "{}"
        self.rows.add(len(text) + len(meta), identity or self._derived(place), text, source, meta, *columns)

    def _derived(self, place: Place) -> str:
        """An id from where the record lies: the member's start, and the byte inside for a member of several records."""
        if not place.inner:
            return id_maker(self.dataset, self.path)(place.offset)
        return id_maker(self.dataset, f"{self.path}@{place.offset}")(place.inner)

    def _broken(self, place: Place, error: str, content: bytes) -> None:
        inside = f" (at byte {place.inner} of the content of the gzip member)" if place.inner else ""
        self.rows.unreadable.append(Unreadable(self.path, place.offset, error + inside, content[:HEAD]))


def _fields(record: Record) -> dict[str, str]:
    """The record's own headers under our names; empty ones are left out."""
    headers = record.headers
    if record.kind == "arc":
        found = {"url": headers["url"], "date": _arc_date(headers["date"]), "ip": headers["ip"]}
    else:
        found = {name: headers.get(key, "") for name, key in _WARC.items()}
        found["url"] = found["url"].removeprefix("<").removesuffix(">")
        found["date"] = found["date"] if _is_time(found["date"]) else ""
    host = _HOST.match(found["url"])
    found |= {"type": record.type, "host": host[1].lower() if host else ""}
    return {name: value for name, value in found.items() if value}


def _arc_date(digits: str) -> str:
    """YYYYMMDDhhmmss as ISO 8601; "" for a date that is none."""
    text = f"{digits[:4]}-{digits[4:6]}-{digits[6:8]}T{digits[8:10] or '00'}:{digits[10:12] or '00'}:{digits[12:14] or '00'}Z"
    return text if _is_time(text) else ""


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _media_type(header: Header, head: Head | None, begin: bytes) -> str:
    """Media type of a record, lower case, without parameters; "" where nothing tells."""
    identified = header.headers.get("warc-identified-payload-type", "")
    said = head.headers.get("content-type", "") if head else header.headers.get("content-type" if header.kind == "warc" else "mime", "")
    mime = (identified or said).partition(";")[0].strip().lower()
    if mime in _VAGUE or "/" not in mime:
        body = begin[head.size : head.size + 2048] if head else begin[:2048]
        return "text/html" if _MARKUP.match(body) else "" if mime in _VAGUE else mime
    return mime


def _fits(mime: str, pattern: str) -> bool:
    return mime == pattern or (pattern.endswith("/*") and mime.startswith(pattern[:-1]))


def _pieces(file: File, split_bytes: int) -> list[Split]:
    """Cut one file at records near equal places; one piece where it is small or can't be cut."""
    starts = [0]
    if file.size > split_bytes:
        with closing(open_file(file.uri)) as handle:
            starts += _cuts(handle, file, [start for start, _ in ranges(file.size, split_bytes)][1:])
    ends = [*starts[1:], -1]
    return [
        Split(file.uri, file.path, (end if end > 0 else file.size) - start, file.fingerprint, start, end)
        for start, end in zip(starts, ends, strict=True)
    ]


def _cuts(handle: BinaryIO, file: File, wanted: list[int]) -> list[int]:
    try:
        kind = compression(handle.read(4))
    except Broken:
        return []
    if kind == "gzip":
        found = [find_member(handle, at, file.size, _begins_record) for at in wanted]
        return sorted({at for at in found if at > 0})
    return _record_starts(handle, wanted) if kind == "plain" and is_local(file.uri) else []


def _begins_record(content: bytes) -> bool:
    return content.startswith(b"WARC/") or ARC_START.match(content) is not None


def _record_starts(handle: BinaryIO, wanted: list[int]) -> list[int]:
    """The first record at or after each wanted place of a plain file, going from header to header. Stops at damage."""
    found: list[int] = []
    left = list(wanted)
    at = 0
    while left:
        handle.seek(at)
        head = handle.read(HEADERS)
        blank = len(head) - len(head.lstrip(b"\r\n"))
        size = record_size(head[blank:])
        if size is None:
            break
        if at + blank >= left[0]:
            found.append(at + blank)
            left = [place for place in left if place > found[-1]]
        at += blank + size
    return found
