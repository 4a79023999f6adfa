"""Tell which documents may need which repair, so that the others are never looked at again: the scan of `clean`.

Each flag is a superset: a document without it is certain not to change under that repair; one with it may or may not.

    MOJIBAKE    two neighbouring characters that some rule of ftfy's `badness` needs side by side
    ENTITY      '&', then letters, digits or '#', then ';', within 34 bytes
    TAG         '<' before a letter, '/' or '!'
    INVISIBLE   control characters other than \\t \\n, soft hyphen, zero-width characters
    COMPOSE     a character of a 16-character block in which some character may change under NFC
    LINE_ENDS   \\r \\v \\f, U+0085, U+2028, U+2029
    BLANKS      space, tab or no-break space at the end of a line; four line feeds in a row

The tables are made when a step is bound, from the installed ftfy and from Python's own Unicode data, so they can't fall
behind either: `mojibake_tables` reads ftfy's regular expression, takes from each alternative the adjacent pair of
characters that is rarest, and gives every character the set of pairs that it may begin and end (bits of a u64). A form
of expression that it does not know makes every document with a character beyond ASCII suspicious.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from curate.kernels.compiled import kernel, ro, rw
from curate.kernels.strings import I64, U8

U64 = npt.NDArray[np.uint64]

MOJIBAKE, ENTITY, TAG, INVISIBLE, COMPOSE, LINE_ENDS, BLANKS = (1 << i for i in range(7))

_U64: Any = np.uint64
_BMP = 0x10000
_TOKEN = re.compile(r"\[(?:\\.|[^\]\\])+\]|\\.|\s+|.", re.DOTALL)
_UNKNOWN_SYNTAX = frozenset("(){}*+$")
_FIRST_COMBINING = 0x300  # no character below it changes under NFC or combines with what stands before it


@kernel(
    types.void(ro(types.uint8), ro(types.int64), ro(types.uint8), ro(types.uint64), ro(types.uint64), ro(types.uint8), rw(types.uint8)),
    allocates=False,
)
def scan(data: Any, offsets: Any, kind: Any, begins: Any, ends: Any, blocks: Any, out: Any) -> None:
    """Write the flags of each document.

    data u8[nbytes], offsets i64[n+1]; kind u8[65536]: class of each character of the BMP, last class for those beyond
    begins, ends u64[classes]: pairs that a character of the class may begin, end; blocks u8[69632]: per 16 code points
    out u8[n]. One pass, 250 to 600 MB/s.
    """
    beyond = begins.shape[0] - 1
    for d in range(offsets.shape[0] - 1):
        at, stop = np.uint64(offsets[d]), np.uint64(offsets[d + 1])
        flags = 0
        before = _U64(0)  # pairs that the last character may begin
        line_feeds = 0
        blank = False  # the last character is a blank
        while at < stop:
            b = data[at]
            if b < 128:
                at += np.uint64(1)
                if before != 0:  # ASCII ends pairs, but begins none
                    if before & ends[kind[b]]:
                        flags |= 1
                    before = _U64(0)
                if 62 < b < 127 or 39 <= b <= 58:  # letters, digits, most marks: nothing below is about them
                    blank = False
                    line_feeds = 0
                    continue
                if b == 10:
                    line_feeds += 1
                    if blank or line_feeds > 3:
                        flags |= 64
                    blank = False
                    continue
                line_feeds = 0
                blank = b == 32 or b == 9
                if b == 127 or (b < 32 and b != 9):
                    flags |= 32 if b == 11 or b == 12 or b == 13 else 8
                elif b == 60 and at < stop:
                    c = data[at]
                    if c == 47 or c == 33 or 97 <= (c | 32) <= 122:
                        flags |= 4
                elif b == 38:
                    i = at
                    limit = min(stop, at + np.uint64(34))
                    while i < limit:
                        c = data[i]
                        if c == 59 and i > at:
                            flags |= 2
                        if not (c == 35 or 48 <= c <= 57 or 97 <= (c | 32) <= 122):
                            break
                        i += np.uint64(1)
                continue
            if b < 0xE0:
                cp = (np.uint32(b & 0x1F) << np.uint32(6)) | np.uint32(data[at + np.uint64(1)] & 0x3F)
                at += np.uint64(2)
            elif b < 0xF0:
                cp = (np.uint32(b & 0x0F) << np.uint32(12)) | (np.uint32(data[at + np.uint64(1)] & 0x3F) << np.uint32(6))
                cp |= np.uint32(data[at + np.uint64(2)] & 0x3F)
                at += np.uint64(3)
            else:
                cp = (np.uint32(b & 0x07) << np.uint32(18)) | (np.uint32(data[at + np.uint64(1)] & 0x3F) << np.uint32(12))
                cp |= (np.uint32(data[at + np.uint64(2)] & 0x3F) << np.uint32(6)) | np.uint32(data[at + np.uint64(3)] & 0x3F)
                at += np.uint64(4)
            what = np.int64(kind[cp]) if cp < 0x10000 else beyond
            if before & ends[what]:
                flags |= 1
            before = begins[what]
            if before >> np.uint64(63):  # suspicious whatever follows
                flags |= 1
            line_feeds = 0
            blank = cp == 0xA0
            if blocks[cp >> np.uint32(4)]:
                flags |= 16
            if cp < 0xAE:
                if cp == 0x85:
                    flags |= 32
                elif cp < 0xA0 or cp == 0xAD:
                    flags |= 8
            elif cp == 0xFEFF or 0x200B <= cp <= 0x200D or 0x2060 <= cp <= 0x2064:
                flags |= 8
            elif cp == 0x2028 or cp == 0x2029:
                flags |= 32
        if blank:
            flags |= 64
        out[d] = flags


@kernel(types.void(ro(types.uint8), ro(types.int64), rw(types.uint8), rw(types.int64)), allocates=False)
def trim_blanks(data: Any, offsets: Any, out: Any, out_offsets: Any) -> None:
    """Copy documents without blanks at the ends of their lines and with at most three line feeds in a row.

    Blanks: space, tab, U+00A0. out u8[offsets[n] - offsets[0]] or longer, out_offsets i64[n+1]: written. About 500 MB/s.
    """
    to = _U64(0)
    out_offsets[0] = 0
    for d in range(offsets.shape[0] - 1):
        at, stop = np.uint64(offsets[d]), np.uint64(offsets[d + 1])
        solid = to  # end of what was copied, without blanks that may have to go again
        line_feeds = 0
        while at < stop:
            b = data[at]
            if b == 10:
                to = solid
                line_feeds += 1
                if line_feeds <= 3:
                    out[to] = b
                    to += np.uint64(1)
                at += np.uint64(1)
                solid = to
                continue
            out[to] = b
            to += np.uint64(1)
            at += np.uint64(1)
            if b == 32 or b == 9:
                continue
            if b == 0xC2 and data[at] == 0xA0:
                out[to] = 0xA0
                to += np.uint64(1)
                at += np.uint64(1)
                continue
            line_feeds = 0
            solid = to
        to = solid
        out_offsets[d + 1] = to


def trimmed(data: U8, offsets: I64) -> tuple[U8, I64]:
    """(data, offsets) of the documents after `trim_blanks`."""
    out, out_offsets = np.empty(int(offsets[-1] - offsets[0]), np.uint8), np.empty(len(offsets), np.int64)
    trim_blanks(data, offsets, out, out_offsets)
    return out[: out_offsets[-1]], out_offsets


class Scanner:
    """The scan with its tables."""

    def __init__(self) -> None:
        self._kind, self._begins, self._ends = mojibake_tables()
        self._blocks = composing_blocks()

    def __call__(self, data: U8, offsets: I64) -> U8:
        """Return the flags of every document of a large_string column."""
        out = np.zeros(len(offsets) - 1, np.uint8)
        scan(data, offsets, self._kind, self._begins, self._ends, self._blocks, out)
        return out


def mojibake_tables() -> tuple[U8, U64, U64]:
    """Classes of BMP characters, and per class the pairs of ftfy's rules that a character may begin and end.

    Bit 63 of `begins`: the character is suspicious alone. The last class is that of characters beyond the BMP, which may
    end any pair, because they are in every set that says what it leaves out.
    """
    from ftfy.badness import BADNESS_RE

    begins, ends = np.zeros(_BMP, np.uint64), np.zeros(_BMP, np.uint64)
    try:
        for i, (first, second) in enumerate(_pairs(BADNESS_RE.pattern)):
            bit = np.uint64(1 << (i % 63 if second is not None else 63))  # sharing a bit only makes more pairs suspicious
            begins[first] |= bit
            if second is not None:
                ends[second] |= bit
    except _UnknownRuleError:
        begins[128:] |= np.uint64(1 << 63)
    classes, kind = np.unique(np.stack([begins, ends]), axis=1, return_inverse=True)
    if classes.shape[1] > 255:
        raise ValueError(f"{classes.shape[1]} classes of characters in ftfy's rules; the scan has room for 255")
    beyond = np.array([[begins[0xFFFF] & np.uint64(1 << 63)], [(1 << 63) - 1]], np.uint64)
    table = np.concatenate([classes, beyond], axis=1)
    return kind.reshape(-1).astype(np.uint8), table[0].copy(), table[1].copy()


class _UnknownRuleError(Exception):
    """ftfy's expression uses a form that `_pairs` does not understand."""


