"""Made-up personal data of every type of `pii`, for audits. A maker returns (label, value).

A label is what may stand before the value in a text. `|before|after` must stand there: the type is believed only after a
word (`|PESEL: |`), or is part of a URL (`|https://|@db1.corp.com/`). Values are random with right check digits; by chance one may be somebody's.
"""

from __future__ import annotations

import ipaddress
import random
import string
from collections.abc import Callable
from itertools import product

from curate.steps.pii_id_checks import brazilian_cpf, chinese_resident, italian_fiscal, polish_pesel, spanish_dni
from curate.steps.pii_numbers import luhn

Maker = Callable[[random.Random], tuple[str, str]]
_NAMES = ("anna", "jose", "li.wei", "o'neill", "m.garcia", "k_schmidt", "priya", "j\u00f6rg", "\u0438\u0432\u0430\u043d", "sam+news")
_HOSTS = (
    "corp.com",
    "mail.org",
    "univ.edu",
    "firma.de",
    "m\u00fcller.de",
    "empresa.com.br",
    "\u043f\u0440\u0438\u043c\u0435\u0440.\u0440\u0444",
)
_ALNUM = string.ascii_letters + string.digits


def _digits(make: random.Random, count: int) -> str:
    return "".join(make.choices(string.digits, k=count))


def _completed(head: str, check: Callable[[str], bool], alphabet: str = string.digits, count: int = 1) -> str | None:
    """The number with the last characters that pass the check; None where there are none."""
    return next((head + "".join(tail) for tail in product(alphabet, repeat=count) if check(head + "".join(tail))), None)


def _email(make: random.Random) -> tuple[str, str]:
    return "e-mail", f"{make.choice(_NAMES)}{make.randrange(100)}@{make.choice(_HOSTS)}"


def _ip(make: random.Random) -> tuple[str, str]:
    if make.random() < 0.25:
        return "host", str(ipaddress.IPv6Address((0x2A00 << 112) | make.getrandbits(112)))
    while not (address := ipaddress.IPv4Address(make.getrandbits(32))).is_global:
        pass
    return "host", str(address)


def _phone(make: random.Random) -> tuple[str, str]:
    import phonenumbers

    region = make.choice(("US", "GB", "DE", "FR", "IN", "BR", "CN", "AU", "CA"))
    example = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
    assert example is not None  # these regions have mobile numbers
    text = str(example.national_number)
    while True:
        number = phonenumbers.PhoneNumber(example.country_code, int(text[:-6] + _digits(make, 6)))
        if phonenumbers.is_valid_number(number):
            form = make.choice((phonenumbers.PhoneNumberFormat.INTERNATIONAL, phonenumbers.PhoneNumberFormat.NATIONAL))
            return "phone", phonenumbers.format_number(number, form)


def _card(make: random.Random) -> tuple[str, str]:
    head = make.choice(("4", "51", "55", "2221", "34", "37", "6011", "62", "35"))
    size = 15 if head in ("34", "37") else 16
    number = _completed(head + _digits(make, size - 1 - len(head)), lambda n: luhn(n.encode())) or ""
    return "card", " ".join(number[i : i + 4] for i in range(0, 16, 4)) if size == 16 and make.random() < 0.5 else number


def _iban(make: random.Random) -> tuple[str, str]:
    country, bank, count = make.choice(
        (("DE", "", 18), ("GB", "NWBK", 14), ("FR", "", 23), ("NL", "INGB", 10), ("ES", "", 20), ("CH", "", 17))
    )
    account = bank + _digits(make, count)
    value = int("".join(str(int(c, 36)) for c in account + country + "00"))
    number = f"{country}{98 - value % 97:02}{account}"
    kind = make.random()
    return "IBAN", " ".join(number[i : i + 4] for i in range(0, len(number), 4)) if kind < 0.4 else number.lower() if kind < 0.5 else number


def _ssn(make: random.Random) -> tuple[str, str]:
    area = make.choice([n for n in range(1, 900) if n != 666])
    return "SSN", f"{area:03}-{make.randrange(1, 100):02}-{make.randrange(1, 10000):04}"


def _national_id(make: random.Random) -> tuple[str, str]:
    date = f"{make.randrange(50, 100)}{make.randrange(1, 13):02}{make.randrange(1, 29):02}"
    letters = "".join(make.choices(string.ascii_uppercase, k=6))
    made: list[tuple[str, str | None]] = [
        ("ID", _completed(f"11010519{date}{_digits(make, 3)}", chinese_resident, "0123456789X")),
        ("DNI", _completed(_digits(make, 8), spanish_dni, string.ascii_uppercase)),
        ("codice fiscale", _completed(f"{letters}{date[:2]}A{date[4:]}H{_digits(make, 3)}", italian_fiscal, string.ascii_uppercase)),
        ("CPF", _dotted(_completed(_digits(make, 9), brazilian_cpf, count=2))),
        ("|PESEL: |", _completed(f"{date}{_digits(make, 4)}", polish_pesel)),
        ("NINO", f"A{make.choice('ABCEGHJKLM')}{_digits(make, 6)}{make.choice('ABCD')}"),
        ("PAN", f"{letters[:3]}P{letters[3]}{_digits(make, 4)}{letters[4]}"),
    ]
    label, value = make.choice([pair for pair in made if pair[1]])
    return label, value or ""


def _dotted(number: str | None) -> str | None:
    return f"{number[:3]}.{number[3:6]}.{number[6:9]}-{number[9:]}" if number else None


def _credentials(make: random.Random) -> tuple[str, str]:
    scheme = make.choice(("https", "postgres", "mysql", "ftp", "mongodb+srv"))
    return (
        f"|{scheme}://|@db{make.randrange(100)}.corp.com/",
        f"{make.choice(('admin', 'app', 'jane'))}:{''.join(make.choices(_ALNUM, k=12))}",
    )


def _key(make: random.Random) -> tuple[str, str]:
    head, alphabet, count = make.choice((
        ("AKIA", string.ascii_uppercase + string.digits, 16), ("ghp_", _ALNUM, 36), ("sk-proj-", _ALNUM, 48), ("hf_", _ALNUM, 34),
        ("xoxb-", _ALNUM, 40), ("AIza", _ALNUM, 35), ("glpat-", _ALNUM, 20), ("sk_live_", _ALNUM, 24), ("npm_", _ALNUM, 36), ("hvs.", _ALNUM, 28),
    ))  # fmt: skip
    return "key", head + "".join(make.choices(alphabet, k=count))


MAKERS: dict[str, Maker] = {
    "key": _key, "credentials": _credentials, "email": _email, "iban": _iban, "card": _card, "ssn": _ssn, "national_id": _national_id, "ip": _ip,
    "phone": _phone,
}  # fmt: skip
