"""`sample`: exact choices for a seed, bounds, independence of order and batches, nesting."""

from __future__ import annotations

import pyarrow as pa
import pytest
from pydantic import ValidationError

from curate.apply import outcomes, run_step
from curate.context import WorkContext
from curate.steps.sampling import Sample

IDS = [f"doc-{i}" for i in range(20_000)]


def kept(fraction: float, ids: list[str] = IDS, seed: int | None = None, recipe_seed: int = 0) -> set[str]:
    step = Sample(fraction=fraction, seed=seed)
    return set(run_step(step, pa.table({"id": ids}), WorkContext(seed=recipe_seed)).column("id").to_pylist())


def test_choice_is_fixed_for_ever() -> None:
    assert sorted(kept(0.3, IDS[:12])) == FIXED


FIXED = ["doc-0", "doc-10", "doc-3"]


@pytest.mark.parametrize("fraction", [0.001, 0.1, 0.5, 0.9])
def test_share_is_near_the_fraction(fraction: float) -> None:
    deviation = (len(IDS) * fraction * (1 - fraction)) ** 0.5
    assert abs(len(kept(fraction)) - len(IDS) * fraction) < 4 * deviation


def test_bounds() -> None:
    assert kept(0.0) == set() and kept(1.0) == set(IDS)
    for wrong in (-0.001, 1.001):
        with pytest.raises(ValidationError):
            Sample(fraction=wrong)


def test_order_batches_and_text_do_not_matter() -> None:
    table = pa.table({"id": IDS[:100], "text": ["x"] * 100})
    expected = kept(0.5, IDS[:100])
    assert set(run_step(Sample(fraction=0.5), table.take(list(range(99, -1, -1)))).column("id").to_pylist()) == expected
    keeps = [k for o in outcomes(Sample(fraction=0.5), table.to_batches(max_chunksize=7)) if o.verdict for k in o.verdict.keep.to_pylist()]
    assert {i for i, k in zip(IDS, keeps, strict=False) if k} == expected


def test_seeds_choose_independently_and_fractions_nest() -> None:
    assert kept(0.2) < kept(0.5) < kept(0.51)
    assert kept(0.5, seed=7) == kept(0.5, recipe_seed=7) != kept(0.5)
    both = len(kept(0.5) & kept(0.5, seed=7))
    assert abs(both - len(IDS) / 4) < 4 * (len(IDS) * 3 / 16) ** 0.5


def test_rows_of_one_id_share_their_fate() -> None:
    table = run_step(Sample(fraction=0.5), pa.table({"id": ["a", "b", "a", "b", "a"]}))
    assert table.column("id").to_pylist() in ([], ["a"] * 3, ["b"] * 2, ["a", "b", "a", "b", "a"])


def test_reason_and_annotate() -> None:
    (outcome,) = outcomes(Sample(fraction=0.0), [pa.record_batch({"id": ["a"]})])
    assert outcome.verdict is not None and outcome.verdict.reason.to_pylist() == ["sample.left_out"]
    noted = run_step(Sample(fraction=0.5, mode="annotate"), pa.table({"id": IDS[:50]}))
    assert {i for i, k in zip(IDS, noted.column("sample_keep").to_pylist(), strict=False) if k} == kept(0.5, IDS[:50])
    assert noted.column("sample_reason").null_count == len(kept(0.5, IDS[:50]))
