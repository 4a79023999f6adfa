"""Near-duplicate search at 10^6 to 10^8 documents without text: band hashes drawn from a model of duplicates, real kernels.

    python -m tests.bench.dedup_simulation --documents 1000000 10000000 --work /big/disk [--save]

The model: SHARE of the documents are in clusters whose sizes fall off as size^-2 (2 to 10^5 members). Each cluster has a base;
a member has a similarity s to it, drawn evenly from 0.75 to 1, and shares each band with it with probability s^rows. All
other band hashes are random. Stages are those of `dedup_minhash`, each task in a process of its own that does what a
worker does with records: bands to partition files, buckets to groups, groups to edges (a member is near to the first of
its cluster in its group if s reaches the threshold; comparing shingle sets is measured with text), assignment. Printed
for each stage: CPU seconds, the largest process, its bytes for each document of the corpus beyond an idle process, disk.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.bench.measure import machine

I64, U64, F64 = npt.NDArray[np.int64], npt.NDArray[np.uint64], npt.NDArray[np.float64]
BANDS, ROWS, THRESHOLD = 17, 7, 0.8
SHARE, LARGEST = 0.4, 10**5
TASK, PARTITION = 1 << 19, 1 << 18  # documents of a task; documents a partition stands for
RECORD = np.dtype([("key", "<u8"), ("row", "<i8")])
ROUTE = np.dtype([("row", "<i8"), ("group", "<u8"), ("cut", "?")])
EDGE = np.dtype([("weak", "<i8"), ("strong", "<i8"), ("similarity", "<f8"), ("same", "?"), ("order", "<u8")])


def clusters(documents: int) -> I64:
    """First member of every cluster, as positions among the clustered documents; cluster c is starts[c]..starts[c+1]."""
    wanted = int(documents * SHARE)
    rng = np.random.default_rng(1)
    sizes = np.minimum(2.0 / rng.random(wanted // 2 + 1), LARGEST).astype(np.int64)
    starts = np.append(0, np.cumsum(sizes))
    return starts[: int(np.searchsorted(starts, wanted)) + 1]


def member_of(rows: I64, documents: int, starts: I64) -> tuple[I64, F64]:
    """(cluster or -1, similarity to its base) of documents. A permutation of the rows spreads members over the corpus."""
    from curate.kernels.minhash import spread

    step = 2_654_435_761  # a prime, so it has no factor in common with the number of documents
    place = rows * step % documents
    cluster = np.searchsorted(starts, place, side="right") - 1
    cluster[place >= starts[-1]] = -1
    return cluster, 0.75 + 0.25 * (spread(rows + (1 << 50)) >> np.uint64(11)).astype(np.float64) / (1 << 53)


def bands_task(work: Path, documents: int, task: int) -> None:
    """Draw the band hashes of a task's documents and append them to the files of their partitions."""
    from curate.kernels.minhash import spread

    starts, rows = clusters(documents), np.arange(task * TASK, min(documents, (task + 1) * TASK))
    cluster, similarity = member_of(rows, documents, starts)
    partitions = max(2, documents // PARTITION)
    keys = np.empty((len(rows), BANDS), np.uint64)
    for band in range(BANDS):
        own = spread(spread(rows) + np.uint64(band))
        base = spread(spread(cluster + (1 << 41)) + np.uint64(band))
        chance = (spread(own) >> np.uint64(11)).astype(np.float64) / (1 << 53)
        keys[:, band] = np.where((cluster >= 0) & (chance < similarity**ROWS), base, own)
    records = np.empty(keys.size, RECORD)
    records["key"], records["row"] = keys.ravel(), np.repeat(rows, BANDS)
    append(work / "bands", records, ((records["key"] >> np.uint64(32)) * np.uint64(partitions) >> np.uint64(32)).astype(np.int64), task)


def append(folder: Path, records: npt.NDArray[Any], target: I64, sender: int) -> None:
    """Write records to folder/<target>/<sender>."""
    order = np.argsort(target, kind="stable")
    found, at = np.unique(target[order], return_index=True)
    for name, part in zip(found.tolist(), np.split(order, at[1:]), strict=True):
        (folder / str(name)).mkdir(parents=True, exist_ok=True)
        records[part].tofile(folder / str(name) / str(sender))


def read(folder: Path, kind: np.dtype[Any]) -> npt.NDArray[Any]:
    """All records for one receiver."""
    files = sorted(folder.glob("*"), key=lambda p: int(p.name)) if folder.exists() else []
    return np.concatenate([np.zeros(0, kind), *(np.fromfile(f, kind) for f in files)])


def buckets_task(work: Path, documents: int, partition: int) -> None:
    """Buckets of a partition to (document, group), for the tasks of the documents."""
    from curate.kernels.buckets import group

    records = read(work / "bands" / str(partition), RECORD)
    shutil.rmtree(work / "bands" / str(partition), ignore_errors=True)
    key, row = np.ascontiguousarray(records["key"]), np.ascontiguousarray(records["row"])
    del records
    found = group(key, row, row.astype(np.uint64), np.zeros(len(row), np.uint64))
    routes = np.empty(len(found.row), ROUTE)
    routes["row"], routes["group"], routes["cut"] = found.row, found.group, found.cut
    append(work / "routes", routes, found.row // TASK, partition)


def gather_task(work: Path, documents: int, task: int) -> None:
    """Every group of a document once: what would be sent with a shingle set."""
    import pyarrow as pa

    from curate.steps.duplicate_groups import routes

    side = np.sort(read(work / "routes" / str(task), ROUTE), order="row", kind="stable")
    shutil.rmtree(work / "routes" / str(task), ignore_errors=True)
    rows = np.unique(side["row"])
    table = pa.table({n: pa.array(np.ascontiguousarray(side[c])) for n, c in (("_row", "row"), ("group", "group"), ("cut", "cut"))})
    found = routes(rows, table)
    records = np.empty(len(found.group), RECORD)
    records["key"], records["row"] = found.group, rows[found.document]
    partitions = max(2, documents // PARTITION)
    append(work / "sets", records, ((records["key"] >> np.uint64(32)) * np.uint64(partitions) >> np.uint64(32)).astype(np.int64), task)


def verify_task(work: Path, documents: int, partition: int) -> None:
    """Edges of the groups of a partition, by the model."""
    records = np.sort(read(work / "sets" / str(partition), RECORD), order=["key", "row"])
    shutil.rmtree(work / "sets" / str(partition), ignore_errors=True)
    cluster, similarity = member_of(records["row"], documents, clusters(documents))
    order = np.lexsort((records["row"], cluster, records["key"]))
    key, row, cluster, similarity = records["key"][order], records["row"][order], cluster[order], similarity[order]
    first = np.ones(len(row), bool)
    first[1:] = (key[1:] != key[:-1]) | (cluster[1:] != cluster[:-1])
    head = np.flatnonzero(first)[np.cumsum(first) - 1] if len(row) else np.zeros(0, np.int64)
    near = (~first) & (cluster >= 0) & (similarity * similarity[head] >= THRESHOLD)
    edges = np.empty(int(near.sum()), EDGE)
    edges["weak"], edges["strong"], edges["similarity"] = row[near], row[head][near], (similarity * similarity[head])[near]
    edges["same"], edges["order"] = False, row[head][near]
    (work / "edges").mkdir(exist_ok=True)
    edges.tofile(work / "edges" / str(partition))


def assign_task(work: Path, documents: int, _: int) -> None:
    """Who stays, of all documents that have an edge."""
    from curate.kernels.assignment import Piece, assign

    files = sorted((work / "edges").glob("*"), key=lambda p: int(p.name))

    def pieces() -> Iterator[Piece]:
        for file in files:
            edges = np.fromfile(file, EDGE)
            yield Piece(*(np.ascontiguousarray(edges[name]) for name in EDGE.names or ()))

    found = assign(pieces)
    (work / "result.json").write_text(json.dumps({"with_an_edge": len(found.rows), "removed": int((~found.stays).sum()),
                                                  "edges": sum(f.stat().st_size for f in files) // EDGE.itemsize}))  # fmt: skip


def idle_task(work: Path, documents: int, _: int) -> None:
    """Load what the others load, and do nothing."""
    import curate.kernels.assignment
    import curate.kernels.buckets  # noqa: F401

    clusters(1000)


def child(function: Callable[[Path, int, int], None], work: Path, documents: int, number: int, pipe: Any) -> None:
    """Run a task and send (CPU seconds, peak bytes)."""
    function(work, documents, number)
    used = resource.getrusage(resource.RUSAGE_SELF)
    pipe.send((used.ru_utime + used.ru_stime, used.ru_maxrss * 1024))


def stage(function: Callable[[Path, int, int], None], work: Path, documents: int, tasks: int, workers: int) -> dict[str, float]:
    """Run all tasks of a stage, each in a fresh process."""
    spawn = multiprocessing.get_context("spawn")
    started, cpu, peak, running, number = time.perf_counter(), 0.0, 0, [], 0
    while number < tasks or running:
        while number < tasks and len(running) < workers:
            ours, theirs = spawn.Pipe(duplex=False)
            process = spawn.Process(target=child, args=(function, work, documents, number, theirs))
            process.start()
            theirs.close()
            running.append((process, ours))
            number += 1
        process, pipe = running.pop(0)
        seconds, memory = pipe.recv()
        process.join()
        cpu, peak = cpu + seconds, max(peak, memory)
    return {"tasks": tasks, "cpu_s": round(cpu, 2), "wall_s": round(time.perf_counter() - started, 2), "peak_bytes": peak}


def simulate(documents: int, work: Path, workers: int) -> dict[str, Any]:
    """All stages on this many documents."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    tasks, partitions = -(-documents // TASK), max(2, documents // PARTITION)
    found: dict[str, Any] = {"documents": documents, "stages": {}, "disk_bytes": 0}
    idle = stage(idle_task, work, documents, 1, 1)
    for function, number in [
        (bands_task, tasks),
        (buckets_task, partitions),
        (gather_task, tasks),
        (verify_task, partitions),
        (assign_task, 1),
    ]:
        name = function.__name__.removesuffix("_task")
        took = stage(function, work, documents, number, workers)
        took["cpu_s"] = round(max(0.0, took["cpu_s"] - number * idle["cpu_s"]), 2)  # a worker starts once, not for each task
        took["bytes_per_document"] = round((took["peak_bytes"] - idle["peak_bytes"]) / documents, 1)
        found["disk_bytes"] = max(found["disk_bytes"], sum(f.stat().st_size for f in work.rglob("*") if f.is_file()))
        found["stages"][name] = took
        print(f"{documents:>12,} {name:8} {took}", flush=True)
    found |= json.loads((work / "result.json").read_text())
    found["cpu_us_per_document"] = round(sum(s["cpu_s"] for s in found["stages"].values()) / documents * 1e6, 2)
    shutil.rmtree(work)
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, nargs="+", default=[10**6])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--save", action="store_true")
    given = parser.parse_args()
    found = [simulate(n, given.work / "simulation", given.workers) for n in given.documents]
    for entry in found:
        print(json.dumps({k: v for k, v in entry.items() if k != "stages"}))
    if given.save:
        path = Path(__file__).parent / "results" / "dedup_simulation.json"
        path.write_text(json.dumps({"machine": machine(), "runs": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
