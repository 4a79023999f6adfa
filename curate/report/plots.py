"""Plots as SVG inside the page: drawn by matplotlib where it is installed and asked for, else by the few lines below.

Why matplotlib, and on this side: plotly's script alone is 4.8 MB, over the page's limit, and a page without any script can
carry a policy under which a document that holds one runs nothing. Why a plain form beside it: every run writes a report,
and importing and drawing takes matplotlib longer (1 to 2 s) than a small run. Colours are variables of the page, so that
plots follow light and dark. The numbers of every plot stand in a table below it.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from html import escape
from io import BytesIO
from typing import Any

from curate.report.axis import Axis
from curate.report.words import number

COLOURS = ("--kept", "--gone")  # of the series, stacked from below
_INK, _FAINT, _MARK = "#010203", "#010204", "#010205"  # stand-ins that are replaced by variables of the page
_STAND_INS = {_INK: "var(--ink)", _FAINT: "var(--faint)", _MARK: "var(--mark)", "#010206": "var(--kept)", "#010207": "var(--gone)"}
W, H, BASE, TOP = 400.0, 132.0, 112.0, 12.0
LEFT = 48.0  # of curves, for two numbers
CURVE_POINTS = 400


def has_library() -> bool:
    """Whether the extra `report` is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def histogram(axis: Axis, bounds: Sequence[float], label: str, library: bool) -> str:
    """Stacked bars of all series, and a line at every bound."""
    return _drawn_bars(axis, bounds, label) if library else _plain_bars(axis, bounds, label)


def curve(points: Sequence[tuple[float, float]], label: str, library: bool) -> str:
    """A line through (x, y), thinned to a few hundred points."""
    step = max(1, len(points) // CURVE_POINTS)
    thinned = [*points[::step], *([points[-1]] if points and (len(points) - 1) % step else [])]
    return _drawn_curve(thinned, label) if library else _plain_curve(thinned, label)


def _plain_bars(axis: Axis, bounds: Sequence[float], label: str) -> str:
    width = W / len(axis.bars)
    highest = max((sum(bar.counts) for bar in axis.bars), default=0) or 1
    below = [0.0] * len(axis.bars)
    paths = []
    for series in range(len(axis.bars[0].counts)):
        path = []
        for k, bar in enumerate(axis.bars):
            height = (BASE - TOP) * bar.counts[series] / highest
            if height:
                height = max(height, 0.6)
                path.append(f"M{k * width + 0.4:.1f} {BASE - below[k]:.1f}v{-height:.1f}h{width - 0.8:.1f}v{height:.1f}z")
                below[k] += height
        paths.append(f"<path d='{''.join(path)}' fill='var({COLOURS[series]})'/>" if path else "")
    marks = "".join(
        f"<path d='M{axis.place(b) * W:.1f} 2V{BASE}' stroke='var(--mark)' stroke-width='1.6' stroke-dasharray='4 2'/>" for b in bounds
    )
    return _frame("".join(paths) + marks, [(axis.place(t), number(t)) for t in axis.ticks()], label)


def _plain_curve(points: Sequence[tuple[float, float]], label: str) -> str:
    """A line; smallest and largest value stand left of it, whole steps below."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    (low, high), (bottom, top) = (min(xs), max(xs)), (min(ys), max(ys))
    wide, tall = (high - low) or 1.0, (top - bottom) or 1.0
    line = " ".join(f"{LEFT + (x - low) / wide * (W - LEFT):.1f},{BASE - (y - bottom) / tall * (BASE - TOP):.1f}" for x, y in points)
    sides = "".join(
        f"<text x='{LEFT - 5}' y='{y:.0f}' font-size='11' fill='var(--dim)' text-anchor='end'>{number(v)}</text>"
        for v, y in ((top, TOP + 4), (bottom, BASE))
    )
    grid = f"<path d='M{LEFT} {TOP}H{W}' stroke='var(--faint)' stroke-width='.6'/>"
    steps = sorted({round(low + wide * k / 4) for k in range(5)})
    ticks = [((LEFT + (step - low) / wide * (W - LEFT)) / W, f"{step:,}") for step in steps if low <= step <= high]
    return _frame(f"{grid}<polyline points='{line}' fill='none' stroke='var(--kept)' stroke-width='1.6'/>{sides}", ticks, label, LEFT)


def _frame(inside: str, ticks: Sequence[tuple[float, str]], label: str, left: float = 0) -> str:
    words = "".join(
        f"<text x='{at * W:.1f}' y='{H - 5}' font-size='11' fill='var(--dim)' text-anchor='{_anchor(at)}'>{escape(text)}</text>"
        for at, text in ticks
    )
    axis = f"<path d='M{left} {BASE}H{W}' stroke='var(--faint)'/>"
    return f"<svg viewBox='0 0 {W:.0f} {H:.0f}' role='img' aria-label='{escape(label, quote=True)}'>{inside}{axis}{words}</svg>"


def _anchor(at: float) -> str:
    return "start" if at < 0.02 else "end" if at > 0.98 else "middle"


def _figure() -> tuple[Any, Any]:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"font.size": 8, "font.family": "sans-serif"}):
        figure = Figure(figsize=(4.0, 1.45))
        axes = figure.add_axes((0.1, 0.17, 0.85, 0.76))
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_FAINT)
    axes.tick_params(colors=_INK, length=2, width=0.5, labelsize=8)
    axes.grid(axis="y", color=_FAINT, linewidth=0.4)
    axes.set_axisbelow(True)
    return figure, axes


def _drawn_bars(axis: Axis, bounds: Sequence[float], label: str) -> str:
    figure, axes = _figure()
    size = len(axis.bars)
    below = [0] * size
    for series, colour in zip(range(len(axis.bars[0].counts)), ("#010206", "#010207"), strict=False):
        heights = [bar.counts[series] for bar in axis.bars]
        axes.bar([k + 0.5 for k in range(size)], heights, 0.86, bottom=below, color=colour, linewidth=0)
        below = [a + b for a, b in zip(below, heights, strict=True)]
    for bound in bounds:
        axes.axvline(axis.place(bound) * size, color=_MARK, linewidth=1.4, linestyle=(0, (4, 2)))
    axes.set_xticks([axis.place(t) * size for t in axis.ticks()], [number(t) for t in axis.ticks()])
    axes.set_xlim(0, size)
    axes.locator_params(axis="y", nbins=4, integer=True)
    axes.yaxis.set_major_formatter(lambda y, _: number(y))
    return _svg(figure, label)


def _drawn_curve(points: Sequence[tuple[float, float]], label: str) -> str:
    figure, axes = _figure()
    axes.plot([x for x, _ in points], [y for _, y in points], color="#010206", linewidth=1.2)
    return _svg(figure, label)


def _svg(figure: Any, label: str) -> str:
    """The figure as SVG text that fits into a page: no header, no metadata, no rules for the rest of the page."""
    from matplotlib import rc_context

    out = BytesIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": label}):
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = out.getvalue().decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>|<!--.*?-->", "", text, flags=re.S)
    text = re.sub(
        r"<svg [^>]*?viewBox=\"([^\"]*)\"[^>]*>", rf"<svg viewBox='\1' role='img' aria-label='{escape(label, quote=True)}'>", text
    )
    text = re.sub(r"font: ([0-9.]+)px [^;\"]*", r"font: \1px system-ui, sans-serif", text)
    for colour, variable in _STAND_INS.items():
        text = text.replace(colour, variable)
    return re.sub(r"\s*\n\s*", "\n", text)
