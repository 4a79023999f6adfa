"""Which files a data set consists of, and opening them: local paths, globs, folders and any fsspec URL.

The root of a data set is the longest folder that all its `paths` share: the fixed part of a glob (before the first of
`*?[`), a folder itself, the parent of a single file. Split paths, and so derived ids, are relative to it: moving a data
set elsewhere changes neither.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, BinaryIO, NamedTuple, cast

from curate.errors import DataError
from curate.io.remote import RemoteFile, filesystem, retried

COMPRESSED = ("", ".gz", ".zst")
_MAGIC = frozenset("*?[")
_VERSION_KEYS = (
    "ETag",
    "etag",
    "VersionId",
    "generation",
    "md5",
    "md5Hash",
    "mtime",
    "LastModified",
    "last_modified",
    "updated",
    "created",
)


class File(NamedTuple):
    """One file of a data set."""

    uri: str  # absolute path or URL
    path: str  # relative to the root
    size: int
    fingerprint: str


def list_files(paths: Sequence[str], base: str, suffixes: Sequence[str], reader: str) -> list[File]:
    """Every file that `paths` name, once, sorted by path. base: folder that relative paths start from.

    Files found in folders must end in one of `suffixes` and not start with '.' or '_'; files named or matched by a glob
    may have any name. Links to folders are followed, each target once. Raises DataError where a path gives nothing, and
    where a file or folder that is listed can't be looked at.
    """
    found: dict[str, tuple[int, str]] = {}
    roots = []
    for path in paths:
        local = is_local(path)
        where = _absolute(path, base) if local else path
        root, listed = _local(where, suffixes) if local else _remote(where, suffixes)
        if not listed:
            raise DataError(
                f"{reader}: nothing to read at {path!r} (looked at {where}). Expected files, a glob that matches some, or a folder with {' '.join(suffixes)} files."
            )
        roots.append(root)
        found.update(listed)
    if len({r.partition("://")[0] if "://" in r else "" for r in roots}) > 1:
        raise DataError(
            f"{reader}: the paths of one data set must lie in one file system, got {', '.join(paths)}. Make one data set of each."
        )
    root = _common(roots)
    return sorted((File(uri, _relative(uri, root), *rest) for uri, rest in found.items()), key=lambda f: f.path)


def is_local(path: str) -> bool:
    """Whether a path is opened by the operating system rather than by fsspec."""
    return path.startswith("file://") or "://" not in path


def open_file(uri: str, fingerprint: str | None = None) -> BinaryIO:
    """Open for reading. Raises DataError where it is gone, or is not the file that was listed."""
    try:
        if not is_local(uri):
            return _open_remote(uri, fingerprint)
        file = open(uri, "rb")  # noqa: SIM115  the caller closes it
    except (FileNotFoundError, IsADirectoryError, PermissionError, NotADirectoryError) as error:
        raise DataError(
            f"{uri}: can't be read ({_cause(error)}). It was there when the run listed its files; put it back and run again."
        ) from error
    if fingerprint and ":" in fingerprint and fingerprint != local_fingerprint(os.fstat(file.fileno())):
        file.close()
        raise DataError(f"{uri}: changed since the run listed its files. Run again when nothing writes to it.")
    return file


def _open_remote(uri: str, fingerprint: str | None) -> BinaryIO:
    file = RemoteFile(uri)
    now = version_of(file.info)
    named = now.split(" ")[1:2]  # listings and single objects agree on what names a content, on times they need not
    if fingerprint and fingerprint.split(" ")[1:2] == named and named and named[0] in _VERSION_KEYS[:6] and now != fingerprint:
        file.close()
        raise DataError(f"{uri}: changed since the run listed its files ({fingerprint}, now {now}). Run again when nothing writes to it.")
    return cast(BinaryIO, file)


def local_fingerprint(stat: os.stat_result) -> str:
    """size:mtime_ns."""
    return f"{stat.st_size}:{stat.st_mtime_ns}"


def ranges(size: int, split_bytes: int) -> Iterator[tuple[int, int]]:
    """Cut [0, size) into pieces of split_bytes, the last one at least half as long."""
    count = max(1, round(size / split_bytes))
    for i in range(count):
        yield i * split_bytes, -1 if i == count - 1 else (i + 1) * split_bytes


def _absolute(path: str, base: str) -> str:
    return os.path.normpath(os.path.join(os.path.abspath(base), os.path.expanduser(path.removeprefix("file://"))))


def _local(where: str, suffixes: Sequence[str]) -> tuple[str, dict[str, tuple[int, str]]]:
    if os.path.isdir(where):
        root, names = where, _walk(where, suffixes)
    elif _MAGIC.isdisjoint(where) or os.path.isfile(where):
        root, names = os.path.dirname(where), iter([where] if os.path.exists(where) else [])
    else:
        root, names = _fixed(where), _matches(where, suffixes)
    listed = {}
    for name in names:
        try:
            stat = os.stat(name)
        except OSError as error:
            raise DataError(f"{name}: {_unreadable(name, error)}") from error
        listed[name] = (stat.st_size, local_fingerprint(stat))
    return root, listed


def _unreadable(name: str, error: OSError) -> str:
    if os.path.islink(name):
        return f"is a link to {os.readlink(name)}, which can't be read ({_cause(error)}). Restore what it points at or remove the link."
    return f"can't be read ({_cause(error)}), though its folder lists it. Run again when nothing writes to the folder."


def _matches(pattern: str, suffixes: Sequence[str]) -> Iterator[str]:
    for name in glob.iglob(pattern, recursive=True):
        if not os.path.isdir(name):
            yield os.path.normpath(name)
        elif "**" not in pattern:  # a folder named part.jsonl, as Spark writes it
            yield from _walk(os.path.normpath(name), suffixes)


def _walk(folder: str, suffixes: Sequence[str]) -> Iterator[str]:
    links = _Links(folder)
    for parent, folders, names in os.walk(folder, onerror=_unlisted, followlinks=True):
        folders[:] = [f for f in sorted(folders) if f[0] not in "._" and links.leads_on(os.path.join(parent, f))]
        yield from (os.path.join(parent, n) for n in names if _wanted(n, suffixes))


def _unlisted(error: OSError) -> None:
    raise DataError(f"{error.filename}: can't be listed ({_cause(error)}). Allow it or leave the folder out.") from error


class _Links:
    """Which links to folders a walk follows: each target once, and none that lies within the tree or holds it."""

    def __init__(self, top: str) -> None:
        self._top = os.path.realpath(top)
        self._followed: set[str] = set()

    def leads_on(self, folder: str) -> bool:
        if not os.path.islink(folder):
            return True
        target = os.path.realpath(folder)
        if target in self._followed or os.path.commonpath([target, self._top]) in (target, self._top):
            return False
        self._followed.add(target)
        return True


def _wanted(name: str, suffixes: Iterable[str]) -> bool:
    return name[0] not in "._" and name.lower().endswith(tuple(suffixes))


def _remote(where: str, suffixes: Sequence[str]) -> tuple[str, dict[str, tuple[int, str]]]:
    try:
        return retried(where, lambda: _remote_files(where, suffixes))
    except (FileNotFoundError, PermissionError) as error:
        raise DataError(f"{where}: can't be listed ({type(error).__name__}: {error}). Check the address and your access.") from error


def _remote_files(where: str, suffixes: Sequence[str]) -> tuple[str, dict[str, tuple[int, str]]]:
    fs, path = filesystem(where)
    infos: dict[str, dict[str, Any]] = {}
    if where.startswith(("http://", "https://")) and not where.endswith("/") and _MAGIC.isdisjoint(path):
        root = path.rpartition("/")[0]  # asking whether it is a folder would fetch all of it
        infos = {path: fs.info(path)}
    elif fs.isdir(path):
        root = path
        infos = {n: i for n, i in fs.find(path, detail=True).items() if _inside(n[len(path) :], suffixes)}
    elif _MAGIC.isdisjoint(path) or fs.isfile(path):
        root = path.rpartition("/")[0]
        infos = {path: fs.info(path)} if fs.exists(path) else {}
    else:
        root = _fixed(path)
        infos = {n: i for n, i in fs.glob(path, detail=True).items() if i.get("type") != "directory"}
    listed = {fs.unstrip_protocol(n): (int(i.get("size") or 0), version_of(i)) for n, i in infos.items()}
    return str(fs.unstrip_protocol(root)), listed


def _inside(below: str, suffixes: Sequence[str]) -> bool:
    parts = [p for p in below.split("/") if p]
    return bool(parts) and all(p[0] not in "._" for p in parts) and _wanted(parts[-1], suffixes)


def version_of(info: dict[str, Any]) -> str:
    """What tells one content of an object from another: ETag, version or time, beside the size."""
    for key in _VERSION_KEYS:
        value = info.get(key)
        if value:
            return f"{info.get('size')} {key} {value.isoformat() if isinstance(value, datetime) else value}"
    return f"{info.get('size')}"


def _fixed(pattern: str) -> str:
    magic = min(pattern.index(c) for c in _MAGIC if c in pattern)
    return pattern[:magic].rpartition("/")[0] or "/"


def _common(roots: list[str]) -> str:
    protocol, sep, _ = roots[0].partition("://")
    prefix = protocol + sep if sep else ""
    return prefix + os.path.commonpath([_path_of(r) for r in roots])


def _relative(uri: str, root: str) -> str:
    return os.path.relpath(_path_of(uri), _path_of(root))


def _path_of(uri: str) -> str:
    """What follows the protocol, with one leading slash however the file system writes it."""
    return "/" + uri.rpartition("://")[2].lstrip("/")


def _cause(error: OSError) -> str:
    return error.strerror or type(error).__name__
