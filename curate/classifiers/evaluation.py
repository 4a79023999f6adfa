"""How well scores separate classes: accuracy, precision, recall, F1, ROC and calibration, in plain numpy.

n documents, L labels. Every figure is of documents that were not trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
Truth = npt.NDArray[np.bool_]

BINS = 10
ROC_POINTS = 200
FRACTIONS = (0.01, 0.05, 0.1, 0.2, 0.3, 0.5)


def evaluate(scores: F64, truth: npt.NDArray[np.int64], labels: Sequence[str]) -> dict[str, Any]:
    """All figures as plain data.

    scores: f64[n, L], the probability of each label; truth: i64[n], the right one
    A label is predicted where its score is the highest (the first of equal ones). Macro figures are plain means over labels.
    """
    predicted = scores.argmax(1)
    found = {}
    for at, label in enumerate(labels):
        found[label] = {**_counts(predicted == at, truth == at), **_ranking(scores[:, at], truth == at)}
    named = ("precision", "recall", "f1", "roc_auc")
    macro = {name: _rounded(np.mean([found[label][name] for label in labels])) for name in named}
    return {"documents": len(truth), "accuracy": _rounded(np.mean(predicted == truth)), "macro": macro, "labels": found}


def roc_auc(score: F64, positive: Truth) -> float:
    """Chance that a positive document scores above a negative one, ties counting half (Mann-Whitney U); nan without both."""
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    if not n_positive or not n_negative:
        return float("nan")
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    rank = np.cumsum(counts) - (counts - 1) / 2  # mean rank of each value, from 1
    u = rank[inverse][positive].sum() - n_positive * (n_positive + 1) / 2
    return float(u / (n_positive * n_negative))


def _counts(predicted: Truth, positive: Truth) -> dict[str, Any]:
    """Precision is 0 where nothing was predicted, recall 0 where there was nothing to find."""
    right = int((predicted & positive).sum())
    precision, recall = right / max(1, int(predicted.sum())), right / max(1, int(positive.sum()))
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return {"documents": int(positive.sum()), "precision": _rounded(precision), "recall": _rounded(recall), "f1": _rounded(f1)}


def _ranking(score: F64, positive: Truth) -> dict[str, Any]:
    bins = calibration(score, positive)
    error = sum(b["documents"] * abs(b["mean_score"] - b["share"]) for b in bins) / max(1, len(score))
    return {
        "roc_auc": _rounded(roc_auc(score, positive)),
        "brier": _rounded(np.mean((score - positive) ** 2)),
        "calibration_error": _rounded(error),
        "calibration": bins,
        "roc": roc_curve(score, positive),
        "top": top_fractions(score, positive),
    }


def calibration(score: F64, positive: Truth, bins: int = BINS) -> list[dict[str, Any]]:
    """Bins of equal width over [0, 1]: what was promised (mean score) and what came (share of positives). Empty bins are left out."""
    place = np.clip((score * bins).astype(np.int64), 0, bins - 1)
    made = []
    for at in range(bins):
        inside = place == at
        if inside.any():
            made.append({"from": _rounded(at / bins), "to": _rounded((at + 1) / bins), "documents": int(inside.sum()),
                         "mean_score": _rounded(score[inside].mean()), "share": _rounded(positive[inside].mean())})  # fmt: skip
    return made


def roc_curve(score: F64, positive: Truth, points: int = ROC_POINTS) -> list[dict[str, float]]:
    """False and true positive rate at falling thresholds; at most about `points` of them, the ends among them."""
    order = np.argsort(-score, kind="stable")
    ranked, right = score[order], positive[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) if len(ranked) else np.zeros(0, np.int64)
    true, false = np.cumsum(right)[last], np.cumsum(~right)[last]
    chosen = np.unique(np.linspace(0, len(last) - 1, min(points, len(last))).astype(np.int64)) if len(last) else last
    rates = [{"threshold": _rounded(ranked[last[i]]), "false_positive": _rounded(false[i] / max(1, false[-1])),
              "true_positive": _rounded(true[i] / max(1, true[-1]))} for i in chosen]  # fmt: skip
    return [{"threshold": 1.0, "false_positive": 0.0, "true_positive": 0.0}, *rates]


def top_fractions(score: F64, positive: Truth) -> list[dict[str, float]]:
    """What `top_fraction` would keep of these documents: the threshold, and how much of it is positive."""
    order = np.argsort(-score, kind="stable")
    made = []
    for fraction in FRACTIONS:
        kept = order[: max(1, int(np.ceil(fraction * len(score))))]
        if len(kept):
            right = int(positive[kept].sum())
            made.append({"fraction": fraction, "threshold": _rounded(score[kept[-1]]), "precision": _rounded(right / len(kept)),
                         "recall": _rounded(right / max(1, int(positive.sum())))})  # fmt: skip
    return made


def _rounded(value: float | np.floating[Any]) -> float:
    return round(float(value), 6)