def _pairs(pattern: str) -> list[tuple[I64, I64 | None]]:
    """For each alternative of ftfy's verbose expression, code points of two neighbours that every match of it holds.

    The rarest pair whose first character is never ASCII; (set, None) for an alternative of one character.
    """
    every = "".join(chr(c) for c in range(_BMP) if not 0xD800 <= c < 0xE000)
    rules: list[list[str | None]] = [[]]
    for line in pattern.split("\n"):
        if line.lstrip().startswith("#"):
            continue
        for token in _TOKEN.findall(line):
            if token in _UNKNOWN_SYNTAX or (token == "?" and not rules[-1]):
                raise _UnknownRuleError
            if token == "|":
                rules.append([])
            elif token == "?":
                rules[-1][-1] = None  # an optional character: no pair may span it
            elif token != "^" and not token.isspace():
                rules[-1].append(token)
    pairs: list[tuple[I64, I64 | None]] = []
    for rule in rules:
        sets = [_members(token, every) for token in rule]
        found: list[tuple[int, I64, I64]] = []
        for first, second in pairwise(sets):
            if first is not None and second is not None and first[0] >= 128:
                found.append((len(first) * len(second), first, second))
        if found:
            _, first, second = min(found, key=lambda pair: pair[0])
            pairs.append((first, second))
        elif len(sets) == 1 and sets[0] is not None and sets[0][0] >= 128:
            pairs.append((sets[0], None))
        else:
            raise _UnknownRuleError
    return pairs


