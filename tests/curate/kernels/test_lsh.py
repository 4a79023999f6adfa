"""Bands and rows: what is promised is kept, by the cheapest settings."""

from __future__ import annotations

import pytest

from curate.kernels.lsh import MAX_BANDS, MAX_ROWS, choose_layout, cost, match_probability, mean_recall


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.7, 0.8, 0.85, 0.95, 1.0])
@pytest.mark.parametrize("recall", [0.5, 0.9, 0.98, 0.999])
def test_the_promise_is_kept_at_the_least_cost(threshold: float, recall: float) -> None:
    bands, rows = choose_layout(threshold, recall)
    assert match_probability(threshold, bands, rows) >= recall
    assert mean_recall(threshold, bands, rows) >= recall
    best = cost(threshold, bands, rows)
    for r in range(1, MAX_ROWS + 1, 3):
        for b in range(1, MAX_BANDS + 1, 5):
            assert match_probability(threshold, b, r) < recall or cost(threshold, b, r) >= best


def test_the_default() -> None:
    assert choose_layout(0.8, 0.98) == (17, 7)
    assert match_probability(0.8, 17, 7) == pytest.approx(0.9817, abs=1e-4)


def test_what_cannot_be_promised_is_refused() -> None:
    with pytest.raises(ValueError, match="lower recall, raise threshold or give both"):
        choose_layout(0.01, 0.98)
