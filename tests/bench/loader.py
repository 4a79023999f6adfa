"""Measure the loader and the mix: windows a second from page cache, start-up with many shards, packing, distance from plan.

    taskset -c 0 python tests/bench/loader.py [--work FOLDER] [--save]

Tokens are random numbers in token shards as `tokenize` writes them; documents have the lengths of web pages (log-normal, median 400).
Beside the loader runs what most training scripts do: slices of a numpy.memmap over one file, at random places, copied into a batch.
Both read the same bytes, in turns, from page cache; CPU seconds of one process.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
from measure import machine

from curate.context import WorkContext
from curate.loader import Mix, open_mix
from curate.mix_certificate import certify
from curate.mix_schedule import UNIT, normalised, planned_counts, stage_segments
from curate.mixing import MixNode
from curate.node import NodeInput
from curate.tokens.shard import TokenShardWriter

RESULTS = Path(__file__).resolve().parent / "results" / "loader.json"
SEQ_LEN, BATCH, TOKENS, ROUNDS = 2048, 512, 300_000_000, 5
METADATA = {"curate.tokenizer_sha256": "0" * 64, "curate.vocab_size": "32000", "curate.eos_id": "0"}
START_UP = """
import sys, time
from curate.loader import open_mix
times = [(time.perf_counter(), time.process_time())]
mix = open_mix(sys.argv[1])
times.append((time.perf_counter(), time.process_time()))
mix.window(0)
times.append((time.perf_counter(), time.process_time()))
mix.windows(range(512))
times.append((time.perf_counter(), time.process_time()))
print(*(t - times[0][clock] for clock in (0, 1) for t in [x[clock] for x in times[1:]]))
"""


def batch_of(sizes: np.ndarray, seed: int) -> pa.RecordBatch:
    """Documents of these lengths."""
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    tokens = rng.integers(1, 32_000, int(offsets[-1])).astype(np.uint16)
    ids = pa.array([f"{seed}-{i}" for i in range(len(sizes))])
    lists = pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(tokens))
    return pa.record_batch(
        {"id": ids, "source": pa.array(["s"] * len(sizes)), "tokens": lists, "n_tokens": pa.array(sizes.astype(np.int32))}
    )


def dataset(run: Path, name: str, tokens: int, seed: int, file_bytes: int) -> NodeInput:
    """A token dataset of about so many tokens."""
    folder = run / name
    folder.mkdir(parents=True, exist_ok=True)
    sizes = np.clip(np.random.default_rng(seed).lognormal(np.log(400), 1.1, tokens // 730), 2, 200_000).astype(np.int64)
    if not list(folder.glob("part-*")):
        for number, few in enumerate(np.array_split(sizes, max(1, tokens // 50_000_000))):
            batch = batch_of(few, seed * 1000 + number)
            writer = TokenShardWriter(folder, f"part-{number:05d}", batch.schema, METADATA, file_bytes=file_bytes)
            writer.write(batch)
            writer.close()
    parts = tuple(str(p) for p in sorted(folder.glob("part-*")))
    return NodeInput(name, str(folder), parts, name, len(sizes), int(sizes.sum()))


def mix(run: Path, inputs: dict[str, NodeInput], name: str, tokens: int, **settings: Any) -> tuple[Mix, dict[str, Any]]:
    """A mix of two datasets, and what making it cost."""
    out = run / name
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    node = MixNode(seq_len=SEQ_LEN, stages=[{"tokens": tokens, "weights": dict.fromkeys(inputs, 1.0)}], **settings)
    started = time.process_time()
    result = node.run(inputs, out, WorkContext(seed=1), lambda share, what: None)
    ledgers = [source["ledger"] for source in result.info["sources"]]
    windows = sum(source["windows"] for source in result.info["sources"])
    return open_mix(out), {
        "cpu_s": round(time.process_time() - started, 2),
        "documents": sum(i.rows for i in inputs.values()),
        "fill": round(sum(ledger["in_windows"] for ledger in ledgers) / (windows * SEQ_LEN), 5),
    }


def loader_rate(mix: Mix, out: np.ndarray, borders: bool = False) -> float:
    """Windows a second; borders: with where their documents begin, for document masks."""
    started, count = time.process_time(), 0
    read = mix.windows_and_borders if borders else mix.windows
    for k in range(0, len(mix) - BATCH + 1, BATCH):
        read(np.arange(k, k + BATCH), out)
        count += BATCH
    return count / (time.process_time() - started)


def memmap_rate(path: Path, windows: int, out: np.ndarray) -> float:
    """The same with slices of a numpy.memmap."""
    data = np.memmap(path, np.uint16, mode="r")
    rng = np.random.default_rng(0)
    started, count = time.process_time(), 0
    for _ in range(windows // BATCH):
        for row, at in enumerate(rng.integers(0, len(data) - SEQ_LEN, BATCH)):
            out[row] = data[at : at + SEQ_LEN]
        count += BATCH
    return count / (time.process_time() - started)


def rates(run: Path, tokens: int) -> dict[str, Any]:
    """Windows a second of both packings and of numpy.memmap, in turns."""
    inputs = {name: dataset(run, name, tokens // 2, seed, 64 << 20) for seed, name in enumerate(("a", "b"), 1)}
    flat = run / "flat.bin"
    flat.write_bytes(b"".join(Path(p).read_bytes() for i in inputs.values() for p in i.parts))
    found: dict[str, Any] = {"tokens": sum(i.tokens for i in inputs.values()), "shards": sum(len(i.parts) for i in inputs.values())}
    out = np.empty((BATCH, SEQ_LEN), np.uint16)
    for packing in ("concat", "best_fit"):
        mixed, cost = mix(run, inputs, packing, int(tokens * 0.9), packing=packing)
        rounds = [
            (loader_rate(mixed, out), memmap_rate(flat, len(mixed), out), loader_rate(mixed, out, borders=True)) for _ in range(ROUNDS)
        ][1:]
        ours, theirs, masked = zip(*rounds, strict=True)
        found[packing] = {
            "windows_per_s": round(max(ours)),
            "windows_per_s_median": round(median(ours)),
            "with_document_borders_per_s": round(max(masked)),
            "with_document_borders_per_s_median": round(median(masked)),
            "memmap_windows_per_s": round(max(theirs)),
            "ratio": round(median(a / b for a, b in zip(ours, theirs, strict=True)), 2),
            "made": cost,
        }
    flat.unlink()
    found["peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)
    return found


def start_up(run: Path, shards: int) -> dict[str, Any]:
    """Seconds to open a mix of many shards, and to have its first 512 windows, in a fresh process."""
    folder = run / "many"
    folder.mkdir(exist_ok=True)
    batch = batch_of(np.full(8, 2000), 7)
    writer = TokenShardWriter(folder, "first", batch.schema, METADATA)
    writer.write(batch)
    (first,) = writer.close()
    parts = [folder / f"part-{i:05d}.arrow" for i in range(shards)]
    for part in parts:
        shutil.copyfile(first, part)
    given = NodeInput("many", str(folder), tuple(map(str, parts)), "many", 8 * shards, 16_000 * shards)
    opened, cost = mix(run, {"many": given}, "of-many", 10_000 * shards)
    times = []
    for _ in range(ROUNDS):
        done = subprocess.run([sys.executable, "-c", START_UP, str(opened.folder)], capture_output=True, text=True, check=True)
        times.append([float(t) for t in done.stdout.split()])
    names = [f"{what}_{clock}" for clock in ("s", "cpu_s") for what in ("open", "first_window", "first_batch")]
    return {"shards": shards, "made": cost, **{name: round(min(t[i] for t in times), 3) for i, name in enumerate(names)}}


def distances(count: int) -> dict[str, Any]:
    """How far random mixes are from plan: constant shares; 500 windows, a ramp of 100 to 2,000, 500 windows; 500, a jump, 500."""
    rng = np.random.default_rng(0)
    found: dict[str, Any] = {}
    for kind in ("constant", "ramp", "jump"):
        worst = []
        for _ in range(count):
            k = int(rng.integers(2, 9))
            ends = [rng.dirichlet(np.full(k, rng.choice([0.3, 1, 3]))) for _ in range(2)]
            names = [str(i) for i in range(k)]
            before, after = (normalised({n: Fraction(float(s) + 1e-6) for n, s in zip(names, end, strict=True)}, names) for end in ends)
            density = [Fraction(1)] * k
            stages = [stage_segments(3000, None, before, density, None)]
            if kind == "jump":
                stages = [stage_segments(500, None, shares, density, None) for shares in (before, after)]
            if kind == "ramp":
                length = int(rng.integers(100, 2000))
                stages = [stage_segments(500, None, before, density, None), stage_segments(length, before, after, density, "linear"),
                          stage_segments(500, None, after, density, None)]  # fmt: skip
            worst.append(distance(names, stages))
        of_64, since = np.array(worst).T
        found[kind] = {"mixes": count, "of_64_max": float(of_64.max()), "of_64_within_1": float((of_64 <= 1 + 1e-6).mean()),
                       "since_start_max": float(since.max()), "since_start_within_1": float((since <= 1 + 1e-6).mean())}  # fmt: skip
    return found


def distance(names: list[str], stages: list[Any]) -> tuple[float, float]:
    """(worst of 64, worst since the start) of an order, from its certificate."""
    flat = [s for stage in stages for s in stage]
    used = planned_counts(flat)
    held = {"by": "windows", "windows": 0, "index": None, "tokens": 0}
    ledger = {"tokens": 0, "repeated": 0, "in_windows": 0, "tail": 0, "cropped": 0, "dropped": {}, "held_out": 0}
    sources = [
        {
            "name": n,
            "windows": max(1, u),
            "used": u,
            "limit": 4 * u + 9,
            "used_before": 0,
            "index": None,
            "held_out": held,
            "ledger": ledger,
        }
        for n, u in zip(names, used, strict=True)
    ]
    about = [{"windows": sum(s.windows for s in stage), "segments": [[s.windows, list(s.shares)] for s in stage]} for stage in stages]
    mixed = {"seq_len": 1, "packing": "concat", "seed": 1, "sources": sources, "stages": about, "blocks": [[[0] * len(names), []]]}
    assert sum(flat[0].shares) == UNIT
    sources_density = [dict(s, ledger={**ledger, "in_windows": s["windows"], "tokens": s["windows"]}) for s in sources]
    proof = certify({**mixed, "sources": sources_density}, Path())
    return proof["worst_of_64"], proof["worst_since_start"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="folder for the shards, 1.3 GB; default: a temporary one")
    parser.add_argument("--tokens", type=int, default=TOKENS)
    parser.add_argument("--shards", type=int, default=10_000)
    parser.add_argument("--mixes", type=int, default=300)
    parser.add_argument("--save", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="curate-bench-") as temporary:
        run = (arguments.work or Path(temporary)).resolve()
        run.mkdir(parents=True, exist_ok=True)
        found = {
            "machine": machine(),
            "versions": {name: version(name) for name in ("numpy", "pyarrow", "numba")},
            "affinity": sorted(os.sched_getaffinity(0)),
            "distance_from_plan": distances(arguments.mixes),
            "start_up": start_up(run, arguments.shards),
            "rates": rates(run, arguments.tokens),
        }
    print(json.dumps(found, indent=1))
    if arguments.save:
        RESULTS.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
