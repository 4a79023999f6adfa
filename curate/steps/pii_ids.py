"""National identity, tax and insurance numbers that can be validated: what they look like and when they are believed.

Two patterns: tokens of capitals and digits (`AB123456C`, `12345678-Z`), and runs of digits, whole or grouped. A form whose
check digits leave one random number in fifty or more needs a word of its own before it (`PESEL: ...`): nine random digits
pass Luhn one time in ten.

Not found: numbers in lower case, grouped in other ways, with omocodia (Italy) or Corsican departments (France), passport
and driving licence numbers, and all countries not listed here.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from curate.steps import pii_id_checks as check
from curate.steps.pii_patterns import Document, Match, Span, before


class Form(NamedTuple):
    """One country's number."""

    country: str  # ISO 3166
    check: check.Check
    words: str | None = None  # pattern; must stand in the CONTEXT_BYTES before it; None: check and form are enough


CONTEXT_BYTES = 48


@cache
def _words(pattern: str) -> re.Pattern[bytes]:
    """Compiled when the first number of its form turns up."""
    return re.compile(rb"(?<![<_a-z0-9])(?:" + pattern.encode() + rb")(?![a-z])")


# tokens of capitals and digits --------------------------------------------------------------------------------------
_TOKENS = {
    "cn": (rb"[1-9][0-9]{16}X", Form("CN", check.chinese_resident)),
    # https://design.tax.service.gov.uk: letters and pairs that are never given out
    "gb": (
        rb"(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z](?:[0-9]{6}| [0-9]{2} [0-9]{2} [0-9]{2} )[A-D]",
        Form("GB", check.always),
    ),
    "es": (rb"(?:[0-9]{8}|[XYZ]-?[0-9]{7})-?[A-HJ-NP-TV-Z]", Form("ES", check.spanish_dni)),
    "it": (rb"[A-Z]{6}[0-9]{2}[A-EHLMPR-T][0-9]{2}[A-Z][0-9]{3}[A-Z]", Form("IT", check.italian_fiscal)),
    "in": (rb"[A-Z]{3}[ABCFGHJLPT][A-Z][0-9]{4}[A-Z]", Form("IN", check.always)),
    "sg": (rb"[STFGM][0-9]{7}[A-Z]", Form("SG", check.singapore_nric)),
    "fi": (rb"[0-9]{6}(?:[-+][0-9]{3}[A-FHJ-NPR-Y]|[A-FU-Y][0-9]{3}[0-9A-FHJ-NPR-Y])", Form("FI", check.finnish_hetu)),
    "tw": (rb"[A-Z][1289][0-9]{8}", Form("TW", check.taiwanese)),
    "mx": (rb"[A-Z]{4}[0-9]{6}[HMX][A-Z]{5}[0-9A-Z][0-9]", Form("MX", check.mexican_curp)),
    "ie": (rb"[0-9]{7}[A-W][A-IW]?", Form("IE", check.irish_pps, "ppsn?|personal public service")),
}
# Runs of capitals and digits in them, without the dashes: what the scan looks for. Sizes in base 36.
TOKEN_SHAPES = (
    "DhL1", "L2D6L1", "D8L1", "L1D7L1", "L6D2L1D2L1D3L1", "L5D4L1", "D9L1", "D6L1D3L1", "D6L1D4", "L1D9", "L4D6L6D2", "L4D6L7D1", "D7L1",
    "D7L2",
)  # fmt: skip
TOKEN_PATTERN = re.compile(
    rb"(?<![0-9A-Za-z_])(?<![0-9A-Z][-+])(?:"
    + b"|".join(b"(?P<" + name.encode() + b">" + pattern + b")" for name, (pattern, _) in _TOKENS.items())
    + rb")(?![0-9A-Za-z_]|[-+][0-9A-Z])"
)

