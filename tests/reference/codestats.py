"""The naive twin of `curate.kernels.codestats`."""

from __future__ import annotations

import re

_ENCODED = re.compile(
    r"[A-Za-z0-9+/=\n]{64,}"
    r"|(?:(?<!\w)|(?=0[xX]|\\x))(?:(?:0[xX]|\\x|(?<![A-Za-z0-9_]))[0-9a-fA-F]{2}(?![A-Za-z0-9_]),?[ \t\n\v\f\r]*){7,}"
    r"(?:0[xX]|\\x|(?<![A-Za-z0-9_]))[0-9a-fA-F]{2}(?![A-Za-z0-9_])"
    r"|(?:\\u[0-9a-fA-F]{4}){8,}",
    re.ASCII,
)


def counts(text: str) -> tuple[int, ...]:
    """(lines, characters, longest line, alphanumeric, alphabetic, characters of encoded data, the longest of them)."""
    lines = text.split("\n") if text else []
    found = [len(m.group()) for m in _ENCODED.finditer(text)]
    return (
        len(lines),
        len(text),
        max(map(len, lines), default=0),
        sum(map(str.isalnum, text)),
        sum(map(str.isalpha, text)),
        sum(found),
        max(found, default=0),
    )
