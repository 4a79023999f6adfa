"""One pass over the bytes that finds where personal data could be: windows for the full patterns to look at.

A window of a type holds every match of its pattern that the pass leads to: it is a maximal run of the bytes that can
occur in a match, or starts where a match must start. What the patterns are, and that patterns on windows find exactly
what they find in whole documents, is the business (and the tests) of `curate.steps.pii_patterns`.

n documents, m windows. Time is linear in the bytes whatever they are: runs are disjoint, and looks to the left or right
of a byte are bounded.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import types

from curate.kernels.compiled import kernel, leaf, ro, rw
from curate.kernels.lanes import trailing_zeros
from curate.kernels.scan_runs import IS_LOCAL, MAY_BE_PHONE, address, numbers, token
from curate.kernels.scan_seeds import BYTES, seeds
from curate.kernels.scan_tables import (
    CARD,
    CREDENTIALS,
    DIGIT,
    DOMAIN,
    EMAIL,
    IBAN,
    IP,
    KEY,
    LOCAL,
    NATIONAL_ID,
    NATIONAL_NUMBER,
    NINE_DIGITS,
    PHONE,
    SEED,
    SSN,
    TRIGGER,
    WORD,
    Hints,
    classes,
)  # fmt: skip
from curate.kernels.strings import I64, U8

LOCAL_BYTES = 128  # a local part has at most 64 code points of at most two bytes
DOMAIN_BYTES = 2400  # nine labels of at most 64 code points of at most four bytes
CREDENTIALS_BYTES = 256  # user name, colon, password
PHONE_WORD_BYTES = 40
IBAN_BYTES = 70  # 34 characters, a separator after each but the last, and a look ahead
KEY_BYTES = 20_000

_u = np.uint64
_ONE = _u(1)
_PHO, _TEL, _FAX, _CAL, _MOB, _CEL = (int.from_bytes(word, "big") for word in (b"pho", b"tel", b"fax", b"cal", b"mob", b"cel"))
_AT, _COLON = 0x40, 0x3A


class Windows(NamedTuple):
    """Windows in the order they were found: documents in order, starts of one kind in order within a document."""

    doc: npt.NDArray[np.int32]  # i32[m]
    start: I64  # i64[m], absolute byte positions in the data buffer
    end: I64  # i64[m]
    kind: U8  # u8[m], index into KINDS


@leaf
def _seeds(data, cls, s, e, at):  # type: ignore[no-untyped-def]
    """Bit k where something may begin at data[at + k], for the 64 bytes from `at` on of a document data[s:e]."""
    if at > 0 and at + BYTES <= data.size:
        mask = seeds(data, at)
        if at == s and cls[data[s]] & DIGIT:
            mask |= _ONE
    else:  # the first and the last bytes of a buffer
        mask = _u(0)
        for i in range(at, min(at + BYTES, e)):
            c = cls[data[i]]
            if c & SEED and not (c & DIGIT and i > s and cls[data[i - 1]] & DIGIT):
                mask |= _ONE << _u(i - at)
    if e - at < BYTES:
        mask &= (_ONE << _u(e - at)) - _ONE
    return mask


@leaf
def _emit(doc, start, end, kind, n, d, a, z, k):  # type: ignore[no-untyped-def]
    if n < doc.size:
        doc[n] = d
        start[n] = a
        end[n] = z
        kind[n] = k
    return n + 1


@leaf
def _credentials(data, s, i):  # type: ignore[no-untyped-def]
    """Where `user:password` before the @ at i begins, after `://`; -1 where there is none."""
    colon = False
    k = i - 1
    while k >= s and i - k <= CREDENTIALS_BYTES:
        b = data[k]
        if b == 0x2F:
            return k + 1 if colon and k >= s + 2 and data[k - 1] == 0x2F and data[k - 2] == _COLON else -1
        if b <= 0x20 or b == _AT or b == 0x3C or b == 0x3E:
            return -1
        colon = colon or b == _COLON
        k -= 1
    return -1


@leaf
def _beside_capital(data, s, e, i, z):  # type: ignore[no-untyped-def]
    """Whether a capital stands right beside the digits data[i:z], or behind them after a dash."""
    if i > s and (65 <= data[i - 1] <= 90 or (i > s + 1 and data[i - 1] == 0x2D and 65 <= data[i - 2] <= 90)):
        return True
    return z < e and (65 <= data[z] <= 90 or (z + 1 < e and data[z] == 0x2D and 65 <= data[z + 1] <= 90))


@leaf
def _after_phone_word(data, s, i):  # type: ignore[no-untyped-def]
    """Whether three letters of a word for telephones stand in the 40 bytes before i: a look before the pattern's own."""
    for k in range(max(s, i - PHONE_WORD_BYTES), i - 2):
        code = ((np.int64(data[k]) | 32) << 16) | ((np.int64(data[k + 1]) | 32) << 8) | (np.int64(data[k + 2]) | 32)
        if code in (_PHO, _TEL, _FAX, _CAL, _MOB, _CEL):
            return True
    return False


