"""Speed of `pii` on one core against datatrove's PIIFormatter and Presidio's pattern recognisers, on the same bytes.

    taskset -c 0 python tests/bench/pii_speed.py DATA [--save]

DATA has text/*.jsonl.*: as much of every file as `--mb` says in all. Runs alternate, CPU time is taken, the best of three
counts. The whole step is measured (batch in, batch out), its start-up is not. Presidio sees the first `--peer-kb` only.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa

from curate.context import WorkContext
from curate.steps.personal_data import PersonalData
from tests.bench.measure import machine
from tests.conftest import read_rows

ROUNDS = 3
PIPELINE = {"email": "tag", "ip": "tag", "phone": "tag", "card": "tag", "iban": "tag", "key": "drop_document"}


def texts(data: Path, limit: int) -> list[str]:
    """An equal share of every file."""
    files = sorted((data / "text").glob("*.jsonl.*"))
    found = []
    for file in files:
        left = limit // len(files)
        for row in read_rows(file):
            text = max((v for v in row.values() if isinstance(v, str)), key=len, default="")
            found.append(text[:200_000])
            left -= len(text.encode())
            if left <= 0:
                break
    return found


def batches(documents: list[str]) -> list[pa.RecordBatch]:
    """Batches of about 8 MB."""
    table = pa.table({"text": pa.array(documents, pa.large_string())})
    rows = max(1, len(documents) * 8_000_000 // max(1, table.nbytes))
    return table.to_batches(max_chunksize=rows)


def ours(**settings: object) -> Callable[[list[pa.RecordBatch]], None]:
    run = PersonalData(**settings).bind(WorkContext())  # type: ignore[arg-type]
    run(pa.record_batch({"text": pa.array(["call +49 30 1234567 or 541-754-3010, a@b.de"], pa.large_string())}))

    def work(given: list[pa.RecordBatch]) -> None:
        for batch in given:
            run(batch)

    return work


def peer() -> Callable[[list[str]], None]:
    from datatrove.pipeline.formatters import PIIFormatter

    formatter = PIIFormatter()

    def work(documents: list[str]) -> None:
        for text in documents:
            formatter.format(text)

    return work


def cpu(work: Callable[[], None]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def hostile(size: int) -> Iterator[tuple[str, str]]:
    yield "digits", "1234567890" * (size // 10)
    yield "one digit", "7" * size
    yield "@", "@" * size
    yield "a@", "a@" * (size // 2)
    yield "one token", "aB3xQ9zL" * (size // 8)
    yield "digits and spaces", "541 754 " * (size // 8)
    yield "colons and dots", "1:2.3::4" * (size // 8)
    yield "key prefixes", "sk-AKIAeyJ" * (size // 10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--mb", type=int, default=40)
    parser.add_argument("--peer-kb", type=int, default=300)
    parser.add_argument("--hostile-mb", type=int, default=10)
    parser.add_argument("--save", action="store_true", help="write tests/bench/results/pii_speed.json")
    arguments = parser.parse_args()
    documents = texts(arguments.data, arguments.mb * 1_000_000)
    given = batches(documents)
    size = sum(len(t.encode()) for t in documents) / 1e6
    few = documents[:: max(1, int(size * 1000 / arguments.peer_kb))]
    few_given, few_mb = batches(few), sum(len(t.encode()) for t in few) / 1e6
    two, six, every = ours(email="tag", ip="tag", public_ips_only=True), ours(**PIPELINE), ours()
    datatrove, presidio = peer(), ours(engine="presidio")
    best: dict[str, float] = {}
    jobs: dict[str, tuple[Callable[[], None], float]] = {
        "curate, datatrove's two types": (lambda: two(given), size),
        "datatrove PIIFormatter": (lambda: datatrove(documents), size),
        "curate, the pipeline's six types": (lambda: six(given), size),
        "curate, all types": (lambda: every(given), size),
        "curate, all types, Presidio's sample": (lambda: [every(few_given) for _ in range(20)] and None, 20 * few_mb),
        "presidio, pattern recognisers": (lambda: presidio(few_given), few_mb),
    }
    for _ in range(ROUNDS):
        for name, (work, mb) in jobs.items():
            best[name] = max(best.get(name, 0.0), mb / max(cpu(work), 1e-9))
    print(f"{size:.1f} MB, Presidio on {few_mb:.2f} MB; one core, best of {ROUNDS}, MB/s of CPU time")
    for name, rate in best.items():
        print(f"  {name:40} {rate:10.2f} MB/s  {1000 / rate:10.2f} ms/MB")
    ratios = {
        "two types / PIIFormatter": best["curate, datatrove's two types"] / best["datatrove PIIFormatter"],
        "all types / presidio": best["curate, all types, Presidio's sample"] / best["presidio, pattern recognisers"],
    }
    print("  " + ", ".join(f"{name}: {ratio:.1f}" for name, ratio in ratios.items()))
    odd = {}
    for name, text in hostile(arguments.hostile_mb * 1_000_000):
        one = batches([text])
        odd[name] = arguments.hostile_mb / cpu(partial(every, one))
    print(f"hostile, one document of {arguments.hostile_mb} MB: " + ", ".join(f"{name} {rate:.1f} MB/s" for name, rate in odd.items()))
    if arguments.save:
        record = {"machine": machine(), "mb": size, "presidio_mb": few_mb, "mb_per_s": best, "ratios": ratios, "hostile_mb_per_s": odd,
                  "versions": {p: version(p) for p in ("curate", "datatrove", "presidio-analyzer", "phonenumbers", "numba")}}  # fmt: skip
        path = Path(__file__).parent / "results" / "pii_speed.json"
        path.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
