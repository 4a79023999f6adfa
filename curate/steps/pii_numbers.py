"""Payment cards, IBANs and US social security numbers.

Not found: cards grouped in another way than printed on cards, social security numbers without separators, numbers that
are wrong in one digit.
"""

from __future__ import annotations

import re
from functools import cache

from curate.steps.pii_patterns import Document, Match, Span, before

# payment cards ------------------------------------------------------------------------------------------------------
# 12 to 19 digits in one run, or grouped 4-4-4-4, 4-4-4-4-3, 4-6-5 or 4-6-4 by one separator.
CARD_PATTERN = re.compile(
    rb"(?<![0-9A-Za-z_.+-])(?:[1-6][0-9]{11,18}|[1-6][0-9]{3}([ -])(?:[0-9]{4}\1[0-9]{4}\1[0-9]{4}(?:\1[0-9]{3})?|[0-9]{6}\1[0-9]{4,5}))"
    rb"(?![0-9A-Za-z_]|[.-][0-9])"
)
# Number ranges of issuers and how many digits their cards have (a little wider than the registry for JCB): Visa, Mastercard, American Express, Diners, JCB, Mir,
# Discover and UnionPay, Maestro.
_ISSUER = re.compile(
    rb"4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})|(?:5[1-5]|2[3-6])[0-9]{14}|22(?:2[1-9]|[3-9][0-9])[0-9]{12}|27[01][0-9]{13}|2720[0-9]{12}"
    rb"|3[47][0-9]{13}|3(?:0[0-59]|[689][0-9])[0-9]{11}|35[0-9]{14,17}|(?:2131|1800)[0-9]{11}|220[0-4][0-9]{12,15}"
    rb"|(?:6011|62[0-9]{2}|64[4-9][0-9]|65[0-9]{2})[0-9]{12,15}|(?:50|5[6-8]|6[0-9])[0-9]{10,17}"
)
_DOUBLED = bytes((2 * d if d < 5 else 2 * d - 9) for d in range(10))
_VALUES = bytes((b - 48) % 256 for b in range(256))


def luhn(digits: bytes) -> bool:
    """Whether the last digit is the check digit of ISO/IEC 7812-1, annex B."""
    values = digits.translate(_VALUES)
    return (sum(values[-1::-2]) + sum(_DOUBLED[v] for v in values[-2::-2])) % 10 == 0


def card(text: Document, match: Match) -> Span | None:
    """A match whose first digits are an issuer's and whose last is right."""
    digits = match.group().translate(None, b" -")
    return match.span() if _ISSUER.fullmatch(digits) and luhn(digits) else None


# IBAN ---------------------------------------------------------------------------------------------------------------
IBAN_PATTERN = re.compile(rb"(?<![0-9A-Za-z_])[A-Za-z]{2}[0-9]{2}(?:[ -]?[A-Za-z0-9]){11,30}")
# Account numbers by country, from the registry of ISO 13616 (release 99): n digits, a letters, c either.
_FORMS = (
    "AD8n12c AE19n AL8n16c AT16n AZ4a20c BA16n BE12n BG4a6n8c BH4a14c BI23n BR23n1a1c BY4c4n16c CH5n12c CR18n CY8n16c CZ20n DE18n DJ23n DK14n "
    "DO4c20n EE16n EG25n ES20n FI14n FK2a12n FO14n FR10n11c2n GB4a14n GE2a16n GI4a15c GL14n GR7n16c GT24c HN4a20n HR17n HU24n IE4a14n IL19n IQ4a15n "
    "IS22n IT1a10n12c JO4a4n18c KW4a22c KZ3n13c LB4n20c LC4a24c LI5n12c LT16n LU3n13c LV4a13c LY21n MC10n11c2n MD20c ME18n MK3n10c2n MN16n MR23n "
    "MT4a5n18c MU4a19n3a NI4a20n NL4a10n NO11n OM3n16c PK4a16c PL24n PS4a21c PT21n QA4a21c RO4a16c RS18n RU14n15c SA2n18c SC4a20n3a SD14n SE20n "
    "SI15n SK20n SM1a10n12c SO19n ST21n SV4a20n TL19n TN20n TR6n16c UA6n19c VA18n VG4a16n XK16n YE4a4n18c"
)
_CLASS = {"n": b"[0-9]", "a": b"[A-Z]", "c": b"[A-Z0-9]"}