@leaf
def _in_pairs(data, cls, s, e, i):  # type: ignore[no-untyped-def]
    """Whether two capitals, a space, and digits in pairs stand around the digit at i: a British number written apart."""
    return (
        i >= s + 3
        and i + 3 < e
        and data[i - 1] == 0x20
        and 65 <= data[i - 2] <= 90
        and 65 <= data[i - 3] <= 90
        and (cls[data[i + 1]] & DIGIT) != 0
        and data[i + 2] == 0x20
        and (cls[data[i + 3]] & DIGIT) != 0
    )


@leaf
def _beside_at(cls, before, after):  # type: ignore[no-untyped-def]
    return (before >= 0x80 or cls[before] & WORD) and after != 0x2E and cls[after] & DOMAIN


@leaf
def _is_country(countries, first, second):  # type: ignore[no-untyped-def]
    """Whether two letters, in any case, are a country with IBANs."""
    a, b = (first | 32) - 97, (second | 32) - 97
    return 0 <= a < 26 and 0 <= b < 26 and first >= 65 and second >= 65 and countries[26 * a + b] != 0


@leaf
def _is_long_iban(data, cls, e, i):  # type: ignore[no-untyped-def]
    """Whether eleven letters and digits follow from i on, a space or a dash before each allowed."""
    for _ in range(11):
        if i < e and (data[i] == 0x20 or data[i] == 0x2D):
            i += 1
        if i >= e or not cls[data[i]] & WORD or data[i] == 0x5F:
            return False
        i += 1
    return True


