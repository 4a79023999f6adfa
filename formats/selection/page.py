"""`curate pool FILES --html PAGE`: the figures of a pool as plots, each with its numbers below. One file, no script, nothing loaded from anywhere."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

Point = tuple[float, float]
W, H, LEFT, BASE, TOP = 420, 190, 46, 160, 12

_STYLE = """
:root{color-scheme:light dark;--line:#2563ab;--fill:#2563ab99;--dim:#777}body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(22rem,1fr));gap:1.5rem}figure{margin:0}figcaption{color:var(--dim)}svg{width:100%;display:block}
table{border-collapse:collapse;font-size:13px}td,th{padding:.1rem .6rem;text-align:right;font-variant-numeric:tabular-nums}td:first-child,th:first-child{text-align:left}
text{font-size:11px;fill:var(--dim)}
"""


def html_page(title: str, found: dict[str, Any]) -> str:
    """The page of what `report` found."""
    body = "".join(_parts(found))
    policy = "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    head = f"<meta charset='utf-8'><meta name='viewport' content='width=device-width'>{policy}<title>{escape(title)}: pool</title>"
    return f"<!doctype html><html lang='en'><head>{head}<style>{_STYLE}</style></head><body><h1>Pool of {escape(title)}</h1>{body}</body></html>\n"


def _parts(found: dict[str, Any]) -> Iterator[str]:
    yield f"<p>{found['prompts']:,} prompts, {found['candidates']:,} candidates; {found['cut_off']:,} were cut off, {found['empty']:,} are empty.</p>"
    for name, one in found["scores"].items():
        prompts = one["prompts"]
        yield f"<h2>{escape(name)}</h2><p>{one['null']:,} candidates have no such score. Prompts: none passes in {prompts['none_pass']:,}, all in {prompts['all_pass']:,}.</p>"
        yield f"<div class=plots>{''.join(_plots(one))}</div>"
    if found["agreement"]:
        yield "<h2>Agreement</h2><p>Share of pairs of answers to one prompt that both scores put in the same order.</p>"
        yield _figure(_bars([s or 0.0 for s in found["agreement"].values()], 0.0, 1.0, list(found["agreement"]), "agreement of scores"), "", [
            ["scores", "same order"], *([pair, _number(share)] for pair, share in found["agreement"].items())
        ])  # fmt: skip


def _plots(one: dict[str, Any]) -> Iterator[str]:
    bars = one["histogram"]
    if bars["counts"]:
        ends = [_number(bars["low"]), _number(bars["high"])]
        quantiles = [[f"{float(share):.0%}", _number(value)] for share, value in one["quantiles"].items()]
        table = [["share", "score"], *quantiles]
        yield _figure(
            _bars(bars["counts"], 0.0, float(max(bars["counts"])), ends, "distribution of the score"), "Candidates by score", table
        )
    passing = [(int(k), v) for k, v in one["pass_at"].items() if v is not None]
    if passing:
        svg = _curve([(math.log2(k), v) for k, v in passing], [(math.log2(k), str(k)) for k, _ in passing], "pass at k", 0.0, 1.0)
        yield _figure(svg, "pass@k", [["k", "pass@k"], *([str(k), _number(v)] for k, v in passing)])
    best = [(int(k), v["score"], v["divergence_at_most"]) for k, v in one["best_of"].items() if v["score"] is not None]
    if best:
        svg = _curve([(math.log2(k), s) for k, s, _ in best], [(math.log2(k), str(k)) for k, _, _ in best], "best of n")
        yield _figure(
            svg, "Mean of the best of n", [["n", "score", "nats, at most"], *([str(k), _number(s), f"{d:.2f}"] for k, s, d in best)]
        )
    lengths = [(x, y) for x, y, _ in one["by_length"]]
    if len(lengths) > 1:
        svg = _curve(lengths, [(x, f"{x:.0f}") for x, _ in (lengths[0], lengths[-1])], "score by length")
        table = [["mean length", "mean score", "candidates"], *([f"{x:.1f}", _number(y), f"{n:,}"] for x, y, n in one["by_length"])]
        told = f"Score by length: correlation {_number(one['with_length'])}, within prompts {_number(one['within_prompts_with_length'])}"
        yield _figure(svg, told, table)


def _bars(heights: Sequence[float], low: float, high: float, names: Sequence[str], label: str) -> str:
    wide = (W - LEFT) / max(1, len(heights))
    tall = (high - low) or 1.0
    made = "".join(
        f"<rect x='{LEFT + k * wide + 0.5:.1f}' y='{BASE - (BASE - TOP) * (h - low) / tall:.1f}' width='{wide - 1:.1f}' "
        f"height='{(BASE - TOP) * (h - low) / tall:.1f}' fill='var(--fill)'/>"
        for k, h in enumerate(heights)
    )
    if len(names) == len(heights):
        places = [(LEFT + (k + 0.5) * wide, "middle") for k in range(len(names))]
    else:
        places = [(float(LEFT), "start"), (float(W), "end")]
    words = "".join(
        f"<text x='{x:.1f}' y='{BASE + 16}' text-anchor='{a}'>{escape(t)}</text>" for (x, a), t in zip(places, names, strict=False)
    )
    return _svg(made + words, low, high, label)


def _curve(
    points: Sequence[Point], ticks: Sequence[tuple[float, str]], label: str, low: float | None = None, high: float | None = None
) -> str:
    xs, ys = [x for x, _ in points], [y for _, y in points]
    start, wide = min(xs), (max(xs) - min(xs)) or 1.0
    bottom, top = min(ys) if low is None else low, max(ys) if high is None else high
    tall = (top - bottom) or 1.0
    places = [(LEFT + (x - start) / wide * (W - LEFT - 8), BASE - (y - bottom) / tall * (BASE - TOP)) for x, y in points]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = "".join(f"<circle cx='{x:.1f}' cy='{y:.1f}' r='2.5' fill='var(--line)'/>" for x, y in places)
    words = "".join(
        f"<text x='{LEFT + (x - start) / wide * (W - LEFT - 8):.1f}' y='{BASE + 16}' text-anchor='middle'>{escape(t)}</text>"
        for x, t in ticks
    )
    return _svg(f"<polyline points='{line}' fill='none' stroke='var(--line)' stroke-width='1.6'/>{dots}{words}", bottom, top, label)


def _svg(inside: str, low: float, high: float, label: str) -> str:
    sides = "".join(f"<text x='{LEFT - 6}' y='{y}' text-anchor='end'>{_number(v)}</text>" for v, y in ((high, TOP + 4), (low, BASE)))
    axis = f"<path d='M{LEFT} {TOP}V{BASE}H{W}' fill='none' stroke='var(--dim)'/>"
    return f"<svg viewBox='0 0 {W + 12} {H}' role='img' aria-label='{escape(label, quote=True)}'>{axis}{inside}{sides}</svg>"


def _figure(svg: str, caption: str, table: Sequence[Sequence[str]]) -> str:
    head, *rows = ["".join(f"<{'th' if n == 0 else 'td'}>{escape(cell)}" for cell in row) for n, row in enumerate(table)]
    lines = "".join(f"<tr>{row}</tr>" for row in (head, *rows))
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption><details><summary>numbers</summary><table>{lines}</table></details></figure>"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
