"""Fakes: what looks like the find and is nobody's.

    email        letters for letters, at a subdomain of example.com (RFC 2606); one domain becomes one domain
    ip           192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24 (RFC 5737), 2001:db8::/32 (RFC 3849)
    phone        digits for digits, ending in 555-01xx; a number that no plan knows, but for the fictitious numbers of
                 North America, where 555-01xx is set apart for stories
    card, iban   same length and grouping, same first digit or country, wrong check digits
    ssn          the area 000 or 666, which are never issued
    national_id  same shape, wrong check digits
    credentials  letters for letters, a password that ends in `example`
    key          letters for letters behind the same prefix, ending in EXAMPLE

The digits follow from the canonical form, so one number written in two ways has one fake written in two ways. There are
762 fake IPv4 addresses, 2 million fake SSNs and at most 10^5 fake phone numbers of one length: two numbers may share a fake.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from functools import lru_cache

from curate.steps.pii_actions import Keyed, Replace, canonical

MAX_ATTEMPTS = 200
IsFound = Callable[[bytes], bool]  # whether any type is found in these bytes when they stand alone

_RESERVED = re.compile(rb"(?:[@.]example\.(?:com|org|net)|\.(?:example|test|invalid))\Z", re.IGNORECASE)
_V4_NETS = tuple(ipaddress.ip_network(n) for n in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"))
_V6_NET = ipaddress.ip_network("2001:db8::/32")
_HEAD = re.compile(rb"-----BEGIN [A-Z0-9 ]{1,64}-----|eyJ|(?:[A-Za-z0-9]{1,16}[-_.]){1,4}(?=[A-Za-z0-9_-]{16})|AKIA|ASIA|AIza|LTAI|AKID")
_TAIL = re.compile(rb"=*\Z|-----END [A-Z0-9 ]{1,64}-----\Z")
_EXTENSION = re.compile(rb"(?i)[ ,;]{0,2}(?:x|ext\.?|extension)[ .:]{0,2}[0-9]{1,6}\Z")


def same_shape(found: bytes, stream: bytes) -> bytes:
    """A letter for each letter (case kept), a digit for each digit, other ASCII as it is, a letter for any other character."""
    made = bytearray()
    for at, c in enumerate(found.decode("utf-8", "replace")):
        b = stream[at % len(stream)]
        if c.isascii() and not c.isalnum():
            made += c.encode()
        elif c.isascii() and c.isdigit():
            made.append(48 + b % 10)
        else:
            made.append((65 if c.isupper() else 97) + b % 26)
    return bytes(made)


class Fakes:
    """Makes fakes with a secret. `is_found` says whether a candidate would be found again."""

    def __init__(self, keyed: Keyed, is_found: IsFound, regions: tuple[str, ...]) -> None:
        """regions: whose national numbers fake phone numbers must not be."""
        self._keyed, self._is_found, self._regions = keyed, is_found, regions
        self._makers: dict[str, Callable[[bytes], bytes]] = {
            "email": self._email, "ip": self._ip, "phone": self._phone, "credentials": self._credentials, "key": self._key,
        }  # fmt: skip

    def of(self, name: str) -> Replace:
        """The function that fakes finds of one type."""
        return lru_cache(1 << 14)(self._makers.get(name, lambda found: self._number(name, found)))

    def _email(self, found: bytes) -> bytes:
        if _RESERVED.search(found):
            return found
        local, _, domain = found.rpartition(b"@")
        value = canonical("email", local)
        letters = bytes(97 + b % 26 for b in self._keyed.bytes("domain", canonical("email", domain), size=6))
        return same_shape(value, self._keyed.bytes("email", canonical("email", found))) + b"@" + letters + b".example.com"

    def _ip(self, found: bytes) -> bytes:
        address = ipaddress.ip_address(found.decode("ascii"))
        stream = self._keyed.bytes("ip", canonical("ip", found))
        if address.version == 6:
            made = int.from_bytes(b"\x20\x01\x0d\xb8" + stream[:12], "big")
            return found if address in _V6_NET else ipaddress.IPv6Address(made).exploded.encode()
        net = _V4_NETS[stream[0] % 3]
        return found if any(address in n for n in _V4_NETS) else str(net[1 + stream[1] % 254]).encode()

    def _phone(self, found: bytes) -> bytes:
        """Digits from the right: two of the hash, 55501, then hashed ones until no plan but North America's has the number."""
        extension = _EXTENSION.search(found)
        main, rest = (found[: extension.start()], extension.group()) if extension else (found, b"")
        digits = canonical("phone", main).decode()
        if digits[-7:-2] == "55501":
            return found
        international = b"+" in main
        trunk = digits[0] == "0" or (len(digits) == 11 and digits[0] == "1")
        fixed = _country_code(digits) if international else int(trunk)
        lead = digits[: max(0, len(digits) - 7)]
        for attempt in range(MAX_ATTEMPTS):
            stream = self._keyed.bytes("phone", digits.encode(), attempt)
            hashed = "".join(str(2 + b % 4) if i == fixed else str(b % 10) for i, b in enumerate(stream[2 : 2 + len(lead)]))
            made = lead[:fixed] + hashed[fixed:] + f"55501{stream[0] % 100:02}"
            if not _is_somebodys(made, international, self._regions):
                break
        else:
            made = lead[:fixed] + "0" * (len(lead) - fixed) + f"55501{stream[0] % 100:02}"
        return _in_shape(main, made[-len(digits) :]) + _keep_letters(rest, stream)

    def _number(self, name: str, found: bytes) -> bytes:
        """Random digits and letters in the same shape, until nothing finds them."""
        value = canonical(name, found)
        keep = {"iban": 2, "card": 1}.get(name, 0)
        for attempt in range(MAX_ATTEMPTS):
            made = same_shape(value, self._keyed.bytes(name, value, attempt))
            if name == "ssn":
                made = (b"000", b"666")[int(made[:1]) % 2] + made[3:]
            made = value[:keep] + made[keep:]
            written = _in_shape(found, made.decode())
            if not self._is_found(made) and not self._is_found(written):
                break
        return written

    def _credentials(self, found: bytes) -> bytes:
        made = same_shape(found, self._keyed.bytes("credentials", found, size=len(found)))
        user, _, password = made.partition(b":")
        return user + b":" + password[:-7] + b"example"

    def _key(self, found: bytes) -> bytes:
        tail = _TAIL.search(found)
        stop = tail.start() if tail else len(found)
        body_end = len(found[:stop].rstrip())
        if found[:body_end].endswith(b"EXAMPLE"):
            return found
        head = _HEAD.match(found)
        start = head.end() if head and head.end() < body_end - 7 else 0
        made = same_shape(found[start:body_end], self._keyed.bytes("key", found, size=64))
        return found[:start] + made[:-7] + b"EXAMPLE" + found[body_end:]


