"""Documentation that lies on every machine: docstrings, READMEs, descriptions and licences of installed packages.

Nothing is imported and nothing is fetched. A document is a module (its docstrings, each under its name), a large class,
or a text file; `source` is the package. Author names and e-mail addresses are left in. The standard library gives about
3 MB, numpy and polars more than that each.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import xxhash
from pydantic import Field, field_validator

from curate.errors import DataError
from curate.io.docstrings import Docstring, docstrings
from curate.io.fields import NO_META, Gathering, id_maker
from curate.io.reader import SPLIT_BYTES, Reader, Rows, Split, Unreadable

STANDARD_LIBRARY = "python"
SPLIT_SOURCE_BYTES = 6 << 20
MAX_FILE_BYTES = 4 << 20
LARGE_MODULE = 24 << 10  # characters of docstrings above which large classes become documents of their own
LARGE_CLASS = 4 << 10
_CODE = (".py", ".pyi")
_PROSE = (".md", ".rst")
_NAMED = ("license", "licence", "copying", "notice", "authors", "readme", "copyright", "changelog", "history", "news")
_SAID = ("Name:", "Summary:", "Author", "Maintainer", "License:")
_SKIPPED_FOLDERS = frozenset(
    {"test", "tests", "_test", "_tests", "testing", "site-packages", "__pycache__", "idlelib", "lib2to3", "turtledemo", "ensurepip"}
)


class Member(NamedTuple):
    """One file of a package."""

    package: str
    path: str  # inside the package, '/' separated
    file: str  # absolute
    size: int


class InstalledDocsReader(Reader):
    """Documentation of the standard library and of installed packages. About 5 MB of text per second and core."""

    name: ClassVar[str] = "installed_docs"
    summary: ClassVar[str] = "docstrings, READMEs and licences of installed packages"

    paths: tuple[str, ...] = Field((), description="names of installed packages, as in `packages`")
    packages: tuple[str, ...] = Field((), description="names of installed packages beside the standard library")
    standard_library: bool = Field(True, description="read the standard library too")
    max_mb: float | None = Field(
        None, gt=0, le=1e6, description="take files, spread over all packages, until they hold about this much text (10^6 bytes)"
    )

    @field_validator("packages", mode="before")
    @classmethod
    def _one_package(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    def splits(self, base: str, split_bytes: int = SPLIT_BYTES) -> list[Split]:
        """List runs of files of each package; start and end count its files. base is not used."""
        result = []
        names = tuple(dict.fromkeys((*self.packages, *self.paths)))
        for package, members in _listing(names, self.standard_library, self.max_mb).items():
            fingerprint = _version(package)
            start = held = 0
            for number, member in enumerate(members):
                held += member.size
                if held >= min(split_bytes, SPLIT_SOURCE_BYTES) or number == len(members) - 1:
                    result.append(Split(f"package:{package}", package, held, fingerprint, start, number + 1))
                    start, held = number + 1, 0
        return result

    def read(self, split: Split, dataset: str) -> Iterator[Rows]:
        """Yield the documents of a run of files."""
        names = tuple(dict.fromkeys((*self.packages, *self.paths)))
        members = _listing(names, self.standard_library, self.max_mb).get(split.path, ())
        rows = Gathering(self.columns)
        none = [None] * len(self.columns)
        for member in members[split.start : split.end if split.end >= 0 else None]:
            path = f"{member.package}/{member.path}"
            try:
                with open(member.file, "rb") as file:
                    content = file.read(MAX_FILE_BYTES).decode("utf-8-sig")
            except UnicodeDecodeError as error:
                rows.unreadable.append(Unreadable(path, 0, f"not UTF-8: {error.reason} at {error.start}", b""))
                continue
            except OSError as error:
                raise DataError(
                    f"{member.file}: can't be read ({error.strerror}). The package changed while the run was reading it; run again."
                ) from error
            new_id = id_maker(dataset, path)
            for offset, text in _documents(member, content):
                rows.add(len(text), new_id(offset), text, member.package, NO_META, *none)
            if rows.full:
                yield from rows.take()
        yield from rows.take()


@lru_cache(maxsize=8)
def _listing(packages: tuple[str, ...], standard_library: bool, max_mb: float | None) -> dict[str, list[Member]]:
    """Files of each package, sorted by path."""
    found = {STANDARD_LIBRARY: _standard_library()} if standard_library else {}
    found.update((name, _package(name)) for name in packages)
    if max_mb is None:
        return found
    room = max_mb * 1e6
    chosen = set()
    for member in sorted(
        (m for ms in found.values() for m in ms), key=lambda m: xxhash.xxh3_64_intdigest(f"{m.package}/{m.path}".encode())
    ):
        if room <= 0:
            break
        chosen.add(member)
        room -= _prose_bytes(member)
    return {name: [m for m in members if m in chosen] for name, members in found.items()}


def _prose_bytes(member: Member) -> int:
    """Bytes of text in a file: what stands between triple quotes, or all of it."""
    if not member.file.endswith(_CODE):
        return member.size
    try:
        with open(member.file, "rb") as file:
            return sum(map(len, file.read(MAX_FILE_BYTES).split(b'"""')[1::2]))
    except OSError:
        return 0