# runs of digits -----------------------------------------------------------------------------------------------------
_COMPACT: dict[int, tuple[Form, ...]] = {
    9: (
        Form("CA", check.passes_luhn, "sin|nas|social insurance"),
        Form("NL", check.dutch_bsn, "bsn|burgerservicenummer|sofi\\w{0,6}"),
        Form("PT", check.portuguese, "nif|contribuinte"),
        Form("IL", check.passes_luhn, "teudat zehut|israeli id|\u05ea\u05e2\u05d5\u05d3\u05ea \u05d6\u05d4\u05d5\u05ea"),
    ),
    10: (Form("GB", check.british_nhs, "nhs"), Form("SE", check.swedish, "personnummer|personnr")),
    11: (
        Form("NO", check.norwegian),
        Form("PL", check.polish_pesel, "pesel"),
        Form("BR", check.brazilian_cpf, "cpf"),
        Form("TR", check.turkish, "kimlik|tckn|tc no"),
        Form("DE", check.german_tax, "steuer\\w{0,24}|idnr|identifikationsnummer|tax id|tin"),
        Form("BE", check.belgian, "rijksregister\\w{0,8}|registre national|niss|insz|national number"),
    ),
    12: (
        Form("IN", check.indian_aadhaar, "aadhaar|aadhar|uidai|uid"),
        Form("JP", check.japanese, "my number|\u30de\u30a4\u30ca\u30f3\u30d0\u30fc|\u500b\u4eba\u756a\u53f7"),
        Form("SE", check.swedish, "personnummer|personnr"),
    ),
    13: (
        Form("RO", check.romanian, "cnp|cod numeric personal"),
        Form("ZA", check.south_african, "id|id number|id no|identity number|said"),
        Form("KR", check.korean, "rrn|resident registration|\uc8fc\ubbfc\\S{0,24}"),
        Form("TH", check.thai, "thai id|citizen id|national id|\u0e1b\u0e23\u0e30\u0e0a\u0e32\u0e0a\u0e19"),
    ),
    14: (Form("BR", check.brazilian_cnpj, "cnpj"),),
    15: (Form("FR", check.french_nir),),
    18: (Form("CN", check.chinese_resident),),
}
_GROUPED: dict[str, tuple[bytes, tuple[Form, ...]]] = {
    "cpf": (rb"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}", (Form("BR", check.brazilian_cpf),)),
    "cnpj": (rb"[0-9]{2}\.[0-9]{3}\.[0-9]{3}/[0-9]{4}-[0-9]{2}", (Form("BR", check.brazilian_cnpj),)),
    "rrn": (rb"[0-9]{6}-[1-8][0-9]{6}", (Form("KR", check.korean),)),
    "nordic": (
        rb"[0-9]{6}[-+][0-9]{4}|(?:19|20)[0-9]{6}-[0-9]{4}",
        (Form("SE", check.swedish), Form("FI", check.finnish_hetu), Form("DK", check.danish, "cpr\\S{0,8}")),
    ),
    "nir": (rb"[12] [0-9]{2} [0-9]{2} [0-9]{2} [0-9]{3} [0-9]{3} [0-9]{2}", (Form("FR", check.french_nir),)),
    "belgian": (rb"[0-9]{2}\.[0-9]{2}\.[0-9]{2}-[0-9]{3}\.[0-9]{2}", (Form("BE", check.belgian),)),
    "swiss": (rb"756\.[0-9]{4}\.[0-9]{4}\.[0-9]{2}", (Form("CH", check.swiss),)),
    # Individual taxpayer numbers: no check digit, but a range of its own (Internal Revenue Service); 987-65-4320 to 4329 are for advertisements.
    "itin": (rb"(?!987-65-432)9[0-9]{2}-(?:5[0-9]|6[0-5]|7[0-9]|8[0-8]|9[0-24-9])-[0-9]{4}", (Form("US", check.always),)),
    "threes": (rb"[0-9]{3}(?P<s3>[ -])[0-9]{3}(?P=s3)[0-9]{3}", (_COMPACT[9][0],)),
    "nhs": (rb"[0-9]{3}(?P<s4>[ -])[0-9]{3}(?P=s4)[0-9]{4}", (_COMPACT[10][0],)),
    "fours": (
        rb"(?!(?:(?:19|20)[0-9]{2}[ -]){2})[2-9][0-9]{3}(?P<s5>[ -])[0-9]{4}(?P=s5)[0-9]{4}",
        (Form("IN", check.indian_aadhaar), _COMPACT[12][1]),
    ),
    "steuer": (rb"[0-9]{2} [0-9]{3} [0-9]{3} [0-9]{3}", (_COMPACT[11][4],)),
}
# What the scan looks for beside runs of nine digits and more: lengths of groups with what stands between them.
NUMBER_SHAPES = (
    "3.3.3-2", "2.3.3/4-2", "6-7", "6-4", "6+4", "8-4", "1 2 2 2 3 3 2", "2.2.2-3.2", "3.4.4.2", "3-2-4", "3 3 3", "3-3-3", "3 3 4", "3-3-4",
    "4 4 4", "4-4-4", "2 3 3 3",
)  # fmt: skip
# Digits with spaces, or in one run, must not be part of a longer row of numbers.
_ALONE = (rb"(?<![0-9][ ,:])", rb"(?! [0-9])")
_ROWS = frozenset({"nir", "threes", "nhs", "fours", "steuer"})
NUMBER_PATTERN = re.compile(
    rb"(?<![0-9A-Za-z_.+/-])(?:(?P<compact>" + _ALONE[0] + rb"[0-9]{9,18}" + _ALONE[1] + rb")|"
    + b"|".join(
        b"(?P<" + name.encode() + b">" + (_ALONE[0] + b"(?:" + pattern + b")" + _ALONE[1] if name in _ROWS else pattern) + b")"
        for name, (pattern, _) in _GROUPED.items()
    )
    + rb")(?![0-9A-Za-z_]|[.,/-][0-9])"
)  # fmt: skip


def _believed(form: Form, number: str, text: Document, start: int) -> bool:
    if not form.check(number):
        return False
    return form.words is None or _words(form.words).search(before(text, start, CONTEXT_BYTES)) is not None


def national_token(text: Document, match: Match) -> Span | None:
    """A token that its country's check accepts."""
    form = _TOKENS[match.lastgroup or ""][1]
    number = match.group().decode("ascii").translate(_NO_SEPARATORS)
    return match.span() if _believed(form, number, text, match.start()) else None


def national_number(text: Document, match: Match) -> Span | None:
    """A run of digits that the check of one country accepts."""
    name = match.lastgroup or ""  # the outer of two nested groups
    number = match.group().decode("ascii").translate(_NO_SEPARATORS)
    forms = _COMPACT.get(len(number), ()) if name == "compact" else _GROUPED[name][1]
    return match.span() if any(_believed(f, number, text, match.start()) for f in forms) else None


_NO_SEPARATORS = str.maketrans("", "", " .-/+")
