"""One pass over the bytes that finds where personal data could be: windows for the full patterns to look at.

A window of a type holds every match of its pattern that the pass leads to: it is a maximal run of the bytes that can
occur in a match, or starts where a match must start. What the patterns are, and that patterns on windows find exactly
what they find in whole documents, is the business (and the tests) of `curate.steps.pii_patterns`.

n documents, m windows. Time is linear in the bytes whatever they are: runs are disjoint, and looks to the left or right
of a byte are bounded.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import types

from curate.kernels.compiled import kernel, leaf, ro, rw
from curate.kernels.hashing import load64
from curate.kernels.strings import I64, U8

KINDS = ("key", "email", "iban", "card", "ssn", "ip", "phone")  # a window's kind is an index into this
KEY, EMAIL, IBAN, CARD, SSN, IP, PHONE = range(7)

DIGIT, NUMERIC, HEX, LOCAL, DOMAIN, WORD, SEED, TRIGGER = (1 << i for i in range(8))

LOCAL_BYTES = 128  # a local part has at most 64 code points of at most two bytes
DOMAIN_BYTES = 2400  # nine labels of at most 64 code points of at most four bytes
IBAN_BYTES = 70  # 34 characters, a separator after each but the last, and a look ahead
KEY_BYTES = 20_000

_DIGITS = b"0123456789"
_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_u = np.uint64
_BYTE = _u(255)
_AT, _COLON, _PLUS, _ZERO = 0x40, 0x3A, 0x2B, 0x30


class Windows(NamedTuple):
    """Windows in the order they were found: documents in order, starts of one kind in order within a document."""

    doc: npt.NDArray[np.int32]  # i32[m]
    start: I64  # i64[m], absolute byte positions in the data buffer
    end: I64  # i64[m]
    kind: U8  # u8[m], index into KINDS


class Prefixes(NamedTuple):
    """Literal beginnings of keys, looked for where their rarest byte stands. Sorted by that byte."""

    text: U8  # u8, all of them back to back
    first: I64  # i64[k+1], prefix j is text[first[j]:first[j+1]]
    trigger: I64  # i64[k], position of the rarest byte within the prefix
    by_byte: I64  # i64[257], prefixes whose trigger is byte b: by_byte[b] .. by_byte[b+1]
    near: U8  # u8[768], bit t for trigger t: the byte itself, at 256 + what stands before it, at 512 + what stands before that


def prefixes(pairs: tuple[tuple[bytes, int], ...]) -> Prefixes:
    """Lay out (prefix, position of its trigger byte) for the kernel."""
    ordered = sorted(pairs, key=lambda p: (p[0][p[1]], p[0]))
    first = np.cumsum([0, *(len(p) for p, _ in ordered)], dtype=np.int64)
    trigger = np.array([at for _, at in ordered], np.int64)
    counts = np.bincount([p[at] for p, at in ordered], minlength=256)
    by_byte = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Prefixes(np.frombuffer(b"".join(p for p, _ in ordered), np.uint8), first, trigger, by_byte, _near(ordered))


def _near(pairs: list[tuple[bytes, int]]) -> U8:
    """`Prefixes.near`: at most eight different triggers, none at the start of its prefix."""
    slots = {byte: 1 << t for t, byte in enumerate(sorted({p[at] for p, at in pairs}))}
    near = np.zeros((3, 256), np.uint8)
    for prefix, at in pairs:
        bit = slots[prefix[at]]
        near[0, prefix[at]] |= bit
        near[1, prefix[at - 1]] |= bit
        near[2, prefix[at - 2] if at > 1 else slice(None)] |= bit
    return near.ravel()


@cache
def classes() -> U8:
    """Classes of every byte, without the triggers of keys: u8[256]."""
    table = np.zeros(256, np.uint8)

    def mark(members: bytes, bit: int) -> None:
        table[list(members)] |= bit

    mark(_DIGITS, DIGIT | SEED)
    # Separators of numbers: ASCII, no-break spaces (C2 A0, E2 80 AF), dashes (E2 80 90 .. 95).
    mark(_DIGITS + b" ().+-/" + b"\xc2\xa0\xe2\x80\xaf\x90\x91\x92\x93\x94\x95", NUMERIC)
    mark(_DIGITS + b"abcdefABCDEF:.", HEX)
    mark(_DIGITS + _LETTERS + b"_.%+&~'-" + bytes(range(0x80, 0xC0)) + bytes(range(0xC3, 0xD5)), LOCAL)
    mark(_DIGITS + _LETTERS + b".-" + bytes(range(0x80, 0x100)), DOMAIN)
    mark(_DIGITS + _LETTERS + b"_", WORD)
    mark(b"@:", SEED)
    return table


@leaf
def _next_seed(data, cls, i, e):  # type: ignore[no-untyped-def]
    """Place of the first byte from i on that something may begin at, or e."""
    while i + 8 <= e:
        w = load64(data, i)
        low = cls[w & _BYTE] | cls[(w >> _u(8)) & _BYTE] | cls[(w >> _u(16)) & _BYTE] | cls[(w >> _u(24)) & _BYTE]
        high = cls[(w >> _u(32)) & _BYTE] | cls[(w >> _u(40)) & _BYTE] | cls[(w >> _u(48)) & _BYTE] | cls[w >> _u(56)]
        if (low | high) & SEED:
            break
        i += 8
    while i < e and not cls[data[i]] & SEED:
        i += 1
    return i


@leaf
def _emit(doc, start, end, kind, n, d, a, z, k):  # type: ignore[no-untyped-def]
    if n < doc.size:
        doc[n] = d
        start[n] = a
        end[n] = z
        kind[n] = k
    return n + 1


@leaf
def _card_groups(g1, g2, g3):  # type: ignore[no-untyped-def]
    """Whether digits in groups of these lengths can end a card's number, or three of its four groups of four."""
    return g3 >= 12 or (g1 == 4 and ((g2 == 4 and g3 == 4) or (g2 == 6 and (g3 == 4 or g3 == 5))))


