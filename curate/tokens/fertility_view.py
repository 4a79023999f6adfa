"""Figures of `curate tokenizer report` for people: tables on a terminal, a page of plots."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from html import escape
from typing import Any

from rich.console import Console
from rich.table import Table

from curate.tokens.fertility import Fertility, Group

MOST_GROUPS = 40
BAR = 24  # characters of the longest bar on a terminal
COLOURS = ("#3b6fb6", "#d9822b", "#4a9c5d", "#a4508b", "#7f7f7f", "#c0392b")
LABEL, WIDTH, HIGH = 130, 460, 16  # of the plots, pixels


def record(found: Fertility) -> dict[str, Any]:
    """Everything as plain data, for --json."""
    return {
        "tokenizers": found.tokenizers,
        **{
            by: {
                name: asdict(group) | {
                    "fertility": {t: round(group.fertility(t), 4) for t in group.tokens},
                    "bytes_per_token": {t: round(group.bytes_per_token(t), 4) for t in group.tokens},
                }
                for name, group in groups.items()
            }
            for by, groups in (("sources", found.sources), ("languages", found.languages))
        },
    }  # fmt: skip


def show(console: Console, found: Fertility) -> None:
    """Print a table for sources and one for languages, a line for every tokenizer."""
    for name, about in found.tokenizers.items():
        console.print(
            f"[bold]{name}[/]  {about['vocab_size']:,} ids, {about['ids_used']:,} of them used, encoded by {about['library']}",
            highlight=False,
        )
    for title, groups in (("source", found.sources), ("language", found.languages)):
        if groups:
            console.print(_table(title, groups))


def _table(title: str, groups: dict[str, Group]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name, justify in (
        (title, "left"),
        ("MB", "right"),
        ("tokenizer", "left"),
        ("bytes/token", "right"),
        ("tokens/word", "right"),
        ("", "left"),
    ):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    longest = max((g.fertility(t) for g in groups.values() for t in g.tokens if g.words), default=1.0)
    for name, group in _shown(groups):
        for at, tokenizer in enumerate(group.tokens):
            fertility = group.fertility(tokenizer)
            bar = "\u2588" * max(1, round(BAR * fertility / longest)) if group.words else ""
            unknown = f" {group.unknown[tokenizer]:,} unknown" if group.unknown[tokenizer] else ""
            first = (name, f"{group.bytes / 1e6:,.2f}") if at == 0 else ("", "")
            table.add_row(*first, tokenizer, f"{group.bytes_per_token(tokenizer):.2f}", f"{fertility:.2f}", bar + unknown)
    return table


def _shown(groups: dict[str, Group]) -> Iterator[tuple[str, Group]]:
    yield from list(groups.items())[: MOST_GROUPS + 1]


def html_page(found: Fertility) -> str:
    """A page without scripts or outside files: plots of tokens per word and bytes per token, and the figures."""
    parts = []
    for title, groups in (("source", found.sources), ("language", found.languages)):
        if groups:
            parts += [
                f"<h2>Tokens per word by {title}</h2>", plot(groups, "fertility"),
                f"<h2>Bytes per token by {title}</h2>", plot(groups, "bytes_per_token"), _figures(title, groups),
            ]  # fmt: skip
    legend = " ".join(
        f'<span style="color:{COLOURS[at % len(COLOURS)]}">\u25a0</span> {escape(name)} ({about["vocab_size"]:,} ids, {about["ids_used"]:,} used)'
        for at, (name, about) in enumerate(found.tokenizers.items())
    )
    return (
        '<!doctype html><meta charset="utf-8"><title>Tokenizer report</title><style>body{font:14px sans-serif;margin:2em;max-width:60em}'
        "td,th{padding:.1em .7em;text-align:right}td:first-child,th:first-child{text-align:left}</style>"
        f"<h1>Tokenizer report</h1><p>{legend}</p><p>A word is a run of letters, marks and digits, or a CJK character. "
        f"Texts are encoded without BOS and EOS.</p>{''.join(parts)}\n"
    )


def plot(groups: dict[str, Group], figure: str) -> str:
    """Bars of one figure, a group of them for each source or language, as SVG."""
    shown = list(_shown(groups))
    names = list(shown[0][1].tokens)
    values = [[getattr(group, figure)(name) for name in names] for _, group in shown]
    longest = max((v for row in values for v in row if v == v), default=1.0) or 1.0
    step = HIGH * len(names) + 8
    bars = []
    for at, ((group, _), row) in enumerate(zip(shown, values, strict=True)):
        bars.append(f'<text x="{LABEL - 6}" y="{at * step + step / 2}" text-anchor="end">{escape(group or "(none)")}</text>')
        for inner, value in enumerate(row):
            if value == value:  # not NaN
                y, wide = at * step + inner * HIGH, WIDTH * value / longest
                bars.append(f'<rect x="{LABEL}" y="{y}" width="{wide:.1f}" height="{HIGH - 3}" fill="{COLOURS[inner % len(COLOURS)]}"/>')
                bars.append(f'<text x="{LABEL + wide + 4:.1f}" y="{y + HIGH - 5}">{value:.2f}</text>')
    size = f'width="{LABEL + WIDTH + 50}" height="{step * len(shown)}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">{"".join(bars)}</svg>'


def _figures(title: str, groups: dict[str, Group]) -> str:
    rows = [f"<tr><th>{title}<th>documents<th>MB<th>words<th>tokenizer<th>tokens<th>tokens/word<th>bytes/token<th>unknown"]
    for name, group in groups.items():
        rows += [
            f"<tr><td>{escape(name or '(none)')}<td>{group.documents:,}<td>{group.bytes / 1e6:,.2f}<td>{group.words:,}<td>{escape(tokenizer)}"
            f"<td>{group.tokens[tokenizer]:,}<td>{group.fertility(tokenizer):.3f}<td>{group.bytes_per_token(tokenizer):.3f}"
            f"<td>{group.unknown[tokenizer]:,}"
            for tokenizer in group.tokens
        ]
    return f"<table>{''.join(rows)}</table>"
