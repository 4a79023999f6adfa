"""`curate audit dedup`: planted copies of known similarity, theory beside what was found, clusters, shares of sources, a safe page."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.audit_dedup import audit, measure
from curate.duplicate_clusters import clusters
from curate.errors import RecipeError
from curate.report.dedup_audit import html_page, record
from tests.curate.engine_case import curate, write_recipe
from tests.reference.shingles import jaccard, ngrams

HOSTILE = "<script>alert(1)</script> & \x1b[31m"


def words(make: random.Random, count: int) -> str:
    return " ".join(f"word{make.randrange(5000)}" for _ in range(count))


def table(count: int) -> pa.Table:
    make = random.Random(5)
    texts = [words(make, make.randrange(60, 200)) for _ in range(count)]
    columns = {"id": [f"d{i}" for i in range(count)], "text": pa.array(texts, pa.large_string()), "source": ["s"] * count}
    return pa.table(columns)


def test_every_planted_duplicate_is_found_and_theory_agrees() -> None:
    one = measure({"threshold": 0.8, "recall": 0.98}, table(1500), 1, 0)
    assert one.documents == one.total.pairs == 1500 and sum(p.pairs for p in one.by_edit) == sum(p.pairs for p in one.by_similarity) == 1500
    assert one.precision == 1.0 and one.wrong == 0 and one.recall is not None and one.recall >= 0.98
    for p in one.by_similarity:
        if p.pairs >= 20:
            assert abs(p.candidates - p.theory) < 5 * np.sqrt(p.pairs / 4)
    same = next(p for p in one.by_edit if p.name == "words changed: 0%")
    assert same.found == same.pairs == same.at_threshold and same.similarity == 1.0


def test_a_layout_that_misses_is_measured_as_missing() -> None:
    one = measure({"threshold": 0.8, "bands": 1, "rows": 12}, table(800), 1, 0)
    expected = one.total.theory
    assert abs(one.total.candidates - expected) < 5 * np.sqrt(one.total.pairs / 4)
    assert one.recall is not None and one.recall < 0.9 and one.total.missed > 20


def test_removals_without_proof_count_as_wrong() -> None:
    one = measure({"threshold": 0.8, "bands": 40, "rows": 3, "verify": False}, table(800), 1, 0)
    assert one.wrong > 20 and one.precision is not None and one.precision < 0.95


def test_containment_counts_a_shortened_copy() -> None:
    one = measure({"similarity": "containment", "threshold": 0.9, "bands": 30, "rows": 3}, table(400), 1, 0)
    cut = next(p for p in one.by_edit if p.name == "end cut off: 40%")
    assert cut.similarity > 0.97 and cut.at_threshold == cut.pairs


def test_documents_that_repeat_each_other_get_no_copy() -> None:
    some = table(50)
    assert measure({}, pa.concat_tables([some, some]), 1, 0).documents == 50


def test_too_little_to_plant_in_is_said() -> None:
    with pytest.raises(RecipeError, match="40 words or more"):
        measure({}, pa.table({"id": ["a"], "text": pa.array(["short"], pa.large_string())}), 1, 0)
    with pytest.raises(RecipeError, match="near-duplicates of one"):
        measure({}, pa.table({"id": ["a", "b"], "text": pa.array([words(random.Random(1), 60)] * 2, pa.large_string())}), 1, 0)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Source `rich` loses 40 of 100 documents, `plain` none."""
    folder = tmp_path_factory.mktemp("audit")
    make = random.Random(2)
    base = f"{HOSTILE} {words(make, 100)}"
    rows = [{"id": f"a{i}", "text": words(make, 80), "source": "plain"} for i in range(100)]
    rows += [{"id": f"b{i}", "text": words(make, 80), "source": "rich"} for i in range(59)]
    rows += [{"id": f"c<{i:02}>", "text": f"{base} number{i}", "source": "rich"} for i in range(41)]
    (folder / "in.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    recipe = "name: a\nread: {jsonl: in.jsonl, source: source, id: id}\nsteps:\n  - dedup_minhash: {threshold: 0.8, keep: {source_priority: [plain, poor]}}\n"
    done = curate("run", write_recipe(folder, recipe), "--out", folder / "out")
    assert "source 'rich' lost 40 of 100 documents (40.0%)" in " ".join((done.stdout + done.stderr).split())
    return folder / "out"


def test_the_manifest_has_shares_by_source_and_warns_above_the_bound(run: Path) -> None:
    entry = json.loads((run / "manifest.json").read_bytes())["datasets"]["a"]
    found = entry["findings"]["dedup_minhash"]
    assert found["by_source"] == {"plain": {"documents": 100, "removed": 0}, "rich": {"documents": 100, "removed": 40}}
    assert found["warnings"] == [
        "source 'rich' lost 40 of 100 documents (40.0%)",
        "no document is of the source 'poor' that keep: source_priority names",
    ]
    assert not any("counts" in line for line in entry["funnel"])


def test_the_largest_cluster_is_shown_side_by_side_and_escaped(run: Path) -> None:
    (one,) = audit(run, 1000, 0, 5)
    (cluster,) = one.clusters
    assert (cluster.id, cluster.size) == ("c<00>", 40) and cluster.text is not None and HOSTILE in cluster.text
    shingles: list[set[object]] = [set(ngrams(t or "", 5)) for t in (cluster.text, cluster.members[0].text)]
    assert cluster.members[0].similarity == jaccard(*shingles)
    page = html_page("<run>", [one])
    assert "<script" not in page and "&lt;script&gt;" in page and "<ins>number" not in page.replace("<ins>number0</ins>", "")
    assert "<del>number" in page and "src=" not in page and "href=" not in page
    assert json.loads(json.dumps(record(one)))["clusters"][0]["size"] == 40


def test_clusters_of_a_step_that_annotates_come_from_its_columns(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    table = pa.table({"id": ["a", "b", "c", "d"], "dup_of": [None, "a", "a", None], "dup_similarity": [None, 0.9, 0.8, None]})
    pq.write_table(table, tmp_path / "web" / "part-00000.parquet")
    (one,) = clusters(tmp_path, "web", "dedup_minhash", tmp_path / "gone", 5)
    assert (one.id, one.size, [(m.id, m.similarity) for m in one.members]) == ("a", 2, [("c", 0.8), ("b", 0.9)])
    pq.write_table(table.select(["id"]), tmp_path / "web" / "part-00000.parquet")
    assert clusters(tmp_path, "web", "dedup_minhash", tmp_path / "gone", 5) == []


def test_the_command(run: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    found = json.loads(curate("audit", "dedup", run, "--json", "--documents", "150", "--html", page).stdout)
    assert found[0]["dataset"] == "a" and found[0]["precision"] == 1.0 and found[0]["shares"][0]["source"] == "rich"
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    shown = curate("audit", "dedup", run).stdout
    assert "words changed: 40%" in shown and "precision 1.0000" in shown and "\x1b[31m" not in shown


def test_a_folder_without_the_step_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"manifest\.json"):
        audit(tmp_path, 10, 0)
    (tmp_path / "manifest.json").write_text('{"stages": {}, "datasets": {}}')
    with pytest.raises(RecipeError, match="dedup_minhash"):
        audit(tmp_path, 10, 0)