@leaf
def _numeric(data, cls, s, e, i):  # type: ignore[no-untyped-def]
    """Measure the run of digits and separators at i: (end, a card's groups?, an SSN's 3-2-4 groups?, a phone number's start?)."""
    plus = (i > s and data[i - 1] == _PLUS) or (i > s + 1 and data[i - 2] == _PLUS)
    lead = False
    card = ssn = False
    digits = 0
    g1 = g2 = g3 = 0  # lengths of the last three groups of digits
    z = i
    while z < e and cls[data[z]] & NUMERIC:
        if cls[data[z]] & DIGIT:
            if g3 == 0 and data[z] == _ZERO:
                lead = True
            digits += 1
            g3 += 1
        else:
            if data[z] == _PLUS:
                plus = True
            if g3:
                card |= _card_groups(g1, g2, g3)
                ssn |= g1 == 3 and g2 == 2 and g3 == 4
                g1, g2, g3 = g2, g3, 0
        z += 1
    card |= _card_groups(g1, g2, g3)
    ssn |= g1 == 3 and g2 == 2 and g3 == 4
    return z, card, ssn, digits >= 10 or (digits >= 9 and lead) or (digits >= 7 and plus)


@leaf
def _address(data, cls, low, e, i):  # type: ignore[no-untyped-def]
    """Measure the run of hexadecimal digits, colons and dots around i: (start, end, an IP address in it?)."""
    a = i
    while a > low and cls[data[a - 1]] & HEX:
        a -= 1
    z = a
    dots = colons = digits = 0
    double = False
    while z < e and cls[data[z]] & HEX:
        b = data[z]
        if b == _COLON:
            colons += 1
            double |= z > a and data[z - 1] == _COLON
        elif b == 0x2E:
            dots += 1
        elif cls[b] & DIGIT:
            digits += 1
        z += 1
    return a, z, digits > 0 and ((dots >= 3 and digits >= 4) or colons >= 6 or (double and colons >= 2))


@leaf
def _beside_at(cls, before, after):  # type: ignore[no-untyped-def]
    return (before >= 0x80 or cls[before] & WORD) and after != 0x2E and cls[after] & DOMAIN


@leaf
def _upper(b):  # type: ignore[no-untyped-def]
    return 65 <= b <= 90


@leaf
def _is_long_iban(data, cls, e, i):  # type: ignore[no-untyped-def]
    """Whether eleven capitals and digits follow from i on, a space or a dash before each allowed."""
    for _ in range(11):
        if i < e and (data[i] == 0x20 or data[i] == 0x2D):
            i += 1
        if i >= e or not (_upper(data[i]) or cls[data[i]] & DIGIT):
            return False
        i += 1
    return True


