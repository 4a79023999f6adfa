"""Check digits and dates of national identity numbers. Every function takes digits (and capitals) without separators.

Algorithms as the issuing offices publish them; python-stdnum 2.x is the reference in tests.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from curate.steps.pii_numbers import luhn

Check = Callable[[str], bool]


def _weighted(number: str, weights: str | list[int]) -> int:
    return sum(int(d) * w for d, w in zip(number, map(int, weights), strict=False))


def _is_date(year: int, month: int, day: int) -> bool:
    try:
        return 1850 <= date(year, month, day).year <= 2050
    except ValueError:
        return False


def _short_date(number: str, order: str) -> bool:
    """Whether six digits are a date; order: 'ymd' or 'dmy'. The century is not known, so 29 February always is one."""
    parts = dict(zip(order, (int(number[i : i + 2]) for i in (0, 2, 4)), strict=True))
    return _is_date(2000 if (parts["m"], parts["d"]) == (2, 29) else 1900 + parts["y"], parts["m"], parts["d"])


def passes_luhn(number: str) -> bool:
    """Luhn, and not one digit all through: Canada, Israel."""
    return luhn(number.encode()) and len(set(number)) > 1


def chinese_resident(number: str) -> bool:
    """GB 11643-1999: region, date of birth, order, check character (ISO 7064 mod 11-2)."""
    if number[0] == "0" or not _is_date(int(number[6:10]), int(number[10:12]), int(number[12:14])):
        return False
    return "10X98765432"[_weighted(number, [2 ** (17 - i) % 11 for i in range(17)]) % 11] == number[17]


def spanish_dni(number: str) -> bool:
    """Eight digits and a letter; of a NIE the first letter counts as a digit."""
    digits = str("XYZ".find(number[0])) + number[1:-1] if number[0] in "XYZ" else number[:-1]
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(digits) % 23] == number[-1]


_ODD_LETTERS = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)
_ODD = {c: _ODD_LETTERS[int(c, 36) % 10 if c.isdigit() else ord(c) - 65] for c in "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"}


def italian_fiscal(number: str) -> bool:
    """Codice fiscale: 15 characters and a letter of check; those of omocodia (digits replaced by letters) are left out."""
    even = sum(int(c) if c.isdigit() else ord(c) - 65 for c in number[1:15:2])
    day = int(number[9:11]) % 40
    return 1 <= day <= 31 and chr(65 + (even + sum(_ODD[c] for c in number[:15:2])) % 26) == number[15]


def singapore_nric(number: str) -> bool:
    """NRIC and FIN: prefix S, T, F, G or M."""
    total = _weighted(number[1:8], "2765432") + {"T": 4, "G": 4, "M": 3}.get(number[0], 0)
    letters = {"S": "JZIHGFEDCBA", "T": "JZIHGFEDCBA", "F": "XWUTRQPNMLK", "G": "XWUTRQPNMLK", "M": "KLJNPQRTUWX"}[number[0]]
    return letters[total % 11 if number[0] != "M" else 10 - total % 11] == number[8]


def finnish_hetu(number: str) -> bool:
    """Date, sign of the century left out by the caller or not, number, character of check (mod 31)."""
    plain = number[:6] + number[-4:]
    return _short_date(plain, "dmy") and "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(plain[:9]) % 31] == plain[9]


def taiwanese(number: str) -> bool:
    """Letter of the place, sex, number, check digit."""
    place = "ABCDEFGHJKLMNPQRSTUVXYWZIO".index(number[0]) + 10
    return (place // 10 + place % 10 * 9 + _weighted(number[1:9], "87654321") + int(number[9])) % 10 == 0


def mexican_curp(number: str) -> bool:
    """CURP: letters of the names, date, sex, state, letters, number of check."""
    alphabet = "0123456789ABCDEFGHIJKLMN&OPQRSTUVWXYZ"
    total = sum(alphabet.index(c) * (18 - i) for i, c in enumerate(number[:17]))
    return _short_date(number[4:10], "ymd") and str(-total % 10) == number[17]


def irish_pps(number: str) -> bool:
    """PPS: seven digits, letter of check, perhaps a second letter."""
    second = "WABCDEFGHI".find(number[8]) if len(number) > 8 else 0
    return second >= 0 and "WABCDEFGHIJKLMNOPQRSTUV"[(_weighted(number, "8765432") + 9 * second) % 23] == number[7]


def french_nir(number: str) -> bool:
    """NIR: sex, year and month of birth, place, number, key (97 less the rest)."""
    month = int(number[3:5])
    return number[0] in "12" and (1 <= month <= 12 or 20 <= month <= 42) and 97 - int(number[:13]) % 97 == int(number[13:])


def norwegian(number: str) -> bool:
    """Foedselsnummer, and D-numbers (day + 40): date and two check digits."""
    day = int(number[:2])
    dated = _short_date(f"{day - 40 if day > 40 else day:02}{number[2:6]}", "dmy")
    return dated and _weighted(number, "3761894521") % 11 == 0 and _weighted(number, "54327654321") % 11 == 0


def brazilian_cpf(number: str) -> bool:
    """CPF: nine digits and two of check."""
    first = -_weighted(number[:9], [10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11 % 10
    second = -_weighted(number[:10], [11, 10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11 % 10
    return len(set(number)) > 1 and number[9:] == f"{first}{second}"


def brazilian_cnpj(number: str) -> bool:
    """CNPJ: twelve digits and two of check. It names a company, often of one person."""
    first = -_weighted(number[:12], "543298765432") % 11 % 10
    second = -_weighted(number[:13], "6543298765432") % 11 % 10
    return len(set(number)) > 1 and number[12:] == f"{first}{second}"


def polish_pesel(number: str) -> bool:
    """PESEL: date with the century in the month, number, check digit."""
    century, month = divmod(int(number[2:4]), 20)
    dated = _is_date((1900, 2000, 2100, 2200, 1800)[century] + int(number[:2]), month, int(number[4:6])) if century < 5 else False
    return dated and -_weighted(number[:10], "1379137913") % 10 == int(number[10])


def turkish(number: str) -> bool:
    """T.C. kimlik: two check digits."""
    odd, even = sum(map(int, number[0:9:2])), sum(map(int, number[1:8:2]))
    return number[0] != "0" and (7 * odd - even) % 10 == int(number[9]) and sum(map(int, number[:10])) % 10 == int(number[10])


def german_tax(number: str) -> bool:
    """Steuer-ID: one or two digits repeat among the first ten, ISO 7064 mod 11,10."""
    counts = [number[:10].count(d) for d in set(number[:10])]
    if number[0] == "0" or max(counts) not in (2, 3) or sum(c > 1 for c in counts) != 1:
        return False
    check = 5
    for digit in number:
        check = ((check or 10) * 2) % 11 + int(digit)
        check %= 10
    return check == 1


def belgian(number: str) -> bool:
    """National number: date, number, 97 less the rest (with a 2 in front from the year 2000 on)."""
    return int(number[9:]) in (97 - int(number[:9]) % 97, 97 - int("2" + number[:9]) % 97) and number[:9] != "000000000"


_D = (
    "0123456789",
    "1234067895",
    "2340178956",
    "3401289567",
    "4012395678",
    "5987604321",
    "6598710432",
    "7659821043",
    "8765932104",
    "9876543210",
)
_P = ("0123456789", "1576283094", "5803796142", "8916043527", "9453126870", "4286573901", "2793806415", "7046913258")


def indian_aadhaar(number: str) -> bool:
    """Verhoeff's check; the first digit is not 0 or 1, and the number no palindrome."""
    check = 0
    for at, digit in enumerate(reversed(number)):
        check = int(_D[check][int(_P[at % 8][int(digit)])])
    return check == 0 and number[0] in "23456789" and number != number[::-1]


