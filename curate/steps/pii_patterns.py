"""What counts as an e-mail address, an IP address, a payment card, an IBAN, a US social security number or a key.

Each type is a pattern over UTF-8 bytes and a check of what matched. Every repetition is bounded, so that time is linear
on hostile text and a match fits into the window that `curate.kernels.scan` finds for it. After a match that fails its
check, the search goes on one byte after its start.

What the patterns do not find: addresses written as "name at example dot com", quoted local parts, e-mail domains given
as numbers, numbers spelt in words or with digits other than ASCII's, cards grouped in another way than printed on cards,
social security numbers without separators, keys without a known prefix. Phone numbers are in `pii_phones`.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from curate.kernels.scan import KINDS, prefixes

Match = re.Match[bytes]
Document = memoryview  # the bytes of one document


class PiiType(NamedTuple):
    """A type of personal data: where it may stand, and how much of a match is really one."""

    name: str
    pattern: re.Pattern[bytes]
    end_of: Callable[[Document, Match], int]  # where the accepted match ends; -1: it is none
    score: float  # how far pattern and check alone tell the type from look-alikes; Presidio's figures where it has one


STARTS_WINDOW = frozenset({"key", "iban"})  # a window of these begins where a match must begin, and windows may overlap


def search(kind: PiiType, text: Document, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of each find that begins in text[start:end], left to right, without overlaps."""
    stop = min(end + 2, len(text))  # patterns look ahead by two bytes
    at = start
    while match := kind.pattern.search(text, at, stop):
        past = kind.end_of(text, match)
        if past < 0:
            at = match.start() + 1
        else:
            yield match.start(), past
            at = past


# e-mail -------------------------------------------------------------------------------------------------------------
# Local parts: ASCII, and letters of U+00C0 .. U+053F (Latin, Greek, Cyrillic). Not Chinese or Japanese: there the word
# before an address is written without a space. Domains: labels of ASCII and any other letters (by block, leaving out
# U+2000 .. U+2FFF, U+3000 .. U+303F and U+FB00 .. U+FFFF, which are mostly punctuation); the last label is of one kind.
_EUROPEAN = rb"[\xc3-\xd4][\x80-\xbf]"
_FOREIGN = rb"(?:[\xc3-\xdf]|(?:[\xe0\xe1\xe4-\xed]|\xe3[\x81-\xbf]|\xf0[\x80-\xbf])[\x80-\xbf])[\x80-\xbf]"
_CORE = rb"(?:[A-Za-z0-9_]|" + _EUROPEAN + rb")"
_INNER = rb"(?:[A-Za-z0-9_.%+&~'-]|" + _EUROPEAN + rb")"
_LABEL = rb"(?:[A-Za-z0-9-]|" + _FOREIGN + rb"){1,63}+\."
_EMAIL = re.compile(
    rb"(?<![A-Za-z0-9_])(?<!" + _EUROPEAN + rb")(?<![A-Za-z0-9_][.%+&~'-])(?<!" + _EUROPEAN + rb"[.%+&~'-])"
    + _CORE + rb"(?:" + _INNER + rb"{0,62}" + _CORE + rb")?@(?!-)"
    + rb"(?:" + _LABEL + rb"){1,8}(?:xn--[A-Za-z0-9-]{2,59}|[A-Za-z]{2,24}|(?:" + _FOREIGN + rb"){2,24}+)(?![A-Za-z0-9])"
)  # fmt: skip
# `logo@2x.png` is a picture for high-resolution screens.
_FILE_NAME = re.compile(rb"\.(?:png|jpe?g|gif|svg|webp|avif|ico|css|html?|php)\Z", re.IGNORECASE)


def _email_end(text: Document, match: Match) -> int:
    return -1 if _FILE_NAME.search(match.group()) else match.end()


# IP addresses -------------------------------------------------------------------------------------------------------
_V4 = rb"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])\.){3}(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IP = re.compile(
    rb"(?:(?<![0-9A-Za-z_.:])|(?<=[Pp]v6:)|(?<=[G-Zg-z]:))(?:[0-9A-Fa-f]{1,4}:|:(?=:))[0-9A-Fa-f:]{1,40}(?:(?<=:)" + _V4 + rb"|(?<=[0-9A-Fa-f]))(?![0-9A-Za-z_]|[:.][0-9A-Fa-f:])"
    + rb"|(?<![0-9A-Za-z_.])" + _V4 + rb"(?![0-9A-Za-z_]|\.[0-9])"
)  # fmt: skip


