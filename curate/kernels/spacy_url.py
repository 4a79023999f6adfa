r"""Whether a text is an address by the URL pattern of spaCy's tokenizer: such a text is one word, whatever it holds.

The pattern (Diego Perini's, with spaCy's changes) is `^(SCHEME://)?(\S+@)?HOST(:PORT)?([/?#]\S*)?$`. A HOST is an IPv4
address outside the private ranges, or labels of letters and digits, each with a full stop behind it, and a last part of 2
to 63 lower-case letters. A regular expression tries its parts in every way; here each of the places where HOST can begin
(the text's start, behind "://", behind every "@") is read once, up to the next "@": linear in the length of the text.
The text must hold no white space.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from curate.kernels.compiled import kernel, leaf, ro
from curate.kernels.compiled import types as nb
from curate.kernels.spacy_rules import DECIMAL, LOWER, RULES, WORD, bits_of, code_at

I32 = npt.NDArray[np.int32]
U8 = npt.NDArray[np.uint8]

LABEL = 64  # characters of a label at most
LAST_PART = 63
FIRST, MIDDLE, LAST = map(np.int64, range(3))  # bytes of an IPv4 address that have rules of their own


@leaf
def _is_label_end(code: int) -> Any:
    """May stand at either end of a label: A-Z, a-z, 0-9, U+00A1 to U+FFFF."""
    return 0x30 <= code <= 0x39 or 0x41 <= code <= 0x5A or 0x61 <= code <= 0x7A or 0xA1 <= code <= 0xFFFF


@leaf
def _tail(data: U8, at: int, end: int, rules: I32) -> Any:
    """Whether data[at:end] is an optional port and an optional path."""
    if at < end and data[at] == 0x3A:  # :
        at += 1
        digits = 0
        while at < end:
            code, width = code_at(data, at, end)
            if not bits_of(code, rules) & DECIMAL:
                break
            digits += 1
            at += width
        if digits < 2 or digits > 5:
            return False
    return at == end or data[at] == 0x2F or data[at] == 0x3F or data[at] == 0x23  # / ? #


@leaf
def _named_host(data: U8, at: int, end: int, rules: I32) -> Any:
    """Whether data[at:end] is a host name, then `_tail`."""
    labels, count = 0, 0  # labels so far; characters of the part that is being read
    first: Any = False
    last: Any = False
    label: Any = True
    lower: Any = True
    while at < end:
        code, width = code_at(data, at, end)
        if code == 0x2E:
            if count == 0 or count > LABEL or not (first and last and label):
                return False
            labels += 1
            count, label, lower = 0, True, True
        elif code == 0x3A or code == 0x2F or code == 0x3F or code == 0x23:
            break
        else:
            last = _is_label_end(code)
            first = last if count == 0 else first
            label &= last or code == 0x5F or code == 0x2D
            lower &= bits_of(code, rules) & LOWER != 0
            if not (label or lower):
                return False
            count += 1
        at += width
    return labels > 0 and 2 <= count <= LAST_PART and lower and _tail(data, at, end, rules)


@leaf
def _octet(data: U8, at: int, end: int, which: int, rules: I32) -> Any:
    r"""End of the number at data[at] where it is one that the pattern allows there, else -1. \d takes any script's digits."""
    one, two, count = np.int64(0), np.int64(0), 0
    third: Any = np.int64(0)
    while at < end and count < 4:
        code, width = code_at(data, at, end)
        if not bits_of(code, rules) & DECIMAL:
            break
        if count == 0:
            one = code
        elif count == 1:
            two = code
        else:
            third = code
        count += 1
        at += width
    fine: Any = False
    if count == 1 or count == 2:
        fine = which == MIDDLE or 0x31 <= one <= 0x39
    elif count == 3:
        if one == 0x31:
            fine = True  # 1\d\d
        elif one == 0x32:
            top = 0x31 if which == FIRST else 0x34  # 2[01]\d or 2[0-4]\d
            most = 0x33 if which == FIRST else (0x35 if which == MIDDLE else 0x34)  # 22[0-3], 25[0-5], 25[0-4]
            fine = 0x30 <= two <= top or (two == top + 1 and 0x30 <= third <= most)
    return at if fine else np.int64(-1)