def japanese(number: str) -> bool:
    """Individual number: eleven digits and one of check."""
    return (lambda rest: 0 if rest <= 1 else 11 - rest)(_weighted(number, "65432765432") % 11) == int(number[11])


def romanian(number: str) -> bool:
    """CNP: sex and century, date, county, number, check digit."""
    rest = _weighted(number, "279146358279") % 11
    if not (1 <= int(number[7:9]) <= 48 or number[7:9] in ("51", "52", "70", "80", "81", "82", "83")):
        return False
    return number[0] in "12345678" and _short_date(number[1:7], "ymd") and (1 if rest == 10 else rest) == int(number[12])


def south_african(number: str) -> bool:
    """Date, sex, citizenship, Luhn."""
    return _short_date(number[:6], "ymd") and number[10] in "012" and luhn(number.encode())


def korean(number: str) -> bool:
    """RRN: date, sex and century, check digit; from October 2020 on the last six digits are random."""
    year = {"1": 1900, "2": 1900, "5": 1900, "6": 1900, "3": 2000, "4": 2000, "7": 2000, "8": 2000}.get(number[6])
    if year is None or not _is_date(year + int(number[:2]), int(number[2:4]), int(number[4:6])):
        return False
    return year + int(number[:2]) >= 2020 or (11 - _weighted(number, "234567892345") % 11) % 10 == int(number[12])


def thai(number: str) -> bool:
    """Twelve digits and one of check."""
    return number[0] not in "09" and (11 - _weighted(number[:12], [13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11) % 10 == int(number[12])


def dutch_bsn(number: str) -> bool:
    """BSN: mod 11 with weights 9 .. 2, -1."""
    return (_weighted(number[:8], "98765432") - int(number[8])) % 11 == 0 and int(number) > 0


def portuguese(number: str) -> bool:
    """NIF: mod 11."""
    return number[0] in "1235689" and (11 - _weighted(number[:8], "98765432")) % 11 % 10 == int(number[8])


def british_nhs(number: str) -> bool:
    """NHS number: mod 11."""
    check = (11 - _weighted(number[:9], [10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11) % 11
    return check < 10 and check == int(number[9]) and len(set(number)) > 1


def swedish(number: str) -> bool:
    """Personnummer, ten or twelve digits: date and Luhn over the last ten."""
    short = number[-10:]
    day = int(short[4:6])
    return _short_date(short[:4] + f"{day - 60 if day > 60 else day:02}", "ymd") and luhn(short.encode())


def danish(number: str) -> bool:
    """CPR: the date only; check digits were given up in 2007."""
    return _short_date(number[:6], "dmy")


def swiss(number: str) -> bool:
    """AHV number: EAN-13."""
    return (10 - _weighted(number[:12], "131313131313") % 10) % 10 == int(number[12])


def always(number: str) -> bool:
    """Nothing to check beyond the pattern."""
    return True
