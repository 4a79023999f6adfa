"""What a training says of itself: lines for the terminal, JSON beside the model, and a page with the curves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from curate.errors import MissingDependency

NAMES = (("precision", "precision"), ("recall", "recall"), ("f1", "F1"), ("roc_auc", "ROC-AUC"), ("brier", "Brier"),
         ("calibration_error", "calibration error"))  # fmt: skip


def lines(report: Mapping[str, Any]) -> list[str]:
    """The figures as a few aligned lines."""
    trained = report["trained_on"]
    made = [f"trained on {sum(trained['documents'].values()):,} documents ({_documents(trained['documents'])}), {trained['tokens']:,} tokens, "
            f"{trained['words']:,} words; loss {trained['loss']:.4f}"]  # fmt: skip
    made += [f"note: {note}" for note in report["notes"]]
    held = report["held_out"]
    if held is None:
        return [*made, "nothing was held out (--held-out 0): there are no figures of its quality"]
    made.append(f"held out: {held['documents']:,} documents; accuracy {held['accuracy']:.4f}, macro F1 {held['macro']['f1']:.4f}")
    rows = [("label", "documents", *(title for _, title in NAMES))]
    rows += [(label, f"{f['documents']:,}", *(f"{f[name]:.4f}" for name, _ in NAMES)) for label, f in held["labels"].items()]
    first = next(iter(held["labels"]))
    made += ["", *_aligned(rows), "", f"calibration of {first!r}: what it promises and what comes"]
    bins = held["labels"][first]["calibration"]
    made += _aligned([("score", "documents", "mean score", f"share of {first}"), *(
        (f"{b['from']:.1f}-{b['to']:.1f}", f"{b['documents']:,}", f"{b['mean_score']:.3f}", f"{b['share']:.3f}") for b in bins)])  # fmt: skip
    made += ["", f"keeping the top of {first!r}"]
    return made + _aligned([("fraction", "threshold", "precision", "recall"), *(
        (f"{t['fraction']:.0%}", f"{t['threshold']:.4f}", f"{t['precision']:.3f}", f"{t['recall']:.3f}")
        for t in held["labels"][first]["top"])])  # fmt: skip


def _documents(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{label} {count:,}" for label, count in counts.items())


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  " + row[0].ljust(widths[0]) + "".join("  " + cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True)) for row in rows
    ]


def write_json(report: Mapping[str, Any], path: Path) -> None:
    """Every figure and every point of the curves."""
    path.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_html(report: Mapping[str, Any], path: Path) -> None:
    """ROC, calibration and precision of the top, in one page that needs no network. Raises MissingDependency without plotly."""
    try:
        from plotly.graph_objects import Figure, Scatter
        from plotly.subplots import make_subplots
    except ModuleNotFoundError as error:
        raise MissingDependency.extra("plotly", "report", "the page with the curves") from error

    titles = ("ROC of held-out documents", "Calibration", "Precision of the top fraction")
    figure: Figure = make_subplots(rows=1, cols=3, subplot_titles=titles)
    for label, found in report["held_out"]["labels"].items():
        roc, bins, top = found["roc"], found["calibration"], found["top"]
        name = f"{label} (AUC {found['roc_auc']:.3f})"
        figure.add_trace(Scatter(x=[p["false_positive"] for p in roc], y=[p["true_positive"] for p in roc], name=name), row=1, col=1)
        counts = [f"{b['documents']:,} documents" for b in bins]
        figure.add_trace(Scatter(x=[b["mean_score"] for b in bins], y=[b["share"] for b in bins], text=counts, mode="lines+markers",
                                 name=label, showlegend=False), row=1, col=2)  # fmt: skip
        figure.add_trace(Scatter(x=[t["fraction"] for t in top], y=[t["precision"] for t in top], mode="lines+markers", name=label,
                                 showlegend=False), row=1, col=3)  # fmt: skip
    for column in (1, 2):
        figure.add_shape(type="line", x0=0, y0=0, x1=1, y1=1, line={"dash": "dot", "color": "gray"}, row=1, col=column)
    for column, (x, y) in enumerate((("false positives", "true positives"), ("mean score", "share"), ("fraction kept", "precision")), 1):
        figure.update_xaxes(title_text=x, row=1, col=column)
        figure.update_yaxes(title_text=y, row=1, col=column)
    figure.update_layout(title=f"{report['model']}: accuracy {report['held_out']['accuracy']:.4f}")
    figure.write_html(path, include_plotlyjs=True, full_html=True)
