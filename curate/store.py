"""The run folder: the only module that knows paths below it.

    <run>/.lock                               who runs here
    <run>/.stages/<label>-<key12>/job.json    what the stage does: workers read nothing else
                                 /tmp/        folders of tasks under way, and marks of batches in flight
                                 /task-00000/ finished files of a task
                                 /receipts/00000.json   written last: a receipt means complete
    <run>/.data/<name>@<key12>/               a published dataset or model: hard links to files of its last stage
    <run>/<name> -> .data/<name>@<key12>      swapped in by one rename

Bytes go to tmp/, are flushed to disk and renamed; a crash leaves nothing that looks whole.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from curate.errors import StoreError

KEY_CHARS = 12
SYNC_FILE_RANGE_WRITE = 2  # of sync_file_range(2): begin to write what is not yet being written
DISTRIBUTIONS = "distributions.json"  # beside the parts of a dataset


@dataclass(frozen=True)
class StageFolder:
    """Paths of one stage."""

    path: Path

    @property
    def job(self) -> Path:
        return self.path / "job.json"

    def task(self, index: int) -> Path:
        return self.path / f"task-{index:05d}"

    def receipt_path(self, index: int) -> Path:
        return self.path / "receipts" / f"{index:05d}.json"

    def marker(self, index: int) -> Path:
        """Where a worker notes the batch in flight; still there after the process died."""
        return self.path / "tmp" / f"{index:05d}.marker"

    def receipt(self, index: int) -> dict[str, Any] | None:
        """The receipt of a finished task, or None."""
        try:
            return dict(json.loads(self.receipt_path(index).read_bytes()))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise StoreError(f"{self.receipt_path(index)} is damaged ({error}). Delete it and run again.") from error

    @contextlib.contextmanager
    def writing(self, index: int) -> Iterator[Path]:
        """Give an empty folder for a task's files; on success it becomes the task's folder, else it is removed."""
        scratch = self.path / "tmp" / f"{index:05d}.{os.getpid()}"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        try:
            yield scratch
            begin_flush(scratch)
            for file in sorted(scratch.rglob("*")):
                if file.is_file():
                    flush(file)
            final = self.task(index)
            shutil.rmtree(final, ignore_errors=True)  # left by a process that died before its receipt
            os.replace(scratch, final)
            flush_folder(self.path)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise

    def commit(self, index: int, receipt: dict[str, Any]) -> None:
        """Write the receipt: from now on the task is done."""
        write_atomic(self.receipt_path(index), json.dumps(receipt, sort_keys=True, ensure_ascii=False).encode())
        self.marker(index).unlink(missing_ok=True)


class Store:
    """A run folder on a local or shared file system."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root).absolute()

    def stage(self, label: str, key: str) -> StageFolder:
        """Paths of the stage with this key; nothing is created."""
        return StageFolder(self.root / ".stages" / f"{label}-{key[:KEY_CHARS]}")

    def open_stage(self, label: str, key: str, job: dict[str, Any]) -> StageFolder:
        """Create the stage's folder with its job file, unless it is there."""
        folder = self.stage(label, key)
        (folder.path / "receipts").mkdir(parents=True, exist_ok=True)
        (folder.path / "tmp").mkdir(exist_ok=True)
        content = json.dumps(job, sort_keys=True, ensure_ascii=False, indent=1).encode()
        if not folder.job.exists() or folder.job.read_bytes() != content:
            write_atomic(folder.job, content)
        return folder

    def data(self, name: str, key: str) -> Path:
        """Folder of a published dataset or model."""
        return self.root / ".data" / f"{name}@{key[:KEY_CHARS]}"

    def publish(self, name: str, key: str, files: list[tuple[str, Path]], notes: dict[str, bytes]) -> Path:
        """Make <root>/<name> show exactly these files.

        files: (path inside the dataset, existing file); linked, or copied where links are not possible
        notes: small files to write beside them
        """
        final = self.data(name, key)
        if not final.exists():
            scratch = final.with_name(f".{final.name}.{os.getpid()}")
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir(parents=True)
            for inside, file in files:
                target = scratch / inside
                target.parent.mkdir(parents=True, exist_ok=True)
                link_or_copy(file, target)
            for inside, content in notes.items():
                (scratch / inside).write_bytes(content)
                flush(scratch / inside)
            os.replace(scratch, final)
            flush_folder(final.parent)
        link = self.root / name
        if not (link.is_symlink() and os.readlink(link) == os.path.relpath(final, self.root)):
            if link.exists() and not link.is_symlink():
                raise StoreError(f"{link} exists and is not a dataset of this run. Move it away or choose another --out.")
            swap = self.root / f".{name}.link.{os.getpid()}"
            swap.unlink(missing_ok=True)
            swap.symlink_to(os.path.relpath(final, self.root), target_is_directory=True)
            os.replace(swap, link)
        return link

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """Hold the run folder for this process. Raises StoreError naming the holder where somebody has it."""
        return held(self.root, f"{self.root} is in use by {{holder}}. Wait for it to end, or choose another --out.")


@contextlib.contextmanager
def held(folder: Path, in_use: str) -> Iterator[None]:
    """Keep other processes out of a folder (flock on its `.lock`). Raises StoreError with `in_use`, {holder} filled in, where one is in."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            raise StoreError(in_use.replace("{holder}", file.read().strip() or "another process")) from error
        file.seek(0)
        file.truncate()
        file.write(f"process {os.getpid()} on {socket.gethostname()} since {time.strftime('%Y-%m-%d %H:%M:%S')}")
        file.flush()
        yield


def write_atomic(path: Path, content: bytes) -> None:
    """Write a small file so that readers see the old one or the new one, also after a power cut."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_bytes(content)
    flush(scratch)
    os.replace(scratch, path)


def flush(path: Path) -> None:
    """Force a file's bytes to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def begin_flush(folder: Path) -> None:
    """Have a folder's files written to disk while we compute, so that `flush` has less to wait for. Does nothing where the system can't."""
    write = _sync_file_range()
    if write is None:
        return
    for file in os.scandir(folder):
        if file.is_file(follow_symlinks=False):
            descriptor = os.open(file.path, os.O_RDONLY)
            write(descriptor, 0, 0, SYNC_FILE_RANGE_WRITE)
            os.close(descriptor)


@cache
def _sync_file_range() -> Callable[..., int] | None:
    """sync_file_range(2) of Linux's C library, or None."""
    found = getattr(ctypes.CDLL(None), "sync_file_range", None) if sys.platform == "linux" else None
    if found is not None:
        found.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
    return found


def flush_folder(path: Path) -> None:
    """Force a folder's entries (renames in it) to disk."""
    flush(path)


def link_or_copy(file: Path, target: Path) -> None:
    """Hard link, or copy where the file system has no links."""
    try:
        os.link(file, target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK):
            raise
        shutil.copyfile(file, target)
        flush(target)
