"""Speed of language identification on one core against raw fastText, same model, same bytes, every label compared.

    taskset -c 0 python tests/bench/language.py DATA [--model lid.176.bin] [--mb 60] [--save]

DATA has langid/ and text/. fastText is fasttext-predict's `predict` of one document after the other, newlines made spaces
beforehand; ours is the kernel on columns (batch in, labels out) and, beside it, the whole step. Runs alternate, CPU time is taken, the best of ROUNDS counts.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import fasttext
import pyarrow as pa

from curate.context import WorkContext
from curate.kernels.langid import Identifier
from curate.kernels.strings import views
from curate.steps.fasttext_file import load
from curate.steps.languages import Language, lid_176_path
from tests.bench.measure import machine
from tests.conftest import read_rows

ROUNDS = 4
BATCH = 8 << 20


def texts(folder: Path, limit: int) -> list[str]:
    """Whole documents, an equal share of every file."""
    files, found = sorted(folder.glob("*.jsonl*")), []
    for file in files:
        left = limit // len(files)
        for row in read_rows(file):
            text = row.get("text") or row.get("sentence")
            if left > 0 and isinstance(text, str) and text.split():
                found.append(text)
                left -= len(text.encode())
    return found


def batches(documents: list[str]) -> list[pa.RecordBatch]:
    table = pa.table({"text": pa.array(documents, pa.large_string())})
    return table.to_batches(max_chunksize=max(1, len(documents) * BATCH // max(1, table.nbytes)))


def alternate(works: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Least CPU seconds of each."""
    best = dict.fromkeys(works, float("inf"))
    for _ in range(ROUNDS):
        for name, work in works.items():
            started = time.process_time()
            work()
            best[name] = min(best[name], time.process_time() - started)
    return best


def measure(documents: list[str], model: str) -> dict[str, Any]:
    """Seconds, ratio, and how many labels differ."""
    identifier, public = Identifier(load(model)), fasttext.load_model(model)
    step = Language(model=model).bind(WorkContext())
    given, lines = batches(documents), [text.replace("\n", " ") + "\n" for text in documents]

    def ours() -> list[str]:
        found = [identifier(*views(batch.column("text")))[0] for batch in given]
        return ["__label__" + identifier.labels[number] for labels in found for number in labels.tolist()]

    def peer() -> list[str]:
        predict = public.f.predict
        return [predict(line, 1, 0.0, "strict")[0][1] for line in lines]

    differ = sum(a != b for a, b in zip(ours(), peer(), strict=True))
    best = alternate({"ours": ours, "fasttext": peer, "step": lambda: [step(batch) for batch in given]})
    mb = sum(len(text.encode()) for text in documents) / 1e6
    return {
        "documents": len(documents), "mb": round(mb, 2), "labels_differ": differ,
        "mb_per_s": {name: round(mb / seconds, 2) for name, seconds in best.items()},
        "ms_per_mb": {name: round(seconds * 1e3 / mb, 2) for name, seconds in best.items()},
        "ratio": round(best["fasttext"] / best["ours"], 2),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default=str(lid_176_path()))
    parser.add_argument("--mb", type=float, default=60, help="of text/, in 10^6 bytes")
    parser.add_argument("--save", action="store_true")
    given = parser.parse_args()
    found: dict[str, Any] = {name: measure(texts(given.data / name, int(given.mb * 1e6)), given.model) for name in ("langid", "text")}
    found |= {
        "model": Path(given.model).name,
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6, 1),
        "versions": {name: version(name) for name in ("curate", "fasttext-predict", "numba")},
        "machine": machine(),
    }
    print(json.dumps(found, indent=1))
    if given.save:
        (Path(__file__).parent / "results" / "language.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