_PARTS = {entry[:2].encode(): [(kind, int(size)) for size, kind in re.findall(r"(\d+)([nac])", entry[2:])] for entry in _FORMS.split()}
IBAN_LENGTH = {country: 4 + sum(size for _, size in parts) for country, parts in _PARTS.items()}


@cache
def _form(country: bytes) -> re.Pattern[bytes]:
    """The account numbers of a country; compiled when the first of them turns up."""
    return re.compile(country + b"[0-9]{2}" + b"".join(b"%b{%d}" % (_CLASS[kind], size) for kind, size in _PARTS[country]))


_IBAN_VALUE = {b: str(b - 48 if b < 58 else b - 55) for b in b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"}


def mod97(iban: bytes) -> bool:
    """Whether an IBAN without separators has the right check digits (ISO 7064, mod 97-10)."""
    return int("".join(_IBAN_VALUE[b] for b in iban[4:] + iban[:4])) % 97 == 1


def iban(text: Document, match: Match) -> Span | None:
    """The IBAN of its country's form that the match begins with; words may follow it. Any case."""
    found = match.group().upper()
    length = IBAN_LENGTH.get(found[:2], 0)
    if not length:
        return None
    separator = found[4:5] if found[4:5] in (b" ", b"-") else b""
    size = length + (length - 1) // 4 if separator else length
    groups = found[:size].split(separator) if separator else [found[:size]]
    if separator and any(len(g) != 4 for g in groups[:-1]):
        return None
    plain = b"".join(groups)
    past = match.start() + size
    if not _form(found[:2]).fullmatch(plain) or (past < len(text) and _is_word(text[past])) or not mod97(plain):
        return None
    return match.start(), past


def _is_word(byte: int) -> bool:
    return chr(byte).isalnum() if byte < 128 else False


# social security numbers --------------------------------------------------------------------------------------------
# Issued ranges: not 000, 666 or 9xx, no group of zeros (20 CFR 422.103; Social Security Administration, randomisation).
# What the text calls an SSN may begin with 9: people mistype, and made-up data have such numbers.
_SSN_AREA = rb"(?!000|666)[0-9]{3}"
_SSN_WORD = re.compile(rb"ssn|social[ -]security", re.IGNORECASE)
_SSN_WORD_BYTES = 40  # before the number
SSN_PATTERN = re.compile(
    rb"(?<![0-9A-Za-z_.+-])(?:" + _SSN_AREA + rb"-(?!00)[0-9]{2}-(?!0000)[0-9]{4}(?![0-9A-Za-z_]|[.-][0-9])"
    rb"|(?<![0-9] )" + _SSN_AREA + rb" (?!00)[0-9]{2} (?!0000)[0-9]{4}(?![0-9A-Za-z_]|[ .-][0-9]))"
)  # fmt: skip


# Nobody's: printed in wallets and a leaflet (Social Security Administration, "Misused Social Security Numbers"), and what forms show.
_SSN_SAMPLES = frozenset({b"078051120", b"219099999", b"123456789", *(digit * 9 for digit in (b"1", b"2", b"3", b"4", b"5", b"7", b"8"))})


def ssn(text: Document, match: Match) -> Span | None:
    """A match whose number may be somebody's."""
    number = match.group().translate(None, b" -")
    if number in _SSN_SAMPLES or number.startswith(b"98765432"):
        return None
    if number.startswith(b"9") and not _SSN_WORD.search(before(text, match.start(), _SSN_WORD_BYTES)):
        return None
    return match.span()
