"""Run one task: read the job, do the work in a scratch folder, rename it into place, write the receipt last."""

from __future__ import annotations

import errno
import json
import os
import time
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from curate.context import WorkContext
from curate.errors import StoreError
from curate.fingerprint import file_checksum
from curate.store import StageFolder


class Report(Protocol):
    """Takes what a task has done since the last call: documents and bytes; or what it says of itself, with the share that is done."""

    def __call__(self, rows: int, size: int, said: str = "", share: float = 0.0) -> None: ...


@lru_cache(maxsize=2)
def load_job(path: str) -> dict[str, Any]:
    """The stage's job file, and the plugins it names loaded."""
    job = dict(json.loads(Path(path).read_bytes()))
    if job.get("plugins"):
        from curate.plugins import load_plugin

        for plugin in job["plugins"]:
            load_plugin(plugin)
    return job


def execute(job_path: str, index: int, report: Report) -> dict[str, Any]:
    """Do task `index` of the job and return its receipt; a task that has one is not done again."""
    folder = StageFolder(Path(job_path).parent)
    receipt = folder.receipt(index)
    if receipt is not None:
        return receipt
    job = load_job(job_path)
    started = time.perf_counter()
    try:
        with folder.writing(index) as scratch:
            receipt = _work(job, folder, index, scratch, report)
            receipt["files"] = _describe_files(scratch)
        receipt |= {"label": job["label"], "key": job["key"], "task": index}
        receipt["seconds"] = {**receipt.get("seconds", {}), "task": time.perf_counter() - started}
        folder.commit(index, receipt)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise StoreError(
                f"Task {index} of {job['label']} could not write below {folder.path}: {os.strerror(error.errno)}. "
                "Finished tasks are kept: free some space and run the same command again."
            ) from error
        raise
    return receipt


def _work(job: dict[str, Any], folder: StageFolder, index: int, scratch: Path, report: Report) -> dict[str, Any]:
    ctx = _context(str(folder.job))
    ctx.on_say = lambda share, text: report(0, 0, text, share)
    if job["kind"] == "documents":
        from curate.worker.documents import run_documents

        return run_documents(job, folder, index, scratch, ctx, report)
    if job["kind"] == "records":
        from curate.worker.records import run_records

        return run_records(job, folder.path.parent, index, scratch, ctx)
    from curate.worker.nodes import run_node

    return run_node(job, folder.path.parents[1], scratch, ctx)


@lru_cache(maxsize=1)
def _context(job_path: str) -> WorkContext:
    """One context for all tasks of a stage that this process does."""
    job = load_job(job_path)
    run = Path(job_path).parents[2]
    return WorkContext(job["seed"], {name: str(run / where) for name, where in job.get("models", {}).items()}, str(run))


def _describe_files(scratch: Path) -> list[dict[str, Any]]:
    files = [f for f in sorted(scratch.rglob("*")) if f.is_file()]
    return [{"name": f.relative_to(scratch).as_posix(), "bytes": f.stat().st_size, "xxh128": file_checksum(str(f))} for f in files]
