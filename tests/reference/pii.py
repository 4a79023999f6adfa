"""Naive twin of `pii`: full patterns over the whole text, as strings, with the plainest checks that say the same.

Written apart from `curate.steps.pii_patterns`: `str` patterns with code point ranges, Luhn and mod 97 from their
definitions, phone numbers validated by parsing with `phonenumbers`. Slow.
"""

from __future__ import annotations

import ipaddress
import math
import re

import phonenumbers
from phonenumbers import PhoneMetadata

TYPES = ("key", "email", "iban", "card", "ssn", "ip", "phone")

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
IP = re.compile(
    rf"(?:(?<![0-9A-Za-z_.:])|(?<=[Pp]v6:)|(?<=[G-Zg-z]:))(?:[0-9A-Fa-f]{{1,4}}:|:(?=:))[0-9A-Fa-f:]{{1,40}}"
    rf"(?:(?<=:){V4}|(?<=[0-9A-Fa-f]))(?![0-9A-Za-z_]|[:.][0-9A-Fa-f:])"
    rf"|(?<![0-9A-Za-z_.]){V4}(?![0-9A-Za-z_]|\.[0-9])"
)
CARD = re.compile(
    r"(?<![0-9A-Za-z_.+-])(?:[1-6][0-9]{11,18}|[1-6][0-9]{3}(?: [0-9]{4} [0-9]{4} [0-9]{4}(?: [0-9]{3})?| [0-9]{6} [0-9]{4,5})"
    r"|[1-6][0-9]{3}(?:-[0-9]{4}-[0-9]{4}-[0-9]{4}(?:-[0-9]{3})?|-[0-9]{6}-[0-9]{4,5}))(?![0-9A-Za-z_]|[.-][0-9])"
)
IBAN = re.compile(r"(?<![0-9A-Za-z_])[A-Z]{2}[0-9]{2}(?:[ -]?[A-Z0-9]){11,30}")
SSN = re.compile(
    r"(?<![0-9A-Za-z_.+-])(?:([0-9]{3})-([0-9]{2})-([0-9]{4})(?![0-9A-Za-z_]|[.-][0-9])"
    r"|(?<![0-9] )([0-9]{3}) ([0-9]{2}) ([0-9]{4})(?![0-9A-Za-z_]|[ .-][0-9]))"
)
KEY = re.compile(
    r"(?<![A-Za-z0-9_-])(?:(?:AKIA|ASIA)[A-Z0-9]{16}|gh[pousr]_[A-Za-z0-9]{36,251}+|github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}"
    r"|glpat-[A-Za-z0-9_-]{20,64}+|sk-[A-Za-z0-9_-]{20,250}+|[sr]k_(?:live|test)_[A-Za-z0-9]{16,250}+|AIza[A-Za-z0-9_-]{35}"
    r"|GOCSPX-[A-Za-z0-9_-]{28}|xox[abeoprs]-[A-Za-z0-9-]{10,250}+|xapp-[A-Za-z0-9-]{10,250}+|hf_[A-Za-z0-9]{30,64}+"
    r"|npm_[A-Za-z0-9]{36}|SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"
    r"|eyJ[A-Za-z0-9_-]{8,2000}+\.eyJ[A-Za-z0-9_-]{8,8000}+\.[A-Za-z0-9_-]{16,2000}+)(?![A-Za-z0-9_])"
)
KEY_BLOCK = re.compile(r"(?<![A-Za-z0-9_])-----BEGIN (?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
KEY_BLOCK_END = re.compile(r"-----END (?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY(?: BLOCK)?-----")


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
    from curate.steps.pii_patterns import IBAN_LENGTH

    length = IBAN_LENGTH.get(text[start : start + 2].encode(), 0)
    for form in (r"[A-Z0-9]+", r"(?:[A-Z0-9]{4} )+[A-Z0-9]{1,4}", r"(?:[A-Z0-9]{4}-)+[A-Z0-9]{1,4}"):
        separators = 0 if form.startswith("[") else (length - 1) // 4
        end = start + length + separators
        found = text[start:end]
        if not length or len(found) != end - start or not re.fullmatch(form, found) or re.match(r"[A-Za-z0-9]", text[end : end + 1]):
            continue
        plain = found.replace(" ", "").replace("-", "")
        if len(plain) == length and int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1:
            return end
    return -1


def ip_ok(found: str, public_only: bool) -> bool:
    if ":" in found:
        groups = [g for g in found.split(":") if g]
        enough = "::" not in found or len(groups) >= 3 or (len(groups) == 2 and max(map(len, groups)) >= 3)
        if not enough or not re.search("[0-9]", found):
            return False
    try:
        return ipaddress.ip_address(found).is_global or not public_only
    except ValueError:
        return False


def key_ok(found: str) -> bool:
    if found.startswith("sk-") and not (re.search("[A-Za-z0-9]{16}", found) and re.search("[0-9]", found)):
        return False
    tail = re.sub(r"\A(?:[A-Za-z]+[-_]|AKIA|ASIA|AIza)", "", found)
    return -sum(tail.count(c) / len(tail) * math.log2(tail.count(c) / len(tail)) for c in set(tail)) >= 2.5


def block_end(text: str, start: int, head_end: int) -> int:
    body_end = head_end
    while body_end < len(text) and body_end - head_end < 16384 and text[body_end : body_end + 5] != "-----":
        body_end += 1
    tail = KEY_BLOCK_END.match(text, body_end)
    return tail.end() if tail and body_end > head_end and re.search("[A-Za-z0-9+/=]{32}", text[start : tail.end()]) else -1


# phone numbers ------------------------------------------------------------------------------------------------------
SEPARATORS = " ./()-\u00a0\u202f\u2010\u2011\u2012\u2013\u2014\u2015"
PHONE = re.compile(
    rf"(?<![0-9A-Za-z_+./-])(?:\+\(?[0-9](?:[{re.escape(SEPARATORS)}]{{0,3}}[0-9]){{6,14}}"
    rf"|\(?0(?:[{re.escape(SEPARATORS)}]{{0,3}}[0-9]){{8,12}}|\(?[1-9](?:[{re.escape(SEPARATORS)}]{{0,2}}[0-9]){{9,10}})"
)
DATE = re.compile(r"\(?(?:[0-3]?[0-9]([ ./-])[01]?[0-9]\1(?:19|20)[0-9]{2}|(?:19|20)[0-9]{2}([ ./-])[01]?[0-9]\2[0-3]?[0-9])(?![0-9])")
EXTENSION = re.compile(r"[ ,;]{0,2}(?:x|ext\.?|extension)[ .:]{0,2}[0-9]{1,6}(?![0-9A-Za-z_])", re.IGNORECASE | re.ASCII)


def valid(number: str, region: str | None) -> phonenumbers.PhoneNumber | None:
    """The number, if libphonenumber parses it and calls it valid (for the region, where there is one)."""
    try:
        parsed = phonenumbers.parse(number, region)
    except phonenumbers.NumberParseException:
        return None
    ok = phonenumbers.is_valid_number(parsed) if region is None else phonenumbers.is_valid_number_for_region(parsed, region)
    return parsed if ok else None


def national(digits: str, groups: list[int], region: str) -> bool:
    home = PhoneMetadata.metadata_for_region(region)
    prefix = home.national_prefix or ""
    for trunk in (prefix, ""):
        number = digits.removeprefix(trunk) if digits.startswith(trunk) else ""
        own = PhoneMetadata.metadata_for_region("US") if region == "CA" else home
        if (trunk == "" and (not number or number[0] == "0")) or not number or not plain_valid(number, region):
            continue
        zero = digits[0] == "0"
        if trunk and zero and (len(groups) == 1 or max(groups) > 2):
            return True
        rule = next(
            (r for r in own.number_format if re.match((r.leading_digits_pattern or [""])[-1], number) and re.fullmatch(r.pattern, number)),
            None,
        )
        if rule is None:
            continue
        written = rule.national_prefix_formatting_rule or ""
        if not trunk and prefix in written and written and not rule.national_prefix_optional_when_formatting:
            continue
        if len(groups) == 1:
            if home.mobile.national_number_pattern and plain_valid(number, region, mobile=True):
                return True
            continue
        cuts = {sum(groups[: i + 1]) - len(trunk) for i in range(len(groups) - 1)}
        at = [len(g) for g in re.fullmatch(rule.pattern, number).groups()]
        if cuts <= {0, *(sum(at[: i + 1]) for i in range(len(at) - 1))}:
            return True
    return False


def plain_valid(number: str, region: str, mobile: bool = False) -> bool:
    """Valid as a national significant number: no trunk prefix or country code may be left to strip."""
    code = phonenumbers.country_code_for_region(region)
    zeros = len(number) - len(number.lstrip("0"))
    parsed = phonenumbers.PhoneNumber(
        code, int(number), italian_leading_zero=zeros > 0 or None, number_of_leading_zeros=zeros if zeros > 1 else None
    )
    if not phonenumbers.is_valid_number_for_region(parsed, region):
        return False
    kind = phonenumbers.number_type(parsed)
    return not mobile or kind in (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE_OR_MOBILE)


def phone_end(text: str, match: re.Match[str], regions: tuple[str, ...]) -> int:
    found = match.group()
    spots = [(m.start(), m.end()) for m in re.finditer("[0-9]+", found)]
    if found[0] != "+":
        if DATE.match(found) or re.fullmatch(r"\(?[0-9]+\.[0-9]+", found):
            return -1
        short = next((i for i, (a, z) in enumerate(spots) if i and z - a < 2), len(spots))
        spots = spots[:short]
    for last in range(len(spots), 0, -1):
        groups = [z - a for a, z in spots[:last]]
        digits = "".join(found[a:z] for a, z in spots[:last])
        end = match.start() + spots[last - 1][1]
        if len(digits) < (7 if found[0] == "+" else 9):
            return -1
        extension = EXTENSION.match(text, end)
        if extension is None and re.match(r"[0-9A-Za-z_]|[./-][0-9]", text[end : end + 2]):
            continue
        if found[0] == "+":
            ok = valid("+" + digits, None) is not None
        else:
            ok = (last > 1 or digits not in "01234567890123456789 12345678910") and any(national(digits, groups, r) for r in regions)
        if ok:
            return extension.end() if extension else end
    return -1


def end_of(kind: str, text: str, match: re.Match[str], regions: tuple[str, ...], public_only: bool) -> int:
    """Where the accepted match ends, or -1."""
    found, end = match.group(), match.end()
    if kind == "email":
        return -1 if found.lower().endswith(FILES) else end
    if kind == "iban":
        return iban_end(text, match.start())
    if kind == "card":
        digits = re.sub("[ -]", "", found)
        return end if issuer(digits) and luhn(digits) else -1
    if kind == "ssn":
        area, group, serial = (g for g in match.groups() if g)
        return end if area not in ("000", "666") and area[0] != "9" and group != "00" and serial != "0000" else -1
    if kind == "ip":
        return end if ip_ok(found, public_only) else -1
    if kind == "phone":
        return phone_end(text, match, regions)
    return end if key_ok(found) else -1


def finds(text: str, regions: tuple[str, ...], public_only: bool = False) -> list[tuple[int, int, str]]:
    """(start, end, type) in code points, overlaps settled by the order of TYPES."""
    patterns = {"key": KEY, "email": EMAIL, "iban": IBAN, "card": CARD, "ssn": SSN, "ip": IP, "phone": PHONE}
    kept: list[tuple[int, int, str]] = []
    for kind in TYPES:
        new = []
        at = 0
        while True:
            match = patterns[kind].search(text, at)
            block = KEY_BLOCK.search(text, at) if kind == "key" else None
            if block and (match is None or block.start() < match.start()):
                start, end = block.start(), block_end(text, block.start(), block.end())
            elif match:
                start, end = match.start(), end_of(kind, text, match, regions, public_only)
            else:
                break
            if end < 0:
                at = start + 1
            else:
                new.append((start, end, kind))
                at = end
        kept += [n for n in new if not any(n[0] < z and a < n[1] for a, z, _ in kept)]
    return sorted(kept)
