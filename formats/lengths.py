"""Rows that are too long, and what lengths a set has.

    drop       the row goes, with its reason
    cut_turns  whole exchanges go from the end until the rest fits; the row ends with an answer and its stop token
    keep_end   the oldest whole exchanges go; system turns, the last question and its answer stay

An exchange is a user turn with everything up to the next one: answers, calls of tools and their results go together. No text is
ever cut inside a turn, so no row loses its stop token and none learns to stop in the middle of a sentence; what does not fit
with one exchange is dropped. Sides of a pair are one matter: a shared prompt is cut for both or for neither.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from formats.records import Message

TooLong = Literal["drop", "cut_turns", "keep_end"]
QUANTILES = (0.5, 0.9, 0.95, 0.99, 1.0)
_BARS = 40


def exchanges(messages: Sequence[Message]) -> tuple[list[Message], list[list[Message]]]:
    """(turns before the first user turn, exchanges)."""
    head: list[Message] = []
    groups: list[list[Message]] = []
    for m in messages:
        if m.role == "user" and (not groups or groups[-1][-1].role != "user"):
            groups.append([m])
        elif groups:
            groups[-1].append(m)
        else:
            head.append(m)
    return head, groups


def shortened(
    messages: Sequence[Message], measure: Callable[[list[Message]], int | None], limit: int, policy: TooLong, answered: bool = True
) -> list[Message] | None:
    """The turns that fit into `limit` tokens under a policy, as many as possible; None where none do.

    measure: tokens of a conversation, None where it can't be rendered. answered: whether the result must end with an answer; False
    for the prompt of candidates, of which `cut_turns` can keep nothing. Log2(exchanges) calls of `measure`.
    """
    if policy == "drop" or (policy == "cut_turns" and not answered):
        return None
    head, groups = exchanges(messages)

    def part(count: int) -> list[Message]:
        chosen = groups[:count] if policy == "cut_turns" else groups[len(groups) - count :]
        return [*head, *(m for group in chosen for m in group)]

    low, high = 0, len(groups) - 1  # `low` exchanges fit, `high` may
    while low < high:
        middle = (low + high + 1) // 2
        size = measure(part(middle))
        low, high = (middle, high) if size is not None and size <= limit else (low, middle - 1)
    found = part(low)
    if low == 0 or (answered and found[-1].role != "assistant"):
        return None
    size = measure(found)
    return found if size is not None and size <= limit else None


def summary(lengths: Sequence[int]) -> dict[str, float]:
    """Rows, sum, mean and quantiles of lengths in tokens; {} for no rows."""
    if not len(lengths):
        return {}
    values = np.sort(np.asarray(lengths, np.int64))
    found: dict[str, float] = {
        "rows": len(values),
        "tokens": int(values.sum()),
        "mean": round(float(values.mean()), 1),
        "min": int(values[0]),
    }
    names = [f"p{q * 100:g}" if q < 1 else "max" for q in QUANTILES]
    return found | {n: int(values[max(0, int(np.ceil(q * len(values))) - 1)]) for n, q in zip(names, QUANTILES, strict=True)}


def histogram(lengths: Sequence[int]) -> list[tuple[int, int, int]]:
    """(from, below, rows) in powers of two, from the first used to the last one."""
    if not len(lengths):
        return []
    power = [max(0, int(n).bit_length() - 1) for n in lengths]
    counts = np.bincount(power)
    return [(1 << p if p else 0, 1 << (p + 1), int(counts[p])) for p in range(min(power), len(counts))]


def text_plot(lengths: Sequence[int]) -> list[str]:
    """The histogram for a terminal."""
    bars = histogram(lengths)
    most = max((n for _, _, n in bars), default=1)
    return [f"{low:>8,} to {high - 1:>8,} tokens {'#' * round(_BARS * n / most):<{_BARS}} {n:,}" for low, high, n in bars]


def svg_plot(title: str, lengths: Sequence[int]) -> str:
    """The histogram as an SVG element, for a page."""
    from html import escape

    bars = histogram(lengths)
    most = max((n for _, _, n in bars), default=1)
    height, parts = 18 * len(bars) + 30, [f'<text x="0" y="14" font-weight="bold">{escape(title)}</text>']
    for row, (low, high, n) in enumerate(bars):
        y = 24 + 18 * row
        parts.append(
            f'<text x="0" y="{y + 12}">{low:,} to {high - 1:,}</text><rect x="150" y="{y}" width="{400 * n / most:.1f}" height="14"/>'
        )
        parts.append(f'<text x="{156 + 400 * n / most:.1f}" y="{y + 12}">{n:,}</text>')
    return f'<svg width="640" height="{height}" font-family="monospace" font-size="12" fill="currentColor">{"".join(parts)}</svg>'


def as_json(lengths: Sequence[int]) -> dict[str, Any]:
    """Figures for a report."""
    return {**summary(lengths), "histogram": [list(bar) for bar in histogram(lengths)]}
