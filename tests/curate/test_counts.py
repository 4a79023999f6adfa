"""Figures that steps report beside their verdicts: summed by source into receipts, manifest and summary."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa

from curate.report.funnel import count_text
from curate.step import counted
from curate.worker.ledger import MAX_SOURCES, OTHERS, Ledger
from tests.curate.engine_case import curate, write_recipe

PLUGIN = """
import pyarrow.compute as pc
from curate.step import Outcome, Step, counted

class Digits(Step):
    '''Count the digits of each document.'''
    name = "digits"

    def bind(self, ctx):
        def run(batch):
            texts = batch.column("text").to_pylist()
            figures = ((row, "aeiou".find(c)) for row, text in enumerate(texts) for c in text if c in "aeiou")
            return Outcome(batch, counts=counted(batch.column("source"), ("a", "e", "i", "o", "u"), figures))
        return run
"""


def test_counted_by_source_and_name() -> None:
    sources = pa.array(["web", "web", None, "books"])
    assert counted(sources, ("x", "y"), []) == {}
    pairs = [(0, 0), (0, 1), (1, 0), (2, 1), (3, 1), (3, 1)]
    assert counted(sources, ("x", "y"), pairs) == {"web": {"x": 2, "y": 1}, "": {"y": 1}, "books": {"y": 2}}


def test_ledger_sums_in_order_and_bounds_the_sources(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, ["plain", "counting"], "none")
    ledger.count(1, {"b": {"y": 1, "x": 2}})
    ledger.count(1, {"a": {"x": 1}, "b": {"x": 5}})
    entries = ledger.close(sink_rows=True)["steps"]
    assert "counts" not in entries[0]
    assert json.dumps(entries[1]["counts"]) == json.dumps({"a": {"x": 1}, "b": {"x": 7, "y": 1}})
    for number in range(MAX_SOURCES + 10):
        ledger.count(0, {f"s{number:04}": {"x": 1}})
    counts = ledger.close(sink_rows=True)["steps"][0]["counts"]
    assert len(counts) == MAX_SOURCES + 1
    assert counts[OTHERS] == {"x": 10}
    assert counts["s0255"] == {"x": 1} and "s0256" not in counts


def test_manifest_has_them_for_any_number_of_workers(tmp_path: Path) -> None:
    plugin = tmp_path / "digits.py"
    plugin.write_text(PLUGIN, encoding="utf-8")
    for number in range(3):
        rows = [{"text": "alpha eta " * (i % 5), "source": f"s{i % 2}"} for i in range(200)]
        (tmp_path / f"in{number}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    recipe = write_recipe(tmp_path, "name: c\nread: {jsonl: 'in*.jsonl', source: source}\nsteps: [digits]\n")
    found = []
    for workers in ("1", "2"):
        curate("run", recipe, "--out", tmp_path / workers, "--plugin", plugin, "--quiet", "--workers", workers)
        manifest = json.loads((tmp_path / workers / "manifest.json").read_text())
        found.append(manifest["datasets"]["c"]["funnel"][-1]["counts"])
    each = 3 * 20 * (0 + 2 + 4 + 1 + 3)  # rows 0, 2, 4, 6, 8 of ten
    assert found[0] == found[1] == {"s0": {"a": 3 * each, "e": each}, "s1": {"a": 3 * each, "e": each}}


def test_summary_names_the_largest_first() -> None:
    assert count_text({"a": {"x": 1, "y": 2}, "b": {"x": 1200}}) == "found: x 1,201, y 2"
    assert count_text({}) == ""
