"""Naive twin of `pii` for the types whose rules are a pattern and a check: e-mail, IBAN, card, SSN, IP version 6.

Written apart from `curate.steps.pii_patterns`: `str` patterns with code point ranges, Luhn and mod 97 from their
definitions. Slow. Phone numbers are validated by parsing with `phonenumbers`, identity numbers by python-stdnum in
tests/parity. Rules on what stands around a number are tested by examples, and against full patterns over whole texts.
"""

from __future__ import annotations

import ipaddress
import re

import phonenumbers

TYPES = ("email", "iban", "card", "ssn", "ip")

EURO = "\u00c0-\u053f"
FOREIGN = "\u00c0-\u1fff\u3040-\ud7ff\U00010000-\U0010ffff"
EMAIL = re.compile(
    rf"(?<![A-Za-z0-9_{EURO}])(?<![A-Za-z0-9_{EURO}][.%+&~'-])"
    rf"[A-Za-z0-9_{EURO}](?:[A-Za-z0-9_.%+&~'{EURO}-]{{0,62}}[A-Za-z0-9_{EURO}])?@(?!-)"
    rf"(?:[A-Za-z0-9{FOREIGN}-]{{1,63}}\.){{1,8}}(?:xn--[A-Za-z0-9-]{{2,59}}|[A-Za-z]{{2,24}}|[{FOREIGN}]{{2,24}}+)(?![A-Za-z0-9])"
)
FILES = (".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp", ".avif", ".ico", ".css", ".htm", ".html", ".php")
OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
V4 = rf"(?:{OCTET}\.){{3}}{OCTET}"
IP = re.compile(  # version 6 alone
    rf"(?:(?<![0-9A-Za-z_.:])|(?<=[Pp]v6:)|(?<=[G-Zg-z]:))(?:[0-9A-Fa-f]{{1,4}}:|:(?=:))[0-9A-Fa-f:]{{1,40}}"
    rf"(?:(?<=:){V4}|(?<=[0-9A-Fa-f]))(?![0-9A-Za-z_]|[:.][0-9A-Fa-f:])"
)
CARD = re.compile(
    r"(?<![0-9A-Za-z_.+-])(?:[1-6][0-9]{11,18}|[1-6][0-9]{3}(?: [0-9]{4} [0-9]{4} [0-9]{4}(?: [0-9]{3})?| [0-9]{6} [0-9]{4,5})"
    r"|[1-6][0-9]{3}(?:-[0-9]{4}-[0-9]{4}-[0-9]{4}(?:-[0-9]{3})?|-[0-9]{6}-[0-9]{4,5}))(?![0-9A-Za-z_]|[.-][0-9])"
)
IBAN = re.compile(r"(?<![0-9A-Za-z_])[A-Za-z]{2}[0-9]{2}(?:[ -]?[A-Za-z0-9]){11,30}")
SSN = re.compile(
    r"(?<![0-9A-Za-z_.+-])(?:([0-9]{3})-([0-9]{2})-([0-9]{4})(?![0-9A-Za-z_]|[.-][0-9])"
    r"|(?<![0-9] )([0-9]{3}) ([0-9]{2}) ([0-9]{4})(?![0-9A-Za-z_]|[ .-][0-9]))"
)


def luhn(digits: str) -> bool:
    total = 0
    for i, c in enumerate(reversed(digits)):
        doubled = int(c) * (1 + i % 2)
        total += doubled // 10 + doubled % 10
    return total % 10 == 0


def issuer(digits: str) -> bool:
    n, two, three, four = len(digits), int(digits[:2]), int(digits[:3]), int(digits[:4])
    return (
        (digits[0] == "4" and n in (13, 16, 19))
        or ((51 <= two <= 55 or 2221 <= four <= 2720) and n == 16)
        or (two in (34, 37) and n == 15)
        or ((300 <= three <= 305 or three == 309 or two in (36, 38, 39)) and n == 14)
        or (two == 35 and 16 <= n <= 19)
        or (four in (2131, 1800) and n == 15)
        or (2200 <= four <= 2204 and 16 <= n <= 19)
        or (two in (50, 56, 57, 58) and n >= 12)
        or digits[0] == "6"
    )


def iban_end(text: str, start: int) -> int:
    """By python-stdnum's registry and check."""
    from stdnum import iban as registry

    for form in (r"[A-Z0-9]{15,34}", r"(?:[A-Z0-9]{4} ){3,8}[A-Z0-9]{1,4}", r"(?:[A-Z0-9]{4}-){3,8}[A-Z0-9]{1,4}"):
        longest = re.match(form, text[start : start + 48], re.IGNORECASE | re.ASCII)
        for size in range(longest.end(), 14, -1) if longest else ():
            found, end = text[start : start + size], start + size
            whole = re.fullmatch(form, found, re.IGNORECASE | re.ASCII) and not re.match(r"[A-Za-z0-9]", text[end : end + 1])
            if whole and registry.is_valid(found, check_country=False):
                return end
    return -1


def ip_ok(found: str) -> bool:
    if ":" in found:
        groups = [g for g in found.split(":") if g]
        enough = "::" not in found or len(groups) >= 3 or (len(groups) == 2 and max(map(len, groups)) >= 3)
        if not enough or not re.search("[0-9]", found):
            return False
    try:
        return bool(ipaddress.ip_address(found))
    except ValueError:
        return False


def valid(number: str, region: str | None) -> phonenumbers.PhoneNumber | None:
    """The number, if libphonenumber parses it and calls it valid (for the region, where there is one)."""
    try:
        parsed = phonenumbers.parse(number, region)
    except phonenumbers.NumberParseException:
        return None
    ok = phonenumbers.is_valid_number(parsed) if region is None else phonenumbers.is_valid_number_for_region(parsed, region)
    return parsed if ok else None


def end_of(kind: str, text: str, match: re.Match[str]) -> int:
    """Where the accepted match ends, or -1."""
    found, end = match.group(), match.end()
    if kind == "email":
        in_url = re.search(r"://[^\x00-\x20/@<>]*\Z", text[: match.start()].encode()[-100:].decode("utf-8", "ignore"))
        return -1 if found.lower().endswith(FILES) or in_url else end
    if kind == "iban":
        return iban_end(text, match.start())
    if kind == "card":
        digits = re.sub("[ -]", "", found)
        return end if issuer(digits) and luhn(digits) else -1
    if kind == "ssn":
        area, group, serial = (g for g in match.groups() if g)
        number = area + group + serial
        if number in ("078051120", "219099999", "123456789") or len(set(number)) == 1:
            return -1
        if area[0] == "9" and not re.search(
            "ssn|social[ -]security", text[: match.start()].encode()[-40:].decode("utf-8", "ignore").lower()
        ):
            return -1
        return end if area not in ("000", "666") and not number.startswith("98765432") and group != "00" and serial != "0000" else -1
    return end if ip_ok(found) else -1


def finds(text: str) -> list[tuple[int, int, str]]:
    """(start, end, type) in code points of the TYPES, overlaps settled by their order."""
    patterns = {"email": EMAIL, "iban": IBAN, "card": CARD, "ssn": SSN, "ip": IP}
    kept: list[tuple[int, int, str]] = []
    for kind in TYPES:
        new = []
        at = 0
        while match := patterns[kind].search(text, at):
            end = end_of(kind, text, match)
            if end < 0:
                at = match.start() + 1
            else:
                new.append((match.start(), end, kind))
                at = end
        kept += [n for n in new if not any(n[0] < z and a < n[1] for a, z, _ in kept)]
    return sorted(kept)