def _in_shape(found: bytes, made: str) -> bytes:
    """The characters of `made` in the places of the letters and digits of `found`; letters in its case."""
    source = iter(made)
    return "".join(_cased(next(source), c) if c.isascii() and c.isalnum() else c for c in found.decode()).encode()


def _cased(made: str, like: str) -> str:
    return made.lower() if like.islower() else made


def _keep_letters(found: bytes, stream: bytes) -> bytes:
    """New digits, the letters of `ext.` as they are."""
    return bytes(48 + stream[40 + i % 20] % 10 if 48 <= b < 58 else b for i, b in enumerate(found))


def _country_code(digits: str) -> int:
    """How many of the first digits are a country code."""
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

    return next((n for n in (1, 2, 3) if int(digits[:n]) in COUNTRY_CODE_TO_REGION_CODE), 1)


@lru_cache(1 << 14)
def _is_somebodys(digits: str, international: bool, regions: tuple[str, ...]) -> bool:
    """Whether a plan knows the number, North America's left out: there 555-01xx is fictitious."""
    from phonenumbers import country_code_for_region

    from curate.steps.pii_phones import is_international, plan

    if international:
        return digits[0] != "1" and is_international(digits)
    for region in regions:
        if country_code_for_region(region) != 1:
            p = plan(region)
            bare = p.without_prefix(digits)
            if p.is_valid(digits) or (bare is not None and p.is_valid(bare)):
                return True
    return False
