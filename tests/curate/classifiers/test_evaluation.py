"""Figures of a classifier against values worked out by hand, and properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.classifiers.evaluation import calibration, evaluate, roc_auc, roc_curve, top_fractions

UNHURRIED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure


def test_figures_by_hand() -> None:
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.3, 0.7], [0.5, 0.5]])
    truth = np.array([0, 1, 0, 1, 1])
    made = evaluate(scores, truth, ["hq", "lq"])
    hq = made["labels"]["hq"]
    assert made["documents"] == 5 and made["accuracy"] == 0.4  # the tie goes to the first label: wrong
    assert (hq["documents"], hq["precision"], hq["recall"], hq["f1"]) == (2, 0.333333, 0.5, 0.4)
    assert hq["roc_auc"] == round((3 + 1) / 6, 6)  # 0.9 beats three, 0.4 beats one
    assert made["labels"]["lq"]["roc_auc"] == hq["roc_auc"]
    assert hq["brier"] == round((0.01 + 0.64 + 0.36 + 0.09 + 0.25) / 5, 6)


@UNHURRIED
@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=30))
def test_auc_is_the_share_of_pairs(drawn: list[tuple[int, bool]]) -> None:
    score, positive = np.array([s / 6 for s, _ in drawn]), np.array([p for _, p in drawn])
    pairs = [(a > b) + (a == b) / 2 for a in score[positive] for b in score[~positive]]
    got = roc_auc(score, positive)
    assert math.isnan(got) if not pairs else got == pytest.approx(sum(pairs) / len(pairs))


def test_calibration_bins() -> None:
    score = np.array([0.0, 0.05, 0.1, 0.95, 1.0, 1.00001])
    bins = calibration(score, np.array([False, True, False, True, True, True]))
    assert [(b["from"], b["documents"], b["share"]) for b in bins] == [(0.0, 2, 0.5), (0.1, 1, 0.0), (0.9, 3, 1.0)]
    assert bins[0]["mean_score"] == 0.025


def test_curves_have_their_ends() -> None:
    score, positive = np.linspace(0, 1, 1000), np.arange(1000) % 3 == 0
    curve = roc_curve(score, positive, points=20)
    assert (curve[0]["false_positive"], curve[0]["true_positive"]) == (0.0, 0.0)
    assert (curve[-1]["false_positive"], curve[-1]["true_positive"]) == (1.0, 1.0)
    assert len(curve) <= 21
    assert roc_curve(np.zeros(4), np.array([True, False, True, False]))[1:] == [
        {"threshold": 0.0, "false_positive": 1.0, "true_positive": 1.0}
    ]


def test_top_fractions() -> None:
    score, positive = np.arange(100) / 100, np.arange(100) >= 80
    found = {t["fraction"]: t for t in top_fractions(score, positive)}
    assert found[0.1] == {"fraction": 0.1, "threshold": 0.9, "precision": 1.0, "recall": 0.5}
    assert found[0.5]["precision"] == 0.4 and found[0.5]["recall"] == 1.0
