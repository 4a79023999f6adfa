"""What `curate diff` shows in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from curate.report.diff import DatasetDiff, Diff, Moved
from curate.report.words import number, percent, size, visible

CHANGES_SHOWN, ROWS_SHOWN, TEXT_CHARS, PAIRS_SHOWN = 60, 25, 160, 12


def show(console: Console, found: Diff) -> None:
    """Print everything that differs."""
    console.print(Text.assemble((found.first, "bold"), " -> ", (found.second, "bold")))
    if found.changes:
        table = _table("recipe", "before", "now")
        for change in found.changes[:CHANGES_SHOWN]:
            table.add_row(change.where, _value(change.first), _value(change.second))
        console.print(table)
        _more(console, len(found.changes) - CHANGES_SHOWN, "settings")
    else:
        console.print(Text("The recipes are the same.", style="dim"))
    for side, names in (("first", found.only_first), ("second", found.only_second)):
        if names:
            console.print(Text(f"Only in the {side} run: {', '.join(names)}."))
    for dataset in found.datasets:
        _dataset(console, dataset)


def _dataset(console: Console, found: DatasetDiff) -> None:
    console.print(Text.assemble("\n", (found.name, "bold"), "  the same, byte for byte" if found.same else ""))
    table = _table("", "before", "now", "", right=True)
    for key, (a, b) in found.sizes.items():
        if a or b:
            text = size if key.startswith("bytes") else lambda n: f"{n:,}"
            table.add_row(key, text(a), text(b), _shift(a, b))
    for reason, (a, b) in sorted(found.dropped.items(), key=lambda item: -abs(item[1][0] - item[1][1]))[:ROWS_SHOWN]:
        if a != b:
            table.add_row(f"dropped: {reason}", f"{a:,}", f"{b:,}", _shift(a, b))
    console.print(table)
    changed = [(code, a, b) for code, (a, b) in found.languages.items() if a != b]
    if changed:
        console.print(Text("languages: " + ", ".join(f"{code} {a:,} -> {b:,}" for code, a, b in changed[:ROWS_SHOWN])))
    _moved(console, "lost", "red", found.lost, "in the first run only; the second one gives")
    _moved(console, "gained", "green", found.gained, "in the second run only; the first one gave")
    for before, now, count in found.other_reason[:PAIRS_SHOWN]:
        console.print(Text(f"{count:,} dropped by both, for {now} instead of {before}", style="dim"))
    _more(console, len(found.other_reason) - PAIRS_SHOWN, "pairs of reasons")


def _moved(console: Console, title: str, style: str, moved: Sequence[Moved], said: str) -> None:
    if not moved:
        return
    console.print(Text.assemble((f"{title} {sum(m.documents for m in moved):,}", style), (f"  {said}:", "dim")))
    for one in moved[:ROWS_SHOWN]:
        console.print(Text.assemble(f"  {one.documents:,} ", (one.reason, "bold")))
        for name, value, text in one.examples:
            line = " ".join(text.split())[:TEXT_CHARS]
            told = "" if value is None else f"{number(value)}  "
            console.print(Text.assemble("    ", (f"{told}{name}  ", "cyan"), (line, "dim")), no_wrap=True, overflow="ellipsis", crop=True)
    _more(console, len(moved) - ROWS_SHOWN, "reasons")


def _table(*heads: str, right: bool = False) -> Table:
    table = Table(box=None, pad_edge=False)
    for at, head in enumerate(heads):
        table.add_column(head, justify="right" if right and at else "left", overflow="fold")
    return table


def _value(value: Any) -> str:
    return visible(str(value), 120)


def _shift(a: int, b: int) -> str:
    return f"{b - a:+,}" + (f" ({percent((b - a) / a)})" if a and b != a else "") if a != b else ""


def _more(console: Console, left: int, what: str) -> None:
    if left > 0:
        console.print(Text(f"  and {left:,} {what} more; --json has all", style="dim"))