@kernel(
    types.int64(
        ro(types.uint8), ro(types.int64), ro(types.uint8), types.int64,
        ro(types.uint8), ro(types.int64), ro(types.int64), ro(types.int64), ro(types.uint8),
        rw(types.int32), rw(types.int64), rw(types.int64), rw(types.uint8),
    ),
    allocates=False,
)  # fmt: skip
def _scan(data, offsets, cls, wanted, text, first, trigger, by_byte, near, doc, start, end, kind):  # type: ignore[no-untyped-def]
    """Write the windows of every document; return how many there are, which may be more than there was room for.

    wanted: bit k for each kind k. cls: as `classes`, with TRIGGER and SEED where `by_byte` has prefixes.
    """
    n = 0
    numbers = wanted & ((1 << CARD) | (1 << SSN) | (1 << PHONE))
    for d in range(offsets.size - 1):
        s = offsets[d]
        e = offsets[d + 1]
        past_number = past_address = past_email = s
        last_email = -1
        i = s - 1
        while True:
            i = _next_seed(data, cls, i + 1, e)
            if i >= e:
                break
            b = data[i]
            c = cls[b]
            if c & DIGIT:
                if numbers and i >= past_number:
                    z, card, ssn, phone = _numeric(data, cls, s, e, i)
                    a = max(past_number, i - 2)
                    if ssn and wanted & (1 << SSN):
                        n = _emit(doc, start, end, kind, n, d, a, z, SSN)
                    if card and wanted & (1 << CARD):
                        n = _emit(doc, start, end, kind, n, d, a, z, CARD)
                    if phone and wanted & (1 << PHONE):
                        n = _emit(doc, start, end, kind, n, d, a, z, PHONE)
                    past_number = z
                if (
                    wanted & (1 << IBAN)
                    and i >= s + 2
                    and i + 1 < e
                    and cls[data[i + 1]] & DIGIT
                    and _upper(data[i - 1])
                    and _upper(data[i - 2])
                    and (i == s + 2 or not cls[data[i - 3]] & WORD)
                    and _is_long_iban(data, cls, e, i + 2)
                ):
                    n = _emit(doc, start, end, kind, n, d, i - 2, min(e, i - 2 + IBAN_BYTES), IBAN)
            elif b == _AT and wanted & (1 << EMAIL) and s < i < e - 1 and _beside_at(cls, data[i - 1], data[i + 1]):
                a = i
                while a > s and i - a < LOCAL_BYTES and cls[data[a - 1]] & LOCAL:
                    a -= 1
                z = i + 1
                while z < e and z - i < DOMAIN_BYTES and cls[data[z]] & DOMAIN:
                    z += 1
                if last_email >= 0 and a < past_email:  # one window for both, so that none is searched twice
                    if last_email < doc.size:
                        end[last_email] = z
                else:
                    last_email = n
                    n = _emit(doc, start, end, kind, n, d, a, z, EMAIL)
                past_email = z
            if c & DIGIT or b == _COLON:
                if wanted & (1 << IP) and i >= past_address:
                    a, z, found = _address(data, cls, past_address, e, i)
                    if found:
                        n = _emit(doc, start, end, kind, n, d, a, z, IP)
                    past_address = z
                if c & DIGIT:
                    while i + 1 < e and cls[data[i + 1]] & DIGIT:  # nothing begins within a group of digits
                        i += 1
            elif c & TRIGGER and i > s and near[b] & near[256 + data[i - 1]] & near[512 + (data[i - 2] if i > s + 1 else 0)]:
                for j in range(by_byte[b], by_byte[b + 1]):
                    size = first[j + 1] - first[j]
                    a = i - trigger[j]
                    if a < s or a + size > e or (a > s and cls[data[a - 1]] & WORD):
                        continue
                    k = 0
                    while k < size and data[a + k] == text[first[j] + k]:
                        k += 1
                    if k == size:
                        n = _emit(doc, start, end, kind, n, d, a, min(e, a + KEY_BYTES), KEY)
    return n


def windows(data: U8, offsets: I64, wanted: int, keys: Prefixes) -> Windows:
    """Find the windows of every document.

    data: u8[nbytes] and offsets: i64[n+1], as `curate.kernels.strings.views` gives them; wanted: bit k for kind k.
    """
    table = classes()
    if wanted & (1 << KEY):
        table = table.copy()
        table[np.flatnonzero(np.diff(keys.by_byte))] |= SEED | TRIGGER
    size = 1024 + int(offsets[-1] - offsets[0]) // 256
    while True:
        out = Windows(np.empty(size, np.int32), np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size, np.uint8))
        found = _scan(data, offsets, table, wanted, *keys, *out)
        if found <= size:
            return Windows(out.doc[:found], out.start[:found], out.end[:found], out.kind[:found])
        size = found
