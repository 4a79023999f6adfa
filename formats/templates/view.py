"""Rows coloured by loss: what is trained and what is not, token by token, for the terminal and as a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from formats.templates.rendering import Refused, Row

_STYLE = """body{font:14px/1.5 monospace;margin:2em;max-width:110em;color:#222;background:#fff}
pre{white-space:pre-wrap;border:1px solid #ccc;padding:.8em;border-radius:4px}
.t{background:#bdf0c4}.u{color:#777}.t+.t,.u+.u{border-left:1px solid #ccc}h2{font-size:1em}.bad{color:#b00020}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}.t{background:#175a24}.u{color:#999}}"""


def pieces(row: Row) -> list[tuple[str, bool]]:
    """(text, whether it is trained) of every token, in order; text that no token covers belongs to the token after it.

    Tokens that share a character (bytes of one) show it with the first. The row needs its offsets.
    """
    if row.offsets is None:
        raise ValueError("the row was rendered without offsets")
    made: list[tuple[str, bool]] = []
    at = 0
    for (start, end), trained in zip(row.offsets, row.trained.tolist(), strict=True):
        if end > at or start > at:
            made.append((row.text[at : max(end, start)], trained))
            at = max(end, start)
        elif not trained and made and made[-1][1] and end == at:
            made[-1] = (made[-1][0], False)  # a character is trained only with all its bytes
    return made if at >= len(row.text) else [*made, (row.text[at:], False)]


def terminal(rows: Iterable[tuple[str, Row | Refused]], chars: int) -> list[Any]:
    """Lines for rich: trained text in green, the rest dim; line breaks are shown."""
    from rich.text import Text

    made: list[Any] = []
    for title, row in rows:
        if isinstance(row, Refused):
            made.append(Text.assemble((title, "bold"), "  ", (f"{row.reason}: {row.message}", "red")))
            continue
        line = Text.assemble((title, "bold"), f"  {len(row.ids):,} tokens, {int(row.trained.sum()):,} trained\n")
        left = chars
        for text, trained in pieces(row):
            shown = "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)[:left]
            line.append(shown.replace("\n", "\u21b5\n"), "green" if trained else "dim")
            left -= len(shown)
            if left <= 0:
                line.append(" ...")
                break
        made.append(line)
    return made


def page(rows: Sequence[tuple[str, Row | Refused]], notes: Sequence[str] = ()) -> str:
    """A page of its own: nothing is loaded from elsewhere."""
    parts = [f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Loss mask</title><style>{_STYLE}</style>']
    parts.append('<p><span class="t">trained</span> <span class="u">not trained</span>; a line between tokens</p>')
    parts += [f'<p class="bad">{escape(note)}</p>' for note in notes]
    for title, row in rows:
        if isinstance(row, Refused):
            parts.append(f'<h2>{escape(title)}</h2><p class="bad">{escape(f"{row.reason}: {row.message}")}</p>')
            continue
        tokens = "".join(f'<span class="{"t" if trained else "u"}">{escape(text)}</span>' for text, trained in pieces(row))
        parts.append(f"<h2>{escape(title)}: {len(row.ids):,} tokens, {int(row.trained.sum()):,} trained</h2><pre>{tokens}</pre>")
    return "\n".join([*parts, "</html>\n"])