def ip_check(public_only: bool) -> Callable[[Document, Match], int]:
    """Return the check of IP addresses; public_only leaves out private, reserved and documentation ranges.

    With public_only the v4 rule is datatrove's (`ipaddress.is_global`), but with word boundaries. Version 6 is accepted in
    full or with `::` and, because `1::2` is a slice and `a::b` a name in programs, only with a digit and either three
    groups or one group of three digits or more.
    """

    def end_of(text: Document, match: Match) -> int:
        found = match.group()
        if b":" in found:
            groups = [g for g in found.split(b":") if g]
            if b"::" in found and len(groups) < 3 and (len(groups) < 2 or max(map(len, groups)) < 3):
                return -1
            if not any(48 <= b < 58 for b in found):
                return -1
        try:
            address = ipaddress.ip_address(found.decode("ascii"))
        except ValueError:
            return -1
        return -1 if public_only and not address.is_global else match.end()

    return end_of


# payment cards ------------------------------------------------------------------------------------------------------
# 12 to 19 digits in one run, or grouped 4-4-4-4, 4-4-4-4-3, 4-6-5 or 4-6-4 by one separator.
_CARD = re.compile(
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


def luhn(digits: bytes) -> bool:
    """Whether the last digit is the check digit of ISO/IEC 7812-1, annex B."""
    values = digits.translate(bytes((b - 48) % 256 for b in range(256)))
    return (sum(values[-1::-2]) + sum(_DOUBLED[v] for v in values[-2::-2])) % 10 == 0


def _card_end(text: Document, match: Match) -> int:
    digits = match.group().translate(None, b" -")
    return match.end() if _ISSUER.fullmatch(digits) and luhn(digits) else -1


# IBAN ---------------------------------------------------------------------------------------------------------------
_IBAN = re.compile(rb"(?<![0-9A-Za-z_])[A-Z]{2}[0-9]{2}(?:[ -]?[A-Z0-9]){11,30}")
# Length by country, from the registry of ISO 13616 (release 99).
_IBAN_LENGTHS = (
    "NO15 BE16 DK18 FI18 FK18 FO18 GL18 NL18 SD18 MK19 SI19 AT20 BA20 EE20 KZ20 LT20 LU20 MN20 XK20 CH21 CR21 HR21 LI21 LV21 "
    "BG22 BH22 DE22 GB22 GE22 IE22 ME22 RS22 VA22 AE23 GI23 IL23 IQ23 OM23 SO23 TL23 AD24 CZ24 ES24 MD24 PK24 RO24 SA24 SE24 "
    "SK24 TN24 VG24 LY25 PT25 ST25 IS26 TR26 BI27 DJ27 FR27 GR27 IT27 MC27 MR27 SM27 AL28 AZ28 BY28 CY28 DO28 GT28 HN28 HU28 "
    "LB28 NI28 PL28 SV28 BR29 EG29 PS29 QA29 UA29 JO30 KW30 MU30 YE30 MT31 SC31 LC32 RU33"
)
IBAN_LENGTH = {entry[:2].encode(): int(entry[2:]) for entry in _IBAN_LENGTHS.split()}
_IBAN_VALUE = {b: str(b - 48 if b < 58 else b - 55) for b in b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"}


def mod97(iban: bytes) -> bool:
    """Whether an IBAN without separators has the right check digits (ISO 7064, mod 97-10)."""
    return int("".join(_IBAN_VALUE[b] for b in iban[4:] + iban[:4])) % 97 == 1


def _iban_end(text: Document, match: Match) -> int:
    """End of the IBAN of its country's length that the match begins with; words in capitals may follow it."""
    found = match.group()
    length = IBAN_LENGTH.get(found[:2], 0)
    if not length:
        return -1
    separator = found[4:5] if found[4:5] in (b" ", b"-") else b""
    size = length + (length - 1) // 4 if separator else length
    groups = found[:size].split(separator) if separator else [found[:size]]
    if separator and any(len(g) != 4 for g in groups[:-1]):
        return -1
    iban = b"".join(groups)
    past = match.start() + size
    if len(iban) != length or not iban.isalnum() or (past < len(text) and _is_word(text[past])) or not mod97(iban):
        return -1
    return past


def _is_word(byte: int) -> bool:
    return chr(byte).isalnum() if byte < 128 else False


# social security numbers --------------------------------------------------------------------------------------------
# Issued ranges: not 000, 666 or 9xx, no group of zeros (20 CFR 422.103; Social Security Administration, randomisation).
_SSN_AREA = rb"(?!000|666|9)[0-9]{3}"
_SSN = re.compile(
    rb"(?<![0-9A-Za-z_.+-])(?:" + _SSN_AREA + rb"-(?!00)[0-9]{2}-(?!0000)[0-9]{4}(?![0-9A-Za-z_]|[.-][0-9])"
    rb"|(?<![0-9] )" + _SSN_AREA + rb" (?!00)[0-9]{2} (?!0000)[0-9]{4}(?![0-9A-Za-z_]|[ .-][0-9]))"
)  # fmt: skip


def _whole(text: Document, match: Match) -> int:
    return match.end()


# keys ---------------------------------------------------------------------------------------------------------------
_W = rb"[A-Za-z0-9_-]"
_KEY = re.compile(
    rb"(?<![A-Za-z0-9_-])(?:"
    rb"(?:AKIA|ASIA)[A-Z0-9]{16}"  # AWS
    rb"|gh[pousr]_[A-Za-z0-9]{36,251}+|github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}|glpat-" + _W + rb"{20,64}+"
    rb"|sk-" + _W + rb"{20,250}+"  # OpenAI, Anthropic and others
    rb"|[sr]k_(?:live|test)_[A-Za-z0-9]{16,250}+"  # Stripe
    rb"|AIza" + _W + rb"{35}|GOCSPX-" + _W + rb"{28}"  # Google
    rb"|xox[abeoprs]-[A-Za-z0-9-]{10,250}+|xapp-[A-Za-z0-9-]{10,250}+"  # Slack
    rb"|hf_[A-Za-z0-9]{30,64}+|npm_[A-Za-z0-9]{36}|SG\." + _W + rb"{22}\." + _W + rb"{43}"
    rb"|eyJ" + _W + rb"{8,2000}+\.eyJ" + _W + rb"{8,8000}+\." + _W + rb"{16,2000}+"  # JSON web token, signed
    rb")(?![A-Za-z0-9_])"
    rb"|(?<![A-Za-z0-9_])-----BEGIN (?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY(?: BLOCK)?-----(?:[^-]|-(?!----)){1,16384}+"
    rb"-----END (?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
)  # fmt: skip
_ALL_PREFIXES = (
    (b"AKIA", 2), (b"ASIA", 2), (b"AIza", 2), (b"eyJ", 2), (b"SG.", 1), (b"-----BEGIN", 5),
    *((p, len(p) - 1) for p in (b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_", b"github_pat_", b"sk_live_", b"sk_test_", b"rk_live_", b"rk_test_")),
    *((p, len(p) - 1) for p in (b"hf_", b"npm_", b"glpat-", b"sk-", b"GOCSPX-", b"xapp-")),
    *((b"xox%c-" % c, 4) for c in b"abeoprs"),
)  # fmt: skip
KEY_PREFIXES = prefixes(_ALL_PREFIXES)
_BASE64_RUN = re.compile(rb"[A-Za-z0-9+/=]{32}")
_LONG_RUN = re.compile(rb"[A-Za-z0-9]{16}")
_HEAD = re.compile(rb"[A-Za-z]+[-_]|AKIA|ASIA|AIza")
MIN_KEY_ENTROPY = 2.5  # bits a character: 'xxxxxxxx' has 0, 16 random letters and digits about 3.7


def entropy(text: bytes) -> float:
    """Bits per byte of the distribution of bytes in `text`."""
    return -sum(c / len(text) * math.log2(c / len(text)) for c in Counter(text).values())


def _key_end(text: Document, match: Match) -> int:
    """Refuse placeholders (`sk-xxxxxxxx...`, `BEGIN PRIVATE KEY ... END`) and style names (`sk-folding-cube-...`)."""
    found = match.group()
    if found.startswith(b"-----"):
        return match.end() if _BASE64_RUN.search(found) else -1
    if found.startswith(b"sk-") and not (_LONG_RUN.search(found) and any(48 <= b < 58 for b in found)):
        return -1
    head = _HEAD.match(found)
    return match.end() if entropy(found[head.end() :] if head else found) >= MIN_KEY_ENTROPY else -1


def pii_types(regions: tuple[str, ...], public_ips_only: bool) -> dict[str, PiiType]:
    """All types by name, in order of priority: where two finds overlap, the earlier type wins."""
    from curate.steps.pii_phones import PHONE, phone_check

    table = (
        PiiType("key", _KEY, _key_end, 1.0),
        PiiType("email", _EMAIL, _email_end, 1.0),
        PiiType("iban", _IBAN, _iban_end, 1.0),
        PiiType("card", _CARD, _card_end, 1.0),
        PiiType("ssn", _SSN, _whole, 0.5),
        PiiType("ip", _IP, ip_check(public_ips_only), 0.6),
        PiiType("phone", PHONE, phone_check(regions), 0.4),
    )
    assert tuple(t.name for t in table) == KINDS
    return {t.name: t for t in table}
