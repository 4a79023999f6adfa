"""Near-duplicates: every removal has a proof, nothing depends on batches, partitions or the order of records."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from curate.apply import outcomes, run_step
from curate.context import WorkContext
from curate.figures import add, figures_of
from curate.kernels.minhash import band_hashes
from curate.schema import ROW, with_columns
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


def test_small_blocks_and_passes_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    given = table(family(4))
    expected = run(DedupMinhash(keep="longest"), given, (50,), 2, 3).to_pylist()
    for module, name in [("groups", "BLOCK_SHINGLES"), ("groups", "PASS_RECORDS"), ("verdicts", "BLOCK_ROWS")]:
        monkeypatch.setattr(f"curate.steps.duplicate_{module}.{name}", 7)
    assert run(DedupMinhash(keep="longest"), given, (50,), 2, 3).to_pylist() == expected


def test_a_group_too_large_for_memory_is_sliced_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    base = [f"w{i}" for i in range(300)]
    texts: list[str | None] = [" ".join([*base[:-1], f"own{i}"]) for i in range(40)]
    texts.append(" ".join(base) + " more" * 5000)
    monkeypatch.setattr("curate.steps.duplicate_groups.GROUP_SHINGLES", 1000)
    step = DedupMinhash(mode="annotate")
    rows = run_step(step, table(texts)).to_pylist()
    assert {r["dup_of"] for r in rows[1:40]} == {"d0"} and rows[40]["dup_of"] == "d0"
    figures = reported(step, table(texts))
    assert figures["documents_compared_in_part"] > 0 and figures["removed"] == 40


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


BOUNDS = [("ngram", 1, 64), ("bands", 1, 256), ("rows", 1, 64), ("seed", 0, 2**63 - 1), ("max_cluster", 2, 10**9)]


@pytest.mark.parametrize(("field", "low", "high"), BOUNDS)
def test_bounds(field: str, low: int, high: int) -> None:
    for value in (low, low + 1, high - 1, high):
        DedupMinhash(**{"threshold": 1.0, field: value})
    for value in (low - 1, high + 1):
        with pytest.raises(ValidationError, match=field):
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
        DedupMinhash(threshold=0.3, bands=14, rows=8)
    assert DedupMinhash(threshold=0.41, bands=14, rows=8).threshold == 0.41  # finds 1.1 % of its pairs: poor, but it may be meant
    DedupMinhash(threshold=0.3, verify=False, bands=14, rows=8)
    with pytest.raises(ValidationError, match="lower recall"):
        DedupMinhash(threshold=0.01)
    with pytest.raises(ValidationError, match="give it or both of them"):
        DedupMinhash(recall=0.9, bands=14, rows=8)
    with pytest.raises(ValidationError, match="give one of them"):
        DedupMinhash.model_validate({"shingle": {"chars": 5}, "ngram": 3})
    for wrong in ({}, {"chars": 5, "words": 5}, {"chars": 0}, {"words": 65}):
        with pytest.raises(ValidationError):
            DedupMinhash.model_validate({"shingle": wrong})


@pytest.mark.parametrize(
    ("settings", "layout"),
    [({}, (17, 7)), ({"recall": 0.98}, (17, 7)), ({"bands": 14, "rows": 8}, (14, 8)), ({"rows": 8}, (22, 8)), ({"bands": 22}, (22, 8))],
)
def test_bands_and_rows_are_chosen_or_given(settings: dict[str, Any], layout: tuple[int, int]) -> None:
    step = DedupMinhash(**settings)
    assert step.layout == layout
    promised = step.findings({"pairs_compared": 10, "pairs_at_threshold": 4})
    assert promised["expected_recall_at_threshold"] == round(1 - (1 - 0.8 ** layout[1]) ** layout[0], 4)
    assert promised["expected_recall_above"] > promised["expected_recall_at_threshold"] and promised["pairs_rejected"] == 6
    assert f"{layout[0]} bands x {layout[1]}" in step.phases()[0].note


def test_phases_read_what_they_need() -> None:
    phases = {p.name: p for p in DedupMinhash(keep="newest:date", within="lang_code").phases()}
    assert phases["bands"].columns == {"text", "id", "date", "lang_code"}
    assert phases["gather"].columns == {"text", "id", "date"} and phases["gather"].reads == ("buckets",)
    assert DedupMinhash(keep="newest:date", within="lang_code").reads() == {"text", "id", "date", "lang_code"}
    assert DedupMinhash().phases()[0].columns == {"text"}
    assert phases["assign"].to == "documents"


def reported(step: DedupMinhash, given: pa.Table) -> dict[str, int]:
    """Figures of all phases."""
    total: dict[str, int] = {}
    phases: Any = step.phases()
    batch = with_columns(given.combine_chunks().to_batches()[0], {ROW: pa.array(np.arange(len(given)))})
    sides: dict[str, pa.Table] = {}
    records: Any = None
    for phase in phases:
        function: Any = step.bind_phase(phase.name, WorkContext())
        made = function(batch, sides) if phase.over == "documents" else function(records)
        tables = [made] if isinstance(made, pa.Table) else list(made)
        for part in tables:
            add(total, figures_of(part).items())
        records = pa.concat_tables(t.replace_schema_metadata(None) for t in tables)
        sides[phase.name] = records.sort_by(ROW) if ROW in records.column_names else records
    return total


def test_figures_say_what_was_compared_and_rejected() -> None:
    figures = reported(DedupMinhash(), table(family(9)))
    assert figures["removed"] > 50 and figures["candidates"] >= figures["documents_with_a_pair"] > figures["removed"]
    assert figures["pairs_compared"] >= figures["pairs_at_threshold"] >= figures["removed"]
    assert figures["documents_not_in_all_groups"] == figures["documents_compared_in_part"] == figures["buckets_cut"] == 0


def chain(length: int, step: int = 10, size: int = 100) -> list[str | None]:
    """Documents of which each is near to the next (size - step words in common), and to no other."""
    return [" ".join(f"w{i}" for i in range(start * step, start * step + size)) for start in range(length)]


def test_a_chain_keeps_what_is_not_near_to_one_that_stays() -> None:
    rows = run_step(DedupMinhash(mode="annotate", threshold=0.8, ngram=1), table(chain(6))).to_pylist()
    assert [r["dup_of"] for r in rows] == [None, "d0", None, "d2", None, "d4"]


@pytest.mark.parametrize("keep", ["first", "longest", "highest:rating"])
def test_transitive_closure_removes_the_chain_and_warns(keep: str) -> None:
    given = table([*chain(6), "nothing like it at all"], rating=[1, 2, 3, 9, 3, 2, 5])
    step = DedupMinhash(mode="annotate", ngram=1, closure="transitive", keep=keep)
    rows = run_step(step, given).to_pylist()
    top = {"first": 0, "longest": 5, "highest:rating": 3}[keep]
    longest = max(range(6), key=lambda i: (len(given.column("text")[i].as_py()), -i))
    top = longest if keep == "longest" else top
    assert [r["dup_of"] for r in rows] == [None if i in (top, 6) else f"d{top}" for i in range(7)]
    assert {r["dup_size"] for r in rows[:6]} == {6} and rows[6]["dup_size"] == 1
    near = 1 - 90 / 110
    for i in range(6):
        if i != top:
            assert rows[i]["dup_similarity"] == pytest.approx(max(0.0, 1 - abs(i - top) * near))
    figures = reported(step, given)
    assert figures["removed"] == 5 and figures["removed_by_a_chain"] == 5 - sum(0 <= n < 6 for n in (top - 1, top + 1))
    (warning,) = step.findings(figures)["warnings"]
    assert "without being near the one that stays" in warning
    capped = DedupMinhash(mode="annotate", ngram=1, closure="transitive", keep=keep, max_cluster=5)
    plain = DedupMinhash(mode="annotate", ngram=1, keep=keep)
    assert run_step(capped, given).to_pylist() == run_step(plain, given).to_pylist()
    assert any("were not closed" in w for w in capped.findings(reported(capped, given))["warnings"])


def test_within_a_column_nothing_else_is_a_duplicate() -> None:
    text = " ".join(f"w{i}" for i in range(50))
    given = table([text] * 6, lang_code=["en", "de", "en", None, None, ""])
    rows = run_step(DedupMinhash(within="lang_code", mode="annotate"), given).to_pylist()
    assert [r["dup_of"] for r in rows] == [None, None, "d0", None, "d3", None]
    assert [r["dup_of"] for r in run_step(DedupMinhash(mode="annotate"), given).to_pylist()] == [None, *["d0"] * 5]
    in_meta = given.append_column("meta", pa.array([json.dumps({"lang": r["lang_code"]}) for r in given.to_pylist()]))
    step = DedupMinhash(within="meta.lang", keep="longest", mode="annotate")
    assert "meta" in step.reads() & step.phases()[0].columns
    assert [r["dup_of"] for r in run_step(step, in_meta).to_pylist()] == [r["dup_of"] for r in rows]


def test_containment_removes_the_part_of_a_whole() -> None:
    base = [f"w{i}" for i in range(200)]
    given = table([" ".join(base), " ".join(base[:140]), " ".join([*base[:140], *(f"x{i}" for i in range(200))])])
    step = DedupMinhash(similarity="containment", mode="annotate", rows=2, bands=40, ngram=1)
    rows = run_step(step, given).to_pylist()
    assert [(r["dup_of"], r["dup_similarity"]) for r in rows] == [(None, None), ("d0", 1.0), (None, None)]
    assert len(run_step(DedupMinhash(rows=2, bands=40, ngram=1), given)) == 3


@pytest.mark.parametrize("settings", [{"shingle": {"chars": 8}}, {"words": "whitespace"}, {"words": "unicode"}, {"shingle": {"words": 3}}])
def test_other_shingles(settings: dict[str, Any]) -> None:
    base = [f"w{i}" for i in range(200)]
    other = " ".join(base[::-1])
    given = table([" ".join(base), "  ".join(base).upper() + "  ", " ".join([*base[:-1], "end"]), other, None, ""])
    step = DedupMinhash.model_validate({"mode": "annotate", **settings})
    rows = run_step(step, given).to_pylist()
    assert [r["dup_of"] for r in rows] == [None, "d0", "d0", None, None, None]
    assert rows[1]["dup_similarity"] == 1.0 and 0.9 < rows[2]["dup_similarity"] < 1
    n = settings.get("shingle", {}).get("chars")
    if n:
        a, b = (" ".join((given.column("text")[i].as_py()).lower().split()) for i in (0, 2))
        sets_ = [{t[i : i + n] for i in range(len(t) - n + 1)} for t in (a, b)]
        assert rows[2]["dup_similarity"] == len(sets_[0] & sets_[1]) / len(sets_[0] | sets_[1])


def test_characters_find_what_words_can_not() -> None:
    thai = "".join(chr(0x0E01 + i * 7 % 46) for i in range(300))
    given = table([thai, thai[:150] + "\u0e50" + thai[150:]])
    assert len(run_step(DedupMinhash(), given)) == 2
    assert len(run_step(DedupMinhash.model_validate({"shingle": {"chars": 10}}), given)) == 1
