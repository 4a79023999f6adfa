"""What a type of personal data is, and three of them: e-mail addresses, IP addresses, URLs with credentials.

Each type is a pattern over UTF-8 bytes and a check of what matched. Every repetition is bounded, so that time is linear
on hostile text and a match fits into the window that `curate.kernels.scan` finds for it. After a match that fails its
check, the search goes on one byte after its start. A check may look at the text around a match (a version number is no
IP address), never at tags such as `<IP>`, so that a second run does not see other things than the first.

What the patterns do not find: addresses written as "name at example dot com", quoted local parts, e-mail domains given
as numbers, numbers spelt in words or with digits other than ASCII's.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

Match = re.Match[bytes]
Document = memoryview  # the bytes of one document
Span = tuple[int, int]
SpanOf = Callable[[Document, Match], Span | None]  # what of a match is personal data; None: nothing


class PiiType(NamedTuple):
    """A type of personal data: where it may stand, and how much of a match is really one."""

    name: str
    pattern: re.Pattern[bytes]
    span_of: SpanOf
    score: float  # how far pattern and check alone tell the type from look-alikes; Presidio's figures where it has one
    scan: int = 0  # what the scan must know of it beside its kind


STARTS_WINDOW = frozenset({"key", "iban", "credentials"})  # a window of these begins where a match must begin


def search(kind: PiiType, text: Document, start: int, end: int) -> Iterator[Span]:
    """Yield (start, end) of each find whose match begins in text[start:end], left to right, without overlaps."""
    stop = min(end + 2, len(text))  # patterns look ahead by two bytes
    at = start
    while match := kind.pattern.search(text, at, stop):
        span = kind.span_of(text, match)
        if span is None:
            at = match.start() + 1
        else:
            yield span
            at = span[1]


def before(text: Document, at: int, size: int) -> bytes:
    """The `size` bytes before a place, in lower case."""
    return bytes(text[max(0, at - size) : at]).lower()


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


# In `ssh://git@host` and `https://user:password@host` a user of a machine stands before the @.
_USER_OF_URL = re.compile(rb"://[^\x00-\x20/@<>]{0,96}\Z")


def _email(text: Document, match: Match) -> Span | None:
    if _FILE_NAME.search(match.group()) or _USER_OF_URL.search(text[max(0, match.start() - 100) : match.start()]):
        return None
    return match.span()


# IP addresses -------------------------------------------------------------------------------------------------------
_V4 = rb"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])\.){3}(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IP = re.compile(
    rb"(?:(?<![0-9A-Za-z_.:])|(?<=[Pp]v6:)|(?<=[G-Zg-z]:))(?:[0-9A-Fa-f]{1,4}:|:(?=:))[0-9A-Fa-f:]{1,40}(?:(?<=:)" + _V4 + rb"|(?<=[0-9A-Fa-f]))(?![0-9A-Za-z_]|[:.][0-9A-Fa-f:])"
    + rb"|(?<![0-9A-Za-z_.])" + _V4 + rb"(?![0-9A-Za-z_]|\.[0-9])"
)  # fmt: skip
# Four numbers with dots are an address, the number of a section or of a version. Which, their size and neighbours tell.
_VERSION_WORD = re.compile(rb"(?:version|ver|release|firmware|build|v|rev|revision)[ .:=_-]{0,3}\Z")
_NUMBER_OF = re.compile(
    rb"(?:[a-z\x80-\xff]{1,9}\.\s{1,3}|[a-z0-9]-|[a-z\\]/|\\|(?:section|chapter|article|part|clause|paragraph|table|figure|absatz|abschnitt|nummer|ziffer"
    rb"|unterabschnitt|artikel|#)\s{1,3}|(?:^|\n)[^0-9a-z\n\"'`{(=]{0,16})\Z"
)
_NETWORK_WORD = re.compile(
    rb"(?<![<a-z])(?:ip|ips|ipv4|ipaddr\w{0,6}|addr\w{0,6}|hosts?|hostname|localhost|servers?|ping|dns|subnets?|gateway|netmask|proxy|ssh|telnet|port|bind|listen\w{0,3}"
    rb"|route|nameserver|resolver|dhcp|vpn|lan|wan|tcp|udp|http|ftp|login|logged|connect\w{0,3}|inet|icmp\w{0,4}|network|src|dst)(?![a-z])|//\Z|@\Z"
)
_PORT_OR_MASK = re.compile(rb":[0-9]{2,5}(?![0-9])|/[1-3]?[0-9](?![0-9.])")
_PUBLIC_RESOLVERS = frozenset({b"8.8.8.8", b"8.8.4.4", b"9.9.9.9"})
_NETWORK_BYTES = 48
_LARGE, _MEDIUM = 100, 32  # an outline or a version seldom has a number of this size


def _is_dotted_number(text: Document, match: Match, octets: list[int]) -> bool:
    """Whether four numbers with dots are rather a section or a version than an address."""
    near = before(text, match.start(), _NETWORK_BYTES)
    if near[-4:].islower() and _VERSION_WORD.search(near):  # its last letter is one of the last four bytes
        return True
    if max(octets) >= _LARGE and octets[0]:
        return False
    after = _PORT_OR_MASK.match(text, match.end(), match.end() + 8)
    private = octets[0] == 10 and 0 in octets[1:3]  # sections count from one
    if after or _NETWORK_WORD.search(near) or not any(octets) or private or match.group() in _PUBLIC_RESOLVERS:
        return False
    return max(octets) < _MEDIUM or not octets[0] or _NUMBER_OF.search(near) is not None


def ip_check(public_only: bool) -> SpanOf:
    """Return the check of IP addresses; public_only leaves out private, reserved and documentation ranges.

    With public_only the v4 rule is datatrove's (`ipaddress.is_global`), but with word boundaries and without the numbers
    of sections and versions: four numbers below 32 need a word such as "host" or "ping" before them, a port or a mask
    behind (10.0.x.x and the public resolvers need none); larger ones below 100 must not stand where an outline number does. Version 6 is accepted in full or with `::`
    and, because `1::2` is a slice and `a::b` a name in programs, only with a digit and either three groups or one group
    of three digits or more.
    """

    def span_of(text: Document, match: Match) -> Span | None:
        found = match.group()
        if b":" in found:
            groups = [g for g in found.split(b":") if g]
            if b"::" in found and len(groups) < 3 and (len(groups) < 2 or max(map(len, groups)) < 3):
                return None
            if not any(48 <= b < 58 for b in found):
                return None
        elif _is_dotted_number(text, match, [int(o) for o in found.split(b".")]):
            return None
        elif not public_only:
            return match.span()  # the pattern has none but addresses
        try:
            address = ipaddress.ip_address(found.decode("ascii"))
        except ValueError:
            return None
        return None if public_only and not address.is_global else match.span()

    return span_of


# credentials in URLs ------------------------------------------------------------------------------------------------
# `user:password` between `://` and `@`; the host stays. Not: templates (`${USER}:${PASSWORD}`), and words that stand in
# manuals for a password.
_CREDENTIALS = re.compile(rb"(?<=://)([^\x00-\x20/:@<>\"'\x7f]{0,96}):([^\x00-\x20/@<>\"'\x7f]{1,128})(?=@[A-Za-z0-9\[\x80-\xff$%{])")
_TEMPLATE = re.compile(rb"[${}%\[\]()|`\\]|\.\.\.|example|x{3}|\*{3}", re.IGNORECASE)
_WORDS_FOR_PASSWORD = frozenset(
    b"password passwd pass passwort motdepasse contrasena contrasenya senha pwd secret token mypassword mypass yourpassword userpassword "
    b"dbpassword apikey accesstoken authtoken port pw user username changeme".split()
)


def _credentials(text: Document, match: Match) -> Span | None:
    password = match.group(2)
    plain = bytes(b for b in password.lower() if 97 <= b <= 122 or 48 <= b < 58 or b >= 128)
    if not plain or plain in _WORDS_FOR_PASSWORD or _TEMPLATE.search(match.group()):
        return None
    return match.span()


def pii_types(regions: tuple[str, ...], public_ips_only: bool) -> dict[str, PiiType]:
    """All kinds by name, in order of priority: where two finds overlap, the earlier one wins."""
    from curate.kernels.scan_tables import KINDS, NINE_DIGITS
    from curate.steps.pii_ids import NUMBER_PATTERN, TOKEN_PATTERN, national_number, national_token
    from curate.steps.pii_numbers import CARD_PATTERN, IBAN_PATTERN, SSN_PATTERN, card, iban, ssn
    from curate.steps.pii_phones import PHONE_PATTERN, has_nine_digits, phone_check
    from curate.steps.pii_secrets import KEY_PATTERN, key

    table = (
        PiiType("key", KEY_PATTERN, key, 1.0),
        PiiType("credentials", _CREDENTIALS, _credentials, 0.9),
        PiiType("email", _EMAIL, _email, 1.0),
        PiiType("iban", IBAN_PATTERN, iban, 1.0),
        PiiType("card", CARD_PATTERN, card, 1.0),
        PiiType("ssn", SSN_PATTERN, ssn, 0.5),
        PiiType("national_id", TOKEN_PATTERN, national_token, 0.8),
        PiiType("national_number", NUMBER_PATTERN, national_number, 0.7),
        PiiType("ip", _IP, ip_check(public_ips_only), 0.6),
        PiiType("phone", PHONE_PATTERN, phone_check(regions), 0.4, NINE_DIGITS * has_nine_digits(regions)),
    )
    assert tuple(t.name for t in table) == KINDS
    return {t.name: t for t in table}
