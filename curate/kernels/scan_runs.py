"""Runs of digits, separators and letters, measured from a digit in them: can they hold a number of some kind?

A run is measured once, whatever stands in it. A yes is a maybe, which the patterns decide; a no must be certain.
"""

from __future__ import annotations

import numpy as np

from curate.kernels.compiled import leaf
from curate.kernels.scan_tables import DIGIT, HEX, NUMERIC, WORD

TOKEN_BYTES = 24  # longer tokens of letters and digits are no identity number
MAY_BE_PHONE, IS_LOCAL = 2, 1  # what a run is of telephone numbers: enough digits; enough behind a word such as "phone"

_u = np.uint64
_PLUS, _COMMA, _DOT, _SLASH, _ZERO, _COLON = 0x2B, 0x2C, 0x2E, 0x2F, 0x30, 0x3A
_APART = 2 << 5  # no separator of `rows` has these bits


@leaf
def numbers(data, cls, rows, s, e, i, bare):  # type: ignore[no-untyped-def]
    """Measure the run of digits and separators at its first digit i: (end, a card's groups?, an SSN's?, an identity number's?, phone).

    bare: the fewest digits of a telephone number without `+` and without a group that begins with 0
    """
    plus = (i > s and data[i - 1] == _PLUS) or (i > s + 1 and data[i - 2] == _PLUS)
    lead = card = ssn = national = False
    digits = row = longest = 0  # row: digits of the groups up to here that a telephone number may have
    g1 = g2 = g3 = 0  # lengths of the last three groups
    code = _u(0)
    between, separator = 0, 0  # characters since the last group, and the last byte of them
    z = i
    while z < e and cls[data[z]] & NUMERIC:
        b = data[z]
        if not cls[b] & DIGIT:
            plus |= b == _PLUS
            between += (b & 0xC0) != 0x80
            separator = b
            z += 1
            continue
        a = z
        while z < e and cls[data[z]] & DIGIT:
            z += 1
        size = z - a
        digits += size
        lead |= b == _ZERO
        g1, g2, g3 = g2, g3, size
        card |= size >= 12 or (g1 == 4 and ((g2 == 4 and size == 4) or (g2 == 6 and (size == 4 or size == 5))))
        ssn |= g1 == 3 and g2 == 2 and size == 4
        begins = a == s or not (cls[data[a - 1]] & WORD or _glues(data[a - 1]))
        if row and 1 < size < 13 and between <= 3:
            row += size
        else:
            row = size if begins and size <= (13 if b == _ZERO else 11) else 0
        if row > longest and _may_end(data, cls, e, z):
            longest = row
        code = (code << _u(8)) | _u(((separator & 7) << 5 if between == 1 else _APART) + min(size, 31))
        if digits >= 9 and not national:
            national = (begins and 9 <= size <= 18 and (z == e or not cls[data[z]] & WORD)) or _is_row(rows, code)
        between = 0
    phone = 0
    if (plus and digits >= 7) or (longest >= 9 and (digits >= bare or lead)):
        phone = MAY_BE_PHONE
    elif longest >= 7:
        phone = IS_LOCAL
    return z, card, ssn, national, phone


@leaf
def _glues(b):  # type: ignore[no-untyped-def]
    """Whether no number begins right behind this separator."""
    return _PLUS <= b <= _SLASH and b != _COMMA


@leaf
def _may_end(data, cls, e, z):  # type: ignore[no-untyped-def]
    """Whether a telephone number may end at z: not where a word (but `x` and `ext`, of an extension) or a further group is glued to it."""
    if z == e:
        return True
    b = data[z]
    if cls[b] & WORD:
        return (b | 32) == 0x65 or (b | 32) == 0x78
    return not (_glues(b) and b != _PLUS and z + 1 < e and cls[data[z + 1]] & DIGIT)


@leaf
def _is_row(rows, code):  # type: ignore[no-untyped-def]
    """Whether the last groups are those of an identity number."""
    found = False
    for j in range(0, rows.size, 2):
        found |= (code & rows[j + 1]) == rows[j]
    return found


@leaf
def address(data, cls, low, e, i):  # type: ignore[no-untyped-def]
    """Measure the run of hexadecimal digits, colons and dots around i: (start, end, an IP address in it?)."""
    a = i
    while a > low and cls[data[a - 1]] & HEX:
        a -= 1
    z = a
    colons = digits = 0
    group = quad = most = 0  # digits since the last separator (9: or a letter), groups of one to three joined by dots
    double = False
    while z < e and cls[data[z]] & HEX:
        b = data[z]
        if cls[b] & DIGIT:
            digits += 1
            group += 1
        elif b == _DOT:
            quad = quad + 1 if 0 < group <= 3 else 0
            group = 0
            most = max(most, quad)
        elif b == _COLON:
            most = max(most, quad + 1 if 0 < group <= 3 else 0)
            quad = group = 0
            colons += 1
            double |= z > a and data[z - 1] == _COLON
        else:
            group = 9
        z += 1
    most = max(most, quad + 1 if 0 < group <= 3 else quad)
    return a, z, digits > 0 and (most >= 4 or colons >= 6 or (double and colons >= 2))


@leaf
def token(data, cls, low, e, i, shapes):  # type: ignore[no-untyped-def]
    """Measure the token of letters and digits around the digit at i: (start, end, may it be an identity number?).

    Two groups count too where one of `-`, `+` stands between them: 131052-308T, X-1234567-L.
    """
    a = i
    while a > low and i - a < TOKEN_BYTES and (_capital_or_digit(cls, data[a - 1]) or _joins(cls, data, low, e, a - 1)):
        a -= 1
    code = _u(0)
    kind, size, z = -1, 0, a
    while z < e and z - a < TOKEN_BYTES + 8:
        b = data[z]
        if not _capital_or_digit(cls, b):
            if _joins(cls, data, low, e, z):
                z += 1
                continue
            break
        now = 1 if cls[b] & DIGIT else 0
        if now != kind:
            if kind >= 0:
                code = (code << _u(6)) | _u(32 * kind + min(size, 31))
            kind, size = now, 0
        size += 1
        z += 1
    code = (code << _u(6)) | _u(32 * max(kind, 0) + min(size, 31))
    for j in range(shapes.size):
        if shapes[j] == code:
            return a, z, True
    return a, z, False


@leaf
def _capital_or_digit(cls, b):  # type: ignore[no-untyped-def]
    return 65 <= b <= 90 or (cls[b] & DIGIT) != 0


@leaf
def _joins(cls, data, low, e, i):  # type: ignore[no-untyped-def]
    """Whether the byte at i joins two parts of one identity number."""
    b = data[i]
    return (b == 0x2D or b == _PLUS) and low < i < e - 1 and _capital_or_digit(cls, data[i - 1]) and _capital_or_digit(cls, data[i + 1])
