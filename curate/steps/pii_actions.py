"""What is written in the place of a find: a tag, a mask, a keyed hash, or a fake.

Every action is a function of the find and the secret alone, so one address becomes the same thing in every document,
batch and run. None of what they write is found again: tags, masks and hashes match no pattern, fakes lie in reserved
ranges (which `fake` leaves alone) or have wrong check digits.

The secret is the content of a file. Who has it can test a guess against a hash or a fake; without a file it is made of the
recipe's seed, which is no secret at all: then hashes of phone numbers can be reversed by trying all numbers.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Callable
from typing import Literal

Action = Literal["tag", "mask", "hash", "fake", "drop_document", "annotate"]
EntityAction = Literal["tag", "mask", "hash", "drop_document", "annotate"]
Replace = Callable[[bytes], bytes]  # what to write for the bytes found; the same bytes: leave it alone

HASH_LETTERS = 16  # of 4 bits: 2^32 addresses before two are likely to share a hash
_LETTERS = bytes(range(ord("a"), ord("q")))


def mask(found: bytes) -> bytes:
    """Write '*' for every letter and digit and keep the rest, so that shape and number of code points stay."""
    return "".join("*" if c.isalnum() else c for c in found.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def tag(name: str) -> Replace:
    """`<EMAIL>` for every find."""
    written = f"<{name.upper()}>".encode()
    return lambda found: written


def canonical(name: str, found: bytes) -> bytes:
    """One form for the ways to write the same thing: lower case, or digits and capitals alone."""
    if name == "email":
        return found.decode("utf-8", "replace").lower().encode()
    if name == "ip":
        try:
            return str(ipaddress.ip_address(found.decode("ascii"))).encode()
        except ValueError:
            return found
    if name in ("phone", "card", "ssn", "iban", "national_id"):
        return bytes(b for b in found.upper() if 48 <= b < 58 or 65 <= b <= 90)
    return found


class Keyed:
    """A keyed pseudo-random function: bytes that depend on the secret, the type and the value."""

    def __init__(self, secret: bytes) -> None:
        self._key = hashlib.blake2b(secret, digest_size=32).digest()

    def bytes(self, name: str, value: bytes, attempt: int = 0, size: int = 64) -> bytes:
        """`size` bytes (at most 64 in one piece; longer ones are chained)."""
        made = b""
        while len(made) < size:
            head = f"{name}\0{attempt}\0{len(made)}\0".encode()
            made += hashlib.blake2b(head + value, key=self._key, digest_size=64).digest()
        return made[:size]

    def hash(self, name: str) -> Replace:
        """`<EMAIL_` and sixteen letters a to p and `>`."""
        head = f"<{name.upper()}_".encode()

        def replace(found: bytes) -> bytes:
            digest = self.bytes(name, canonical(name, found), size=HASH_LETTERS // 2)
            return head + bytes(_LETTERS[half] for b in digest for half in (b >> 4, b & 15)) + b">"

        return replace


def replacement(action: Action, name: str, keyed: Keyed, fake: Callable[[str], Replace]) -> Replace | None:
    """The function for an action that rewrites; None for those that don't."""
    if action == "tag":
        return tag(name)
    if action == "mask":
        return mask
    if action == "hash":
        return keyed.hash(name)
    return fake(name) if action == "fake" else None
