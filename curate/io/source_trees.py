"""Source code as it lies in folders: a document is a file, with its language, its repository and the licence it is under.

    read: {code: "repos/*"}

Each folder that a path names is one repository. What its authors did not write is passed over and counted by reason in
the manifest: vendored and built folders, generated and minified files, binaries, files of no known language, hidden
ones, links, files that are too large, other licences than the wanted ones. Licence files themselves are not documents.
"""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple, Self

import msgspec
import xxhash
from pydantic import Field, field_validator, model_validator

from curate.errors import DataError
from curate.io.fields import NO_META, Gathering, id_maker, not_utf8, value_of_text
from curate.io.files import is_local
from curate.io.reader import SPLIT_BYTES, Reader, Rows, Split
from curate.io.source_languages import LANGUAGES, known_name, language_of
from curate.io.source_licenses import is_license_file, is_permissive, license_of, tag_of
from curate.io.source_skips import content_reason, folder_reason, is_binary, name_reason

FIELDS = ("path", "language", "license", "repo", "size", "charset")
PERMISSIVE = "permissive"
NO_LICENSE = "none"
_LICENSE_BYTES = 256 << 10


class Member(NamedTuple):
    """One file of a repository."""

    path: str  # from the folder that holds the repositories, '/' separated; begins with the repository's name
    file: str  # absolute
    size: int
    license: str  # of the nearest licence file above it


class Tree(NamedTuple):
    """The files of one repository that may be documents, sorted by path, and what was passed over."""

    members: tuple[Member, ...]
    skipped: dict[str, int]
    fingerprint: str  # of all paths, sizes and times


