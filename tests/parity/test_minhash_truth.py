"""Deduplication on real text against exact truth: all pairs by naive sets, and Python dicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curate.apply import run_step
from curate.kernels.lsh import match_probability
from curate.kernels.minhash import band_hashes
from curate.steps.exact import DedupExact
from curate.steps.minhash import DedupMinhash
from tests.conftest import read_rows
from tests.reference.shingles import jaccard, ngrams, normalized

ROUNDING = 6e-5  # the truth file has four digits


def documents(path: Path, limit: int) -> pa.Table:
    rows = [row for _, row in zip(range(limit), read_rows(path), strict=False)]
    return pa.table({"id": [str(row.get("id", i)) for i, row in enumerate(rows)], "text": [str(row["text"]) for row in rows]})


@pytest.fixture(scope="module")
def licences(real_data: Path) -> tuple[pa.Table, dict[frozenset[str], float]]:
    truth = {
        frozenset((str(r["a"]), str(r["b"]))): float(str(r["jaccard_w5"]))
        for r in read_rows(real_data / "dedup/license_rules_pairs.jsonl.gz")
    }
    return documents(real_data / "dedup/license_rules_docs.jsonl.gz", 10**6), truth


def annotated(table: pa.Table, **settings: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = run_step(DedupMinhash(mode="annotate", **settings), table).to_pylist()
    return rows


@pytest.mark.parametrize(
    "settings", [{}, {"threshold": 0.7}, {"threshold": 0.9, "bands": 9, "rows": 13}, {"keep": "longest", "bands": 20, "rows": 7}]
)
def test_licences(licences: tuple[pa.Table, dict[frozenset[str], float]], settings: dict[str, Any]) -> None:
    table, truth = licences
    step = DedupMinhash(**settings)
    rows = annotated(table, **settings)
    kept = {r["id"] for r in rows if r["dedup_minhash_keep"]}
    for row in rows:
        if row["dup_of"] is not None:
            exact = truth[frozenset((row["id"], row["dup_of"]))]
            assert row["dup_of"] in kept and exact >= step.threshold - ROUNDING
            assert abs(row["dup_similarity"] - exact) < ROUNDING
    # Of documents with a kept near-duplicate, how many went? Theory: at least as many as the worst pair promises.
    near = [(pair, s) for pair, s in truth.items() if s >= step.threshold + ROUNDING]
    missed = {name for pair, _ in near if pair <= kept for name in [max(pair)]}
    removed = len(rows) - len(kept)
    recall = removed / (removed + len(missed))
    expected = match_probability(step.threshold, *step.layout)
    print(
        f"{settings}: {removed} of {len(rows)} removed, {len(missed)} missed, recall {recall:.4f} (a pair at the threshold: {expected:.3f})"
    )
    assert removed > 1000
    assert recall >= expected


def test_licence_pairs_are_found_as_often_as_theory_says(licences: tuple[pa.Table, dict[frozenset[str], float]]) -> None:
    """Pairs of one family of licences meet or miss together, so the mean over many seeds is what theory speaks of."""
    table, truth = licences
    place = {name: i for i, name in enumerate(table.column("id").to_pylist())}
    ends = np.array([[place[name] for name in pair] for pair in truth])
    similarity = np.array(list(truth.values()))
    theory = np.array([match_probability(s, 14, 8) for s in similarity])
    hashes = (band_hashes(table.column("text"), 5, 14, 8, seed).hash for seed in range(32))
    met = [(found[ends[:, 0]] == found[ends[:, 1]]).any(axis=1) for found in hashes]
    for low, high in [(0.5, 0.6), (0.6, 0.7), (0.7, 0.8), (0.8, 0.9), (0.9, 1.01)]:
        inside = (similarity >= low) & (similarity < high)
        shares = np.array([m[inside].mean() for m in met])
        error = shares.std(ddof=1) / np.sqrt(len(shares))
        print(
            f"similarity {low}-{high}: {inside.sum()} pairs, found {shares.mean():.4f} +- {error:.4f}, theory {theory[inside].mean():.4f}"
        )
        assert abs(shares.mean() - theory[inside].mean()) < 4 * error + 1e-4


def test_every_removal_in_encyclopedia_and_reference_pages(real_data: Path) -> None:
    for name, limit in [
        ("text/wikipedia_en_pages.jsonl.zst", 1500),
        ("text/mdn_multi.jsonl.zst", 2500),
        ("text/zh_poetry.jsonl.zst", 8000),
    ]:
        table = documents(real_data / name, limit)
        table = table.set_column(0, "id", pa.array([str(i) for i in range(len(table))]))
        texts = table.column("text").to_pylist()
        rows = annotated(table)
        kept = {r["id"] for r in rows if r["dedup_minhash_keep"]}
        for row in rows:
            if row["dup_of"] is not None:
                exact = jaccard(set(ngrams(row["text"], 5)), set(ngrams(texts[int(row["dup_of"])], 5)))
                assert row["dup_of"] in kept and row["dup_similarity"] == exact >= 0.8
        print(f"{name}: {len(rows) - len(kept)} of {len(rows)} removed, each proven")


@pytest.mark.parametrize("by", ["text", "normalized_text"])
def test_exact_equals_a_dict(real_data: Path, by: str) -> None:
    for name in (
        "dedup/license_rules_docs.jsonl.gz",
        "text/tldr_pages.jsonl.zst",
        "text/zh_poetry.jsonl.zst",
        "text/ko_movie_reviews.jsonl.zst",
    ):
        texts = [str(r["text"]) for r in read_rows(real_data / name)]
        seen: dict[str, str] = {}
        for i, text in enumerate(texts):
            seen.setdefault(text if by == "text" else normalized(text), str(i))
        table = pa.table({"id": [str(i) for i in range(len(texts))], "text": texts})
        assert run_step(DedupExact(by=by), table).column("id").to_pylist() == list(seen.values())
        print(f"{name}: {len(texts) - len(seen)} of {len(texts)} are duplicates by {by}")