@kernel(
    types.int64(
        ro(types.uint8), ro(types.int64), ro(types.uint8), types.int64,
        ro(types.uint8), ro(types.int64), ro(types.int64), ro(types.int64), ro(types.uint16), ro(types.uint8), ro(types.uint64), ro(types.uint64),
        rw(types.int32), rw(types.int64), rw(types.int64), rw(types.uint8),
    ),
    allocates=False,
)  # fmt: skip
def _scan(data, offsets, cls, wanted, text, first, trigger, by_byte, near, countries, shapes, rows, doc, start, end, kind):  # type: ignore[no-untyped-def]
    """Write the windows of every document; return how many there are, which may be more than there was room for.

    wanted: bit k for each kind k, and NINE_DIGITS. cls: as `classes`, with TRIGGER and SEED where `by_byte` has prefixes.
    """
    n = 0
    bare = 9 if wanted & NINE_DIGITS else 10
    any_number = wanted & ((1 << CARD) | (1 << SSN) | (1 << PHONE) | (1 << NATIONAL_ID))
    for d in range(offsets.size - 1):
        s = offsets[d]
        e = offsets[d + 1]
        past_number = past_address = past_email = past_token = s
        last_email = -1
        at = s - BYTES
        mask = _u(0)
        while True:
            while mask == 0 and at + BYTES < e:
                at += BYTES
                mask = _seeds(data, cls, s, e, at)
            if mask == 0:
                break
            i = at + np.int64(trailing_zeros(mask))
            mask &= mask - _ONE
            b = data[i]
            c = cls[b]
            if c & DIGIT:
                if any_number and i >= past_number:
                    z, card, ssn, national, phone = numbers(data, cls, rows, s, e, i, bare)
                    a = max(past_number, i - 2)
                    if ssn and wanted & (1 << SSN):
                        n = _emit(doc, start, end, kind, n, d, a, z, SSN)
                    if card and wanted & (1 << CARD):
                        n = _emit(doc, start, end, kind, n, d, a, z, CARD)
                    if national and wanted & (1 << NATIONAL_NUMBER):
                        n = _emit(doc, start, end, kind, n, d, a, z, NATIONAL_NUMBER)
                    if wanted & (1 << PHONE) and (phone == MAY_BE_PHONE or (phone == IS_LOCAL and _after_phone_word(data, s, i))):
                        n = _emit(doc, start, end, kind, n, d, a, z, PHONE)
                    past_number = z
                if wanted & (1 << NATIONAL_ID) and i >= past_token:
                    z = i + 1
                    while z < e and cls[data[z]] & DIGIT:
                        z += 1
                    if _beside_capital(data, s, e, i, z):
                        a, z, found = token(data, cls, past_token, e, i, shapes)
                        if found:
                            n = _emit(doc, start, end, kind, n, d, a, z, NATIONAL_ID)
                        past_token = z
                    elif _in_pairs(data, cls, s, e, i):
                        n = _emit(doc, start, end, kind, n, d, i - 3, min(e, i + 10), NATIONAL_ID)
                if (
                    wanted & (1 << IBAN)
                    and i >= s + 2
                    and i + 1 < e
                    and cls[data[i + 1]] & DIGIT
                    and _is_country(countries, np.int64(data[i - 2]), np.int64(data[i - 1]))
                    and (i == s + 2 or not cls[data[i - 3]] & WORD)
                    and _is_long_iban(data, cls, e, i + 2)
                ):
                    n = _emit(doc, start, end, kind, n, d, i - 2, min(e, i - 2 + IBAN_BYTES), IBAN)
                if wanted & (1 << IP) and i >= past_address:
                    a, z, found = address(data, cls, past_address, e, i)
                    if found:
                        n = _emit(doc, start, end, kind, n, d, a, z, IP)
                    past_address = z
            elif b == _AT and wanted & (1 << CREDENTIALS):
                a = _credentials(data, s, i)
                if a >= 0:
                    n = _emit(doc, start, end, kind, n, d, a, i, CREDENTIALS)
            if b == _AT and wanted & (1 << EMAIL) and s < i < e - 1 and _beside_at(cls, data[i - 1], data[i + 1]):
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
            if c & TRIGGER and i > s and near[b] & near[256 + data[i - 1]] & near[512 + (data[i - 2] if i > s + 1 else 0)]:
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


def windows(data: U8, offsets: I64, wanted: int, known: Hints) -> Windows:
    """Find the windows of every document.

    data: u8[nbytes] and offsets: i64[n+1], as `curate.kernels.strings.views` gives them; wanted: bit k for kind k,
    and NINE_DIGITS where telephone numbers without `+` and leading 0 may have nine digits, not ten at least.
    """
    table = classes()
    if wanted & (1 << KEY):
        table = table.copy()
        table[np.flatnonzero(np.diff(known.keys.by_byte))] |= SEED | TRIGGER
    size = 1024 + int(offsets[-1] - offsets[0]) // 256
    while True:
        out = Windows(np.empty(size, np.int32), np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size, np.uint8))
        found = _scan(data, offsets, table, wanted, *known.keys, known.countries, known.shapes, known.rows, *out)
        if found <= size:
            return Windows(out.doc[:found], out.start[:found], out.end[:found], out.kind[:found])
        size = found
