"""Repairs of one text, each a function str -> str that changes nothing where there is nothing to do.

All of them take time linear in the text, whatever is in it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

# ftfy tries a dozen encodings on a text and starts again after each success: it gets lines, and long lines in pieces.
_PIECE_CHARS = 20_000

# Scripts whose letters change shape or join according to ZWNJ and ZWJ: Arabic to N'Ko and Mandaic, the Indic scripts,
# Tibetan to Khmer and Mongolian, their supplements and presentation forms, the Indic and Arabic-like ones beyond the BMP.
_SHAPED = "\u0600-\u109f\u1700-\u18af\u1900-\u1cff\ua800-\ua8ff\ua980-\ua9ff\uaa00-\uabff\ufb50-\ufdff\ufe70-\ufefc\U00010a00-\U00011fff\U0001e900-\U0001e95f"
# What emoji sequences are made of: pictographs, dingbats, arrows, the variation selector and the keycap.
_EMOJI = "\u00a9\u00ae\u2190-\u2bff\u3030\u303d\ufe0f\u20e3\U0001f000-\U0001faff\U000e0020-\U000e007f"

_INVISIBLE = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u200b\u2060-\u2064\ufeff]+")
_JOINERS = re.compile("[\u200c\u200d]+")
_AFTER_SHAPED = re.compile(f"[{_SHAPED}]")
_EMOJI_PART = re.compile(f"[{_EMOJI}]")
_LINE_ENDS = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_MANY_LINE_FEEDS = re.compile(r"\n{4,}")
_BLANKS = " \t\u00a0"
_SURROGATE = re.compile("[\ud800-\udfff]")


def mojibake(text: str) -> str:
    """Undo wrong decodings where ftfy is sure of them, line by line."""
    from ftfy import fix_encoding
    from ftfy.badness import is_bad

    if not is_bad(text):
        return text
    lines = text.split("\n")
    for i, line in enumerate(lines):
        pieces = [line[at : at + _PIECE_CHARS] for at in range(0, len(line), _PIECE_CHARS)]
        fixed = "".join(fix_encoding(piece) if is_bad(piece) else piece for piece in pieces)
        if not _SURROGATE.search(fixed):  # half a pair can't be written as UTF-8: the line stays as it was
            lines[i] = fixed
    return "\n".join(lines)


def invisible(text: str) -> str:
    """Remove control characters but \\t and line ends, soft hyphens, zero-width spaces, word joiners and byte order marks.

    ZWNJ and ZWJ stay where they mean something, one of a run: after a letter of a script that shapes its letters by
    them (Persian, Hindi, ...), and between two parts of an emoji.
    """
    return _JOINERS.sub(_joiner, _INVISIBLE.sub("", text))


def _joiner(found: re.Match[str]) -> str:
    text, start, end = found.string, found.start(), found.end()
    before, after = text[start - 1 : start], text[end : end + 1]
    meant = _AFTER_SHAPED.match(before) or (_EMOJI_PART.match(before) and _EMOJI_PART.match(after))
    return found[0][0] if meant else ""


def compose(text: str) -> str:
    """Normalise to NFC."""
    return text if unicodedata.is_normalized("NFC", text) else unicodedata.normalize("NFC", text)


def line_ends(text: str) -> str:
    """Make every line end \\n: \\r\\n, \\r, vertical tab, form feed, next line, line and paragraph separator."""
    return _LINE_ENDS.sub("\n", text)


def blanks(text: str) -> str:
    """Remove blanks at the ends of lines and leave at most two empty lines in a row. Indentation and inner runs stay."""
    lines = [line.rstrip(_BLANKS) for line in text.split("\n")]
    return _MANY_LINE_FEEDS.sub("\n\n\n", "\n".join(lines))


_WORD = re.compile(r"(\w+(?:['\u2019]\w+)*)([ \t]*)")


def stop_words(words: frozenset[str]) -> Callable[[str], str]:
    """A repair that removes these words (lower case, compared without regard to case) and the blanks after each."""

    def remove(text: str) -> str:
        return _WORD.sub(lambda found: "" if found[1].lower() in words else found[0], text)

    return remove
