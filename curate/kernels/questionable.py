r"""Which sentences of a document are questionable by the rules of MADLAD-400, on UTF-8 bytes.

Kudugunta et al. 2023 (arXiv:2309.04662), section 2.3 and the appendix on cursed substrings. A sentence ends behind a run of . ? ! that
stands before white space (as AllenAI's datamap splits), here with the marks still on it; blank ones don't count. Tokens
lie between white space.

The patterns of the appendix are regular expressions over a line. As substrings: those without anchors. At the end of a
sentence, white space aside: "|", " nr.", " г." and " кг.". As runs of tokens between single spaces: nine of one, three or four
characters, and four of two characters and a comma.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from curate.kernels.characters import UPPER, bits_at
from curate.kernels.compiled import kernel, leaf, ro, ro2, rw, rw2
from curate.kernels.whitespace import space_width, strip

# Columns of `counts`: sentences, those that are questionable by any rule that is on, and by each rule.
SENTENCES, QUESTIONABLE, LIST_CASE, LENGTH, TECHNICAL, CURSED, LANGUAGE = range(7)
COLUMNS = 7

# Rules, as bits: 1 << (column - LIST_CASE).
CURSED_STRINGS = (
    " \u2116", "\ufffd\ufffd\ufffd", "aute irure dolor ", " sunt in culpa qui ", "orem ipsum ", " quis nostrud ", " adipisicing ", " dolore eu ",
    " cupidatat ", "autem vel eum", "wisi enim ad", " sex ", " porn ", "\u9ec4\u8272\u7535\u5f71", "mp3", "ownload", "Vol.", " Ep.", "Episode",
    " \u0448\u0442.", "Develop", "Facebook", " crusher ", " xxx ",
)  # fmt: skip
_ENDS = ("|", " nr.", " \u0433.", " \u043a\u0433.")
_END_BYTES = np.frombuffer("".join(_ENDS).encode(), np.uint8)
_END_AT = np.cumsum([0] + [len(e.encode()) for e in _ENDS])
_TECHNICAL = np.zeros(256, np.bool_)
_TECHNICAL[list(b"0123456789{}+/()>")] = True
_RUN, _COMMA_RUN = 9, 4

_u8, _i32, _i64, _f64 = types.uint8, types.int32, types.int64, types.float64


@kernel(types.boolean(ro(_u8), _i64, _i64, ro2(_i32), ro(_u8), ro(_i32), ro(_i32)), allocates=False)
def _cursed(data: Any, start: int, end: int, step: Any, byte_class: Any, ends: Any, further: Any) -> bool:
    """Whether a pattern of the list is in the sentence."""
    state = np.int32(0)
    ones = threes = fours = commas = 0
    size = -1  # characters of the token that began behind a single space; -1: behind something else
    for at in range(start, end + 1):
        b = data[at] if at < end else np.uint8(32)
        if at < end:
            state = step[state, byte_class[b]]
            if ends[state] >= 0 or further[state]:
                return True
        if b == 32:
            comma = at > start and data[at - 1] == 44
            ones = ones + 1 if size == 1 else 0
            threes = threes + 1 if size == 3 else 0
            fours = fours + 1 if size == 4 else 0
            commas = commas + 1 if (size == 3 and comma) or (size == 4 and comma and data[at - 2] == 44) else 0
            if ones >= _RUN or threes >= _RUN or fours >= _RUN or commas >= _COMMA_RUN:
                return True
            size = 0
        elif b & 0xC0 != 0x80 and size >= 0:
            size += 1
    for k in range(_END_AT.size - 1):
        width = _END_AT[k + 1] - _END_AT[k]
        if end - start >= width:
            same = True
            for i in range(width):
                same &= data[end - width + i] == _END_BYTES[_END_AT[k] + i]
            if same:
                return True
    return False


@leaf
def _ends_here(data: Any, at: int, end: int) -> Any:
    """Whether a run of marks ends in front of data[at]: a mark before it, white space (or the end) at it."""
    b = data[at - 1]
    return (b == 46 or b == 33 or b == 63) and (at == end or space_width(data, at, end) > 0)


@kernel(_i64(ro(_u8), ro(_i64), rw(_i64), rw(_i64)), allocates=False)
def sentences(data: Any, offsets: Any, stops: Any, document: Any) -> int:
    """Write where every sentence stops, blank ones too, and its document; return how many there are, also where there is no room for all."""
    count = 0
    for d in range(offsets.size - 1):
        at, end = offsets[d], offsets[d + 1]
        while at < end:
            at += 1
            while at < end and not _ends_here(data, at, end):
                at += 1
            if count < stops.size:
                stops[count], document[count] = at, d
            count += 1
    return count


@kernel(
    types.void(
        ro(_u8), ro(_i64), ro(_u8), ro2(_i32), ro(_u8), ro(_i32), ro(_i32), _i64, _f64, _i64, _i64, _i64, _f64, ro(types.boolean), rw2(_i64),
    ),
    allocates=False,
)  # fmt: skip
def judge_sentences(  # type: ignore[no-untyped-def]
    data,
    offsets,
    bits,
    step,
    byte_class,
    ends,
    further,
    rules,
    most_capitals,
    least_tokens,
    least_chars,
    most_chars,
    most_technical,
    foreign,
    counts,
):
    """Count sentences and questionable ones into counts: i64[n, COLUMNS], zeros.

    rules: bit k for column LIST_CASE + k; foreign: bool[s], by sentence as `sentences` cuts them (not read without the bit of LANGUAGE)
    """
    piece = 0
    for d in range(offsets.size - 1):
        at, end = offsets[d], offsets[d + 1]
        while at < end:
            stop = at + 1
            while stop < end and not _ends_here(data, stop, end):
                stop += 1
            first, last = strip(data, at, stop)
            at = stop
            piece += 1
            if first >= last:
                continue
            chars = tokens = capitals = technical = 0
            inside = False
            i = first
            while i < last:
                blank = space_width(data, i, last)
                if blank:
                    inside = False
                    chars += 1
                    i += blank
                    continue
                if not inside:
                    found, _ = bits_at(data, i, last, bits)
                    tokens += 1
                    capitals += 1 if found & UPPER else 0
                    inside = True
                b = data[i]
                chars += 1 if b & 0xC0 != 0x80 else 0
                technical += 1 if _TECHNICAL[b] else 0
                i += 1
            counts[d, SENTENCES] += 1
            hit = 0
            if rules & 1 and tokens >= least_tokens and capitals > most_capitals * tokens:
                hit |= 1
            if rules & 2 and (chars < least_chars or chars > most_chars):
                hit |= 2
            if rules & 4 and technical > most_technical * chars:
                hit |= 4
            if rules & 8 and _cursed(data, first, last, step, byte_class, ends, further):
                hit |= 8
            if rules & 16 and foreign[piece - 1]:
                hit |= 16
            if hit:
                counts[d, QUESTIONABLE] += 1
                for k in range(5):
                    counts[d, LIST_CASE + k] += (hit >> k) & 1
