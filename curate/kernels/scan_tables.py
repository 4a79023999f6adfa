"""What the scan for personal data must know of the patterns: classes of bytes, beginnings of keys, shapes of numbers."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from curate.kernels.strings import I64, U8

U16 = npt.NDArray[np.uint16]
U64 = npt.NDArray[np.uint64]

# A window's kind is an index into this.
# Identity numbers are two kinds of window: tokens of capitals and digits, and runs of digits and separators.
KINDS = ("key", "credentials", "email", "iban", "card", "ssn", "national_id", "national_number", "ip", "phone")
KEY, CREDENTIALS, EMAIL, IBAN, CARD, SSN, NATIONAL_ID, NATIONAL_NUMBER, IP, PHONE = range(10)
NINE_DIGITS = 1 << 32  # beside the bits of kinds: telephone numbers without `+` and leading 0 may have nine digits, not ten at least

DIGIT, NUMERIC, HEX, LOCAL, DOMAIN, WORD, SEED, TRIGGER = (1 << i for i in range(8))
# Bytes that give keys away, and what stands before each; b"": anything. The scan stops at no others.
TRIGGERS = {
    b"-": b"XYiklptx",
    b".": b"9",
    b"_": b"",
    b"A": b"I",
    b"G": b"Sf",
    b"I": b"G",
    b"J": b"y",
    b"K": b"Ast",
    b"T": b"L",
    b"o": b"x",
    b"v": b"h",
    b"z": b"I",
}
_DIGITS = b"0123456789"
_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Prefixes(NamedTuple):
    """Literal beginnings of keys, looked for where one of the TRIGGERS stands in them. Sorted by that byte."""

    text: U8  # u8, all of them back to back
    first: I64  # i64[k+1], prefix j is text[first[j]:first[j+1]]
    trigger: I64  # i64[k], position of that byte within the prefix
    by_byte: I64  # i64[257], prefixes whose trigger is byte b: by_byte[b] .. by_byte[b+1]
    near: U16  # u16[768], bit t for trigger t: the byte itself, at 256 + what stands before it, at 512 + what stands before that


def prefixes(pairs: tuple[tuple[bytes, int], ...]) -> Prefixes:
    """Lay out (prefix, position of its trigger byte) for the kernel. Raises ValueError where that is none of the TRIGGERS."""
    for prefix, at in pairs:
        before = TRIGGERS.get(prefix[at : at + 1])
        if not at or before is None or (before and prefix[at - 1] not in before):
            raise ValueError(f"the scan does not stop at byte {at} of {prefix!r}; choose another or add it to TRIGGERS")
    ordered = sorted(pairs, key=lambda p: (p[0][p[1]], p[0]))
    first = np.cumsum([0, *(len(p) for p, _ in ordered)], dtype=np.int64)
    trigger = np.array([at for _, at in ordered], np.int64)
    counts = np.bincount([p[at] for p, at in ordered], minlength=256)
    by_byte = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Prefixes(np.frombuffer(b"".join(p for p, _ in ordered), np.uint8), first, trigger, by_byte, _near(ordered))


def _near(pairs: list[tuple[bytes, int]]) -> U16:
    """`Prefixes.near`: at most sixteen different triggers, none at the start of its prefix."""
    slots = {byte: 1 << t for t, byte in enumerate(sorted({p[at] for p, at in pairs}))}
    near = np.zeros((3, 256), np.uint16)
    for prefix, at in pairs:
        bit = slots[prefix[at]]
        near[0, prefix[at]] |= bit
        near[1, prefix[at - 1]] |= bit
        near[2, prefix[at - 2] if at > 1 else slice(None)] |= bit
    return near.ravel()


class Hints(NamedTuple):
    """What the pass must know of the patterns: beginnings of keys, countries of IBANs, shapes of identity numbers."""

    keys: Prefixes
    countries: U8  # u8[676], 1 where the letters (26 * first + second) are a country with IBANs
    shapes: U64  # u64, sorted; `shape` of the tokens of letters and digits that may be identity numbers
    rows: U64  # u64[2r], `row` of each row of groups of digits that may be an identity number


def shape(runs: str) -> int:
    """The code of a token's runs of capitals and digits: shape("L2D6L1") is two letters, six digits, a letter."""
    code = 0
    for kind, size in zip(runs[::2], runs[1::2], strict=True):
        code = (code << 6) | (32 if kind == "D" else 0) | int(size, 36)
    return code


def row(groups: str) -> tuple[int, int]:
    """(code, mask) of groups of digits with a separator between them, such as "3.3.3-2": eight bits a group, the low ones of its separator before its length."""
    code = 0
    for at, size in enumerate(groups[::2]):
        code = (code << 8) | ((ord(groups[2 * at - 1]) & 7) << 5 if at else 0) | int(size)
    return code, (1 << (8 * (len(groups) // 2) + 5)) - 1  # whatever stands before the first group


def hints(keys: tuple[tuple[bytes, int], ...], countries: tuple[str, ...], shapes: tuple[str, ...], rows: tuple[str, ...] = ()) -> Hints:
    """Lay everything out for the kernel. Sizes in `shapes` are one character, 'a' for 10; `rows` as `row` takes them."""
    table = np.zeros(676, np.uint8)
    table[[26 * (ord(c[0]) - 65) + ord(c[1]) - 65 for c in countries]] = 1
    codes = np.array([number for groups in rows for number in row(groups)], np.uint64)
    return Hints(prefixes(keys), table, np.array(sorted(map(shape, shapes)), np.uint64), codes)


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
    mark(b"@", SEED)
    return table
