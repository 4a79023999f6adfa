"""What `curate audit dedup` shows: in the terminal, and as one HTML file that needs nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from html import escape
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from curate.audit_dedup import Planted, StepAudit
from curate.duplicate_clusters import Cluster, Member
from curate.kernels.lsh import match_probability

DIFF_WORDS = 500  # of each document that are compared for the page: the comparison is quadratic
SOURCES = 200  # on the page
HEADS = ("pairs", "mean s", "s >= t", "in a band", "theory", "found", "missed")  # s: similarity, t: the threshold


def _cells(p: Planted) -> list[str]:
    share = (f"{p.candidates / p.pairs:.1%}", f"{p.theory / p.pairs:.1%}", f"{p.found / p.pairs:.1%}") if p.pairs else ("", "", "")
    return [f"{p.pairs:,}", f"{p.similarity:.3f}" if p.pairs else "", f"{p.at_threshold:,}", *share, f"{p.missed:,}"]


def summary(one: StepAudit) -> str:
    """'recall 0.987 of 310 planted duplicates, 0.984 in theory; precision 1.000 of 512 removals'"""
    recall = (
        "no planted copy is a duplicate"
        if one.recall is None
        else f"recall {one.recall:.4f} of {one.total.at_threshold:,} planted duplicates"
    )
    precision = "nothing was removed" if one.precision is None else f"precision {one.precision:.4f} of {one.removals:,} removals"
    return f"{recall}; {precision}"


def show(console: Console, one: StepAudit) -> None:
    """Print one step."""
    said = f"  {one.step}, threshold {one.threshold}, {one.bands} bands x {one.rows}, {one.documents:,} documents with one copy each"
    console.print(Text.assemble((one.dataset, "bold"), said))
    for title, lines in (("planted", one.by_edit), ("similarity", one.by_similarity)):
        table = Table(box=None, pad_edge=False)
        table.add_column(title, no_wrap=True)
        for head in HEADS:
            table.add_column(head, justify="right")
        for line in (*lines, one.total) if title == "similarity" else lines:
            if line.pairs:
                table.add_row(line.name, *_cells(line))
        console.print(table)
    console.print(Text(summary(one), style="bold"))
    for source in one.shares[:10]:
        style = "yellow" if source.share > 0.3 else ""
        console.print(
            Text(f"{source.step} took {source.removed:,} of {source.documents:,} ({source.share:.1%}) from {source.source!r}", style=style)
        )
    for warning in one.warnings:
        console.print(Text(warning, style="yellow"))


def record(one: StepAudit) -> dict[str, Any]:
    """The object that --json prints."""
    from dataclasses import asdict

    return {**asdict(one), "recall": one.recall, "precision": one.precision}


_STYLE = """
:root{color-scheme:light dark;--line:#2e7d52;--dot:#2563ab;--dim:#777}body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;width:100%}td,th{padding:.2rem .6rem;text-align:left;vertical-align:top}tr:nth-child(even){background:#8881}
.n{text-align:right;font-variant-numeric:tabular-nums}.dim{color:var(--dim)}.warn{color:#b35c00;font-weight:600}
.pair td{width:50%;white-space:pre-wrap;overflow-wrap:anywhere;font-size:13px}del{background:#c0392b33;text-decoration:none}ins{background:#2e7d5233;text-decoration:none}
details{margin:.6rem 0;border-left:3px solid #8884;padding-left:.8rem}summary{cursor:pointer;overflow-wrap:anywhere}svg{width:100%;max-width:40rem;display:block}
"""


def html_page(title: str, found: Sequence[StepAudit]) -> str:
    """The whole report. All text of documents is escaped; nothing is loaded from anywhere."""
    body = "".join(part for one in found for part in _step(one))
    policy = "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    head = f"<meta charset='utf-8'><meta name='viewport' content='width=device-width'>{policy}<title>{escape(title)}: duplicates</title>"
    return f"<!doctype html><html lang='en'><head>{head}<style>{_STYLE}</style></head><body><h1>Duplicates of {escape(title)}</h1>{body}</body></html>\n"


def _step(one: StepAudit) -> Iterator[str]:
    yield f"<h2>{escape(one.dataset)}: {escape(one.step)}</h2>"
    yield f"<p>Threshold {one.threshold}, {one.bands} bands of {one.rows}. {one.documents:,} documents of the run, one edited copy of each. <b>{escape(summary(one))}</b></p>"
    yield from (f"<p class=warn>{escape(line)}</p>" for line in one.warnings)
    yield _curve(one)
    for title, lines in (("planted", one.by_edit), ("similarity", [*one.by_similarity, one.total])):
        heads = "".join(f"<th class=n>{h}" for h in HEADS)
        yield f"<table><tr><th>{title}{heads}</tr>"
        yield from (f"<tr><td>{escape(p.name)}{''.join(f'<td class=n>{c}' for c in _cells(p))}</tr>" for p in lines if p.pairs)
        yield "</table><br>"
    yield "<h3>Removed, by source</h3><table><tr><th>step<th>source<th class=n>documents<th class=n>removed<th class=n>share</tr>"
    for s in one.shares[:SOURCES]:
        mark = " warn" if s.share > 0.3 else ""
        yield f"<tr><td>{escape(s.step)}<td>{escape(s.source)}<td class=n>{s.documents:,}<td class=n>{s.removed:,}<td class='n{mark}'>{s.share:.1%}</tr>"
    left = len(one.shares) - SOURCES
    yield "</table>" + (f"<p class=dim>and {left:,} sources with smaller shares</p>" if left > 0 else "")
    yield "<h3>Largest clusters</h3>" + ("" if one.clusters else "<p>No duplicate is named in the run.</p>")
    yield from (part for cluster in one.clusters for part in _cluster(cluster))


def _curve(one: StepAudit) -> str:
    """Theory as a line, measured shares of pairs that share a band as dots, the threshold as a dashed line."""
    points = " ".join(f"{40 + 4 * s:.1f},{220 - 200 * match_probability(s / 100, one.bands, one.rows):.1f}" for s in range(101))
    dots = "".join(
        f"<circle cx='{40 + 400 * p.similarity:.1f}' cy='{220 - 200 * p.candidates / p.pairs:.1f}' r='4' fill='var(--dot)'><title>{p.pairs} pairs</title></circle>"
        for p in one.by_similarity
        if p.pairs
    )
    at = 40 + 400 * one.threshold
    axes = "".join(
        f"<text x='{40 + 80 * i}' y='236' font-size='10' fill='var(--dim)' text-anchor='middle'>{i / 5:.1f}</text>" for i in range(6)
    )
    axes += "".join(
        f"<text x='32' y='{224 - 40 * i}' font-size='10' fill='var(--dim)' text-anchor='end'>{i / 5:.1f}</text>" for i in range(6)
    )
    return (
        f"<svg viewBox='0 0 460 240' role='img' aria-label='share of pairs found by similarity'>{axes}"
        f"<line x1='{at}' x2='{at}' y1='20' y2='220' stroke='var(--dim)' stroke-dasharray='4'/>"
        f"<polyline points='{points}' fill='none' stroke='var(--line)' stroke-width='2'/>{dots}</svg>"
        "<p class=dim>Share of pairs that share a band, by exact similarity: line in theory, dots measured; dashed: the threshold.</p>"
    )


def _cluster(cluster: Cluster) -> Iterator[str]:
    yield f"<details><summary><b>{cluster.size:,}</b> removed for {escape(cluster.id)}</summary>"
    for member in cluster.members:
        value = "" if member.similarity is None else f", similarity {member.similarity:.3f}"
        yield f"<p class=dim>{escape(member.id)}{value}</p>{_side_by_side(cluster, member)}"
    yield "</details>"


def _side_by_side(cluster: Cluster, member: Member) -> str:
    if cluster.text is None or member.text is None:
        return "<p class=dim>The texts are not in the run any more.</p>"
    left, right = (re.findall(r"\s+|\w+|[^\w\s]", t)[: 2 * DIFF_WORDS] for t in (cluster.text, member.text))
    a, b = [], []
    for kind, i, i_end, j, j_end in SequenceMatcher(None, left, right, autojunk=len(left) > DIFF_WORDS).get_opcodes():
        kept, gone = escape("".join(left[i:i_end])), escape("".join(right[j:j_end]))
        a.append(kept if kind == "equal" or not kept else f"<ins>{kept}</ins>")
        b.append(gone if kind == "equal" or not gone else f"<del>{gone}</del>")
    return f"<table class=pair><tr><th>stays<th>removed</tr><tr><td>{''.join(a)}<td>{''.join(b)}</tr></table>"
