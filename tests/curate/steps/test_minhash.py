"""Near-duplicates: every removal has a proof, nothing depends on batches, partitions or the order of records."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from curate.apply import outcomes, run_step
from curate.kernels.minhash import band_hashes
from curate.steps.minhash import REASON, DedupMinhash
from tests.curate.steps.phases import run
from tests.reference.shingles import jaccard, ngrams


def table(texts: list[str | None], **more: Any) -> pa.Table:
    return pa.table({"id": [f"d{i}" for i in range(len(texts))], "text": pa.array(texts, pa.large_string()), **more})


def words(rng: np.random.Generator, n: int) -> list[str]:
    return [f"w{i}" for i in rng.integers(0, 4000, n)]


def family(seed: int, originals: int = 40, copies: int = 4) -> list[str | None]:
    """Documents and edited copies of them, mixed."""
    rng = np.random.default_rng(seed)
    texts: list[str] = []
    for _ in range(originals):
        base = words(rng, int(rng.integers(20, 120)))
        for copy in range(copies):
            edited = [w if rng.random() > 0.01 * copy else "edited" for w in base]
            texts.append(" ".join(edited))
    return [texts[i] for i in rng.permutation(len(texts))]


def sets(texts: list[str | None], n: int = 5) -> list[set[object]]:
    return [set(ngrams(t or "", n)) for t in texts]


@pytest.mark.parametrize("keep", ["first", "longest", "highest:rating"])
@pytest.mark.parametrize("threshold", [0.6, 0.8])
def test_every_removal_has_a_kept_partner_at_the_threshold(keep: str, threshold: float) -> None:
    texts = family(1)
    step = DedupMinhash(threshold=threshold, keep=keep, mode="annotate", bands=30, rows=5)
    rows = run_step(step, table(texts, rating=[i * 7 % 11 for i in range(len(texts))])).to_pylist()
    kept = {r["id"] for r in rows if r["dedup_minhash_keep"]}
    shingles = dict(zip((r["id"] for r in rows), sets(texts), strict=True))
    for row in rows:
        if row["dup_of"] is None:
            assert row["id"] in kept and row["dup_cluster"] == row["id"] and row["dup_similarity"] is None
        else:
            assert row["id"] not in kept and row["dup_of"] in kept and row["dup_cluster"] == row["dup_of"]
            assert row["dup_similarity"] == jaccard(shingles[row["id"]], shingles[row["dup_of"]]) >= threshold
    for row in rows:
        assert row["dup_size"] == sum(r["dup_cluster"] == row["dup_cluster"] for r in rows)
    # The other way round: who stays though a kept document is near enough, shares no band with it.
    bands = dict(zip((r["id"] for r in rows), band_hashes(table(texts).column("text"), 5, 30, 5, 1).hash, strict=True))
    missed = [(a, b) for a in kept for b in kept if a < b and jaccard(shingles[a], shingles[b]) >= threshold]
    assert not any((bands[a] == bands[b]).any() for a, b in missed)
    assert len(kept) < len(rows) - 50


def test_drop_and_annotate_agree_and_the_verdict_is_whole() -> None:
    given = table(family(2))
    (outcome,) = outcomes(DedupMinhash(), given.to_batches())
    rows = run_step(DedupMinhash(mode="annotate"), given).to_pylist()
    verdict = outcome.verdict
    assert verdict is not None and verdict.value is not None and verdict.partner is not None
    assert verdict.keep.to_pylist() == [r["dedup_minhash_keep"] for r in rows]
    assert verdict.reason.to_pylist() == [r["dedup_minhash_reason"] for r in rows]
    assert verdict.value.to_pylist() == [r["dup_similarity"] for r in rows]
    assert verdict.partner.to_pylist() == [r["dup_of"] for r in rows]
    assert set(verdict.reason.to_pylist()) == {None, REASON}
    assert outcome.batch.schema.names == ["id", "text", "_row"]


@pytest.mark.parametrize(
    "settings",
    [{"keep": "first"}, {"keep": "longest"}, {"keep": "newest:date"}, {"verify": False}, {"mode": "annotate", "keep": "longest"}],
)
def test_batches_partitions_and_record_order_do_not_matter(settings: dict[str, Any]) -> None:
    texts = [*family(3), "", None, "?", "one word", "One, word!"]
    given = table(texts, date=[f"20{i % 20:02}" for i in range(len(texts))])
    step = DedupMinhash(**settings)
    expected = run(step, given).to_pylist()
    for cuts, partitions, shuffle in [((1, 60), 1, None), ((), 7, 1), ((30, 31, 90), 3, 2)]:
        assert run(step, given, cuts, partitions, shuffle).to_pylist() == expected


def test_small_blocks_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    given = table(family(4))
    expected = run(DedupMinhash(keep="longest"), given, (50,), 2, 3).to_pylist()
    monkeypatch.setattr("curate.steps.minhash.BLOCK_SHINGLES", 1)
    assert run(DedupMinhash(keep="longest"), given, (50,), 2, 3).to_pylist() == expected


def test_file_order_does_not_matter_but_to_first() -> None:
    given = table(family(5))
    order = pa.array(np.random.default_rng(0).permutation(len(given)))
    for keep in ("longest", "highest:size"):
        with_size = given.append_column("size", pa.array([len(t) % 7 for t in given.column("text").to_pylist()]))
        a = run_step(DedupMinhash(keep=keep), with_size).column("id").to_pylist()
        b = run_step(DedupMinhash(keep=keep), with_size.take(order)).column("id").to_pylist()
        assert set(a) == set(b)


def test_first_keeps_the_first_and_longest_the_longest() -> None:
    base = [f"w{i}" for i in range(200)]
    given = table([" ".join(base[:190]), " ".join(base), " ".join(base[5:195])])
    assert run_step(DedupMinhash(keep="first"), given).column("id").to_pylist() == ["d0"]
    assert run_step(DedupMinhash(keep="longest"), given).column("id").to_pylist() == ["d1"]


def test_documents_without_words_stay_and_short_ones_are_one_shingle() -> None:
    result = run_step(DedupMinhash(), table(["", "", None, "?!", "?!", "one two", "One  TWO.", "one two three"]))
    assert result.column("id").to_pylist() == ["d0", "d1", "d2", "d3", "d4", "d5", "d7"]


def test_cjk_counts_by_character() -> None:
    text = "\u4e00\u4e01\u4e02\u4e03\u4e04\u4e05\u4e06\u4e07\u4e08\u4e09" * 3 + "".join(chr(0x5000 + i) for i in range(60))
    result = run_step(DedupMinhash(), table([text, text.replace("\u4e00", ", \u4e00 "), text[::-1]]))
    assert result.column("id").to_pylist() == ["d0", "d2"]


def test_without_verification_a_shared_band_removes() -> None:
    given = table(family(6))
    rows = run_step(DedupMinhash(verify=False, mode="annotate"), given).to_pylist()
    checked = run_step(DedupMinhash(mode="annotate"), given).to_pylist()
    removed = [r for r in rows if r["dup_of"]]
    assert len(removed) >= sum(r["dup_of"] is not None for r in checked)
    kept = {r["id"] for r in rows if r["dedup_minhash_keep"]}
    assert all(r["dup_of"] in kept and 0 < r["dup_similarity"] <= 1 for r in removed)


def test_many_identical_documents_and_a_template() -> None:
    rng = np.random.default_rng(7)
    template = " ".join(words(rng, 180))
    texts: list[str | None] = [template] * 20_000
    texts += [f"{template} {' '.join(words(rng, 60))}" for _ in range(2_000)]
    kept = run_step(DedupMinhash(), table(texts)).column("id").to_pylist()
    assert kept[0] == "d0" and "d1" not in kept and len(kept) == 2_001  # of the template three quarters are shared: they stay


def test_no_rows_and_no_candidates() -> None:
    assert len(run_step(DedupMinhash(), table([]))) == 0
    result = run_step(DedupMinhash(mode="annotate"), table(["one text", "and quite another"]))
    assert result.column("dup_size").to_pylist() == [1, 1]
    assert {n: result.schema.field(n).type for n in DedupMinhash(mode="annotate").adds()} == dict(DedupMinhash(mode="annotate").adds())


BOUNDS = [("ngram", 1, 64), ("bands", 1, 256), ("rows", 1, 64), ("seed", 0, 2**63 - 1)]


@pytest.mark.parametrize(("field", "low", "high"), BOUNDS)
def test_bounds(field: str, low: int, high: int) -> None:
    for value in (low, low + 1, high - 1, high):
        DedupMinhash(**{"threshold": 1.0, field: value})
    for value in (low - 1, high + 1):
        with pytest.raises(ValidationError):
            DedupMinhash(**{"threshold": 1.0, field: value})


@pytest.mark.parametrize(("threshold", "valid"), [(0.0, False), (-0.1, False), (0.4, True), (1.0, True), (1.01, False)])
def test_threshold_bounds(threshold: float, valid: bool) -> None:
    if valid:
        assert DedupMinhash(threshold=threshold, bands=64, rows=4).threshold == threshold
    else:
        with pytest.raises(ValidationError):
            DedupMinhash(threshold=threshold, bands=64, rows=4)


def test_settings_that_find_nothing_are_refused() -> None:
    with pytest.raises(ValidationError, match="use fewer rows or more bands"):
        DedupMinhash(threshold=0.3)
    assert DedupMinhash(threshold=0.41).threshold == 0.41  # finds 1.1 % of its pairs: poor, but it may be meant
    DedupMinhash(threshold=0.3, verify=False)


def test_phases_read_what_they_need() -> None:
    phases = {p.name: p for p in DedupMinhash(keep="newest:date").phases()}
    assert phases["bands"].columns == {"text"}
    assert phases["gather"].columns == {"text", "id", "date"} and phases["gather"].reads == ("components",)
    assert DedupMinhash(keep="newest:date").reads() == {"text", "id", "date"}
    assert phases["resolve"].to == "documents"
