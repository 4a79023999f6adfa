"""Corpora made to break near-duplicate search: no bucket is quadratic, nothing is merged wrongly, what is left out is counted.

The full sizes (10^6 documents, one of 500 MB) are run by tests/bench/dedup_hostile.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curate.apply import run_step
from curate.kernels.buckets import WHOLE
from curate.kernels.near_duplicates import FIRST, LATEST, REPLACED
from curate.steps.duplicate_groups import CUT_GROUPS
from curate.steps.minhash import DedupMinhash
from tests.bench.dedup_hostile import identical, one_word, template
from tests.curate.steps.test_minhash import reported, table
from tests.reference.shingles import jaccard, ngrams

MOST = FIRST + LATEST + REPLACED  # comparisons of a document in a group


@pytest.mark.parametrize("keep", ["first", "longest"])
def test_identical_documents(keep: str) -> None:
    n = 4 * WHOLE
    given = table(identical(n))
    step = DedupMinhash(keep=keep)
    assert run_step(step, given).column("id").to_pylist() == ["d0"]
    figures = reported(step, given)
    assert figures["buckets_cut"] == step.layout.bands and figures["largest_bucket"] == n
    assert figures["pairs_compared"] < 2 * n, "each is compared with one other in a part, not with all"
    assert figures["removed"] == n - 1 and figures["documents_compared_in_part"] == 0


def test_a_template_that_makes_duplicates_leaves_one() -> None:
    """90 % shared in one piece: similarity 0.82, everything goes with the first."""
    n = WHOLE + 500
    given = table(template(n, words=200, own=20))
    step = DedupMinhash()
    assert len(run_step(step, given)) == 1
    assert reported(step, given)["pairs_compared"] < (REPLACED + 2) * 4 * n


def test_a_template_that_makes_none_keeps_all_and_finds_the_copies_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """80 % shared: similarity 0.65. For 200 edited copies among them the promise holds though most buckets are cut."""
    monkeypatch.setattr("curate.kernels.buckets.WHOLE", 400)
    monkeypatch.setattr("curate.kernels.buckets.PART", 200)
    n, copies = 3000, 200
    texts = template(n, words=200, own=40)
    rng = np.random.default_rng(5)
    for _ in range(copies):
        words = (texts[int(rng.integers(n))] or "").split()
        words[int(rng.integers(len(words)))] = "edited"
        texts.append(" ".join(words))
    given = table(texts)
    step = DedupMinhash(mode="annotate")
    rows = run_step(step, given).to_pylist()
    gone = [r for r in rows if r["dup_of"] is not None]
    assert len(gone) >= 0.98 * copies and all(int(r["id"][1:]) >= n for r in gone)
    for r in gone[:50]:
        other = texts[int(r["dup_of"][1:])] or ""
        assert r["dup_similarity"] == jaccard(set(ngrams(r["text"], 5)), set(ngrams(other, 5))) >= 0.8
    figures = reported(step, given)
    assert figures["buckets_cut"] > 0 and figures["documents_not_in_all_groups"] > 0 and figures["documents_compared_in_part"] > 0
    assert figures["pairs_compared"] <= MOST * figures["sets_sent"]
    assert figures["sets_sent"] <= (step.layout.bands + CUT_GROUPS) * len(texts)


def test_empty_and_one_word_documents() -> None:
    texts = one_word(3 * WHOLE)
    rows = run_step(DedupMinhash(mode="annotate"), table(texts)).to_pylist()
    kept = [r["text"] for r in rows if r["dedup_minhash_keep"]]
    bare = {"", " ", "?!"}
    assert sum(t in bare for t in kept) == sum(t in bare for t in texts), "what has no words is never a duplicate"
    assert sorted(t for t in kept if t not in bare) == sorted({t.lower() for t in texts if t} - bare), "one of each word stays"
    assert all(r["text"].lower() == (texts[int(r["dup_of"][1:])] or "").lower() for r in rows if r["dup_of"])


@pytest.mark.parametrize("settings", [{}, {"shingle": {"chars": 13}}, {"words": "unicode"}])
@pytest.mark.parametrize("text", ["a" * 3_000_000, "a " * 1_500_000, "\u4e2d" * 500_000, "!?" * 500_000, "\u0301" * 500_000])
def test_one_long_document_of_little(settings: dict[str, Any], text: str) -> None:
    given = table([text, "some words of another document", text])
    rows = run_step(DedupMinhash.model_validate(settings), given)
    marks = not any(c.isalnum() for c in text) and not settings
    assert rows.column("id").to_pylist() == (["d0", "d1", "d2"] if marks else ["d0", "d1"])


def test_one_long_document_and_its_parts() -> None:
    words = [f"w{i}" for i in np.random.default_rng(2).integers(0, 10**6, 300_000)]
    given = pa.table({"id": ["whole", "most", "half"], "text": [" ".join(words), " ".join(words[:270_000]), " ".join(words[:150_000])]})
    rows = run_step(DedupMinhash(mode="annotate"), given).to_pylist()
    assert [r["dup_of"] for r in rows] == [None, "whole", None]
    assert rows[1]["dup_similarity"] == pytest.approx(0.9, abs=0.001)
