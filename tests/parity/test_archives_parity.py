"""Real archives against warcio, record by record; real pages against the extractors called directly."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pytest

pytest.importorskip("fastwarc")
pytest.importorskip("resiliparse")
pytest.importorskip("trafilatura")
pytest.importorskip("warcio")


from curate.apply import outcomes
from curate.io.archive_records import Damage, Record, read_records
from curate.io.archives import WarcReader
from curate.io.byte_cursor import ByteCursor
from curate.steps.extraction import Extract

# Files that warcio refuses in the middle (gzip members that do not fit the records), with what is in them.
REFUSED = {
    "aut__badexample.arc.gz": (3, 3),
    "warcio__example-bad-non-chunked.warc.gz": (6, 0),
    "warcio__example-wrong-chunks.warc.gz": (2, 0),
}
# Files in which warcio hands out records that are not whole: what of them is no record.
BROKEN = {"warcio__bad.arc": 3, "warcio__example-space-in-url.arc": 1}
STRAY = {"warcio__example-trunc.warc": 1}  # two bytes after a record whose length is too short


def ours(path: Path) -> tuple[list[Record], list[Damage]]:
    with path.open("rb") as file:
        found = list(read_records(ByteCursor(file), -1, lambda *_: 0, 1 << 24))
    return [r for r in found if isinstance(r, Record)], [d for d in found if isinstance(d, Damage)]


def theirs(path: Path) -> tuple[Counter[tuple[str, int]], bool]:
    """(type and bytes of every record that warcio gives, whether it came to the end)."""
    from warcio.archiveiterator import ArchiveIterator

    found: Counter[tuple[str, int]] = Counter()
    with path.open("rb") as file:
        try:
            for record in ArchiveIterator(file, no_record_parse=True):
                kind = "arc" if record.format == "arc" else record.rec_type
                found[kind, len(record.raw_stream.read())] += 1
        except Exception:
            return found, False
    return found, True


def test_every_record_of_every_file(real_data: Path) -> None:
    files = sorted(p for p in (real_data / "warc").iterdir() if ".warc" in p.name or ".arc" in p.name)
    assert len(files) == 32
    for path in files:
        records, damage = ours(path)
        if path.name in REFUSED:
            assert not theirs(path)[1] and (len(records), len(damage)) == REFUSED[path.name], path.name
            continue
        expected, whole = theirs(path)
        assert whole
        assert len(damage) == (BROKEN | STRAY).get(path.name, 0), path.name
        assert len(records) == expected.total() - BROKEN.get(path.name, 0), path.name
        if path.name not in BROKEN:
            got = Counter(("arc" if r.kind == "arc" else r.type, r.length) for r in records)
            head = {("arc", r.length) for r in records if r.type == "arc_header"}  # warcio counts its lines as headers
            assert (got - expected).total() <= len(head) and not [pair for pair in got - expected if pair not in head], path.name
        assert all(d.error for d in damage)


@pytest.mark.parametrize("split_bytes", [3000, 100_000])
def test_splits_of_real_files(real_data: Path, split_bytes: int) -> None:
    for name in ("aut__example.warc.gz", "aut__issue-493.warc", "dolma__sample-0000.warc.gz"):
        reader = WarcReader(paths=(str(real_data / "warc" / name),), mime=None, status=None)
        found = [
            [row for s in reader.splits("/", size) for batch, _ in reader.read(s, "d") for row in batch.to_pylist()]
            for size in (1 << 28, split_bytes)
        ]
        assert found[0] == found[1] and found[0]


def test_pages_as_the_libraries_extract_them(real_data: Path) -> None:
    from resiliparse.extract.html2text import extract_plain_text
    from trafilatura import extract

    with gzip.open(real_data / "html/article_extraction_benchmark.jsonl.gz", "rb") as file:
        pages = [json.loads(line)["html"] for line in islice(file, 12)]
    n = len(pages)
    batch = pa.record_batch({"id": [str(i) for i in range(n)], "text": pa.array(pages, pa.large_string())})
    for settings, call in (
        ({}, lambda page: extract(page, include_comments=False) or ""),
        ({"favor": "precision"}, lambda page: extract(page, include_comments=False, favor_precision=True) or ""),
        ({"format": "markdown"}, lambda page: extract(page, include_comments=False, output_format="markdown") or ""),
        (
            {"engine": "resiliparse"},
            lambda page: extract_plain_text(page, preserve_formatting=True, main_content=True, alt_texts=False, comments=False),
        ),
    ):
        (outcome,) = outcomes(Extract(metadata="none", **settings), [batch])  # type: ignore[arg-type]
        assert outcome.batch.column("text").to_pylist() == [call(page) for page in pages], settings