def _members(token: str | None, every: str) -> I64 | None:
    """Sorted code points that one token of an expression matches."""
    if token is None:
        return None
    members = [ord(c) for c in re.findall(token, every, re.DOTALL)]
    if not members:
        raise _UnknownRuleError
    return np.array(members, np.int64)


def composing_blocks() -> U8:
    """u8[69632]: 1 for each block of 16 code points with one that NFC may change, move or join to its neighbour.

    A text without such characters is NFC (Unicode Standard Annex 15, section 9: combining class 0 and NFC_QC = Yes).
    Planes beyond 1 hold none but the compatibility ideographs of plane 2.
    """
    blocks = np.zeros((sys.maxunicode + 1) >> 4, np.uint8)
    blocks[0x1161 >> 4 : (0x11C2 >> 4) + 1] = 1  # vowels and final consonants of Hangul join what stands before them
    for code in [
        *range(_FIRST_COMBINING, 0x3400),
        *range(0xA000, 0xAC00),
        *range(0xD7A4, 0xD800),
        *range(0xF900, 0x20000),
        *range(0x2F800, 0x2FA20),
    ]:
        char = chr(code)
        parts = unicodedata.decomposition(char)
        if unicodedata.combining(char) or (parts and not unicodedata.is_normalized("NFC", char)):
            blocks[code >> 4] = 1
        elif parts and parts[0] != "<" and " " in parts:
            blocks[int(parts.split()[1], 16) >> 4] = 1  # the second half of a composed character
    for code in range(0xC0, _FIRST_COMBINING):
        parts = unicodedata.decomposition(chr(code))
        if parts and parts[0] != "<" and " " in parts:
            blocks[int(parts.split()[1], 16) >> 4] = 1
    return blocks
