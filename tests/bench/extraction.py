"""Crawl archive to text: quality of the extractors on labelled pages, and what our part of the work costs.

    python tests/bench/extraction.py DATA [--pages 200] [--repeat 3] [--save]

DATA: a folder with html/article_extraction_benchmark.jsonl.gz and html/trafilatura_eval.jsonl.gz.

Quality. F1: precision and recall of token 4-grams against the hand-made article body, averaged over pages, as the public
benchmark does it (scrapinghub, 2020). Segments: accuracy of Trafilatura's own evaluation (wanted segments found,
unwanted ones absent). `extract` is measured through the step, the others by calling the library.

Speed. The pages of trafilatura_eval as a WARC file, one gzip member a record with a request beside it: all of them twice,
for Trafilatura the first `--pages`. Each variant is a process of its own; CPU seconds with all descendants, start-up (an
archive of one page) subtracted; variants alternate.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
WORDS = re.compile(r"\w+")
Rows = list[dict[str, Any]]
PRESETS: dict[str, dict[str, Any]] = {
    "extract (default)": {},
    "extract precision": {"favor": "precision"},
    "extract recall": {"favor": "recall"},
    "extract fast": {"fast": True},
    "extract markdown": {"format": "markdown"},
    "extract resiliparse": {"engine": "resiliparse"},
}

ONE_SET = ("extract recall", "extract fast", "extract markdown")  # measured on the article bodies alone


def rows_of(path: Path) -> Rows:
    """All rows of a .jsonl.gz file."""
    with gzip.open(path, "rb") as file:
        return [json.loads(line) for line in file.read().split(b"\n") if line.strip()]


def grams(text: str) -> Counter[tuple[str, ...]]:
    """Token 4-grams with their counts; a shorter text is one gram."""
    words = WORDS.findall(text)
    return Counter(tuple(words[i : i + 4]) for i in range(max(1, len(words) - 3))) if words else Counter()


def f1(found: list[str], pages: Rows) -> dict[str, float]:
    """Mean precision and recall over pages, and their harmonic mean."""
    precision, recall = [], []
    for text, page in zip(found, pages, strict=True):
        got, gold = grams(text), grams(page["articleBody"])
        hits = (got & gold).total()
        precision.append(hits / got.total() if got else float(not gold))
        recall.append(hits / gold.total() if gold else 1.0)
    p, r = sum(precision) / len(precision), sum(recall) / len(recall)
    return {"precision": round(p, 4), "recall": round(r, 4), "f1": round(2 * p * r / (p + r), 4)}


def segments(found: list[str], pages: Rows) -> dict[str, float]:
    """Share of wanted segments found and unwanted ones absent."""
    right = total = 0
    for text, page in zip(found, pages, strict=True):
        right += sum(s in text for s in page["with"]) + sum(s not in text for s in page["without"])
        total += len(page["with"]) + len(page["without"])
    return {"accuracy": round(right / total, 4)}


def through_step(pages: Rows, **settings: Any) -> list[str]:
    """Texts as the step makes them."""
    import pyarrow as pa

    from curate.apply import outcomes
    from curate.steps.extraction import Extract

    columns = {"id": [str(i) for i in range(len(pages))], "text": [p["html"] for p in pages]}
    batch = pa.table({n: pa.array(c, pa.large_string()) for n, c in columns.items()}).combine_chunks().to_batches()[0]
    (outcome,) = outcomes(Extract(metadata="none", empty="keep", **settings), [batch])
    if outcome.unreadable:
        warnings.warn(f"{settings}: {dict(outcome.unreadable)}", stacklevel=1)
    return [str(t) for t in outcome.batch.column("text").to_pylist()]


def library(name: str) -> Callable[[str], str]:
    """The library's function as its own documentation calls it."""
    if name == "trafilatura":
        from trafilatura import extract

        return lambda html: extract(html) or ""
    from resiliparse.extract.html2text import extract_plain_text

    return lambda html: extract_plain_text(html, main_content=True, alt_texts=False)


def quality(data: Path) -> dict[str, dict[str, float]]:
    """Figures of every variant on both sets."""
    article = rows_of(data / "html/article_extraction_benchmark.jsonl.gz")
    labelled = rows_of(data / "html/trafilatura_eval.jsonl.gz")
    table = {}
    for name, settings in PRESETS.items():
        table[name] = f1(through_step(article, **settings), article)
        if name not in ONE_SET:
            table[name] |= segments(through_step(labelled, **settings), labelled)
    for name in ("trafilatura", "resiliparse"):
        call = library(name)
        table[f"{name} itself"] = f1([call(p["html"]) for p in article], article) | segments([call(p["html"]) for p in labelled], labelled)
    for name, row in table.items():
        print(f"{name:22}" + "".join(f"  {k} {v:.4f}" for k, v in row.items()), flush=True)
    return table