class CodeReader(Reader):
    """Source code in folders; `columns` and `source` name fields of a file: path, language, license, repo, size, charset."""

    name: ClassVar[str] = "code"
    summary: ClassVar[str] = "source trees: files with language and licence, without vendored and generated ones"

    columns: Mapping[str, str] = Field(
        {"path": "string", "language": "string", "license": "string", "repo": "string"},
        description=f"fields to keep as typed columns: name -> string, int, float, bool or timestamp; fields are {', '.join(FIELDS)}",
    )
    languages: tuple[str, ...] | None = Field(None, description="languages to read, as GitHub names them; null: all known ones")
    licenses: tuple[str, ...] | None = Field(
        None,
        description="SPDX identifiers to read, `permissive` for all that are, `none` for files without a licence; null: whatever it is",
    )
    vendored: bool = Field(False, description="read vendored and built folders too")
    generated: bool = Field(False, description="read generated and minified files too")
    max_file_bytes: int = Field(1 << 20, gt=0, le=16 << 20, description="larger files are passed over")

    @field_validator("languages", "licenses", mode="before")
    @classmethod
    def _one_value(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _known_names(self) -> Self:
        for name in (*self.columns, *filter(None, [self.id, self.source])):
            if name not in FIELDS:
                raise ValueError(f"a source file has no field {name!r}; there are {', '.join(FIELDS)}")
        known = {language.lower() for language in LANGUAGES}
        for language in self.languages or ():
            if language.lower() not in known:
                raise ValueError(f"unknown language {language!r}; there are {', '.join(LANGUAGES)}")
        return self

    def splits(self, base: str, split_bytes: int = SPLIT_BYTES) -> list[Split]:
        """List runs of files of each repository; start and end count its files."""
        result = []
        for root in _roots(self.paths, base):
            tree = _walk(root, self.vendored, self.generated)
            name = os.path.basename(root)
            start = held = 0
            for number, member in enumerate(tree.members):
                held += member.size
                if held >= split_bytes or number == len(tree.members) - 1:
                    result.append(Split(root, name, held, tree.fingerprint, start, number + 1))
                    start, held = number + 1, 0
            if not tree.members:
                result.append(Split(root, name, 0, tree.fingerprint, 0, 0))
        return sorted(result, key=lambda s: (s.path, s.uri, s.start))

    def read(self, split: Split, dataset: str) -> Iterator[Rows]:
        """Yield the documents of a run of files."""
        tree = _tree(split.uri, self.vendored, self.generated, split.fingerprint)
        if tree.fingerprint != split.fingerprint:
            raise DataError(f"{split.uri}: changed since the run listed its files. Run again when nothing writes to it.")
        rows = Gathering(self.columns)
        if split.start == 0:
            rows.skipped.update(tree.skipped)
        for member in tree.members[split.start : split.end if split.end >= 0 else None]:
            self._add(member, split.path, dataset, rows)
            if rows.full:
                yield from rows.take()
        yield from rows.take()

    def _add(self, member: Member, repo: str, dataset: str, rows: Gathering) -> None:
        if member.size > self.max_file_bytes:
            rows.skipped["larger than max_file_bytes"] += 1
            return
        raw = _content(member)
        name = member.path.rpartition("/")[2]
        text, charset = _decoded(raw)
        reason = "binary" if text is None else "" if self.generated else content_reason(name, text)
        language = language_of(name, text) if text is not None and not reason else ""
        license_name = (tag_of(text) if text else "") or member.license
        reason = reason or self._unwanted(language, license_name)
        if reason or not text:
            rows.skipped[reason or "empty"] += 1
            return
        fields = {
            "path": member.path,
            "language": language,
            "license": license_name,
            "repo": repo,
            "size": str(member.size),
            "charset": charset,
        }
        columns = [value_of_text(n, kind, fields[n]) for n, kind in self.columns.items()]
        identity = fields[self.id] if self.id else id_maker(dataset, member.path)(0)
        meta = msgspec.json.encode(fields).decode() if self.meta else NO_META
        rows.add(len(raw) + len(meta), identity, text, fields[self.source] if self.source else dataset, meta, *columns)

    def _unwanted(self, language: str, license_name: str) -> str:
        """Why a file is no document by the settings; "" where it is one."""
        if not language:
            return "language not known"
        if self.languages is not None and language.lower() not in {wanted.lower() for wanted in self.languages}:
            return f"language {language}"
        if self.licenses is None or (license_name or NO_LICENSE) in self.licenses:
            return ""
        return "" if PERMISSIVE in self.licenses and is_permissive(license_name) else f"license {license_name or NO_LICENSE}"[:100]


def _roots(paths: tuple[str, ...], base: str) -> list[str]:
    """The folders that paths name, each once."""
    roots: dict[str, None] = {}
    for path in paths:
        if not is_local(path):
            raise DataError(f"code: {path!r} is no local folder. Copy the tree to disk, or read it as Parquet.")
        where = os.path.normpath(os.path.join(os.path.abspath(base), os.path.expanduser(path.removeprefix("file://"))))
        found = [where] if os.path.isdir(where) else sorted(f for f in glob.glob(where, recursive=True) if os.path.isdir(f))
        if not found:
            raise DataError(f"code: nothing to read at {path!r} (looked at {where}). Expected a folder, or a glob that matches some.")
        roots.update(dict.fromkeys(os.path.normpath(f) for f in found))
    names = Counter(os.path.basename(r) for r in roots)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise DataError(
            f"code: {names[twice[0]]} folders are called {twice[0]!r}; ids are made of names. Rename one, or make a dataset of each."
        )
    return list(roots)


@lru_cache(maxsize=64)
def _tree(root: str, vendored: bool, generated: bool, _: str) -> Tree:
    """What a walk finds, once for each fingerprint that a worker is told."""
    return _walk(root, vendored, generated)


def _walk(root: str, vendored: bool, generated: bool) -> Tree:
    """Walk one repository."""
    members: list[Member] = []
    skipped: Counter[str] = Counter()
    digest = xxhash.xxh3_128()
    licenses: dict[str, str] = {}
    name = os.path.basename(root)
    for parent, folders, files in os.walk(root):
        folders.sort()
        above = licenses.get(os.path.dirname(parent), "") if parent != root else ""
        own = sorted(f for f in files if is_license_file(f) and not os.path.islink(os.path.join(parent, f)))
        licenses[parent] = _granted([os.path.join(parent, f) for f in own]) or above
        for folder in list(folders):
            reason = "link" if os.path.islink(os.path.join(parent, folder)) else folder_reason(folder)
            if reason and (reason in ("link", "hidden") or not vendored):
                folders.remove(folder)
                skipped[reason] += 1 if reason == "link" else _count(os.path.join(parent, folder))
        for file in sorted(files):
            where = os.path.join(parent, file)
            inside = os.path.relpath(where, root).replace(os.sep, "/")
            reason = _unlisted(where, file, file in own, vendored, generated)
            if reason:
                skipped[reason] += 1
                continue
            stat = os.stat(where)
            digest.update(f"{inside}\0{stat.st_size}\0{stat.st_mtime_ns}\0{licenses[parent]}\n".encode("utf-8", "surrogateescape"))
            members.append(Member(f"{name}/{inside}", where, stat.st_size, licenses[parent]))
    members.sort(key=lambda m: m.path)
    return Tree(tuple(members), dict(sorted(skipped.items())), digest.hexdigest())


def _unlisted(where: str, name: str, is_license: bool, vendored: bool, generated: bool) -> str:
    """Why a file is passed over before it is opened; "" where it is not."""
    if os.path.islink(where) or not os.path.isfile(where):
        return "link"
    if is_license:
        return "licence file"
    if name.startswith("."):
        return "hidden"
    reason = name_reason(name)
    if (reason == "vendored" and not vendored) or (reason == "generated" and not generated):
        return reason
    try:
        name.encode()
    except UnicodeEncodeError:
        return "name that is not UTF-8"
    return "" if known_name(name) else "language not known"


def _count(folder: str) -> int:
    """Files below a folder that is passed over."""
    return sum(len(files) for _, _, files in os.walk(folder))


def _granted(files: list[str]) -> str:
    """The licences of a folder's licence files."""
    found: set[str] = set()
    for file in files:
        with open(file, "rb") as handle:
            found.update(filter(None, license_of(handle.read(_LICENSE_BYTES).decode("utf-8", "replace")).split(" AND ")))
    return " AND ".join(sorted(found))


def _content(member: Member) -> bytes:
    try:
        with open(member.file, "rb") as file:
            return file.read()
    except OSError as error:
        raise DataError(
            f"{member.file}: can't be read ({error.strerror}). It was there when the run listed its files; put it back and run again."
        ) from error


def _decoded(raw: bytes) -> tuple[str | None, str]:
    """(text, charset): UTF-8, UTF-16 with a byte order mark, else windows-1252, which programmers' editors wrote before; None for a binary file."""
    if is_binary(raw[:8192]):
        return None, ""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = raw.decode("utf-16", "replace")
        return (None, "") if "\0" in text else (text, "utf-16")
    if not_utf8(raw):
        return raw.decode("cp1252", "replace"), "cp1252"
    return raw.decode("utf-8-sig"), "utf-8"