@leaf
def _is_private(data: U8, first: int, second: int, third: int) -> Any:
    """Whether the first two numbers, data[first:second-1] and data[second:third-1], begin a private or local address."""
    size, next_size = second - 1 - first, third - 1 - second
    if size == 2:
        return data[first] == 0x31 and data[first + 1] == 0x30  # 10
    if size != 3 or data[first] != 0x31:
        return False
    tens, ones, high, low = data[first + 1], data[first + 2], data[second], data[second + 1]
    if tens == 0x32 and ones == 0x37:  # 127
        return True
    if next_size == 3 and data[second + 1] < 0x80:
        last = data[second + 2]
        link_local = tens == 0x36 and ones == 0x39 and high == 0x32 and low == 0x35 and last == 0x34  # 169.254
        return link_local or (tens == 0x39 and ones == 0x32 and high == 0x31 and low == 0x36 and last == 0x38)  # 192.168
    return False


@leaf
def _is_172_private(data: U8, first: int, second: int, third: int, rules: I32) -> Any:
    r"""Whether the address begins with 172.(1[6-9]|2\d|3[01])."""
    if second - 1 - first != 3 or data[first] != 0x31 or data[first + 1] != 0x37 or data[first + 2] != 0x32:
        return False
    high = data[second]
    code, width = code_at(data, second + 1, third)  # a digit of any script, or the full stop
    if second + 1 + width != third - 1:
        return False
    if high == 0x31:
        return 0x36 <= code <= 0x39
    if high == 0x32:
        return bits_of(code, rules) & DECIMAL != 0
    return high == 0x33 and (code == 0x30 or code == 0x31)


@leaf
def _numbered_host(data: U8, at: int, end: int, rules: I32) -> Any:
    """Whether data[at:end] is a public IPv4 address, then `_tail`."""
    first, second, third = at, at, at
    for number in range(4):
        which = FIRST if number == 0 else (LAST if number == 3 else MIDDLE)
        at = _octet(data, at, end, which, rules)
        if at < 0:
            return False
        if number < 3:
            if at >= end or data[at] != 0x2E:
                return False
            at += 1
        if number == 0:
            second = at
        elif number == 1:
            third = at
    if _is_private(data, first, second, third) or _is_172_private(data, first, second, third, rules):
        return False
    return _tail(data, at, end, rules)


@leaf
def _behind_scheme(data: U8, start: int, end: int, rules: I32) -> Any:
    r"""Position behind `[\w+\-.]{2,}://` at the start, else -1."""
    at, count = start, 0
    while at < end:
        code, width = code_at(data, at, end)
        if not (bits_of(code, rules) & WORD or code == 0x2B or code == 0x2D or code == 0x2E):
            break
        at += width
        count += 1
    if count >= 2 and at + 3 <= end and data[at] == 0x3A and data[at + 1] == 0x2F and data[at + 2] == 0x2F:
        return at + 3
    return np.int64(-1)


@kernel(nb.boolean(ro(nb.uint8), nb.int64, nb.int64, RULES), allocates=False)
def is_url(data: U8, start: int, end: int, rules: I32) -> bool:
    """Whether the URL pattern matches data[start:end]. data: UTF-8 without white space there."""
    at, mark, scheme = start, start, _behind_scheme(data, start, end, rules)
    while at < end:
        if _named_host(data, at, end, rules) or (0x31 <= data[at] <= 0x39 and _numbered_host(data, at, end, rules)):
            return True
        if scheme >= 0:
            at, scheme = scheme, np.int64(-1)
            continue
        mark += 1
        while mark < end and data[mark] != 0x40:  # @, with something before it
            mark += 1
        at = mark + 1
    return False