def _standard_library() -> list[Member]:
    root = sysconfig.get_path("stdlib")
    members: list[Member | None] = []
    for parent, folders, names in os.walk(root):
        folders[:] = [f for f in folders if f not in _SKIPPED_FOLDERS and not f.startswith("config-")]
        files = [os.path.join(parent, name) for name in names if _is_documentation(name)]
        members.extend(_member(STANDARD_LIBRARY, os.path.relpath(file, root), file) for file in files)
    return _sorted(members)


def _package(name: str) -> list[Member]:
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        package = distribution(name)
    except (PackageNotFoundError, ValueError):
        raise DataError(f"installed_docs: the package {name!r} is not installed. Install it, or take it out of `packages`.") from None
    members = []
    for line in (package.read_text("RECORD") or "").splitlines():
        path = line.rsplit(",", 2)[0].strip('"')
        folders, _, file = path.rpartition("/")
        if _is_documentation(file) and not path.startswith("..") and _SKIPPED_FOLDERS.isdisjoint(folders.split("/")):
            members.append(_member(name, path, os.path.normpath(os.path.join(str(package.locate_file("")), path))))
    return _sorted(members)


def _member(package: str, path: str, file: str) -> Member | None:
    try:
        return Member(package, path.replace(os.sep, "/"), file, os.stat(file).st_size)
    except OSError:
        return None


def _sorted(members: list[Member | None]) -> list[Member]:
    return sorted((m for m in members if m is not None and 0 < m.size <= MAX_FILE_BYTES), key=lambda m: m.path)


def _is_documentation(name: str) -> bool:
    lower = name.lower()
    return lower.endswith((*_CODE, *_PROSE)) or name == "METADATA" or (lower.startswith(_NAMED) and "." not in lower.removesuffix(".txt"))


def _version(package: str) -> str:
    """Name, version and digest of the list of files; for the standard library the version and time of the interpreter."""
    if package == STANDARD_LIBRARY:
        stat = os.stat(os.path.join(sysconfig.get_path("stdlib"), "os.py"))
        return f"{package} {sys.version} {stat.st_size}:{stat.st_mtime_ns}"
    from importlib.metadata import distribution

    found = distribution(package)
    return f"{package} {found.version} {xxhash.xxh3_64_hexdigest((found.read_text('RECORD') or '').encode())}"


def _documents(member: Member, content: str) -> Iterator[tuple[int, str]]:
    """(offset for the id, text) of each document of a file."""
    if member.path.endswith("pydoc_data/topics.py"):
        yield from _topics(content)
    elif member.file.endswith(_CODE):
        yield from _module(member.path, content)
    else:
        text = content.replace("\r\n", "\n")
        text = _description(text) if member.path.endswith("METADATA") else text.strip()
        if text:
            yield 0, text


def _description(metadata: str) -> str:
    """Name, summary, authors and long description of a package, without what is for machines."""
    head, _, body = metadata.partition("\n\n")
    said = [line.partition(":")[2].strip() for line in head.split("\n") if line.startswith(_SAID)]
    return "\n".join([*said, "", body.strip()]).strip()


def _module(path: str, source: str) -> Iterator[tuple[int, str]]:
    module = path.rpartition(".")[0].replace("/", ".").removesuffix(".__init__")
    found = list(docstrings(source))
    rest = found
    if sum(len(d.text) for d in found) > LARGE_MODULE:
        sizes: dict[str, int] = {}
        for each in found:
            sizes[each.top] = sizes.get(each.top, 0) + len(each.text)
        large = [top for top, size in sizes.items() if top and size >= LARGE_CLASS]
        rest = [d for d in found if d.top not in large]
        for top in large:
            parts = [d for d in found if d.top == top]
            yield 1 + parts[0].at, _joined(module, parts)
    if rest:
        yield 0, _joined(module, rest)


def _joined(module: str, parts: list[Docstring]) -> str:
    return "\n\n".join(f"{module}.{d.name}\n\n{d.text}" if d.name else f"{module}\n\n{d.text}" for d in parts)


def _topics(source: str) -> Iterator[tuple[int, str]]:
    """The language reference as `help()` shows it: a dictionary of long texts, in a module that holds nothing else."""
    import ast

    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Dict):
            for value in node.values:
                text = ast.literal_eval(value)
                yield 1 + value.lineno, text.strip()
