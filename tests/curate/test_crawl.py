"""A crawl end to end: archives to text, everything that is no document counted, everything broken quarantined."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

import pytest

import curate as toolkit
from curate.report.funnel import skip_text
from tests.curate.engine_case import curate
from tests.curate.io.archive_files import http, warc_record

pytest.importorskip("fastwarc")
pytest.importorskip("resiliparse")
pytest.importorskip("lxml")

RECIPE = """
name: web
max_quarantine: 0.5
read: {warc: "crawl/*.warc.gz"}
steps:
  - extract: {engine: resiliparse, max_memory_mb: 64}
"""


def page(number: int) -> str:
    words = " ".join(f"word{number}x{i}" for i in range(60))
    return f"<html><head><title>Page {number}</title></head><body><article><p>{words}</p><p>{words}</p></article></body></html>"


@pytest.fixture(scope="module")
def crawl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crawl")
    (folder / "crawl").mkdir()
    for name in "ab":
        records = [warc_record("warcinfo", "software: x", "http://e.org/")]
        for i in range(40):
            url = f"http://e.org/{name}{i}"
            records += [warc_record("request", "GET / HTTP/1.1\r\n\r\n", url), warc_record("response", page(i), url)]
        records.append(warc_record("response", http(b"gone", status=404), "http://e.org/gone"))
        records.append(warc_record("response", "<html><body></body></html>", f"http://e.org/{name}/empty"))
        if name == "b":
            records.insert(9, warc_record("response", "<p>words in a row</p>" * 500_000, "http://e.org/large"))
        members = [gzip.compress(r, 1) for r in records]
        content = b"".join(members)
        (folder / "crawl" / f"{name}.warc.gz").write_bytes(content[:-30] if name == "b" else content)
    (folder / "web.yaml").write_text(RECIPE)
    return folder


def test_from_archive_to_text(crawl: Path) -> None:
    digests = []
    for workers in (1, 2):
        out = crawl / f"out{workers}"
        done = curate("run", crawl / "web.yaml", "--out", out, "--workers", workers, "--json")
        assert "Traceback" not in done.stderr
        digests.append({p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted((out / "web").rglob("*")) if p.is_file()})
    assert digests[0] == digests[1]
    entry = json.loads((crawl / "out1/manifest.json").read_bytes())["datasets"]["web"]
    assert (entry["rows_in"], entry["rows_out"], entry["quarantined"]) == (83, 80, 2)
    assert entry["dropped"] == {"extract.no_text": 1}
    assert entry["skipped"] == {"status 404": 2, "type request": 80, "type warcinfo": 2}
    errors = [
        json.loads(line)["error"] for p in sorted((crawl / "out1/web/quarantine").glob("*.jsonl")) for line in p.read_text().splitlines()
    ]
    large, truncated = sorted(errors)
    assert large.startswith("extract ") and truncated.startswith("the gzip stream ends early (truncated file)")
    assert "(step extract, document '<urn:uuid:" in "".join(errors)
    table = toolkit.read_dataset(crawl / "out1" / "web")
    assert table.column("text")[0].as_py().startswith("word0x0 word0x1 ")
    assert table.column("url")[0].as_py() == "http://e.org/a0" and table.column("extract_title")[3].as_py() == "Page 3"


def test_the_funnel_says_what_was_passed_over() -> None:
    skipped = {"type request": 80, "status 404": 2, "mime image/png": 3, "mime text/css": 1, "type warcinfo": 9, "x": 1}
    assert skip_text(skipped) == "no documents: type request 80, type warcinfo 9, mime image/png 3, status 404 2, others 2"
    assert skip_text({}) == ""
