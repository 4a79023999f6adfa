"""What `curate tune` shows: in the terminal, and as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from rich.console import Console, Group, RenderableType
from rich.markup import escape as plain_markup
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from curate.report.tuning import Bounded, Example

_BLOCKS = " ▁▂▃▄▅▆▇█"
_SIDES = {"at_least": "at least", "at_most": "at most"}


def number(value: float) -> str:
    """Short, for people."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def percent(share: float) -> str:
    """Shares below a tenth of a percent show more digits."""
    return f"{share:.1%}" if share >= 0.001 or share == 0 else f"{share:.3%}"


def spark(b: Bounded, width: int) -> Text:
    """The histogram in one line; the part beyond the bound in red."""
    step = max(1, -(-len(b.histogram) // max(1, width)))
    counts = [sum(b.histogram[i : i + step]) for i in range(0, len(b.histogram), step)]
    highest = max(counts) or 1
    text = Text()
    for i, count in enumerate(counts):
        middle = b.low + (i + 0.5) * (b.high - b.low) / len(counts)
        gone = b.bound is not None and (middle < b.bound if b.survives == "at_least" else middle > b.bound)
        block = _BLOCKS[0 if count == 0 else 1 + int(7 * (count / highest) ** 0.5)]
        text.append(block, style="red" if gone else "green")
    return text


def overview(found: Sequence[Bounded], width: int) -> Table:
    """One line for each bound."""
    table = Table(box=None, pad_edge=False, expand=False)
    bars = 0 if width < 80 else 16 if width < 110 else 40
    table.add_column(
        "signal", no_wrap=True, overflow="ellipsis", max_width=max(16, width - 30 - (bars + 2 if bars else 0) - (24 if width >= 100 else 0))
    )
    table.add_column("bound", justify="right", no_wrap=True)
    if bars:
        table.add_column("distribution", no_wrap=True)
    table.add_column("drops", justify="right", no_wrap=True)
    table.add_column("only it", justify="right", no_wrap=True)
    if width >= 100:
        for name in ("1 %", "median", "99 %"):
            table.add_column(name, justify="right", no_wrap=True)
    step = ""
    for b in found:
        if b.step != step:
            step = b.step
            table.add_row(Text(step, style="bold"))
        limit = "none" if b.bound is None else f"{'≥' if b.survives == 'at_least' else '≤'} {number(b.bound)}"
        cells: list[RenderableType] = [Text(f"  {b.column}", style="cyan"), limit]
        if bars:
            cells.append(spark(b, bars))
        cells += [Text(percent(b.dropped), style="red" if b.dropped else "dim"), percent(b.dropped_only)]
        if width >= 100:
            cells += [number(b.quantiles[q]) if b.quantiles else "" for q in ("0.01", "0.5", "0.99")]
        table.add_row(*cells)
    return table


def examples_view(b: Bounded, width: int, shown: int) -> RenderableType:
    """The documents nearest to a bound, on either side."""
    limit = "" if b.bound is None else f" {_SIDES[b.survives]} {number(b.bound)}"
    parts: list[RenderableType] = []
    for title, examples, style in (("dropped", b.victims, "red"), ("kept", b.survivors, "green")):
        for example in examples[:shown]:
            head = f"{title} {number(example.value)} "
            parts.append(Text.assemble((head, style), _line(example, max(16, width - len(head) - 6)), overflow="ellipsis", no_wrap=True))
    return Panel(Group(*parts), title=plain_markup(f"{b.column}{limit}"), title_align="left", border_style="dim")


def _line(example: Example, chars: int) -> str:
    """A document in one line; control characters as blanks."""
    words = "".join(c if c.isprintable() else " " for c in example.text).split()
    text = " ".join(words)
    return text if len(text) <= chars else text[: chars - 1] + "…"


def show(console: Console, name: str, documents: int, found: Sequence[Bounded], left_out: Sequence[str], advice: str, shown: int) -> None:
    """Print one dataset."""
    width = console.width
    console.print(Text.assemble((name, "bold"), f"  {documents:,} documents of a sample, nothing dropped"))
    console.print(overview(found, width))
    if left_out:
        console.print(Text(f"Not looked at: {', '.join(left_out)}.", style="dim"))
    if shown:
        for b in found:
            if b.bound is not None and (b.victims or b.survivors):
                console.print(examples_view(b, width, shown))
    console.print(Text("\nTo try other bounds without computing anything again, annotate once and filter:", style="bold"))
    console.print(Text("Rules that are no numbers (languages, lists) stay in the columns STEP_keep and STEP_reason.", style="dim"))
    console.print(Text(advice), soft_wrap=True)


_STYLE = """
:root{color-scheme:light dark;--gone:#c0392b;--kept:#2e7d52;--dim:#777}body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{margin-top:2.5rem}table{border-collapse:collapse;width:100%}td,th{padding:.25rem .6rem;text-align:left;vertical-align:top}
tr:nth-child(even){background:#8881}.n{text-align:right;font-variant-numeric:tabular-nums}.gone{color:var(--gone)}.kept{color:var(--kept)}
pre{background:#8882;padding:.8rem;overflow:auto;white-space:pre-wrap}details{margin:.6rem 0;border-left:3px solid #8884;padding-left:.8rem}
summary{cursor:pointer}svg{width:100%;height:70px;display:block}.dim{color:var(--dim)}blockquote{margin:.3rem 0;white-space:pre-wrap;overflow-wrap:anywhere}
"""


def html_page(recipe: str, datasets: Sequence[tuple[str, int, Sequence[Bounded], Sequence[str], str]]) -> str:
    """The whole report. All text of documents is escaped; nothing is loaded from anywhere."""
    body = "".join(part for dataset in datasets for part in _dataset(*dataset))
    policy = "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    head = f"<meta charset='utf-8'><meta name='viewport' content='width=device-width'>{policy}<title>{escape(recipe)}: bounds</title>"
    return f"<!doctype html><html lang='en'><head>{head}<style>{_STYLE}</style></head><body><h1>Bounds of {escape(recipe)}</h1>{body}</body></html>\n"


def _dataset(name: str, documents: int, found: Sequence[Bounded], left_out: Sequence[str], advice: str) -> Iterator[str]:
    yield f"<h2>{escape(name)}</h2><p>{documents:,} documents of a sample, nothing dropped."
    yield f" Not looked at: {escape(', '.join(left_out))}.</p>" if left_out else "</p>"
    yield "<table><tr><th>step<th>signal<th>bound<th class=n>drops<th class=n>only it<th class=n>1 %<th class=n>median<th class=n>99 %</tr>"
    for b in found:
        limit = "none" if b.bound is None else f"{_SIDES[b.survives]} {number(b.bound)}"
        quantiles = "".join(f"<td class=n>{number(b.quantiles[q]) if b.quantiles else ''}" for q in ("0.01", "0.5", "0.99"))
        yield f"<tr><td>{escape(b.step)}<td>{escape(b.column)}<td>{limit}<td class='n gone'>{percent(b.dropped)}<td class=n>{percent(b.dropped_only)}{quantiles}</tr>"
    yield f"</table><h3>Annotate once, then filter</h3><pre>{escape(advice)}</pre>"
    for b in found:
        limit = "no bound" if b.bound is None else f"{_SIDES[b.survives]} {number(b.bound)}"
        yield f"<details><summary><b>{escape(b.column)}</b> {limit} <span class=dim>{escape(b.step)}.{escape(b.setting)}</span></summary>{_svg(b)}"
        for title, examples in (("gone", b.victims), ("kept", b.survivors)):
            for e in examples:
                word = "dropped" if title == "gone" else "kept"
                yield f"<p class={title}>{word} at {number(e.value)} <span class=dim>{escape(e.id)} {escape(e.source)}</span></p><blockquote>{escape(e.text)}</blockquote>"
        yield "</details>"


def _svg(b: Bounded) -> str:
    """The histogram; bars beyond the bound in red."""
    highest, count = max(b.histogram) or 1, len(b.histogram)
    bars = []
    for i, value in enumerate(b.histogram):
        middle = b.low + (i + 0.5) * (b.high - b.low) / count
        gone = b.bound is not None and (middle < b.bound if b.survives == "at_least" else middle > b.bound)
        height = 58 * (value / highest) ** 0.5
        bars.append(
            f"<rect x='{i * 10}' y='{60 - height:.1f}' width='9' height='{height:.1f}' fill='var({'--gone' if gone else '--kept'})'/>"
        )
    return f"<svg viewBox='0 0 {count * 10} 62' preserveAspectRatio='none' role='img'>{''.join(bars)}</svg><p class=dim>{number(b.low)} to {number(b.high)}; heights are square roots of counts</p>"
