"""Numbers and texts as people read them."""

from __future__ import annotations

import re

_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


def number(value: float) -> str:
    """Short: 1,047, 0.667, 65k, 4.2M."""
    large = abs(value)
    for bound, name in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if large >= bound:
            return f"{value / (bound if name != 'k' else 1e3):.3g}{name}"
    return f"{value:,.0f}" if value == int(value) else f"{value:.3g}"


def size(count: float) -> str:
    """Bytes for people: 1 MB = 10^6 bytes."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} TB"


def percent(share: float) -> str:
    """Shares below a tenth of a percent show more digits."""
    return f"{share:.1%}" if abs(share) >= 0.001 or share == 0 else f"{share:.3%}"


def limits(at_least: float | None, at_most: float | None) -> str:
    """'at least 50', 'between 50 and 100,000'; '' where there is no bound."""
    if at_least is not None and at_most is not None:
        return f"between {number(at_least)} and {number(at_most)}"
    return f"at least {number(at_least)}" if at_least is not None else f"at most {number(at_most)}" if at_most is not None else ""


def visible(text: str, chars: int) -> str:
    """The beginning of a text; control characters, and those that turn the direction of writing, as escapes."""
    cut = _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text[:chars].replace("\r\n", "\n"))
    return cut + (" ..." if len(text) > chars else "")