def write_archive(pages: Rows, path: Path) -> int:
    """A WARC file of the pages; bytes of its content."""
    from tests.curate.io.archive_files import http, warc_record

    total = 0
    with path.open("wb") as file:
        for number, page in enumerate(pages):
            url = f"http://example.org/{number}"
            for record in (
                warc_record("request", "GET / HTTP/1.1\r\n\r\n", url),
                warc_record("response", http(page["html"].encode("utf-8", "replace")), url),
            ):
                file.write(gzip.compress(record, 6))
                total += len(record)
    return total


def pages_by_peer(name: str, path: Path) -> Iterator[bytes]:
    """Bodies of the responses as a peer reads them."""
    with path.open("rb") as file:
        if name == "fastwarc":
            from fastwarc.warc import ArchiveIterator, WarcRecordType

            for record in ArchiveIterator(file, record_types=WarcRecordType.response, auto_decode="all"):
                yield record.reader.read()
            return
        from warcio.archiveiterator import ArchiveIterator as Iterate

        for record in Iterate(file):
            if record.rec_type == "response":
                yield record.content_stream().read()


def variant(name: str, path: Path) -> int:
    """Do one variant's work in this process; characters of what it made."""
    what, _, engine = name.partition(" ")
    if what in ("fastwarc", "warcio"):
        call = library(engine) if engine else lambda html: html
        return sum(len(call(page.decode("utf-8", "replace"))) for page in pages_by_peer(what, path))
    from curate.io.archives import WarcReader
    from curate.step import BatchFn
    from curate.steps.extraction import Extract

    step: BatchFn | None = Extract(engine=engine, metadata="none", empty="keep").bind(None) if engine else None  # type: ignore[arg-type]
    made = 0
    reader = WarcReader(paths=(str(path),))
    for split in reader.splits("/"):
        for rows in reader.read(split, "web"):
            batch = step(rows.batch).batch if step else rows.batch
            made += sum(map(len, batch.column("text").to_pylist()))
    return made


def speed(pages: Rows, slow: int, repeat: int) -> dict[str, Any]:
    """CPU seconds of each variant without its start-up, alternating; medians and ratios. slow: pages for Trafilatura"""
    from tests.bench.measure import measure

    names = ["curate", "fastwarc", "warcio", "curate resiliparse", "fastwarc resiliparse", "curate trafilatura", "fastwarc trafilatura"]
    taken: dict[str, list[float]] = {name: [] for name in names}
    peak: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        whole, few, single = (Path(folder, f"{name}.warc.gz") for name in ("whole", "few", "one"))
        sizes = {whole: write_archive(pages * 2, whole), few: write_archive(pages[:slow], few)}
        write_archive(pages[:1], single)
        archives = {name: few if "trafilatura" in name else whole for name in names}
        for _ in range(repeat):
            for name in names:
                used = []
                for path in (single, archives[name]):
                    command = [sys.executable, str(Path(__file__).resolve()), "--variant", name, str(path)]
                    used.append(measure(command, Path(folder, "log"), env={"PYTHONPATH": str(ROOT)}))
                taken[name].append(used[1].cpu_s - used[0].cpu_s)
                peak[name] = max(peak.get(name, 0), used[1].peak_mb())
    found = {
        name: {
            "cpu_s": round(median(t), 3),
            "content_mb": round(sizes[archives[name]] / 1e6, 1),
            "mb_s": round(sizes[archives[name]] / 1e6 / median(t), 1),
            "peak_mb": round(peak[name]),
        }
        for name, t in taken.items()
    }
    for name, row in found.items():
        print(f"{name:22} {row['cpu_s']:8.3f} CPU s  {row['mb_s']:8.1f} MB/s  peak {row['peak_mb']} MB")
    ratios = {
        f"ours over fastwarc + {e}": round(median(a / b for a, b in zip(taken[f"curate {e}"], taken[f"fastwarc {e}"], strict=True)), 3)
        for e in ("trafilatura", "resiliparse")
    }
    print(ratios)
    return {"pages": 2 * len(pages), "pages_trafilatura": slow, "variants": found, "ratios": ratios}


def main() -> None:
    """Measure, print, perhaps save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--pages", type=int, default=200)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--variant")
    parser.add_argument("--only", choices=("quality", "speed"))
    parser.add_argument("--save", action="store_true")
    given = parser.parse_args()
    if given.variant:
        print(variant(given.variant, given.data))
        return
    versions = {name: version(name) for name in ("trafilatura", "resiliparse", "fastwarc", "warcio")}
    found: dict[str, Any] = {"versions": versions}
    if given.only != "speed":
        found["quality"] = quality(given.data)
    if given.only != "quality":
        found["speed"] = speed(rows_of(given.data / "html/trafilatura_eval.jsonl.gz"), given.pages, given.repeat)
    print(json.dumps(found))
    if given.save:
        saved = Path(__file__).parent / "results" / "extraction.json"
        before = json.loads(saved.read_bytes()) if saved.exists() and given.only else {}
        saved.write_text(json.dumps(before | found, indent=1) + "\n")


if __name__ == "__main__":
    main()
